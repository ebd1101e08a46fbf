//! The relay session: whether there is a link, and which viewers there are.
//!
//! ```text
//!         Start            LinkOpened
//!  Idle ────────► Dialing ────────────► Connected ◄─┐
//!                  ▲   ││                │   │   └──┘ Ping, LinkHeard
//!          Timeout │   ││ LinkEnded      │   │
//!                  │   ▼│      LinkEnded │   │ no answer to a ping for 10 s,
//!                 Waiting◄───────────────┘   │ or our address is gone: HangUp
//!                    ▲  └────────────────┐   │
//!                    │   2 s after the   ▼   ▼
//!                    │ network changed: HangingUp
//!                    └───────────────────────┘
//!                            LinkEnded
//!  any ── ShutDown ──► Closed
//! ```
//!
//! When the network changes, a link whose address is gone is given up at once, any other is pinged and given up after 3 s
//! without a word, and a wait of our own choosing is over.
//!
//! The link's end is not the viewers' end: they are peer-to-peer, and live through a relay outage of any length. What they
//! have to say meanwhile is sent after the next `LinkOpened`, and so is what they said into a link that was dead already.
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
mod link;
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
use self::link::Link;
use self::refusal::{Refusal, UNEXPECTED_OFFER, UNKNOWN_VIEWER};
pub use self::status::{LinkEnd, LinkFailure, LinkState, LinkStatus, Trouble};
use self::troubles::Troubles;
use self::viewers::Viewers;
use crate::backoff::Backoff;
use crate::config::ice_url;
use crate::relay::message::{FromRelay, ToRelay};
use crate::viewer::{IceServer, ViewerId};

/// One camera's session at the relay.
#[derive(Debug)]
pub struct Session {
    ping_interval: Duration,
    stable_after: Duration,
    start_after: Duration,
    backoff: Backoff,
    link: Link,
    /// When the relay was last known to listen.
    heard: Option<Instant>,
    dialed: Option<Instant>,
    network_changed: Option<Instant>,
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

impl Session {
    pub fn new(settings: &SessionSettings, seed: u64) -> Self {
        Self {
            ping_interval: settings.ping_interval,
            stable_after: settings.backoff_reset_after,
            start_after: settings.start_after,
            backoff: Backoff::new(
                settings.backoff_first,
                settings.backoff_max,
                settings.backoff_reset_after,
                seed,
            ),
            link: Link::Idle,
            heard: None,
            dialed: None,
            network_changed: None,
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
        if let Link::Connected { pulse, .. } = &self.link
            && now.saturating_duration_since(pulse.opened()) >= self.stable_after
        {
            self.troubles.forget();
        }
        match input {
            Input::Start => self.start(now),
            Input::Timeout => self.time_out(now),
            Input::LinkOpened { from } => self.link_opened(from, now),
            Input::LinkHeard => self.link_heard(now),
            Input::LinkMessage(message) => self.link_message(message, now),
            Input::LinkEnded(end) => self.link_ended(end, now),
            Input::ViewerOffer { viewer, sdp } => {
                self.viewers.offer(&viewer, now);
                self.say(ToRelay::Offer { viewer, sdp }, now);
            }
            Input::ViewerCandidate { viewer, candidate } => {
                self.say(ToRelay::IceCandidate { viewer, candidate }, now);
            }
            Input::ViewerEnded { viewer, reason } => {
                if self.viewers.remove(&viewer) {
                    self.say_bye(viewer, reason);
                }
            }
            Input::NetworkChanged { addresses } => self.network_changed(&addresses, now),
            Input::ShutDown => self.shut_down(),
        }
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to come back with [`Input::Timeout`], and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let link = match &self.link {
            Link::Idle | Link::HangingUp(_) => None,
            Link::Closed => return None,
            Link::Dialing { until } => until.map(|until| (until, "dial from the new network")),
            Link::Waiting { until, .. } => Some((*until, "dial the relay again")),
            Link::Connected { pulse, .. } => Some(pulse.poll_timeout()),
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
                Link::Dialing { .. } => LinkState::Dialing,
                Link::Connected { pulse, .. } => LinkState::Connected {
                    since: pulse.opened(),
                },
                Link::HangingUp(_) => LinkState::HangingUp,
                Link::Waiting { until, .. } => LinkState::Waiting { until: *until },
                Link::Closed => LinkState::Closed,
            },
            trouble: self.troubles.current().cloned(),
        }
    }

