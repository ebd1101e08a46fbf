//! openh264 as the robot has it: the 720p test card, and a smaller picture or fewer frames when the rate is not enough.

use std::time::{Duration, Instant};

use rovercast::camera::Camera;
use rovercast::camera::test_card::{TestCard, TestCardSettings};
use rovercast::encoder::software::{FrameCoder, Order};
use rovercast::media::rate::{Halving, PictureLadder, Prefer};
use rovercast::media::{Bitrate, MediaTime, Size};

use super::{Encoder, Frame};
use crate::emulator::FRAME;

#[derive(Debug)]
pub struct OpenH264 {
    card: TestCard,
    coder: FrameCoder,
    ladder: PictureLadder,
    bitrate: Bitrate,
    owes_key_frame: bool,
    frames: u32,
    /// What the wall clock shows at the start: where the card's hands are.
    start: Duration,
}

impl OpenH264 {
    pub fn new(rate: f64, seed: u64) -> Self {
        let settings = TestCardSettings {
            size: SIZE,
            interval: FRAME,
        };
        let card = TestCard::open(&settings).expect("there is a timer");
        let bitrate = Bitrate::bps(rate as u64);
        Self {
            coder: FrameCoder::open(card.format(), bitrate).expect("openh264 takes 720p"),
            card,
            ladder: PictureLadder::new(SIZE, FRAME, Prefer::Smooth, Halving::ByEncoder),
            bitrate,
            owes_key_frame: true,
            frames: 0,
            start: Duration::from_millis(seed * 377),
        }
    }
}

impl Encoder for OpenH264 {
    fn steer(&mut self, target: Option<Bitrate>, left: Bitrate, _needs: f64, now: Instant) {
        self.bitrate = target.unwrap_or(self.bitrate);
        self.ladder.update(left, now);
    }

    fn encode(&mut self, key_frame: bool, now: Instant, since_start: Duration) -> Option<Frame> {
        self.owes_key_frame |= key_frame;
        self.frames += 1;
        let scale = self.ladder.scale();
        if !self.frames.is_multiple_of(scale.every) {
            return None;
        }
        let captured = MediaTime::from_monotonic(since_start);
        let picture = self
            .card
            .picture(self.frames, captured, self.start + since_start)
            .expect("the coder gives frames back at once");
        let order = Order {
            bitrate: self.bitrate,
            // The coder remembers one that does not come at once.
            key_frame: std::mem::take(&mut self.owes_key_frame),
            is_halved: scale.divisor > 1,
        };
        let unit = self.coder.encode(picture, order).expect("openh264 runs")?;
        Some(Frame {
            number: self.frames,
            bytes: unit.data.len(),
            key_frame: unit.key_frame,
            captured: now,
        })
    }
}

const SIZE: Size = Size {
    width: 1280,
    height: 720,
};
