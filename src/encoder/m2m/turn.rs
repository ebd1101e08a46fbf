//! What comes out of an encoder, and how it is noticed that nothing does.

use std::time::{Duration, Instant};

use tracing::debug;

use super::recovery::Errand;
use super::session::{Coded, Session};
use super::units::Became;
use super::{KeyFrame, M2mEncoder, State};
use crate::encoder::EncoderError;
use crate::media::AccessUnit;
use crate::v4l2::V4l2Error;
use crate::v4l2::aside::Outcome;

impl M2mEncoder {
    /// Everything that can be done now, up to the next unit.
    pub(super) fn turn(&mut self, now: Instant) -> Result<Option<AccessUnit>, EncoderError> {
        let ready = self
            .watch
            .ready()
            .map_err(|errno| self.given_up(&format!("cannot wait for it: {errno}")))?;
        if ready.deadline {
            self.armed = None;
        }
        match std::mem::replace(&mut self.state, State::GivenUp) {
            State::Ready(session) => self.state = State::Ready(session),
            State::Working(mut session) => match self.work(&mut session, now) {
                Ok(Some(unit)) => {
                    self.state = State::Working(session);
                    return Ok(Some(unit));
                }
                Ok(None) if ready.device_error && session.in_flight() == 0 => {
                    // poll(2) has nothing but an error to say, and would say it for ever: until the next picture goes in.
                    self.watch.deafen();
                    self.state = State::Working(session);
                }
                Ok(None) => {
                    let Some(trouble) = self.trouble(&session, now) else {
                        self.state = State::Working(session);
                        return Ok(None);
                    };
                    return Err(self.climb(Some(session), &trouble, now));
                }
                Err(refusal) => {
                    return Err(self.failed(Some(session), &refusal, now));
                }
            },
            State::Draining {
                mut session,
                until,
                then,
            } => match self.work_until_drained(&mut session) {
                Ok((Some(unit), _)) => {
                    self.state = State::Draining {
                        session,
                        until,
                        then,
                    };
                    return Ok(Some(unit));
                }
                Ok((None, false)) if now < until => {
                    self.state = State::Draining {
                        session,
                        until,
                        then,
                    };
                }
                Ok((None, is_over)) => {
                    debug!(is_over, "the encoder is drained");
                    self.send_aside(Errand::Climb(then), Some(session), now)?;
                }
                Err(refusal) => {
                    return Err(self.failed(Some(session), &refusal, now));
                }
            },
            State::Aside(errand, aside) => match aside.poll(now) {
                Outcome::NotYet => self.state = State::Aside(errand, aside),
                Outcome::Done(Ok(session)) => self.back_from(errand, session, now),
                Outcome::Done(Err(refusal)) => {
                    return Err(self.failed(None, &refusal, now));
                }
                Outcome::Lost => {
                    return Err(self.climb(None, "did not come back from its driver", now));
                }
            },
            State::GivenUp => return Err(self.given_up("it was given up")),
        }
        Ok(None)
    }

    /// Takes what the encoder has finished.
    fn work(
        &mut self,
        session: &mut Session,
        now: Instant,
    ) -> Result<Option<AccessUnit>, V4l2Error> {
        session.collect_raw()?;
        session.hear_events()?;
        loop {
            let became = match self.units.take_kept(&mut self.journal) {
                Some(became) => became,
                None => match session.take_coded(self.units.buffer())? {
                    Coded::Nothing | Coded::End => return Ok(None),
                    Coded::Failed { stamp, .. } => {
                        self.units.failed(stamp, &mut self.journal);
                        Became::Lost
                    }
                    Coded::Buffer { stamp, is_full, .. } => {
                        let goes_on = is_full && self.setup.blueprint.profile.coded.fragmented;
                        self.units.take(stamp, goes_on, &mut self.journal)
                    }
                },
            };
            if let Some(unit) = self.became(became, now) {
                return Ok(Some(unit));
            }
        }
    }

    /// The same while it drains; true when that is over.
    fn work_until_drained(
        &mut self,
        session: &mut Session,
    ) -> Result<(Option<AccessUnit>, bool), V4l2Error> {
        let now = Instant::now();
        session.collect_raw()?;
        let has_ended = session.hear_events()?;
        loop {
            let (became, is_last) = match self.units.take_kept(&mut self.journal) {
                Some(became) => (became, false),
                None => match session.take_coded(self.units.buffer())? {
                    Coded::Nothing => return Ok((None, has_ended)),
                    Coded::End => return Ok((None, true)),
                    Coded::Failed { stamp, is_last } => {
                        self.units.failed(stamp, &mut self.journal);
                        (Became::Lost, is_last)
                    }
                    Coded::Buffer { stamp, is_last, .. } => {
                        (self.units.take(stamp, false, &mut self.journal), is_last)
                    }
                },
            };
            let unit = self.became(became, now);
            if unit.is_some() || is_last {
                return Ok((unit, is_last));
            }
        }
    }

    fn became(&mut self, became: Became, now: Instant) -> Option<AccessUnit> {
        match became {
            Became::Nothing => None,
            Became::Lost => {
                self.quiet_since = now;
                self.lost_since.get_or_insert(now);
                None
            }
            Became::Unit(unit) => {
                self.quiet_since = now;
                self.lost_since = None;
                self.is_fresh = false;
                self.ladder.moved();
                if unit.key_frame {
                    self.key_frame = KeyFrame::NotWanted;
                } else if self.units.take_lost_key_frame() {
                    self.key_frame = KeyFrame::Owed;
                }
                Some(unit)
            }
        }
    }

    /// What is wrong with it, if anything.
    fn trouble(&self, session: &Session, now: Instant) -> Option<String> {
        let quiet = now.saturating_duration_since(self.quiet_since);
        let holds_pictures = session.in_flight() > 0 && !self.journal.is_empty();
        if (holds_pictures || self.journal.is_full()) && quiet >= self.patience() {
            return Some(format!("gave nothing for {quiet:.1?}"));
        }
        let lost = now.saturating_duration_since(self.lost_since?);
        (lost >= KEY_FRAME_PATIENCE).then(|| format!("gave no key frame for {lost:.1?}"))
    }

    pub(super) fn patience(&self) -> Duration {
        let profile = &self.setup.blueprint.profile;
        let patience = if self.is_fresh {
            profile.patience.first_unit.min(FIRST_UNIT_PATIENCE_AT_MOST)
        } else {
            profile.patience.unit.min(UNIT_PATIENCE_AT_MOST)
        };
        patience.max(self.setup.blueprint.aim.interval * FRAMES_OF_PATIENCE)
    }
}

/// The supervisor ends a pipeline without a unit eight seconds after it started, and then nothing is learned of the encoder.
const FIRST_UNIT_PATIENCE_AT_MOST: Duration = Duration::from_secs(4);

/// And one that gives nothing for two seconds.
const UNIT_PATIENCE_AT_MOST: Duration = Duration::from_millis(1500);

/// A slow camera makes a slow encoder: at 2 frames a second nothing for a second is no fault.
const FRAMES_OF_PATIENCE: u32 = 4;

/// An encoder that gave none after two requests will give none.
const KEY_FRAME_PATIENCE: Duration = Duration::from_millis(1800);
