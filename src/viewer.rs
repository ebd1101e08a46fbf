//! One browser: joining, being fed, losing the picture, leaving.
//!
//! ```text
//!             Offered             Answer              Connected
//!  Offering ───────────► Offered ────────► Connecting ──────────► Watching ◄──┐
//!     │                     │                  │                   │      Connected, starting
//!     │                     │ 30 s             │ 30 s              │      with a key frame
//!     │                     │                  │                   ▼          │
//!     │                     │                  │    Disconnected  Away ───────┘
//!     │                     │                  │    or Failed      │ 15 s, or Failed again
//!     └─────────────────────┴── Close, Left, Failed ───────────────┴──────► Ended
//!
//!  Away, watching or connecting, a viewer may be offered another way (an ICE restart): when the robot's network changed,
//!  after five seconds out of reach, when the way failed. What it has goes on meanwhile. While the robot itself has no network
//!  nobody is looked for, and nobody is given up for a minute.
//!
//!  Watching:   WaitingForKeyFrame ──key frame──► Flowing
//!                ▲   ▲   asks again every second   │ │
//!        Answers │   └────────── Lagged ───────────┘ │ Silent
//!              Unheard ◄─────────────────────────────┘
//! ```
//!
//! However often a browser loses the picture, it gets key frames no faster than its budget allows: they cost everybody.
//!
//! Until the viewer watches, it keeps the newest key frame and what followed: the picture is there the moment the connection is.

mod interface;
pub mod packetizer;
mod picture;
mod reach;
pub mod sending;
mod signalled;
pub mod webrtc;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

pub use interface::{Action, Input, PeerEnd, ViewerCounts};
pub use reach::{NetworkChange, Reach};
pub use signalled::{IceCandidate, IceServer, ViewerId, ViewerIdError};

use crate::media::rate::KeyFrameBudget;
use packetizer::PackedUnit;

/// The policy of one browser. The connection itself is the driver's (`viewer::webrtc`).
#[derive(Debug)]
pub struct Viewer {
    state: State,
    /// Remote candidates that came before the answer, oldest first.
    candidates: VecDeque<IceCandidate>,
    /// There is an offer of another way, without an answer.
    restarting: bool,
    /// The newest key frame and what followed, until the viewer watches.
    run: Vec<Arc<PackedUnit>>,
    /// When the state ends the viewer.
    deadline: Option<(Instant, PeerEnd)>,
    /// When to ask again for the key frame that did not come.
    ask_again: Option<Instant>,
    /// When to offer another way to a viewer who is away.
    restart_at: Option<Instant>,
    /// The robot has no network: that nothing is heard says nothing about the browser.
    network_down: bool,
    /// How many key frames it may have; there from the first one that it asks for.
    budget: Option<KeyFrameBudget>,
    /// Nobody else watches, who would pay for its key frames.
    is_alone: bool,
    actions: VecDeque<Action>,
    counts: ViewerCounts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Offering,
    Offered,
    Connecting,
    Watching(Picture),
    Away,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Picture {
    WaitingForKeyFrame,
    Flowing,
    /// The browser answers nothing: it may be an outage of seconds.
    Unheard,
}

impl Viewer {
    pub fn new() -> Self {
        Self {
            state: State::Offering,
            candidates: VecDeque::new(),
            restarting: false,
            run: Vec::new(),
            deadline: None,
            ask_again: None,
            restart_at: None,
            network_down: false,
            budget: None,
            is_alone: false,
            actions: VecDeque::new(),
            counts: ViewerCounts::default(),
        }
    }

