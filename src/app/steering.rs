//! One camera's bitrates and pictures, between its viewers and its pipelines.

use std::fmt;
use std::time::Instant;

use tracing::info;

use super::seat::Seat;
use super::with_sources;
use crate::config::{self, CameraConfig};
use crate::media::rate::renditions::{Action, News, Rendition, Renditions};
use crate::media::rate::steering::{self, Input, Steering};
use crate::media::rate::{EncoderLimits, Halving, Opened, PictureLadder, PictureScale};
use crate::media::{Bitrate, Feedback, Size};
use crate::pipeline::{Encoding, Pipeline, Report};
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

pub(super) fn renditions(config: &CameraConfig) -> Renditions<Place> {
    let unknown = (config.size, Halving::Never);
    let limits = limits(config, EncoderLimits::ANY);
    let large = Steering::new(limits, config.bitrate.start, ladder(config, unknown));
    let limits = small_limits(config, EncoderLimits::ANY);
    let start = small_share(config.bitrate.start);
    let small = Steering::new(limits, start, small_ladder(config, unknown));
    Renditions::new(large, small)
}

fn limits(config: &CameraConfig, encoder: EncoderLimits) -> EncoderLimits {
    encoder.within(config.bitrate.min, config.bitrate.max)
}

/// The least of the configuration is for the whole picture.
fn small_limits(config: &CameraConfig, encoder: EncoderLimits) -> EncoderLimits {
    encoder.within(small_share(config.bitrate.min), config.bitrate.max)
}

fn small_share(rate: Bitrate) -> Bitrate {
    Bitrate::bps(rate.as_bps() / SMALL_SHARE)
}

/// By the whole picture's size, and the rate that the camera was asked for.
fn ladder(config: &CameraConfig, (whole, halving): (Size, Halving)) -> PictureLadder {
    PictureLadder::new(whole, config.frame_interval, config.prefer, halving)
}

fn small_ladder(config: &CameraConfig, (whole, halving): (Size, Halving)) -> PictureLadder {
    PictureLadder::small(whole, config.frame_interval, halving)
}

impl Seat {
    /// What a viewer says of its link.
    pub(super) fn link_told(&mut self, place: Place, feedback: Feedback, now: Instant) {
        let viewer = place;
        match feedback {
            Feedback::Estimate(rate) => {
                let input = Input::Estimate { viewer, rate };
                self.renditions.handle(input, now);
            }
            Feedback::Silent => self.renditions.handle(Input::Silent { viewer }, now),
            Feedback::KeyFrame => {
                self.metrics.key_frame_requests.add(1);
                if let Some(pipeline) = self.pipeline_of(self.renditions.rendition(&viewer)) {
                    pipeline.request_key_frame();
                }
            }
        }
    }

    pub(super) fn link_gone(&mut self, viewer: Place, now: Instant) {
        self.renditions.handle(Input::Left { viewer }, now);
    }

    /// What camera and encoder are to be opened for now, and what is to be coded of their pictures.
    pub(super) fn opening(&mut self) -> (CameraConfig, PictureScale) {
        let (bitrate, scale) = self.renditions.opening(Rendition::Large);
        let mut config = self.config.clone();
        config.bitrate.start = bitrate;
        self.asked = match scale.divisor {
            1 => None,
            _ => self.sizes.half(),
        };
        (config, scale)
    }

    /// Its pictures are half of what is wanted, or twice as large, and the encoder cannot change that.
    pub(super) fn has_wrong_size(&self) -> bool {
        let wants_half = self.renditions.of(Rendition::Large).scale().divisor > 1;
        self.halving() == Some(Halving::ByReopening)
            && self.encoding().is_some_and(|it| it.is_half != wants_half)
    }

