//! A model of hardware: follows its target with a lag and with noise, pays a key frame back over the frames that follow.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rovercast::media::Bitrate;

use super::{Encoder, Frame};
use crate::emulator::FRAME;
use crate::emulator::traces::normal;

#[derive(Debug)]
pub struct Model {
    /// The target that is being followed, and the one that comes into force with the next frame.
    rate: f64,
    next_rate: f64,
    /// Bytes above what the target allowed so far.
    debt: f64,
    /// Of the target, what the scene needs at most: 1 for motion everywhere.
    pub needs: f64,
    frames: u32,
    random: StdRng,
}

impl Model {
    pub fn new(rate: f64, seed: u64) -> Self {
        Self {
            rate,
            next_rate: rate,
            debt: 0.0,
            needs: f64::MAX,
            frames: 0,
            random: StdRng::seed_from_u64(seed),
        }
    }

    pub fn set_bitrate(&mut self, rate: f64) {
        self.next_rate = rate;
    }

    pub fn picture(&mut self, key_frame: bool, captured: Instant) -> Frame {
        let key_frame = key_frame || self.frames == 0;
        let per_frame = self.rate.min(self.needs) / 8.0 * FRAME.as_secs_f64();
        self.rate = self.next_rate;
        let noise = (NOISE * normal(&mut self.random)).exp();
        let size = match key_frame {
            true => per_frame * KEY_FRAME * noise,
            // Half a second pays a debt back, never with more than half of each frame.
            false => {
                per_frame * noise - (self.debt / 15.0).clamp(-per_frame / 2.0, per_frame / 2.0)
            }
        };
        self.debt = (self.debt + size - per_frame).clamp(-4.0 * per_frame, 20.0 * per_frame);
        self.frames += 1;
        Frame {
            number: self.frames,
            bytes: (size as usize).max(60),
            key_frame,
            captured,
        }
    }
}

impl Encoder for Model {
    fn steer(&mut self, target: Option<Bitrate>, _left: Bitrate, needs: f64, _now: Instant) {
        if let Some(target) = target {
            self.set_bitrate(target.as_bps() as f64);
        }
        self.needs = needs;
    }

    fn encode(&mut self, key_frame: bool, now: Instant, _since_start: Duration) -> Option<Frame> {
        Some(self.picture(key_frame, now))
    }
}

/// Rate control of hardware misses a frame's size by a fifth, mostly.
const NOISE: f64 = 0.2;

/// A key frame whose size is limited by the rate control, in usual frames.
const KEY_FRAME: f64 = 5.0;