    pub fn handle(&mut self, input: Input, now: Instant) {
        if self.state == State::Ended {
            return;
        }
        match input {
            Input::Offered => self.offered(now),
            Input::Answer(sdp) => self.answer(sdp, now),
            Input::AnswerRefused(found) => self.end(PeerEnd::BadAnswer { found }),
            Input::Broken(found) => self.end(PeerEnd::Broken { found }),
            Input::RemoteCandidate(candidate) => self.remote_candidate(candidate),
            Input::Connected => self.connected(now),
            Input::Disconnected => self.disconnected(now),
            Input::Failed => self.failed(now),
            Input::Network(change) => self.network_changed(change, now),
            Input::Left => self.end(PeerEnd::Left),
            Input::Unit(unit) => self.unit(unit, now),
            Input::Lagged { missed } => self.lagged(missed, now),
            // The decoder shows what it can of the frames that follow; only the request matters.
            Input::LossReport => self.ask_key_frame(now),
            Input::Silent => self.silent(),
            Input::Answers => self.answers(now),
            Input::Alone(is_alone) => self.is_alone = is_alone,
            Input::Close => self.end(PeerEnd::Closed),
            Input::Timeout => self.timeout(now),
        }
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to come back with `Input::Timeout`, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let deadline = self.deadline.as_ref().map(|(at, _)| (*at, "gives up"));
        let ask = self.ask_again.map(|at| (at, "asks for a key frame again"));
        let restart = self.restart_at.map(|at| (at, "offers another way"));
        let budget = self.budget.as_ref().and_then(KeyFrameBudget::poll_timeout);
        let owed = budget.map(|at| (at, "may have a key frame again"));
        [deadline, ask, restart, owed].into_iter().flatten().min()
    }

    pub fn counts(&self) -> ViewerCounts {
        self.counts
    }

    fn offered(&mut self, now: Instant) {
        if self.state == State::Offering {
            self.state = State::Offered;
            self.deadline = Some((now + ANSWER_DEADLINE, PeerEnd::NoAnswer));
        }
    }

    fn answer(&mut self, sdp: String, now: Instant) {
        match self.state {
            State::Offered => {}
            State::Connecting | State::Watching(_) | State::Away if self.restarting => {
                return self.take_answer(sdp);
            }
            State::Offering
            | State::Connecting
            | State::Watching(_)
            | State::Away
            | State::Ended => {
                warn!(state = ?self.state, "browser sent an answer that nobody waits for");
                return;
            }
        }
        self.state = State::Connecting;
        self.deadline = Some((now + CONNECT_DEADLINE, PeerEnd::NotConnected));
        self.take_answer(sdp);
        // Asked for now, the key frame is here by the time the connection is.
        if self.run.is_empty() {
            self.ask_key_frame(now);
        }
    }

    fn take_answer(&mut self, sdp: String) {
        self.restarting = false;
        self.actions.push_back(Action::ApplyAnswer(sdp));
        let candidates = self.candidates.drain(..).map(Action::AddCandidate);
        self.actions.extend(candidates);
    }

    fn remote_candidate(&mut self, candidate: IceCandidate) {
        match self.state {
            // Those of the way before are of no use any more, and those of the next one must wait for its answer.
            State::Connecting | State::Watching(_) | State::Away if !self.restarting => {
                self.actions.push_back(Action::AddCandidate(candidate));
            }
            State::Offering
            | State::Offered
            | State::Connecting
            | State::Watching(_)
            | State::Away => {
                if self.candidates.len() == HELD_CANDIDATES {
                    warn!(
                        held = HELD_CANDIDATES,
                        "browser sends candidates and no answer, forgetting the oldest"
                    );
                    self.candidates.pop_front();
                }
                self.candidates.push_back(candidate);
            }
            State::Ended => {}
        }
    }

    fn restart(&mut self) {
        self.restarting = true;
        self.restart_at = None;
        self.candidates.clear();
        self.actions.push_back(Action::RestartIce);
    }

    fn network_changed(&mut self, change: NetworkChange, now: Instant) {
        self.network_down = change == NetworkChange::Lost;
        match (self.state, change) {
            (State::Away, NetworkChange::Lost) => self.go_away(PeerEnd::Lost, now),
            (State::Away, NetworkChange::Returned | NetworkChange::Moved) => {
                self.go_away(PeerEnd::Lost, now);
                self.restart();
            }
            (State::Connecting, NetworkChange::Returned | NetworkChange::Moved)
            | (State::Watching(_), NetworkChange::Moved) => self.restart(),
            // Its own checks go on, and find the way again or not.
            (State::Watching(_), NetworkChange::Returned)
            | (State::Connecting | State::Watching(_), NetworkChange::Lost) => {}
            // Nobody answered yet: the browser gets the new candidates as they are found, or asks again.
            (State::Offering | State::Offered | State::Ended, _) => {}
        }
    }

