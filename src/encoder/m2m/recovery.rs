//! What is done with an encoder besides encoding, aside because it may block: started, reset, set up anew, opened again, closed.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::session::Session;
use super::{CLOSE_AT_MOST, M2mEncoder, State, ladder};
use crate::board::{BitrateMethod, Rung};
use crate::encoder::EncoderError;
use crate::v4l2::V4l2Error;
use crate::v4l2::aside::{Aside, within};

/// What an encoder's thread was sent to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    Start,
    Climb(Rung),
}

impl M2mEncoder {
    /// Something that is no fault: what is inside comes out first.
    pub(super) fn plan(
        &mut self,
        session: Box<Session>,
        then: Rung,
        now: Instant,
    ) -> Result<(), EncoderError> {
        let profile = &self.setup.blueprint.profile;
        if session.drain().unwrap_or(false) {
            let until = now + profile.patience.drain.min(DRAIN_AT_MOST);
            self.state = State::Draining {
                session,
                until,
                then,
            };
            return Ok(());
        }
        self.send_aside(Errand::Climb(then), Some(session), now)
    }

    /// The driver refused to go on. What it returns is for the pipeline.
    pub(super) fn failed(
        &mut self,
        session: Option<Box<Session>>,
        refusal: &V4l2Error,
        now: Instant,
    ) -> EncoderError {
        if refusal.is_unplugged() {
            self.give_up(session, &refusal.to_string(), now)
        } else {
            self.climb(session, &refusal.to_string(), now)
        }
    }

    /// It stands still or failed: the next rung.
    pub(super) fn climb(
        &mut self,
        session: Option<Box<Session>>,
        found: &str,
        now: Instant,
    ) -> EncoderError {
        let mut rung = self.ladder.climb(now);
        // Without a session there is nothing to reset.
        while session.is_none() && rung.is_some_and(|rung| rung != Rung::Reopen) {
            rung = self.ladder.climb(now);
        }
        let Some(rung) = rung else {
            return self.give_up(session, found, now);
        };
        if let Err(error) = self.send_aside(Errand::Climb(rung), session, now) {
            return error;
        }
        EncoderError::Recovering {
            encoder: self.setup.name.clone(),
            found: found.to_owned(),
            remedy: ladder::remedy(rung),
        }
    }

    pub(super) fn send_aside(
        &mut self,
        errand: Errand,
        session: Option<Box<Session>>,
        now: Instant,
    ) -> Result<(), EncoderError> {
        self.watch.deafen();
        let blueprint = self.setup.blueprint.clone();
        let until = now + blueprint.profile.patience.call;
        let act = move || match (errand, session) {
            (Errand::Start, Some(mut session)) => session.start().map(|()| session),
            (Errand::Climb(Rung::ResetCapture), Some(mut session)) => {
                session.restart_capture().map(|()| session)
            }
            (Errand::Climb(Rung::Reinitialise), Some(session)) => session.reinitialise(&blueprint),
            (Errand::Start | Errand::Climb(_), session) => {
                drop(session);
                Session::open(&blueprint)
            }
        };
        match Aside::start(errand.what(), until, Some(self.watch.bell()), act) {
            Ok(aside) => {
                self.state = State::Aside(errand, aside);
                Ok(())
            }
            Err(error) => Err(self.given_up(&format!("cannot start a thread: {error}"))),
        }
    }

    pub(super) fn back_from(&mut self, errand: Errand, session: Box<Session>, now: Instant) {
        self.quiet_since = now;
        match errand {
            Errand::Start => {}
            Errand::Climb(Rung::ResetCapture) => {
                self.is_fresh = true;
                self.units.reset();
            }
            Errand::Climb(Rung::Reinitialise | Rung::Reopen | Rung::Software) => {
                self.journal.clear();
                self.units.reset();
                self.lost_since = None;
                self.rate.took = session.bitrate();
                self.state = State::Ready(session);
                return;
            }
        }
        self.lost_since = None;
        match self.watch.listen(session.device()) {
            Ok(()) => self.state = State::Working(session),
            Err(errno) => warn!(%errno, "cannot wait for the encoder"),
        }
    }

    fn give_up(
        &mut self,
        session: Option<Box<Session>>,
        found: &str,
        now: Instant,
    ) -> EncoderError {
        self.watch.deafen();
        if let Some(session) = session {
            let limit = self.setup.blueprint.profile.patience.call;
            close(session, limit.min(CLOSE_AT_MOST), now);
        }
        self.given_up(found)
    }

    pub(super) fn given_up(&mut self, found: &str) -> EncoderError {
        self.state = State::GivenUp;
        self.setup
            .standing
            .suspend(&self.setup.blueprint.node, Instant::now());
        EncoderError::GivenUp {
            encoder: self.setup.name.clone(),
            found: found.to_owned(),
        }
    }

    /// Brings the bitrate to what is wanted, if it can be changed now.
    pub(super) fn turn_rate(&mut self, now: Instant) -> Result<(), V4l2Error> {
        let target = self.rate.wanted;
        if target == self.rate.aimed {
            return Ok(());
        }
        let method = self.setup.blueprint.profile.rate.method;
        match (method, &mut self.state) {
            (
                BitrateMethod::Live | BitrateMethod::NextFrame,
                State::Ready(session) | State::Working(session),
            ) => self.rate.took = session.set_bitrate(target)?,
            (BitrateMethod::Reopen, State::Working(_)) => {
                let State::Working(session) = std::mem::replace(&mut self.state, State::GivenUp)
                else {
                    return Ok(());
                };
                self.setup.blueprint.aim.bitrate = target;
                self.rate.took = target;
                info!(%target, "the encoder takes another bitrate only when it is opened again");
                // It comes back as an error of the next turn when it cannot be done.
                let _ = self.plan(session, Rung::Reopen, now);
            }
            // It is set when the encoder is back.
            (BitrateMethod::Live | BitrateMethod::NextFrame | BitrateMethod::Reopen, _) => {
                return Ok(());
            }
        }
        self.setup.blueprint.aim.bitrate = target;
        self.rate.aimed = target;
        Ok(())
    }
}

impl Errand {
    fn what(self) -> &'static str {
        match self {
            Self::Start => "start the encoder",
            Self::Climb(Rung::ResetCapture) => "reset the encoder",
            Self::Climb(Rung::Reinitialise) => "set the encoder up again",
            Self::Climb(Rung::Reopen | Rung::Software) => "open the encoder again",
        }
    }
}

/// False when it was left behind.
pub(super) fn close(session: Box<Session>, limit: Duration, now: Instant) -> bool {
    match within("close the encoder", limit, now, move || drop(session)) {
        Ok(closed) => closed.is_some(),
        Err(error) => {
            warn!(%error, "cannot start a thread to close the encoder");
            true
        }
    }
}

/// Two frames are inside. An encoder that does not bring them out in so long does not know how to drain.
const DRAIN_AT_MOST: Duration = Duration::from_millis(500);
