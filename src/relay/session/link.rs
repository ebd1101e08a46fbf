//! The link's side of a session: when to dial, to doubt, to give up and to wait. The drawing is in [`super`].

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::pulse::{Beat, Pulse};
use super::{Action, LinkEnd, LinkFailure, Session};

#[derive(Debug)]
pub(super) enum Link {
    Idle,
    Dialing {
        /// Set when the network changed under the attempt, which may have begun from an address that is gone.
        until: Option<Instant>,
    },
    Connected {
        pulse: Pulse,
        /// Our own address on it.
        from: Option<IpAddr>,
    },
    /// Waits for the driver to let go of a link that is dead.
    HangingUp(GivenUp),
    Waiting {
        until: Instant,
        /// The relay asked for it, or only a person can end it: no reason of ours cuts it short.
        firm: bool,
    },
    Closed,
}

/// Why we hang up by ourselves.
#[derive(Clone, Copy, Debug)]
pub(super) enum GivenUp {
    Silent(Duration),
    AddressGone(IpAddr),
    NetworkChanged,
}

impl Session {
    pub(super) fn start(&mut self, now: Instant) {
        if !matches!(self.link, Link::Idle) {
            return;
        }
        if self.start_after.is_zero() {
            return self.dial(now);
        }
        self.link = Link::Waiting {
            until: now + self.start_after,
            firm: false,
        };
    }

    fn dial(&mut self, now: Instant) {
        self.link = Link::Dialing { until: None };
        self.dialed = Some(now);
        self.actions.push_back(Action::Dial);
    }

    fn give_up(&mut self, why: GivenUp) {
        let reason = match why {
            GivenUp::Silent(_) => "no answer to ping",
            GivenUp::AddressGone(_) | GivenUp::NetworkChanged => "the network changed",
        };
        self.link = Link::HangingUp(why);
        self.actions.push_back(Action::HangUp { reason });
    }

    pub(super) fn link_time_out(&mut self, now: Instant) {
        match &mut self.link {
            Link::Idle | Link::HangingUp(_) | Link::Closed => {}
            Link::Dialing { until } => {
                if until.is_some_and(|until| until <= now) {
                    self.give_up(GivenUp::NetworkChanged);
                }
            }
            Link::Waiting { until, .. } => {
                if *until <= now {
                    self.dial(now);
                }
            }
            Link::Connected { pulse, .. } => match pulse.time_out(now) {
                None => {}
                Some(Beat::Ping) => self.actions.push_back(Action::Ping),
                Some(Beat::Dead { silence }) => self.give_up(GivenUp::Silent(silence)),
            },
        }
    }

    pub(super) fn link_opened(&mut self, from: Option<IpAddr>, now: Instant) {
        if !matches!(self.link, Link::Dialing { .. }) {
            return;
        }
        self.link = Link::Connected {
            pulse: Pulse::new(self.ping_interval, now),
            from,
        };
        self.backoff.connected(now);
        self.last_words = None;
        self.surprises = 0;
        if self.troubles.recovered() {
            self.report();
        }
        for message in self.viewers.take_unheard(self.heard, now) {
            self.actions.push_back(Action::Send(message));
        }
        self.heard = Some(now);
    }

    pub(super) fn link_heard(&mut self, now: Instant) {
        if let Link::Connected { pulse, .. } = &mut self.link {
            pulse.hear();
            self.heard = Some(now);
        }
    }

    pub(super) fn network_changed(&mut self, addresses: &BTreeSet<IpAddr>, now: Instant) {
        let is_news = |before| now.saturating_duration_since(before) >= FLAPPING;
        if self.network_changed.is_none_or(is_news) {
            self.backoff.start_over();
        }
        self.network_changed = Some(now);
        match &mut self.link {
            Link::Idle | Link::HangingUp(_) | Link::Waiting { firm: true, .. } | Link::Closed => {}
            Link::Dialing { until } => {
                until.get_or_insert(now + DIAL_DOUBT_LIMIT);
            }
            Link::Connected {
                from: Some(from), ..
            } if !addresses.contains(from) => {
                let from = *from;
                self.give_up(GivenUp::AddressGone(from));
            }
            Link::Connected { pulse, .. } => {
                pulse.doubt(now);
                self.actions.push_back(Action::Ping);
            }
            Link::Waiting { until, firm: false } => {
                let spaced = self.dialed.map_or(now, |dialed| dialed + HURRY_SPACING);
                *until = (*until).min(spaced.max(now) + self.backoff.hopeful_delay(now));
            }
        }
    }

    pub(super) fn link_ended(&mut self, mut end: LinkEnd, now: Instant) {
        let mut is_ours = false;
        match self.link {
            Link::Idle | Link::Waiting { .. } | Link::Closed => return,
            Link::Dialing { .. } | Link::Connected { .. } => {}
            Link::HangingUp(_) if end.class != LinkFailure::HungUp => {}
            Link::HangingUp(GivenUp::Silent(silence)) => {
                end.class = LinkFailure::Silent;
                end.message = format!("relay answered no ping for {silence:?}");
            }
            Link::HangingUp(GivenUp::AddressGone(from)) => {
                is_ours = true;
                end.class = LinkFailure::Unreachable;
                end.message = format!("the link's own address {from} is gone");
            }
            Link::HangingUp(GivenUp::NetworkChanged) => {
                is_ours = true;
                end.class = LinkFailure::Unreachable;
                end.message = "the network changed during the attempt".to_owned();
            }
        }
        if let Some(words) = self.last_words.take() {
            words.explain(&mut end, now);
        }
        let firm = end.class.is_unauthorized() || end.retry_after.is_some();
        let delay = match end.retry_after {
            None if end.class.is_unauthorized() => self.backoff.longest_delay(now),
            None if is_ours => self.backoff.hopeful_delay(now),
            hint => self.backoff.next_delay(now, hint),
        };
        self.link = Link::Waiting {
            until: now + delay,
            firm,
        };
        if self.troubles.note(end, now) {
            self.report();
        }
    }
}

/// A dial that began before the network changed gets this long: it may have been about to succeed, or its first packet came
/// from an address that is gone, and then TCP tries for the whole deadline.
pub(super) const DIAL_DOUBT_LIMIT: Duration = Duration::from_secs(2);

/// An interface that comes and goes faster than this gives no hope each time.
const FLAPPING: Duration = Duration::from_secs(10);

/// An interface that comes and goes several times a second is not to be followed by a dial each time.
const HURRY_SPACING: Duration = Duration::from_secs(1);
