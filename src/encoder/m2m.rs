//! An H.264 encoder in hardware, behind V4L2's stateful encoder interface.
//!
//! ```text
//!                  first picture                      done
//!   open ──► Ready ─────────────► Aside(start) ───────────────► Working
//!              ▲                    │    ▲                       │  │
//!              │ set up anew        │    │ silent, or it failed  │  │ planned: key frame or bitrate
//!              └────── Aside(rung) ◄┘    ├───────────────────────┘  ▼
//!                        ▲   │           │                       Draining
//!                        └───┘ failed    └── drained, or too long ──┘
//!   no rung left ──► given up: the pipeline ends, and the next one takes the software encoder
//! ```
//!
//! The pipeline's thread makes no call that may block: those are made aside.
#![allow(clippy::disallowed_methods)] // a driver: reads the clock once a call

mod agreement;
mod candidate;
mod controls;
mod journal;
mod ladder;
mod pairing;
mod recovery;
mod session;
mod standing;
mod submission;
mod turn;
mod units;
mod watch;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use super::convert::Writer;
use super::{Another, Encoder, EncoderError, Handover, Submitted};
use crate::board::{KeyFrameMethod, Rung};
use crate::media::rate::EncoderLimits;
use crate::media::{AccessUnit, Bitrate, Frame};
use crate::v4l2::V4l2Error;
use crate::v4l2::aside::{Aside, Outcome};

pub use candidate::{Candidate, candidates};
pub use pairing::M2mSettings;
pub use standing::Standing;

use agreement::Blueprint;
use journal::Journal;
use ladder::Ladder;
use recovery::{Errand, close};
use session::Session;
use units::Units;
use watch::Watch;

/// An encoder that a camera was paired with.
#[derive(Debug)]
pub struct M2mEncoder {
    setup: Setup,
    state: State,
    watch: Watch,
    journal: Journal,
    units: Units,
    ladder: Ladder,
    rate: Rate,
    /// When it last gave a picture, or had nothing to do before.
    quiet_since: Instant,
    /// No unit came since it was started: the first is a key frame in any case.
    is_fresh: bool,
    key_frame: KeyFrame,
    /// When a key frame was last had by other means than asking.
    key_frame_planned: Option<Instant>,
    /// Since when nothing that comes can be shown.
    lost_since: Option<Instant>,
    refused_in_a_row: u32,
    /// What the timer is set to.
    armed: Option<Instant>,
    copied_bytes: u64,
}

/// The bitrate that is wanted; an encoder that is busy with itself gets it when it is back.
#[derive(Debug)]
struct Rate {
    wanted: Bitrate,
    /// What it was told last.
    aimed: Bitrate,
    took: Bitrate,
}

/// What was agreed on when it was opened.
#[derive(Debug)]
struct Setup {
    /// For people: `vh264enc (/dev/video2)`.
    name: String,
    handover: Handover,
    blueprint: Blueprint,
    /// Copies or converts, on the path of that name.
    writer: Option<Writer>,
    standing: Arc<Standing>,
}

#[derive(Debug)]
enum State {
    /// Set up, and its queues stand still: no picture came yet.
    Ready(Box<Session>),
    Working(Box<Session>),
    Draining {
        session: Box<Session>,
        until: Instant,
        then: Rung,
    },
    Aside(Errand, Aside<Result<Box<Session>, V4l2Error>>),
    /// Nothing helped.
    GivenUp,
}

/// The next key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyFrame {
    NotWanted,
    Asked(Instant),
    /// The one that was asked for, or was due, will not come.
    Owed,
}

impl Encoder for M2mEncoder {
    fn submit(&mut self, frame: Frame, key_frame: bool) -> Result<Submitted, EncoderError> {
        let now = Instant::now();
        let result = match std::mem::replace(&mut self.state, State::GivenUp) {
            State::Ready(session) => self.submit_first(session, frame, now),
            State::Working(session) => self.submit_next(session, frame, key_frame, now),
            busy @ (State::Draining { .. } | State::Aside(..)) => {
                self.state = busy;
                Ok(Submitted::Full(frame))
            }
            State::GivenUp => Err(self.given_up("it was given up")),
        };
        self.arm(now);
        result
    }

