//! The relay session: whether there is a link, and which viewers there are.
//!
//! ```text
//!         Start            LinkOpened
//!  Idle ────────► Dialing ────────────► Connected ◄─┐
//!                  ▲    │                │   │   └──┘ Ping, LinkHeard
//!          Timeout │    │ LinkEnded      │   │
//!                  │    ▼      LinkEnded │   │ no answer to a ping for 10 s: HangUp
//!                 Waiting ◄──────────────┘   ▼
//!                    ▲                   HangingUp
//!                    └───────────────────────┘
//!                            LinkEnded
//!  any ── ShutDown ──► Closed
//! ```
//!
//! The link's end is not the viewers' end: they are peer-to-peer, and live through a relay outage of any length. What they
//! have to say meanwhile is held and sent after the next `LinkOpened`.
//!
//! ```text
//!           ready            ViewerOffer             answer
//!  (none) ─────────► Opening ───────────► Offered ───────────► Answered
//!     ▲                 │                    │      ◄───────────  │  ViewerOffer (ICE restart)
//!     └─────────────────┴────────────────────┴───────────────────┘
//!       bye · ViewerEnded · no answer in 20 s (first answer only) · another ready of the same viewer
//! ```

mod interface;
mod last_words;
mod pulse;
mod refusal;
mod status;
mod troubles;
mod viewers;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

pub use self::interface::{Action, CloseReason, Input, SessionSettings};
use self::last_words::LastWords;
use self::pulse::{Beat, Pulse, SILENCE_LIMIT};
use self::refusal::{Refusal, UNEXPECTED_OFFER, UNKNOWN_VIEWER};
pub use self::status::{LinkEnd, LinkFailure, LinkState, LinkStatus, Trouble};
use self::troubles::Troubles;
use self::viewers::Viewers;
use crate::backoff::Backoff;
use crate::relay::message::{FromRelay, ToRelay};
use crate::viewer::{IceServer, ViewerId};

/// One camera's session at the relay.
#[derive(Debug)]
pub struct Session {
    ping_interval: Duration,
    stable_after: Duration,
    backoff: Backoff,
    link: Link,
    troubles: Troubles,
    viewers: Viewers,
    /// The newest welcome's; used until the next one.
    ice_servers: Vec<IceServer>,
    /// What the relay said before it ended the link.
    last_words: Option<LastWords>,
    /// Errors and refusals of this link.
    surprises: u32,
    /// Emptied by the caller after each input, and an input adds a few per viewer at most.
    actions: VecDeque<Action>,
}

#[derive(Debug)]
enum Link {
    Idle,
    Dialing,
    Connected(Pulse),
    /// Waits for the driver to let go of a link that is dead.
    HangingUp,
    Waiting {
        until: Instant,
    },
    Closed,
}

impl Session {
    pub fn new(settings: &SessionSettings, seed: u64) -> Self {
        Self {
            ping_interval: settings.ping_interval,
            stable_after: settings.backoff_reset_after,
            backoff: Backoff::new(
                settings.backoff_first,
                settings.backoff_max,
                settings.backoff_reset_after,
                seed,
            ),
            link: Link::Idle,
            troubles: Troubles::default(),
            viewers: Viewers::new(settings.max_viewers),
            ice_servers: Vec::new(),
            last_words: None,
            surprises: 0,
            actions: VecDeque::new(),
        }
    }

    pub fn handle(&mut self, input: Input, now: Instant) {
        if matches!(self.link, Link::Closed) {
            return;
        }
        if let Link::Connected(pulse) = &self.link
            && now.saturating_duration_since(pulse.opened()) >= self.stable_after
        {
            self.troubles.forget();
        }
        match input {
            Input::Start => self.start(),
            Input::Timeout => self.time_out(now),
            Input::LinkOpened => self.link_opened(now),
            Input::LinkHeard => self.link_heard(),
            Input::LinkMessage(message) => self.link_message(message, now),
            Input::LinkEnded(end) => self.link_ended(end, now),
            Input::ViewerOffer { viewer, sdp } => {
                self.viewers.offer(&viewer, now);
                self.say(ToRelay::Offer { viewer, sdp });
            }
            Input::ViewerCandidate { viewer, candidate } => {
                self.say(ToRelay::IceCandidate { viewer, candidate });
            }
            Input::ViewerEnded { viewer, reason } => {
                if self.viewers.remove(&viewer) {
                    self.say_bye(viewer, reason);
                }
            }
            Input::ShutDown => self.shut_down(),
        }
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to come back with [`Input::Timeout`], and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let link = match &self.link {
            Link::Idle | Link::Dialing | Link::HangingUp => None,
            Link::Closed => return None,
            Link::Waiting { until } => Some((*until, "dial the relay again")),
            Link::Connected(pulse) => Some(pulse.poll_timeout()),
        };
        let answer = self
            .viewers
            .next_deadline()
            .map(|deadline| (deadline, "close a viewer that did not answer"));
        [link, answer].into_iter().flatten().min()
    }

