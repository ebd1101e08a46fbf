//! What to try next with an encoder that stands still: cheapest first, each rung only so often.
//!
//! ```text
//!   moving ──silent──► rung 0 ──silent──► rung 1 ──silent──► … ──silent──► given up
//!     ▲                  │                  │                │
//!     └──────────────────┴────── a unit ────┴────────────────┘
//! ```
//!
//! A rung that was climbed too often lately is left out: an encoder that needs it all the time is better closed, and at last
//! replaced.

use std::time::{Duration, Instant};

use crate::board::Rung;

/// Which rungs an encoder has, and how often each was climbed.
#[derive(Debug)]
pub(super) struct Ladder {
    rungs: Vec<(Rung, [Option<Instant>; BUDGET])>,
    /// The rung above the one that was tried last for what goes on now.
    next: usize,
}

impl Ladder {
    pub(super) fn new(rungs: &[Rung]) -> Self {
        Self {
            rungs: rungs
                .iter()
                .filter(|rung| **rung != Rung::Software)
                .map(|rung| (*rung, [None; BUDGET]))
                .collect(),
            next: 0,
        }
    }

    /// It stands still, or failed: what to try. `None`: nothing is left, until a unit comes.
    ///
    /// The software encoder is no rung of this ladder: it is what the next pipeline takes when nothing is left here.
    pub(super) fn climb(&mut self, now: Instant) -> Option<Rung> {
        while let Some((rung, climbed)) = self.rungs.get_mut(self.next) {
            self.next += 1;
            let is_free = |at: &Option<Instant>| at.is_none_or(|at| now >= at + WINDOW);
            if let Some(place) = climbed.iter_mut().find(|at| is_free(at)) {
                *place = Some(now);
                return Some(*rung);
            }
        }
        None
    }

    /// A picture came out: the next incident starts at the foot.
    pub(super) fn moved(&mut self) {
        self.next = 0;
    }

    pub(super) fn has(&self, rung: Rung) -> bool {
        self.rungs.iter().any(|(it, _)| *it == rung)
    }
}

/// What happens on a rung, for the log.
pub(super) fn remedy(rung: Rung) -> &'static str {
    match rung {
        Rung::ResetCapture => "a reset of its capture queue",
        Rung::Reinitialise => "setting both queues up again",
        Rung::Reopen => "opening it again",
        Rung::Software => "the software encoder",
    }
}

/// So often within the window, and then the next rung's turn has come.
const BUDGET: usize = 3;

/// An encoder that stops once a minute is a nuisance; one that stops three times a minute is broken.
const WINDOW: Duration = Duration::from_secs(60);

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // one instant to count from
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Rung; 3] = [Rung::ResetCapture, Rung::Reinitialise, Rung::Reopen];

    fn climb_all(ladder: &mut Ladder, now: Instant) -> Vec<Rung> {
        std::iter::from_fn(|| ladder.climb(now)).collect()
    }

    #[test]
    fn an_encoder_that_nothing_helps_is_given_up_after_each_rung_once() {
        let now = Instant::now();
        let mut ladder = Ladder::new(&[&ALL[..], &[Rung::Software]].concat());
        assert_eq!(climb_all(&mut ladder, now), ALL);
        assert_eq!(ladder.climb(now), None, "and stays so");
    }

    #[test]
    fn a_picture_brings_it_back_to_the_foot() {
        let now = Instant::now();
        let mut ladder = Ladder::new(&ALL);
        ladder.climb(now);
        ladder.climb(now);
        ladder.moved();
        assert_eq!(ladder.climb(now), Some(Rung::ResetCapture));
    }

    #[test]
    fn the_fourth_reset_within_a_minute_is_no_reset_any_more() {
        let start = Instant::now();
        let mut ladder = Ladder::new(&ALL);
        let mut tried = Vec::new();
        for second in 0..5 {
            tried.extend(ladder.climb(start + Duration::from_secs(second)));
            ladder.moved();
        }
        use Rung::{Reinitialise, ResetCapture};
        assert_eq!(
            tried,
            [
                ResetCapture,
                ResetCapture,
                ResetCapture,
                Reinitialise,
                Reinitialise
            ]
        );
        let later = start + WINDOW;
        assert_eq!(ladder.climb(later), Some(ResetCapture));
    }

    proptest! {
        #[test]
        fn no_rung_is_climbed_more_often_than_its_budget_and_every_incident_ends(
            steps in prop::collection::vec((0_u64..20_000, any::<bool>()), 1..200),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut ladder = Ladder::new(&ALL);
            let mut climbed: Vec<(Instant, Rung)> = Vec::new();
            let mut in_a_row = 0;
            for (millis, moved) in steps {
                now += Duration::from_millis(millis);
                if moved {
                    ladder.moved();
                    in_a_row = 0;
                    continue;
                }
                if let Some(rung) = ladder.climb(now) {
                    in_a_row += 1;
                    climbed.push((now, rung));
                }
                prop_assert!(in_a_row <= ALL.len());
                for rung in ALL {
                    let lately = climbed.iter().filter(|(at, it)| *it == rung && now < *at + WINDOW);
                    prop_assert!(lately.count() <= BUDGET);
                }
            }
        }
    }
}
