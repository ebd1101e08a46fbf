//! One camera's bitrate and picture, between its viewers and its pipeline.

use std::fmt;
use std::time::Instant;

use super::seat::Seat;
use crate::config::CameraConfig;
use crate::media::rate::steering::{Action, Input, Steering};
use crate::media::rate::{EncoderLimits, PictureLadder};
use crate::media::{Bitrate, Feedback};
use crate::pipeline::{Encoding, Pipeline};
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
    let limits = limits(config, EncoderLimits::ANY);
    Steering::new(limits, config.bitrate.start, ladder(config, false))
}

fn limits(config: &CameraConfig, encoder: EncoderLimits) -> EncoderLimits {
    encoder.within(config.bitrate.min, config.bitrate.max)
}

/// By what the camera was asked for.
fn ladder(config: &CameraConfig, can_halve: bool) -> PictureLadder {
    PictureLadder::new(config.size, config.frame_interval, config.prefer, can_halve)
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

    pub(super) fn encoder_opened(&mut self, encoding: &Encoding) {
        let follows = encoding.limits.is_some();
        self.follows = follows;
        let most = self.config.bitrate.max;
        // What a camera makes by itself is to be sent, however much that is.
        self.peers.bitrate.max = if follows { most } else { most.max(ANY) };
        let limits = limits(&self.config, encoding.limits.unwrap_or(EncoderLimits::ANY));
        let ladder = ladder(&self.config, encoding.can_halve);
        self.steering.encoder_opened(limits, ladder);
    }

    /// Does what was decided about the encoder. True when anything was done.
    pub(super) fn steer(&mut self) -> bool {
        let mut acted = false;
        while let Some(action) = self.steering.poll_action() {
            acted = true;
            // One that is not open yet is told then: only now is it known what it can be asked for.
            if let (Some(pipeline), Some(_)) = (&self.pipeline, self.encoding()) {
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

/// More than cameras with an encoder of their own make.
const ANY: Bitrate = Bitrate::kbps(30_000);
