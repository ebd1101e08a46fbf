//! How long an estimate holds that is not used: a picture that stands still, or another viewer, keeps what is sent low.
//!
//! Bursts prove it again. It fades when for long none did, and not below the best that the last of them showed.

use std::time::{Duration, Instant};

use super::probing::Outcome;

#[derive(Debug)]
pub(super) struct Proof {
    /// When so much was last sent or probed that the estimate is known to hold.
    since: Instant,
    /// What the last probes showed, in bits per second.
    shown: [f64; 3],
}

impl Proof {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            shown: [0.0; 3],
        }
    }

    /// Nearly as much is sent as the estimate allows.
    pub(super) fn used(&mut self, now: Instant) {
        self.since = now;
    }

    /// A probe came back; `rate` is the estimate.
    pub(super) fn probed(&mut self, outcome: Outcome, rate: f64, now: Instant) {
        // Late timers send a burst slower than it was wished for. All of it arrived as it was sent: the link was not the limit.
        let is_refuted = outcome.is_limit || outcome.rate < rate * UNREFUTED;
        if outcome.rate >= rate * PROVES || !is_refuted {
            self.since = now;
        }
        self.shown.rotate_right(1);
        self.shown[0] = outcome.rate;
    }

    /// What is left of `rate` when nothing has proven it for long: down towards what is really sent.
    pub(super) fn fade(&mut self, rate: f64, acknowledged: f64, now: Instant) -> Option<f64> {
        if now <= self.since + LASTS {
            return None;
        }
        self.since = now - LASTS + INTERVAL;
        let shown = self.shown.into_iter().fold(0.0, f64::max);
        let known = shown.max(acknowledged * UNPROVEN);
        (known < rate).then(|| (rate * FADING).max(known))
    }
}

/// Two proofs may be lost before the estimate fades towards what is really sent.
const LASTS: Duration = Duration::from_secs(12);
const UNPROVEN: f64 = 2.0;
const FADING: f64 = 0.9;
const INTERVAL: Duration = Duration::from_secs(1);

/// Of the estimate, arrived: a burst is not measured better.
const PROVES: f64 = 0.9;

/// Of the estimate: a burst that was sent slower than this shows nothing of it.
const UNREFUTED: f64 = 0.5;

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests need some instant to count from
mod tests {
    use super::*;

    const RATE: f64 = 4e6;
    const SENT: f64 = 0.5e6;

    /// What is left of the rate after a minute with such a burst every five seconds.
    fn after_a_minute(burst: Option<Outcome>) -> f64 {
        let start = Instant::now();
        let (mut proof, mut rate) = (Proof::new(start), RATE);
        for second in 1..=60 {
            let now = start + Duration::from_secs(second);
            if let Some(outcome) = burst.filter(|_| second % 5 == 0) {
                proof.probed(outcome, rate, now);
            }
            rate = proof.fade(rate, SENT, now).unwrap_or(rate);
        }
        rate
    }

    fn burst(rate: f64, is_limit: bool) -> Option<Outcome> {
        Some(Outcome { rate, is_limit })
    }

    #[test]
    fn burst_that_late_timers_made_slow_shows_no_limit() {
        assert_eq!(after_a_minute(burst(0.6 * RATE, false)), RATE);
    }

    #[test]
    fn link_that_became_narrow_is_noticed_and_what_it_carries_stays() {
        let rate = after_a_minute(burst(1.2e6, true));
        assert!((1.2e6..1.4e6).contains(&rate), "{rate}");
    }

    #[test]
    fn without_bursts_it_fades_to_what_is_known_from_what_is_sent() {
        assert_eq!(after_a_minute(None), SENT * UNPROVEN);
    }
}