    fn connected(&mut self, now: Instant) {
        match self.state {
            State::Connecting | State::Away => {}
            State::Offering | State::Offered | State::Watching(_) | State::Ended => return,
        }
        info!(held = self.run.len(), "viewer is connected");
        self.deadline = None;
        self.restart_at = None;
        self.state = State::Watching(Picture::WaitingForKeyFrame);
        let run = std::mem::take(&mut self.run);
        if run.is_empty() {
            self.ask_key_frame(now);
        }
        for unit in run {
            self.unit(unit, now);
        }
    }

    fn disconnected(&mut self, now: Instant) {
        if let State::Watching(_) = self.state {
            self.go_away(PeerEnd::Lost, now);
            if !self.network_down {
                self.restart_at = Some(now + RESTART_AFTER);
            }
        }
    }

    fn failed(&mut self, now: Instant) {
        match self.state {
            State::Watching(_) if self.network_down => self.go_away(PeerEnd::Failed, now),
            State::Away if self.network_down => {}
            State::Watching(_) => {
                self.go_away(PeerEnd::Failed, now);
                self.restart();
            }
            State::Away if self.restart_at.is_some() => self.restart(),
            State::Offering | State::Offered | State::Connecting | State::Away => {
                self.end(PeerEnd::Failed);
            }
            State::Ended => {}
        }
    }

    fn go_away(&mut self, otherwise: PeerEnd, now: Instant) {
        let grace = if self.network_down {
            DOWN_GRACE
        } else {
            AWAY_GRACE
        };
        if self.state != State::Away {
            info!(?grace, "viewer is out of reach");
        }
        self.state = State::Away;
        self.want_no_key_frame();
        self.restart_at = None;
        self.deadline = Some((now + grace, otherwise));
    }

    fn timeout(&mut self, now: Instant) {
        if let Some((at, reason)) = &self.deadline
            && now >= *at
        {
            let reason = reason.clone();
            return self.end(reason);
        }
        if self.restart_at.is_some_and(|at| now >= at) {
            self.restart();
        }
        if self.ask_again.is_some_and(|at| now >= at) {
            self.ask_key_frame(now);
        }
        if let Some(budget) = &mut self.budget
            && budget.handle_timeout(now)
        {
            self.counts.asked += 1;
            self.actions.push_back(Action::AskKeyFrame);
        }
    }

    fn end(&mut self, reason: PeerEnd) {
        info!(%reason, counts = ?self.counts, "viewer is gone");
        self.state = State::Ended;
        self.deadline = None;
        self.want_no_key_frame();
        self.restart_at = None;
        self.candidates.clear();
        self.run.clear();
        self.actions.push_back(Action::End(reason));
    }
}

impl Default for Viewer {
    fn default() -> Self {
        Self::new()
    }
}

/// A browser answers in milliseconds; a relay under load or a person asked for permission takes longer. Until then sockets are open.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// ICE over TURN with loss takes some seconds; browsers give up after 30 s themselves.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// A robot that changes its access point is away for some seconds; a viewer that comes back sooner needs no new offer.
const AWAY_GRACE: Duration = Duration::from_secs(15);

/// A lift, a tunnel, an access point that restarts. Browsers give up after half a minute by themselves, and ask for another
/// session when they hear of the robot again.
const DOWN_GRACE: Duration = Duration::from_secs(60);

/// Before that the way may come back by itself, and a restart gives it up for an offer that the relay must carry.
const RESTART_AFTER: Duration = Duration::from_secs(5);

/// Browsers send about ten candidates; more than this before an answer is nonsense, and the newest are the likeliest to work.
const HELD_CANDIDATES: usize = 64;

#[cfg(test)]
mod tests;
