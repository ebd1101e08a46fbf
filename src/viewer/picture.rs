//! The picture of a viewer: which units it gets, which it misses, and when it needs a key frame.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::debug;

use super::packetizer::PackedUnit;
use super::{Action, Picture, State, Viewer};
use crate::media::rate::KeyFrameBudget;

impl Viewer {
    pub(super) fn unit(&mut self, unit: Arc<PackedUnit>, now: Instant) {
        if unit.key_frame
            && let Some(budget) = &mut self.budget
        {
            budget.key_frame_made();
        }
        match self.state {
            State::Offering | State::Offered | State::Connecting => self.hold(unit),
            State::Watching(Picture::Unheard) => self.counts.skipped += 1,
            State::Watching(Picture::WaitingForKeyFrame) if !unit.key_frame => {
                self.counts.skipped += 1;
                if self.ask_again.is_none() {
                    self.ask_key_frame(now);
                }
            }
            State::Watching(_) => {
                self.state = State::Watching(Picture::Flowing);
                self.ask_again = None;
                self.counts.sent += 1;
                self.actions.push_back(Action::Send(unit));
            }
            State::Away | State::Ended => self.counts.skipped += 1,
        }
    }

    fn hold(&mut self, unit: Arc<PackedUnit>) {
        if unit.key_frame || self.run.len() == HELD_UNITS {
            self.forget_run();
        }
        if unit.key_frame || !self.run.is_empty() {
            self.ask_again = None;
            self.run.push(unit);
        } else {
            self.counts.skipped += 1;
        }
    }

    pub(super) fn forget_run(&mut self) {
        self.counts.skipped += self.run.len() as u64;
        self.run.clear();
    }

    pub(super) fn lagged(&mut self, missed: u64, now: Instant) {
        self.counts.skipped += missed;
        self.forget_run();
        match self.state {
            State::Watching(Picture::Flowing | Picture::WaitingForKeyFrame) => {
                debug!(missed, "viewer is late, skipping to the next key frame");
                self.state = State::Watching(Picture::WaitingForKeyFrame);
                self.ask_key_frame(now);
            }
            State::Watching(Picture::Unheard)
            | State::Offering
            | State::Offered
            | State::Connecting
            | State::Away
            | State::Ended => {}
        }
    }

    pub(super) fn silent(&mut self) {
        if let State::Watching(_) = self.state {
            debug!("viewer answers nothing, sending it nothing");
            self.state = State::Watching(Picture::Unheard);
            self.want_no_key_frame();
        }
    }

    /// Whatever was owed is of no use to a browser that cannot be reached.
    pub(super) fn want_no_key_frame(&mut self) {
        self.ask_again = None;
        if let Some(budget) = &mut self.budget {
            budget.key_frame_made();
        }
    }

    pub(super) fn answers(&mut self, now: Instant) {
        if self.state == State::Watching(Picture::Unheard) {
            self.state = State::Watching(Picture::WaitingForKeyFrame);
            self.ask_key_frame(now);
        }
    }

    pub(super) fn ask_key_frame(&mut self, now: Instant) {
        if self.state == State::Watching(Picture::Unheard) {
            return;
        }
        let budget = self.budget.get_or_insert_with(|| KeyFrameBudget::new(now));
        // A picture that stands because we skipped is no browser's whim, and alone it costs nobody else anything.
        let is_free = self.is_alone && self.state == State::Watching(Picture::WaitingForKeyFrame);
        if budget.request(now) || is_free {
            self.counts.asked += 1;
            self.actions.push_back(Action::AskKeyFrame);
        }
        if let State::Connecting | State::Watching(Picture::WaitingForKeyFrame) = self.state {
            self.ask_again = Some(now + ASK_AGAIN);
        }
    }
}

/// The request or the key frame may be lost on a source that drops; a key frame costs as much as ten others.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// One second at 30 fps. A longer run would be decoded in fast motion, later than a fresh key frame comes.
pub(super) const HELD_UNITS: usize = 30;
