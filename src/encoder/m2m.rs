//! An H.264 encoder in hardware, behind V4L2's stateful encoder interface.
//!
//! ```text
//!                  first picture                      done
//!   open ──► Ready ─────────────► Aside(start) ───────────────► Working
//!              ▲                    │    ▲                       │  │
//!              │ set up anew        │    │ silent, or it failed  │  │ planned: key frame or bitrate
//!              └────── Aside(rung) ◄┘    ├───────────────────────┘  ▼
//!                        ▲   │           │                       Draining
//!                        └───┘ failed    └── drained, or too long ──┘
//!   no rung left ──► given up: the pipeline ends, and the next one takes the software encoder
//! ```
//!
//! The pipeline's thread makes no call that may block: those are made [aside].
#![allow(clippy::disallowed_methods)] // a driver: reads the clock once a call

mod aside;
mod controls;
mod journal;
mod ladder;
mod level;
pub mod pairing;
mod session;
mod standing;
mod units;
mod watch;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::convert::Writer;
use super::{Encoder, EncoderError, Submitted};
use crate::board::{BitrateMethod, EncoderProfile, KeyFrameMethod, PicturePath, Rung};
use crate::media::{AccessUnit, Bitrate, Frame};
use crate::v4l2::V4l2Error;

pub use aside::left_behind;
pub use standing::Standing;

use aside::{Aside, Outcome};
use journal::Journal;
use ladder::Ladder;
use session::{Blueprint, Coded, Session};
use units::{Became, Units};
use watch::Watch;

/// An encoder that a camera was paired with.
#[derive(Debug)]
pub struct M2mEncoder {
    setup: Setup,
    state: State,
    watch: Watch,
    journal: Journal,
    units: Units,
    ladder: Ladder,
    rate: Rate,
    /// When it last gave a picture, or had nothing to do before.
    quiet_since: Instant,
    /// No unit came since it was started: the first is a key frame in any case.
    is_fresh: bool,
    /// When a key frame was asked for that has not come.
    key_frame_asked: Option<Instant>,
    key_frame_planned: Option<Instant>,
    /// Since when nothing that comes can be shown.
    lost_since: Option<Instant>,
    refused_in_a_row: u32,
    /// What the timer is set to.
    armed: Option<Instant>,
    copied_bytes: u64,
}

/// What was agreed on when it was opened.
#[derive(Debug)]
struct Setup {
    /// For people: `vh264enc (/dev/video2)`.
    name: String,
    path: PicturePath,
    blueprint: Blueprint,
    /// Copies or converts, on the path of that name.
    writer: Option<Writer>,
    standing: Arc<Standing>,
}

#[derive(Debug)]
enum State {
    /// Set up, and its queues stand still: no picture came yet.
    Ready(Box<Session>),
    Working(Box<Session>),
    Draining {
        session: Box<Session>,
        until: Instant,
        then: Rung,
    },
    Aside(Errand, Aside<Result<Box<Session>, V4l2Error>>),
    /// Nothing helped.
    GivenUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errand {
    Start,
    Climb(Rung),
}

/// The bitrate that is wanted, and when it may be changed.
#[derive(Debug)]
struct Rate {
    wanted: Bitrate,
    aimed: Bitrate,
    took: Bitrate,
    changed: Option<Instant>,
}

impl Encoder for M2mEncoder {
    fn submit(&mut self, frame: Frame, key_frame: bool) -> Result<Submitted, EncoderError> {
        let now = Instant::now();
        let result = match std::mem::replace(&mut self.state, State::GivenUp) {
            State::Ready(session) => self.submit_first(session, frame, now),
            State::Working(session) => self.submit_next(session, frame, key_frame, now),
            busy @ (State::Draining { .. } | State::Aside(..)) => {
                self.state = busy;
                Ok(Submitted::Full(frame))
            }
            State::GivenUp => Err(self.given_up("it was given up")),
        };
        self.arm(now);
        result
    }

    fn try_access_unit(&mut self) -> Result<Option<AccessUnit>, EncoderError> {
        let now = Instant::now();
        let result = self.turn(now);
        self.arm(now);
        result
    }

    fn set_bitrate(&mut self, target: Bitrate) -> Result<Bitrate, EncoderError> {
        let blueprint = &self.setup.blueprint;
        self.rate.wanted = blueprint.profile.rate.fit(target, blueprint.aim.size);
        let now = Instant::now();
        self.turn_rate(now)
            .map_err(|refusal| EncoderError::Bitrate {
                target,
                found: refusal.to_string(),
            })?;
        self.arm(now);
        Ok(self.rate.took)
    }

    fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }

    fn makes_key_frames_on_request(&self) -> bool {
        self.setup.blueprint.profile.key_frames.method != KeyFrameMethod::Wait
    }

    fn name(&self) -> &str {
        &self.setup.name
    }

    fn picture_path(&self) -> Option<PicturePath> {
        Some(self.setup.path)
    }
}

impl M2mEncoder {
    fn new(session: Box<Session>, setup: Setup) -> Result<Self, EncoderError> {
        let watch = Watch::new().map_err(|errno| EncoderError::Start {
            encoder: "the hardware encoder",
            found: format!("cannot wait for {}: {errno}", setup.name),
        })?;
        let aimed = setup.blueprint.aim.bitrate;
        let rate = Rate {
            wanted: aimed,
            aimed,
            took: session.bitrate(),
            changed: None,
        };
        let coded_bytes = session.agreed().coded.planes()[0].bytes as usize;
        Ok(Self {
            ladder: Ladder::new(&setup.blueprint.profile.ladder),
            setup,
            state: State::Ready(session),
            watch,
            journal: Journal::default(),
            units: Units::new(coded_bytes),
            rate,
            quiet_since: Instant::now(),
            is_fresh: true,
            key_frame_asked: None,
            key_frame_planned: None,
            lost_since: None,
            refused_in_a_row: 0,
            armed: None,
            copied_bytes: 0,
        })
    }

