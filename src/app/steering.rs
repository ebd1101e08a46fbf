//! One camera's bitrate and picture, between its viewers and its pipeline.

use std::fmt;
use std::time::{Duration, Instant};

use super::seat::Seat;
use crate::config::CameraConfig;
use crate::media::rate::steering::{Action, Input, Steering};
use crate::media::rate::{EncoderLimits, PictureLadder, Prefer, RateMethod};
use crate::media::{Bitrate, Feedback};
use crate::pipeline::Pipeline;
use crate::viewer::ViewerId;

/// A viewer among all of one camera: two relays may name theirs alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) viewer: ViewerId,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.viewer.fmt(f)
    }
}

pub(super) fn steering(config: &CameraConfig) -> Steering<Place> {
    let limits = EncoderLimits {
        least: config.bitrate.min,
        most: config.bitrate.max,
        step: STEP,
        interval: INTERVAL,
        method: RateMethod::Control,
    };
    Steering::new(limits, config.bitrate.start, ladder(config, false))
}

/// By what the camera was asked for.
fn ladder(config: &CameraConfig, can_halve: bool) -> PictureLadder {
    let prefer = Prefer::default();
    PictureLadder::new(config.size, config.frame_interval, prefer, can_halve)
}

impl Seat {
    /// What a viewer says of its link.
    pub(super) fn link_told(&mut self, place: Place, feedback: Feedback, now: Instant) {
        let viewer = place;
        match feedback {
            Feedback::Estimate(rate) => self.steering.handle(Input::Estimate { viewer, rate }, now),
            Feedback::Silent => self.steering.handle(Input::Silent { viewer }, now),
            Feedback::KeyFrame => {
                self.metrics.key_frame_requests.add(1);
                if let Some(pipeline) = &self.pipeline {
                    pipeline.request_key_frame();
                }
            }
        }
    }

    pub(super) fn link_gone(&mut self, viewer: Place, now: Instant) {
        self.steering.handle(Input::Left { viewer }, now);
    }

    pub(super) fn encoder_opened(&mut self, can_halve: bool) {
        self.steering
            .encoder_opened(ladder(&self.config, can_halve));
    }

    /// Does what was decided about the encoder. True when anything was done.
    pub(super) fn steer(&mut self) -> bool {
        let mut acted = false;
        while let Some(action) = self.steering.poll_action() {
            acted = true;
            // A pipeline that is started later is told then.
            if let Some(pipeline) = &self.pipeline {
                carry_out(pipeline, action);
            }
        }
        acted
    }

    pub(super) fn steering_timeout(&mut self, now: Instant) {
        if self
            .steering
            .poll_timeout()
            .is_some_and(|(at, _)| at <= now)
        {
            self.steering.handle(Input::Timeout, now);
        }
    }
}

fn carry_out(pipeline: &Pipeline, action: Action) {
    match action {
        Action::SetBitrate(target) => pipeline.set_bitrate(target),
        Action::SetScale(scale) => pipeline.set_scale(scale),
    }
}

/// Finer than anybody sees.
const STEP: Bitrate = Bitrate::kbps(10);

/// Three frames: as soon as the change before has reached the wire.
const INTERVAL: Duration = Duration::from_millis(100);