    pub fn status(&self) -> LinkStatus {
        LinkStatus {
            state: match &self.link {
                Link::Idle => LinkState::Idle,
                Link::Dialing => LinkState::Dialing,
                Link::Connected(pulse) => LinkState::Connected {
                    since: pulse.opened(),
                },
                Link::HangingUp => LinkState::HangingUp,
                Link::Waiting { until } => LinkState::Waiting { until: *until },
                Link::Closed => LinkState::Closed,
            },
            trouble: self.troubles.current().cloned(),
        }
    }

    /// Everyone who watches or is about to.
    pub fn viewers(&self) -> impl Iterator<Item = &ViewerId> {
        self.viewers.names()
    }

    fn start(&mut self) {
        if matches!(self.link, Link::Idle) {
            self.dial();
        }
    }

    fn dial(&mut self) {
        self.link = Link::Dialing;
        self.actions.push_back(Action::Dial);
    }

    fn time_out(&mut self, now: Instant) {
        match &mut self.link {
            Link::Idle | Link::Dialing | Link::HangingUp | Link::Closed => {}
            Link::Waiting { until } => {
                if *until <= now {
                    self.dial();
                }
            }
            Link::Connected(pulse) => match pulse.time_out(now) {
                None => {}
                Some(Beat::Ping) => self.actions.push_back(Action::Ping),
                Some(Beat::Dead) => {
                    self.link = Link::HangingUp;
                    self.actions.push_back(Action::HangUp {
                        reason: "no answer to ping",
                    });
                }
            },
        }
        for viewer in self.viewers.take_unanswered(now) {
            debug!(%viewer, "viewer did not answer the offer");
            self.close(viewer.clone(), CloseReason::NoAnswer);
            self.say_bye(viewer, CloseReason::NoAnswer.to_string());
        }
    }

    fn link_opened(&mut self, now: Instant) {
        if !matches!(self.link, Link::Dialing) {
            return;
        }
        self.link = Link::Connected(Pulse::new(self.ping_interval, now));
        self.backoff.connected(now);
        self.last_words = None;
        self.surprises = 0;
        if self.troubles.recovered() {
            self.report();
        }
        for message in self.viewers.take_held() {
            self.actions.push_back(Action::Send(message));
        }
    }

    fn link_heard(&mut self) {
        if let Link::Connected(pulse) = &mut self.link {
            pulse.heard();
        }
    }

    fn link_message(&mut self, message: FromRelay, now: Instant) {
        if !matches!(self.link, Link::Connected(_)) {
            return;
        }
        self.link_heard();
        match message {
            FromRelay::Welcome {
                ice_servers,
                features,
            } => {
                debug!(
                    ice_servers = ice_servers.len(),
                    features = features.len(),
                    "relay welcomes us"
                );
                self.ice_servers = ice_servers;
            }
            FromRelay::Error {
                message,
                code,
                retry_after,
            } => {
                let words = LastWords::new(&message, code.as_deref(), retry_after, now);
                if self.is_worth_a_warning() {
                    warn!(
                        said = words.text(),
                        ?code,
                        ?retry_after,
                        "relay reports an error"
                    );
                }
                self.last_words = Some(words);
            }
            FromRelay::Ready { viewer } => self.viewer_ready(viewer, now),
            FromRelay::Answer { viewer, sdp } => match self.viewers.answer(&viewer) {
                Ok(()) => self.actions.push_back(Action::Answer { viewer, sdp }),
                Err(refusal) => self.refuse(viewer, "answer", refusal),
            },
            FromRelay::IceCandidate { viewer, candidate } => {
                if self.viewers.contains(&viewer) {
                    self.actions
                        .push_back(Action::Candidate { viewer, candidate });
                } else {
                    self.refuse(viewer, "ice_candidate", UNKNOWN_VIEWER);
                }
            }
            FromRelay::Offer { viewer } => self.refuse(viewer, "offer", UNEXPECTED_OFFER),
            FromRelay::Bye { viewer } => {
                if self.viewers.remove(&viewer) {
                    self.close(viewer, CloseReason::Left);
                }
            }
            FromRelay::Unknown { kind } => {
                debug!(kind, "relay sent a message of a kind that we do not know");
            }
        }
    }