    /// Returns how half of the picture can be had.
    pub(super) fn encoder_opened(
        &mut self,
        encoding: &Encoding,
        can_share: bool,
        now: Instant,
    ) -> Halving {
        let opened = Opened {
            size: encoding.size,
            encoder: &encoding.encoder,
            follows: encoding.limits.is_some(),
            can_halve: encoding.can_halve,
            is_half: encoding.is_half,
        };
        let halving = self.sizes.opened(self.asked.as_ref(), opened);
        let whole = match &self.asked {
            Some(half) if encoding.is_half => half.whole(),
            Some(_) | None => encoding.size,
        };
        let pictures = (whole, halving);
        let follows = encoding.limits.is_some();
        self.follows = follows;
        let most = self.config.bitrate.max;
        // What a camera makes by itself is to be sent, however much that is.
        self.peers.bitrate.max = if follows { most } else { most.max(ANY) };
        if self.config.renditions == config::Renditions::Two && !can_share {
            info!(
                encoder = encoding.encoder,
                "there can be no second rendition, all viewers get one"
            );
        }
        let news = News::LargeOpened {
            limits: limits(&self.config, encoding.limits.unwrap_or(EncoderLimits::ANY)),
            ladder: ladder(&self.config, pictures),
            small: can_share.then(|| small_ladder(&self.config, pictures)),
        };
        self.renditions.hear(news, now);
        halving
    }

    /// Its camera is closed, or is going to be.
    pub(super) fn camera_closes(&mut self, now: Instant) {
        self.renditions.hear(News::LargeClosed, now);
    }

    /// What the second encoder's pipeline tells.
    pub(super) fn small_told(&mut self, report: Report, now: Instant) {
        let news = match report {
            Report::Opened(encoding, _) => {
                let limits = encoding.limits.unwrap_or(EncoderLimits::ANY);
                self.small.encoding = Some(encoding);
                News::SmallOpened {
                    limits: small_limits(&self.config, limits),
                }
            }
            Report::Moved => News::SmallMoved,
            Report::Recovering => News::SmallRecovering,
            // Offers are for the large one, and the small one's profile is the same.
            Report::Profile(_) => return,
            Report::Ended(result) => {
                self.small.ended();
                News::SmallEnded(result.err().map(|error| with_sources(&error)))
            }
        };
        self.renditions.hear(news, now);
    }

    /// Does what was decided about the encoders. True when anything was done.
    pub(super) fn steer(&mut self) -> bool {
        let mut acted = false;
        while let Some(action) = self.renditions.poll_action() {
            acted = true;
            match action {
                Action::Steer(rendition, action) => {
                    // One that is not open yet is told then: only now is it known what it can be asked for.
                    let is_open = match rendition {
                        Rendition::Large => self.encoding().is_some(),
                        Rendition::Small => self.small.encoding.is_some(),
                    };
                    if let Some(pipeline) = self.pipeline_of(rendition).filter(|_| is_open) {
                        carry_out(pipeline, action);
                    }
                }
                Action::StartSmall => {
                    let (bitrate, scale) = self.renditions.opening(Rendition::Small);
                    let second = self.second();
                    self.small.start(self.config.name(), second, bitrate, scale);
                }
                Action::StopSmall => self.small.stop(),
                Action::Move { viewer, to } => self.move_viewer(&viewer, to),
            }
        }
        acted
    }

    pub(super) fn steering_timeout(&mut self, now: Instant) {
        if self
            .renditions
            .poll_timeout()
            .is_some_and(|(at, _)| at <= now)
        {
            self.renditions.handle(Input::Timeout, now);
        }
    }

    fn move_viewer(&mut self, place: &Place, to: Rendition) {
        let units = match to {
            Rendition::Large => self.large_units(),
            Rendition::Small => self.small.units(),
        }
        .subscribe();
        // Who has left meanwhile needs nothing.
        if let Some(seated) = self.lines[place.line].seated(&place.viewer) {
            seated.peer.watch(units);
            if let Some(pipeline) = self.pipeline_of(to) {
                pipeline.request_key_frame();
            }
        }
    }

    fn pipeline_of(&self, rendition: Rendition) -> Option<&Pipeline> {
        match rendition {
            Rendition::Large => self.pipeline.as_ref(),
            Rendition::Small => self.small.pipeline.as_ref(),
        }
    }
}

fn carry_out(pipeline: &Pipeline, action: steering::Action) {
    match action {
        steering::Action::SetBitrate(target) => pipeline.set_bitrate(target),
        steering::Action::SetScale(scale) => pipeline.set_scale(scale),
    }
}

/// More than cameras with an encoder of their own make.
const ANY: Bitrate = Bitrate::kbps(30_000);

/// A picture of half the width and height needs about a third of the bits.
const SMALL_SHARE: u64 = 3;
