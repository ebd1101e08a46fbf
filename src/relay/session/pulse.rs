//! Whether an open link lives: pings, and the silence after them.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Pulse {
    opened: Instant,
    interval: Duration,
    ping_at: Instant,
    /// Set by the first ping after which nothing was heard.
    silence: Option<Silence>,
}

/// When a link is dead unless something is heard, and how long it will have been silent then.
#[derive(Clone, Copy, Debug)]
struct Silence {
    ends: Instant,
    limit: Duration,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Ping,
    /// A ping was not answered for this long.
    Dead {
        silence: Duration,
    },
}

impl Pulse {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        let interval = interval.max(SHORTEST_INTERVAL);
        Self {
            opened: now,
            interval,
            ping_at: now + interval,
            silence: None,
        }
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    pub(super) fn hear(&mut self) {
        self.silence = None;
    }

    /// There is reason to think that the link is dead: a ping is due now, and its answer soon.
    pub(super) fn doubt(&mut self, now: Instant) {
        let soon = Silence::new(now, DOUBT_LIMIT);
        self.silence = match self.silence {
            Some(known) if known.ends <= soon.ends => Some(known),
            Some(_) | None => Some(soon),
        };
        self.ping_at = now + self.interval;
    }

    pub(super) fn time_out(&mut self, now: Instant) -> Option<Beat> {
        if let Some(silence) = self.silence.filter(|silence| silence.ends <= now) {
            return Some(Beat::Dead {
                silence: silence.limit,
            });
        }
        if now < self.ping_at {
            return None;
        }
        self.silence.get_or_insert(Silence::new(now, SILENCE_LIMIT));
        self.ping_at = now + self.interval;
        Some(Beat::Ping)
    }

    pub(super) fn poll_timeout(&self) -> (Instant, &'static str) {
        match self.silence {
            Some(silence) if silence.ends < self.ping_at => {
                (silence.ends, "give up a silent relay link")
            }
            Some(_) | None => (self.ping_at, "ping the relay"),
        }
    }
}

impl Silence {
    fn new(now: Instant, limit: Duration) -> Self {
        Self {
            ends: now + limit,
            limit,
        }
    }
}

/// From a ping to the end of a link that answers nothing. An LTE handover with a full queue takes 3 to 5 s; each second more
/// is a second in which nobody can join. With a ping every 20 s a dead link is noticed, and said, within half a minute.
pub(super) const SILENCE_LIMIT: Duration = Duration::from_millis(9500);

/// The same when the network has just changed under the link: dead is likely then, and a redial costs nobody a picture. A
/// round trip on a bad LTE cell takes 1 to 2 s.
pub(super) const DOUBT_LIMIT: Duration = Duration::from_secs(3);

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
            if let Some(Beat::Dead { .. }) = pulse.time_out(now) {
                break now - begin;
            }
        };
        assert_eq!(died, Duration::from_secs(3) + SILENCE_LIMIT);
    }
}