    fn try_access_unit(&mut self) -> Result<Option<AccessUnit>, EncoderError> {
        let now = Instant::now();
        let result = self.turn(now);
        self.arm(now);
        result
    }

    fn set_bitrate(&mut self, target: Bitrate) -> Result<Bitrate, EncoderError> {
        self.rate.wanted = target;
        let now = Instant::now();
        self.turn_rate(now)
            .map_err(|refusal| EncoderError::Bitrate {
                target,
                found: refusal.to_string(),
            })?;
        self.arm(now);
        Ok(self.rate.took)
    }

    fn limits(&self) -> Option<EncoderLimits> {
        let blueprint = &self.setup.blueprint;
        Some(blueprint.profile.rate.limits(blueprint.aim.size))
    }

    fn another(&self) -> Option<Another> {
        pairing::another(&self.setup)
    }

    fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }

    fn makes_key_frames_on_request(&self) -> bool {
        self.setup.blueprint.profile.key_frames.method != KeyFrameMethod::Wait
    }

    fn name(&self) -> &str {
        &self.setup.name
    }

    fn handover(&self) -> Option<&Handover> {
        Some(&self.setup.handover)
    }
}

impl M2mEncoder {
    fn new(session: Box<Session>, setup: Setup) -> Result<Self, EncoderError> {
        let watch = Watch::new().map_err(|errno| EncoderError::Start {
            encoder: "the hardware encoder",
            found: format!("cannot wait for {}: {errno}", setup.name),
        })?;
        let aimed = setup.blueprint.aim.bitrate;
        let rate = Rate {
            wanted: aimed,
            aimed,
            took: session.bitrate(),
        };
        let coded_bytes = session.agreed().coded.planes()[0].bytes as usize;
        Ok(Self {
            ladder: Ladder::new(&setup.blueprint.profile.ladder),
            setup,
            state: State::Ready(session),
            watch,
            journal: Journal::default(),
            units: Units::new(coded_bytes),
            rate,
            quiet_since: Instant::now(),
            is_fresh: true,
            key_frame: KeyFrame::NotWanted,
            key_frame_planned: None,
            lost_since: None,
            refused_in_a_row: 0,
            armed: None,
            copied_bytes: 0,
        })
    }

    /// Sets the timer when it would ring too late. It may ring too early, which costs a look.
    fn arm(&mut self, now: Instant) {
        let at = match &self.state {
            State::Working(_) if self.journal.is_empty() => return,
            State::Working(_) => {
                let patience = self.patience();
                let at = self.quiet_since + patience;
                // It is past when the frames that are missing were skipped without a word.
                if at > now { at } else { now + patience }
            }
            State::Draining { until, .. } => *until,
            State::Aside(_, aside) => aside.until(),
            State::Ready(_) | State::GivenUp => return,
        };
        if self.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        let after = at.saturating_duration_since(now).max(TIMER_LEAST);
        if let Err(errno) = self.watch.set_deadline(after) {
            warn!(%errno, "cannot set a deadline for the encoder");
        }
        self.armed = Some(at);
    }
}

impl AsFd for M2mEncoder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

impl Drop for M2mEncoder {
    fn drop(&mut self) {
        let now = Instant::now();
        let limit = self
            .setup
            .blueprint
            .profile
            .patience
            .call
            .min(CLOSE_AT_MOST);
        match std::mem::replace(&mut self.state, State::GivenUp) {
            State::Ready(session) | State::Working(session) | State::Draining { session, .. } => {
                self.watch.deafen();
                if !close(session, limit, now) {
                    self.setup.standing.suspend(&self.setup.blueprint.node, now);
                }
            }
            State::Aside(_, aside) => match aside.wait(limit) {
                Outcome::Done(Ok(session)) => {
                    close(session, limit, now);
                }
                Outcome::Done(Err(_)) => {}
                Outcome::NotYet | Outcome::Lost => {
                    let standing = &self.setup.standing;
                    standing.suspend(&self.setup.blueprint.node, now);
                }
            },
            State::GivenUp => {}
        }
    }
}

/// The supervisor waits five seconds for a pipeline to end.
const CLOSE_AT_MOST: Duration = Duration::from_secs(3);

/// Zero would switch the timer off.
const TIMER_LEAST: Duration = Duration::from_millis(1);