    /// Everyone who watches or is about to.
    pub fn viewers(&self) -> impl Iterator<Item = &ViewerId> {
        self.viewers.names()
    }

    fn time_out(&mut self, now: Instant) {
        self.link_time_out(now);
        for viewer in self.viewers.take_unanswered(now) {
            debug!(%viewer, "viewer did not answer the offer");
            self.close(viewer.clone(), CloseReason::NoAnswer);
            self.say_bye(viewer, CloseReason::NoAnswer.to_string());
        }
    }

    fn link_message(&mut self, message: FromRelay, now: Instant) {
        if !matches!(self.link, Link::Connected { .. }) {
            return;
        }
        self.link_heard(now);
        match message {
            FromRelay::Welcome {
                ice_servers,
                features,
            } => {
                let told = ice_servers.len();
                self.ice_servers = usable(ice_servers);
                debug!(
                    ice_servers = told,
                    usable = self.ice_servers.len(),
                    features = features.len(),
                    "relay welcomes us"
                );
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
            // Refused would be said to the page's person; and who asks all the time waits.
            FromRelay::Link { viewer } => {
                if self.viewers.may_hear_of_link(&viewer, now) {
                    self.actions.push_back(Action::ReportLink { viewer });
                }
            }
            FromRelay::Unknown { kind } => {
                debug!(kind, "relay sent a message of a kind that we do not know");
            }
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

    /// Sends what a viewer's peer says; later when the link is down, never when the viewer is gone.
    fn say(&mut self, message: ToRelay, now: Instant) {
        let connected = matches!(self.link, Link::Connected { .. });
        let noted = self.viewers.note(&message, connected.then_some(now));
        if noted && connected {
            self.say_now(message);
        } else if !noted {
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
        if matches!(self.link, Link::Connected { .. }) {
            self.say_now(bye);
        } else {
            self.viewers.hold_bye(bye);
        }
    }

    fn say_now(&mut self, message: ToRelay) {
        self.actions.push_back(Action::Send(message));
    }

    fn shut_down(&mut self) {
        let connected = matches!(self.link, Link::Connected { .. });
        for viewer in self.viewers.take_all() {
            if connected {
                self.say_bye(viewer.clone(), CloseReason::ShutDown.to_string());
            }
            self.close(viewer, CloseReason::ShutDown);
        }
        match self.link {
            Link::Dialing { .. } | Link::Connected { .. } => {
                self.actions.push_back(Action::HangUp {
                    reason: "robot is shutting down",
                });
            }
            Link::Idle | Link::HangingUp(_) | Link::Waiting { .. } | Link::Closed => {}
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

/// Those that we can speak to: a relay tells browsers the same list, and one server of another kind would leave a viewer without
/// any way at all.
fn usable(servers: Vec<IceServer>) -> Vec<IceServer> {
    let has_login = |server: &IceServer| server.username.is_some() && server.credential.is_some();
    let usable = servers.into_iter().map(|mut server| {
        let has_login = has_login(&server);
        server
            .urls
            .retain(|url| ice_url(url).is_ok() && (has_login || !url.starts_with("turn")));
        server
    });
    usable.filter(|server| !server.urls.is_empty()).collect()
}

/// From an offer to the end of a viewer that never answered: a phone that wakes up needs 5 s, a closed laptop needs for ever.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Surprises that are warned of on one link: a relay that has more of them has them all the time, and the journal is finite.
const MOST_WARNINGS: u32 = 20;

#[cfg(test)]
mod tests;