    /// Everything that can be done now, up to the next unit.
    fn turn(&mut self, now: Instant) -> Result<Option<AccessUnit>, EncoderError> {
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
                Ok(None) if ready.device_error && !self.has_reason(&session) => {
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
                    return Err(self.climb(Some(session), &refusal.to_string(), now));
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
                    return Err(self.climb(Some(session), &refusal.to_string(), now));
                }
            },
            State::Aside(errand, aside) => match aside.poll(now) {
                Outcome::NotYet => self.state = State::Aside(errand, aside),
                Outcome::Done(Ok(session)) => self.back_from(errand, session, now),
                Outcome::Done(Err(refusal)) => {
                    return Err(self.climb(None, &refusal.to_string(), now));
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
                    self.key_frame_asked = None;
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

    fn has_reason(&self, session: &Session) -> bool {
        session.in_flight() > 0
    }

    fn patience(&self) -> Duration {
        let profile = &self.setup.blueprint.profile;
        let patience = if self.is_fresh {
            profile.patience.first_unit
        } else {
            profile.patience.unit.min(UNIT_PATIENCE_AT_MOST)
        };
        patience.max(self.setup.blueprint.aim.interval * FRAMES_OF_PATIENCE)
    }

    fn submit_first(
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

    fn submit_next(
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
        let again_after = self.setup.blueprint.profile.key_frames.again_after;
        let is_overdue = |asked: Instant| now >= asked + again_after;
        let is_owed = self.key_frame_asked.is_some_and(is_overdue)
            || self.units.needs_key_frame() && self.key_frame_asked.is_none();
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
                self.key_frame_asked = Some(now);
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

    /// Brings the bitrate to what is wanted, if it may be changed now.
    fn turn_rate(&mut self, now: Instant) -> Result<(), V4l2Error> {
        let profile = Arc::clone(&self.setup.blueprint.profile);
        let Some(target) = self.rate.due(&profile, now) else {
            return Ok(());
        };
        match (profile.rate.method, &mut self.state) {
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
        self.rate.changed = Some(now);
        Ok(())
    }

    /// Something that is no fault: what is inside comes out first.
    fn plan(
        &mut self,
        session: Box<Session>,
        then: Rung,
        now: Instant,
    ) -> Result<(), EncoderError> {
        let profile = &self.setup.blueprint.profile;
        if session.drain().unwrap_or(false) {
            let until = now + profile.drain.deadline.min(DRAIN_AT_MOST);
            self.state = State::Draining {
                session,
                until,
                then,
            };
            return Ok(());
        }
        self.send_aside(Errand::Climb(then), Some(session), now)
    }

    /// It stands still or failed: the next rung. What it returns is for the pipeline.
    fn climb(&mut self, session: Option<Box<Session>>, found: &str, now: Instant) -> EncoderError {
        let mut rung = self.ladder.climb(now);
        // Without a session there is nothing to reset.
        while session.is_none() && rung.is_some_and(|rung| rung != Rung::Reopen) {
            rung = self.ladder.climb(now);
        }
        let Some(rung) = rung else {
            if let Some(session) = session {
                close(session, self.setup.blueprint.profile.patience.call, now);
            }
            return self.given_up(found);
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

    fn send_aside(
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

    fn back_from(&mut self, errand: Errand, session: Box<Session>, now: Instant) {
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

    fn given_up(&mut self, found: &str) -> EncoderError {
        self.state = State::GivenUp;
        self.setup
            .standing
            .suspend(&self.setup.blueprint.node, Instant::now());
        EncoderError::GivenUp {
            encoder: self.setup.name.clone(),
            found: found.to_owned(),
        }
    }

    /// Sets the timer when it would ring too late. It may ring too early, which costs a look.
    fn arm(&mut self, now: Instant) {
        let at = match &self.state {
            State::Working(_) => self.quiet_since.max(now) + self.patience(),
            State::Draining { until, .. } => *until,
            State::Aside(_, aside) => aside.until(),
            State::Ready(_) | State::GivenUp => return,
        };
        if self.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        let after = at.saturating_duration_since(now).max(TIMER_LEAST);
        if let Err(errno) = self.watch.set_deadline(after) {
            warn!(%errno, "cannot set a deadline for the encoder");
        }
        self.armed = Some(at);
    }
}

#[derive(Debug)]
enum NotQueued {
    Unwritten(EncoderError),
    Refused(u32, V4l2Error),
}

impl Rate {
    fn due(&self, profile: &EncoderProfile, now: Instant) -> Option<Bitrate> {
        if self.wanted == self.aimed {
            return None;
        }
        let rules = &profile.rate;
        let is_too_soon = self.changed.is_some_and(|at| now < at + rules.spacing);
        (!is_too_soon && rules.is_worth(self.aimed, self.wanted)).then_some(self.wanted)
    }
}

impl Errand {
    fn what(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Climb(Rung::ResetCapture) => "reset",
            Self::Climb(Rung::Reinitialise) => "set up again",
            Self::Climb(Rung::Reopen | Rung::Software) => "open again",
        }
    }
}

impl AsFd for M2mEncoder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

impl Drop for M2mEncoder {
    fn drop(&mut self) {
        let now = Instant::now();
        let limit = self
            .setup
            .blueprint
            .profile
            .patience
            .call
            .min(CLOSE_AT_MOST);
        match std::mem::replace(&mut self.state, State::GivenUp) {
            State::Ready(session) | State::Working(session) | State::Draining { session, .. } => {
                self.watch.deafen();
                if !close(session, limit, now) {
                    self.setup.standing.suspend(&self.setup.blueprint.node, now);
                }
            }
            State::Aside(_, aside) => match aside.wait(limit) {
                Outcome::Done(Ok(session)) => {
                    close(session, limit, now);
                }
                Outcome::Done(Err(_)) => {}
                Outcome::NotYet | Outcome::Lost => {
                    let standing = &self.setup.standing;
                    standing.suspend(&self.setup.blueprint.node, now);
                }
            },
            State::GivenUp => {}
        }
    }
}

/// False when it was left behind.
fn close(session: Box<Session>, limit: Duration, now: Instant) -> bool {
    match aside::within("close", limit, now, move || drop(session)) {
        Ok(closed) => closed.is_some(),
        Err(error) => {
            warn!(%error, "cannot start a thread to close the encoder");
            true
        }
    }
}

/// The supervisor ends a pipeline that gives nothing for two seconds.
const UNIT_PATIENCE_AT_MOST: Duration = Duration::from_millis(1500);

/// Two frames are inside. An encoder that does not bring them out in so long does not know how to drain.
const DRAIN_AT_MOST: Duration = Duration::from_millis(500);

/// An encoder that gave none after two requests will give none.
const KEY_FRAME_PATIENCE: Duration = Duration::from_millis(1800);

/// A slow camera makes a slow encoder: at 2 frames a second nothing for a second is no fault.
const FRAMES_OF_PATIENCE: u32 = 4;

/// bcm2835-codec refuses buffers "under pressure" and goes on; half a second of that is not pressure.
const REFUSED_AT_MOST: u32 = 15;

/// The supervisor waits five seconds for a pipeline to end.
const CLOSE_AT_MOST: Duration = Duration::from_secs(3);

/// Zero would switch the timer off.
const TIMER_LEAST: Duration = Duration::from_millis(1);
