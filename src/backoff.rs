//! How long to wait before the next try: exponential, with full jitter, and forgotten only after a stable time.
//!
//! Full jitter (uniform from nothing to the ceiling) is what spreads the robots of a fleet that all lost the same relay.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The delays between tries at one thing.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    reset_after: Duration,
    /// Tries since the last stable time.
    attempts: u32,
    connected_at: Option<Instant>,
    rng: StdRng,
}

impl Backoff {
    /// The first delay is at most `first`, each further one at most double that and never more than `max`. A connection that
    /// lasted `reset_after` starts it over.
    pub fn new(first: Duration, max: Duration, reset_after: Duration, seed: u64) -> Self {
        let max = max.clamp(SHORTEST, LONGEST_HINT);
        Self {
            first: first.clamp(SHORTEST, max),
            max,
            reset_after,
            attempts: 0,
            connected_at: None,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// The delay before the next try. A `hint` of the peer wins over ours.
    ///
    /// A hint is stretched by up to a tenth, because the whole fleet was told the same; it is taken as at least `first` and
    /// at most an hour, because a peer that says "0" or "next year" does not know what it says.
    pub fn next_delay(&mut self, now: Instant, hint: Option<Duration>) -> Duration {
        self.disconnected(now);
        let ceiling = self.ceiling();
        self.attempts = self.attempts.saturating_add(1);
        match hint {
            Some(hint) => {
                let hint = hint.clamp(self.first, LONGEST_HINT);
                self.uniform(hint, hint + hint / 10)
            }
            None => self.uniform(SHORTEST, ceiling),
        }
    }

    /// The delay after something that gives hope, such as another network: at most `first`, whatever failed before.
    pub fn hopeful_delay(&mut self, now: Instant) -> Duration {
        self.disconnected(now);
        self.attempts = self.attempts.saturating_add(1);
        self.uniform(SHORTEST, self.first)
    }

    /// What failed before says nothing about the next try.
    pub fn start_over(&mut self) {
        self.attempts = 0;
    }

    /// The delay after a refusal that only a person can lift: nine tenths of the maximum or more.
    pub fn longest_delay(&mut self, now: Instant) -> Duration {
        self.disconnected(now);
        self.attempts = self.attempts.saturating_add(1);
        self.uniform(self.max - self.max / 10, self.max)
    }

    pub fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    pub fn disconnected(&mut self, now: Instant) {
        let Some(connected_at) = self.connected_at.take() else {
            return;
        };
        if now.saturating_duration_since(connected_at) >= self.reset_after {
            self.attempts = 0;
        }
    }

    /// Delays given since the last stable time.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    fn ceiling(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.max)
    }

    fn uniform(&mut self, shortest: Duration, longest: Duration) -> Duration {
        self.rng.random_range(shortest..=longest)
    }
}

/// A try that fails at once (connection refused on the same machine) would spin without a floor; this costs the luckiest
/// robot 20 ms.
const SHORTEST: Duration = Duration::from_millis(20);

/// A relay that is down for longer does not know it beforehand; trying once an hour costs nobody anything.
const LONGEST_HINT: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)] // a test's simulated time starts somewhere

    use proptest::prelude::*;

    use super::*;

    const FIRST: Duration = Duration::from_millis(250);
    const MAX: Duration = Duration::from_secs(60);
    const STABLE: Duration = Duration::from_secs(60);

    fn relay_backoff(seed: u64) -> Backoff {
        Backoff::new(FIRST, MAX, STABLE, seed)
    }

    #[test]
    fn ceiling_doubles_up_to_a_minute() {
        let now = Instant::now();
        let longest = |attempt: usize| {
            (0..2000)
                .map(|seed| {
                    let mut backoff = relay_backoff(seed);
                    for _ in 0..attempt {
                        backoff.next_delay(now, None);
                    }
                    backoff.next_delay(now, None)
                })
                .max()
                .unwrap()
        };
        for (attempt, ceiling_ms) in [(0, 250), (1, 500), (5, 8000), (8, 60_000), (40, 60_000)] {
            let ceiling = Duration::from_millis(ceiling_ms);
            let longest = longest(attempt);
            assert!(
                longest <= ceiling && longest > ceiling * 99 / 100,
                "attempt {attempt}: {longest:?} when expecting just under {ceiling:?}"
            );
        }
    }

    #[test]
    fn robots_that_lost_the_relay_together_come_back_apart() {
        let now = Instant::now();
        let mut delays: Vec<_> = (0..1000)
            .map(|seed| {
                let mut backoff = relay_backoff(seed);
                for _ in 0..4 {
                    backoff.next_delay(now, None);
                }
                backoff.next_delay(now, None)
            })
            .collect();
        delays.sort();
        // Uniform over 4 s: each quarter of it has a quarter of the robots, within four standard deviations (55).
        for quarter in 1..=3_u32 {
            let below = delays.partition_point(|delay| *delay < Duration::from_secs(1) * quarter);
            let expected = 250 * quarter as usize;
            assert!(
                below.abs_diff(expected) < 65,
                "{below} of 1000 within {quarter} s"
            );
        }
    }

    #[test]
    fn connection_of_a_second_does_not_start_it_over() {
        let start = Instant::now();
        let mut backoff = relay_backoff(7);
        for _ in 0..10 {
            backoff.next_delay(start, None);
        }
        backoff.connected(start);
        backoff.disconnected(start + Duration::from_secs(59));
        assert_eq!(backoff.attempts(), 10);

        backoff.connected(start);
        let delay = backoff.next_delay(start + STABLE, None);
        assert_eq!(backoff.attempts(), 1);
        assert!(delay <= FIRST);
    }

    #[test]
    fn hint_of_zero_does_not_spin_and_hint_of_a_year_does_not_park() {
        let now = Instant::now();
        let mut backoff = relay_backoff(7);
        assert!(backoff.next_delay(now, Some(Duration::ZERO)) >= FIRST);
        assert!(backoff.next_delay(now, Some(Duration::MAX)) <= LONGEST_HINT * 11 / 10);
    }

    proptest! {
        #[test]
        fn every_delay_is_within_its_bounds(
            seed: u64,
            first in any::<Duration>(),
            max in any::<Duration>(),
            hints in proptest::collection::vec(any::<Option<Duration>>(), 1..80),
        ) {
            let now = Instant::now();
            let mut backoff = Backoff::new(first, max, STABLE, seed);
            let max = max.clamp(SHORTEST, LONGEST_HINT);
            let first = first.clamp(SHORTEST, max);
            let mut ceiling = first;
            for hint in hints {
                let delay = backoff.next_delay(now, hint);
                match hint {
                    Some(hint) => {
                        let hint = hint.clamp(first, LONGEST_HINT);
                        prop_assert!((hint..=hint * 11 / 10).contains(&delay));
                    }
                    None => prop_assert!((SHORTEST..=ceiling).contains(&delay)),
                }
                ceiling = (ceiling * 2).min(max);
            }
            prop_assert!((SHORTEST..=first).contains(&backoff.hopeful_delay(now)));
            let refused = backoff.longest_delay(now);
            prop_assert!((max * 9 / 10..=max).contains(&refused));
        }
    }
}
