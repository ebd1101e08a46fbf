//! A link, a browser and an encoder in simulated time, all from one seed: a run of half a minute takes milliseconds and comes out
//! the same every time.
//!
//! ```text
//!   Encoder ──► Sender (ours: viewer/sending) ──► Link ──► Browser ──► Screen
//!      ▲           │  ▲                                      ▲          │
//!      └── target ─┘  └───────────────── Link ◄──────────────│──────────┘ feedback, NACK, PLI
//!                                                  Neighbour ┘
//! ```

pub mod browser;
pub mod encoder;
pub mod figures;
pub mod link;
#[allow(clippy::duplicate_mod)] // the benchmark of bad links has the browser's suite, too
#[path = "../common/neighbour.rs"]
pub mod neighbour;
pub mod reference;
pub mod scenarios;
pub mod screen;
pub mod seen;
pub mod sender;
pub mod traces;
pub mod world;

use std::time::{Duration, Instant};

/// What one packet of the picture says about itself; the model has no other payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub frame: u32,
    pub key_frame: bool,
    pub captured: Instant,
    pub index: u16,
    pub count: u16,
    pub payload: usize,
}

/// A packet on the way to the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPacket {
    /// Transport-wide.
    pub transport: u16,
    /// Of the media stream, and what it carries; `None` is padding.
    pub media: Option<(u64, Fragment)>,
    /// On the wire.
    pub bytes: usize,
}

/// What the browser answers.
#[derive(Clone, Debug)]
pub enum Answer {
    Feedback(Vec<(u16, Option<Duration>)>),
    /// Sequence numbers of the media stream.
    Missing(Vec<u64>),
    PictureLost,
}

/// What a packet carries at most.
pub const PAYLOAD: usize = 1140;

pub const FRAME: Duration = Duration::from_micros(33_333);

pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
