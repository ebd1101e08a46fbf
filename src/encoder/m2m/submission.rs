//! How pictures go into an encoder, and requests for key frames with them.

use std::time::Instant;

use tracing::debug;

use super::recovery::Errand;
use super::session::Session;
use super::{KeyFrame, M2mEncoder, State};
use crate::board::{KeyFrameMethod, Rung};
use crate::encoder::{EncoderError, Submitted};
use crate::media::Frame;
use crate::v4l2::V4l2Error;

impl M2mEncoder {
    pub(super) fn submit_first(
        &mut self,
        mut session: Box<Session>,
        frame: Frame,
        now: Instant,
    ) -> Result<Submitted, EncoderError> {
        self.is_fresh = true;
        let queued = self.queue(&mut session, frame);
        if queued.is_err() {
            self.state = State::Ready(session);
            return self.not_queued(queued, now);
        }
        self.send_aside(Errand::Start, Some(session), now)?;
        Ok(Submitted::Taken)
    }

    pub(super) fn submit_next(
        &mut self,
        mut session: Box<Session>,
        frame: Frame,
        key_frame: bool,
        now: Instant,
    ) -> Result<Submitted, EncoderError> {
        if let Err(refusal) = session.collect_raw() {
            return Err(self.climb(Some(session), &refusal.to_string(), now));
        }
        if session.in_flight() >= self.setup.blueprint.profile.raw.in_flight as usize {
            self.state = State::Working(session);
            return Ok(Submitted::Full(frame));
        }
        let rules = &self.setup.blueprint.profile.key_frames;
        let is_owed = match self.key_frame {
            KeyFrame::NotWanted => self.units.needs_key_frame(),
            KeyFrame::Asked(at) => now >= at + rules.again_after,
            KeyFrame::Owed => true,
        };
        if (key_frame || is_owed) && !self.is_fresh {
            match self.ask_key_frame(&session, now) {
                Ok(None) => {}
                Ok(Some(rung)) => {
                    self.plan(session, rung, now)?;
                    return Ok(Submitted::Full(frame));
                }
                Err(refusal) => return Err(self.climb(Some(session), &refusal.to_string(), now)),
            }
        }
        if self.journal.is_empty() {
            self.quiet_since = now;
        }
        let queued = self.queue(&mut session, frame);
        if let Err(errno) = self.watch.listen(session.device()) {
            return Err(self.given_up(&format!("cannot wait for it: {errno}")));
        }
        self.state = State::Working(session);
        if queued.is_err() {
            return self.not_queued(queued, now);
        }
        self.refused_in_a_row = 0;
        if self.turn_rate(now).is_err() {
            debug!("the encoder keeps its bitrate");
        }
        Ok(Submitted::Taken)
    }

    fn queue(&mut self, session: &mut Session, frame: Frame) -> Result<(), NotQueued> {
        let (captured, sequence) = (frame.captured, frame.sequence);
        let (slot, lease) = match &mut self.setup.writer {
            None => (frame.loan().map(|loan| loan.index()), Some(frame)),
            Some(writer) => {
                let slot = session.free_slot();
                let room = slot.map(|slot| session.room_mut(slot)).unwrap_or_default();
                self.copied_bytes += writer.write(&frame, room).map_err(NotQueued::Unwritten)?;
                (slot, None)
            }
        };
        let Some(slot) = slot else {
            return Err(NotQueued::Unwritten(EncoderError::Frame {
                sequence,
                found: "it is in no buffer that the encoder knows".into(),
            }));
        };
        let stamp = self.journal.enter(captured, sequence);
        session.submit(slot, lease, stamp).map_err(|refusal| {
            self.journal.take_back(stamp);
            NotQueued::Refused(sequence, refusal)
        })
    }

    /// A picture that did not go in: the next may, but not for ever.
    fn not_queued(
        &mut self,
        queued: Result<(), NotQueued>,
        now: Instant,
    ) -> Result<Submitted, EncoderError> {
        let (sequence, refusal) = match queued {
            Ok(()) => return Ok(Submitted::Taken),
            Err(NotQueued::Unwritten(error)) => return Err(error),
            Err(NotQueued::Refused(sequence, refusal)) => (sequence, refusal),
        };
        self.refused_in_a_row += 1;
        let is_fatal = refusal.is_broken()
            || refusal.is_unplugged()
            || self.refused_in_a_row >= REFUSED_AT_MOST;
        if is_fatal {
            let session = match std::mem::replace(&mut self.state, State::GivenUp) {
                State::Ready(session) | State::Working(session) => Some(session),
                State::Draining { .. } | State::Aside(..) | State::GivenUp => None,
            };
            return Err(self.climb(session, &refusal.to_string(), now));
        }
        Err(EncoderError::Frame {
            sequence,
            found: refusal.to_string(),
        })
    }

    /// Asks by the control, or tells what must be done instead.
    fn ask_key_frame(
        &mut self,
        session: &Session,
        now: Instant,
    ) -> Result<Option<Rung>, V4l2Error> {
        let rules = &self.setup.blueprint.profile.key_frames;
        let method = match rules.method {
            KeyFrameMethod::Force if !session.has_force_key_frame() => rules.otherwise,
            method => method,
        };
        let rung = match method {
            KeyFrameMethod::Force => {
                self.key_frame = KeyFrame::Asked(now);
                return session.force_key_frame().map(|()| None);
            }
            KeyFrameMethod::Wait => return Ok(None),
            KeyFrameMethod::ResetCapture if self.ladder.has(Rung::ResetCapture) => {
                Rung::ResetCapture
            }
            KeyFrameMethod::ResetCapture | KeyFrameMethod::Reopen => Rung::Reopen,
        };
        if self
            .key_frame_planned
            .is_some_and(|at| now < at + rules.spacing)
        {
            return Ok(None);
        }
        self.key_frame_planned = Some(now);
        Ok(Some(rung))
    }
}

#[derive(Debug)]
enum NotQueued {
    Unwritten(EncoderError),
    Refused(u32, V4l2Error),
}

/// bcm2835-codec refuses buffers "under pressure" and goes on; half a second of that is not pressure.
const REFUSED_AT_MOST: u32 = 15;
