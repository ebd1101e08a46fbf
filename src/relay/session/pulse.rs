//! Whether an open link lives: pings, and the silence after them.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Pulse {
    opened: Instant,
    interval: Duration,
    ping_at: Instant,
    /// The first ping after which nothing was heard.
    unanswered: Option<Instant>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Ping,
    Dead,
}

impl Pulse {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        let interval = interval.max(SHORTEST_INTERVAL);
        Self {
            opened: now,
            interval,
            ping_at: now + interval,
            unanswered: None,
        }
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    pub(super) fn heard(&mut self) {
        self.unanswered = None;
    }

    pub(super) fn time_out(&mut self, now: Instant) -> Option<Beat> {
        if self.silence_ends().is_some_and(|end| end <= now) {
            return Some(Beat::Dead);
        }
        if now < self.ping_at {
            return None;
        }
        self.unanswered.get_or_insert(now);
        self.ping_at = now + self.interval;
        Some(Beat::Ping)
    }

    pub(super) fn poll_timeout(&self) -> (Instant, &'static str) {
        match self.silence_ends() {
            Some(end) if end < self.ping_at => (end, "give up a silent relay link"),
            Some(_) | None => (self.ping_at, "ping the relay"),
        }
    }

    fn silence_ends(&self) -> Option<Instant> {
        self.unanswered.map(|pinged| pinged + SILENCE_LIMIT)
    }
}

/// From a ping to the end of a link that answers nothing. An LTE handover with a full queue takes 3 to 5 s; each second more
/// is a second in which nobody can join.
pub(super) const SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// Below this the pings would be the traffic.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)] // a test's simulated time starts somewhere

    use super::*;

    #[test]
    fn pings_that_follow_closely_do_not_put_off_the_end() {
        let begin = Instant::now();
        let mut pulse = Pulse::new(Duration::from_secs(3), begin);
        let died = loop {
            let (now, _) = pulse.poll_timeout();
            if pulse.time_out(now) == Some(Beat::Dead) {
                break now - begin;
            }
        };
        assert_eq!(died, Duration::from_secs(3) + SILENCE_LIMIT);
    }
}