    fn link_ended(&mut self, mut end: LinkEnd, now: Instant) {
        match self.link {
            Link::Idle | Link::Waiting { .. } | Link::Closed => return,
            Link::Dialing | Link::Connected(_) => {}
            Link::HangingUp if end.class != LinkFailure::HungUp => {}
            Link::HangingUp => {
                end.class = LinkFailure::Silent;
                end.message = format!("relay answered no ping for {SILENCE_LIMIT:?}");
            }
        }
        if let Some(words) = self.last_words.take() {
            words.explain(&mut end, now);
        }
        let delay = match end.retry_after {
            None if end.class.is_unauthorized() => self.backoff.longest_delay(now),
            hint => self.backoff.next_delay(now, hint),
        };
        self.link = Link::Waiting { until: now + delay };
        if self.troubles.note(end, now) {
            self.report();
        }
    }

    fn viewer_ready(&mut self, viewer: ViewerId, now: Instant) {
        if self.viewers.remove(&viewer) {
            self.close(viewer.clone(), CloseReason::Replaced);
        }
        if let Err(full) = self.viewers.open(&viewer, now) {
            return self.refuse(viewer, "ready", full);
        }
        let ice_servers = self.ice_servers.clone();
        self.actions.push_back(Action::OpenViewer {
            viewer,
            ice_servers,
        });
    }

    fn refuse(&mut self, viewer: ViewerId, kind: &str, refusal: Refusal) {
        if self.is_worth_a_warning() {
            warn!(%viewer, kind, code = refusal.code, "refused a message of the relay");
        }
        self.say_now(ToRelay::Error {
            viewer,
            message: format!("cannot take \"{kind}\": {}", refusal.message),
            code: Some(refusal.code.to_owned()),
        });
    }

    fn close(&mut self, viewer: ViewerId, reason: CloseReason) {
        self.actions
            .push_back(Action::CloseViewer { viewer, reason });
    }

    /// Sends what a viewer's peer says; held while the link is down, dropped when the viewer is gone.
    fn say(&mut self, message: ToRelay) {
        if matches!(self.link, Link::Connected(_)) {
            if message
                .viewer()
                .is_some_and(|viewer| self.viewers.contains(viewer))
            {
                self.say_now(message);
            }
        } else if !self.viewers.hold(message) {
            debug!(
                "dropped a message of a viewer: it is gone, or its queue is full while the relay is away"
            );
        }
    }

    fn say_bye(&mut self, viewer: ViewerId, reason: String) {
        let bye = ToRelay::Bye {
            viewer,
            reason: Some(reason),
        };
        if matches!(self.link, Link::Connected(_)) {
            self.say_now(bye);
        } else {
            self.viewers.hold_bye(bye);
        }
    }

    fn say_now(&mut self, message: ToRelay) {
        self.actions.push_back(Action::Send(message));
    }

    fn shut_down(&mut self) {
        let connected = matches!(self.link, Link::Connected(_));
        for viewer in self.viewers.take_all() {
            if connected {
                self.say_bye(viewer.clone(), CloseReason::ShutDown.to_string());
            }
            self.close(viewer, CloseReason::ShutDown);
        }
        match self.link {
            Link::Dialing | Link::Connected(_) => self.actions.push_back(Action::HangUp {
                reason: "robot is shutting down",
            }),
            Link::Idle | Link::HangingUp | Link::Waiting { .. } | Link::Closed => {}
        }
        self.link = Link::Closed;
    }

    fn is_worth_a_warning(&mut self) -> bool {
        self.surprises = self.surprises.saturating_add(1);
        self.surprises <= MOST_WARNINGS
    }

    fn report(&mut self) {
        let status = self.status();
        self.actions.push_back(Action::Report(status));
    }
}

/// From an offer to the end of a viewer that never answered: a phone that wakes up needs 5 s, a closed laptop needs for ever.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Surprises that are warned of on one link: a relay that has more of them has them all the time, and the journal is finite.
const MOST_WARNINGS: u32 = 20;

#[cfg(test)]
mod tests;
