//! What makes the pictures: a model of an encoder, or openh264 itself with the test card.

mod model;
#[cfg(feature = "software-encoder")]
mod openh264;

use std::time::{Duration, Instant};

use rovercast::media::Bitrate;

pub use model::Model;
#[cfg(feature = "software-encoder")]
use openh264::OpenH264;

#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub number: u32,
    pub bytes: usize,
    pub key_frame: bool,
    pub captured: Instant,
}

/// Which of them.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A run of a minute takes milliseconds.
    Model,
    /// Five seconds, but sizes and quirks are real.
    #[cfg(feature = "software-encoder")]
    OpenH264,
}

/// One of them.
pub trait Encoder {
    /// Whenever the links are looked at: what they leave for it, and the target when that moved. The scene `needs` no more, which only a
    /// model has to be told.
    fn steer(&mut self, target: Option<Bitrate>, left: Bitrate, needs: f64, now: Instant);

    /// `None`: left out.
    fn encode(&mut self, key_frame: bool, now: Instant, since_start: Duration) -> Option<Frame>;
}

pub fn open(kind: Kind, rate: f64, seed: u64) -> Box<dyn Encoder> {
    match kind {
        Kind::Model => Box::new(Model::new(rate, seed)),
        #[cfg(feature = "software-encoder")]
        Kind::OpenH264 => Box::new(OpenH264::new(rate, seed)),
    }
}
