//! Which viewers share the large rendition, and which the small one.
//!
//! What a viewer has of a rendition is the rate of the slowest who shares it, and a person notices ratios: the sum of the rates'
//! logarithms is what a division is worth, and half of the rate is what the small picture costs once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::media::Bitrate;

/// Two groups of viewers; the small one's may be empty. `V` names a viewer.
#[derive(Clone, Debug)]
pub(super) struct Division<V> {
    small: BTreeSet<V>,
    /// Since when another division is better, and whether it sends more viewers to the small picture.
    leaning: Option<(Instant, bool)>,
}

impl<V: Ord + Clone> Division<V> {
    pub(super) fn new() -> Self {
        Self {
            small: BTreeSet::new(),
            leaning: None,
        }
    }

    /// Those who are better off among themselves.
    pub(super) fn small(&self) -> &BTreeSet<V> {
        &self.small
    }

    pub(super) fn left(&mut self, viewer: &V) {
        self.small.remove(viewer);
    }

    /// There is one rendition only.
    pub(super) fn forget(&mut self) {
        self.small.clear();
        self.leaning = None;
    }

    /// What each viewer's link leaves for an encoder that makes `most` at most. Viewers who are not in it stay where they are.
    pub(super) fn update(&mut self, rates: &BTreeMap<V, Bitrate>, most: Bitrate, now: Instant) {
        let mut sorted: Vec<(f64, &V)> = rates
            .iter()
            .map(|(viewer, rate)| (rate.min(&most).as_bps().max(1) as f64, viewer))
            .collect();
        sorted.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let Some(better) = self.better(&sorted) else {
            self.leaning = None;
            return;
        };
        let is_down = better > self.small.len();
        let since = match self.leaning {
            Some((since, same_way)) if same_way == is_down => since,
            Some(_) | None => now,
        };
        self.leaning = Some((since, is_down));
        let nobody_is_large = sorted
            .iter()
            .all(|(_, viewer)| self.small.contains(*viewer));
        let patience = match is_down || nobody_is_large {
            true => SOON,
            false => LATE,
        };
        if now < since + patience {
            return;
        }
        self.leaning = None;
        let unheard = self.small.iter().filter(|it| !rates.contains_key(*it));
        let slowest = sorted[..better].iter().map(|(_, viewer)| *viewer);
        self.small = unheard.chain(slowest).cloned().collect();
    }

    /// How many of the slowest were better in the small group, if that is clearly better than it is.
    fn better(&self, sorted: &[(f64, &V)]) -> Option<usize> {
        let viewers = sorted.len();
        let slowest = sorted.first()?.0;
        let worth = |small: usize| match small {
            0 => viewers as f64 * slowest.ln(),
            _ => {
                small as f64 * slowest.ln() + (viewers - small) as f64 * sorted[small].0.ln() - COST
            }
        };
        let is_gap = |small: &usize| *small == 0 || sorted[*small].0 >= sorted[*small - 1].0 * GAP;
        let best = (0..viewers)
            .filter(is_gap)
            .max_by(|a, b| worth(*a).total_cmp(&worth(*b)))?;
        let is_small = |viewer: &V| self.small.contains(viewer);
        let least = |small: bool| {
            let mut rates = sorted.iter().filter(|(_, it)| is_small(it) == small);
            rates.next().map(|(rate, _)| rate.ln())
        };
        let count = |small: bool| {
            sorted
                .iter()
                .filter(|(_, it)| is_small(it) == small)
                .count() as f64
        };
        let present = match (least(true), least(false)) {
            (None, Some(large)) => count(false) * large,
            (Some(small), Some(large)) => count(true) * small + count(false) * large - COST,
            // The large picture is made for nobody.
            (Some(_), None) => return Some(0),
            (None, None) => return None,
        };
        (worth(best) > present + CLEARLY).then_some(best)
    }
}

impl<V: Ord + Clone> Default for Division<V> {
    fn default() -> Self {
        Self::new()
    }
}

/// ln 2: for one viewer the small picture is worth it when the others then have more than twice as much.
const COST: f64 = std::f64::consts::LN_2;

/// ln 1.25: rates that go up and down by a tenth move nobody.
const CLEARLY: f64 = 0.223;

/// Between the slowest who sees the large picture and the fastest who does not: neighbours see the same.
const GAP: f64 = 1.5;

/// The others suffer meanwhile; an estimate that only dips is back by then.
const SOON: Duration = Duration::from_secs(1);

/// Up only for what will last: each move costs a key frame, and a viewer who returns too soon drags the others.
const LATE: Duration = Duration::from_secs(4);

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests need some instant to count from
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MOST: Bitrate = Bitrate::kbps(4000);
    const SECOND: Duration = Duration::from_secs(1);

    fn rates(kbps: &[u64]) -> BTreeMap<usize, Bitrate> {
        kbps.iter()
            .map(|it| Bitrate::kbps(*it))
            .enumerate()
            .collect()
    }

    /// After so long with these links.
    fn after(
        division: &mut Division<usize>,
        kbps: &[u64],
        from: Instant,
        time: Duration,
    ) -> Vec<usize> {
        let mut now = from;
        while now <= from + time {
            division.update(&rates(kbps), MOST, now);
            now += Duration::from_millis(500);
        }
        division.small().iter().copied().collect()
    }

    fn divided(kbps: &[u64]) -> Vec<usize> {
        after(&mut Division::new(), kbps, Instant::now(), SECOND * 10)
    }

    #[test]
    fn slow_viewer_gets_the_small_picture_and_one_alone_the_large() {
        assert_eq!(divided(&[300, 3000]), [0]);
        assert_eq!(divided(&[300]), [0usize; 0]);
        assert_eq!(divided(&[300, 300, 4000]), [0, 1]);
        assert_eq!(divided(&[4000, 300, 4000, 4000]), [1]);
    }

    #[test]
    fn group_that_is_slow_together_is_not_divided() {
        assert_eq!(divided(&[300, 310, 350]), [0usize; 0]);
        assert_eq!(divided(&[1500, 2000]), [0usize; 0]);
    }

    #[test]
    fn link_beyond_what_the_encoder_makes_counts_no_more_than_that() {
        assert_eq!(divided(&[3000, 30_000]), [0usize; 0]);
    }

    #[test]
    fn dip_of_half_a_second_moves_nobody() {
        let start = Instant::now();
        let mut division = Division::new();
        division.update(&rates(&[300, 3000]), MOST, start);
        division.update(&rates(&[2800, 3000]), MOST, start + SECOND / 2);
        division.update(&rates(&[300, 3000]), MOST, start + SECOND);
        assert!(division.small().is_empty());
    }

    #[test]
    fn viewer_whose_link_stays_wide_comes_back_to_the_large_picture() {
        let start = Instant::now();
        let mut division = Division::new();
        assert_eq!(after(&mut division, &[300, 3000], start, SECOND * 2), [0]);
        let wide = start + SECOND * 3;
        assert_eq!(after(&mut division, &[2800, 3000], wide, SECOND * 3), [0]);
        assert_eq!(
            after(&mut division, &[2800, 3000], wide + SECOND * 3, SECOND * 2),
            [0usize; 0]
        );
    }

    #[test]
    fn slow_viewers_get_the_large_picture_when_nobody_else_is_left_to_see_it() {
        let start = Instant::now();
        let mut division = Division::new();
        assert_eq!(after(&mut division, &[300, 3000], start, SECOND * 2), [0]);
        let gone = start + SECOND * 3;
        assert_eq!(
            after(&mut division, &[300], gone, SECOND * 3 / 2),
            [0usize; 0]
        );
    }

    #[test]
    fn rates_at_the_border_do_not_move_anybody_to_and_fro() {
        let start = Instant::now();
        let mut division = Division::new();
        let mut moves = 0;
        for tick in 0..1200u32 {
            let slow = if tick % 40 < 20 { 1300 } else { 1000 };
            let was = division.small().clone();
            let now = start + SECOND / 2 * tick;
            division.update(&rates(&[slow, 2800]), MOST, now);
            moves += usize::from(*division.small() != was);
        }
        assert_eq!(moves, 1);
    }

    proptest! {
        #[test]
        fn nobody_sees_less_than_without_a_division_and_moves_keep_their_distance(
            steps in vec((vec(50u64..9000, 0..6), 50u64..3000), 1..80),
        ) {
            let mut now = Instant::now();
            let mut division: Division<usize> = Division::new();
            let mut moved: Option<Instant> = None;
            for (kbps, elapsed) in steps {
                now += Duration::from_millis(elapsed);
                let rates = rates(&kbps);
                let was = division.small().clone();
                division.update(&rates, MOST, now);
                if *division.small() == was {
                    continue;
                }
                prop_assert!(moved.is_none_or(|moved| now >= moved + SOON));
                moved = Some(now);
                let large: Vec<_> = rates.keys().filter(|it| !division.small().contains(*it)).collect();
                prop_assert!(rates.is_empty() || !large.is_empty(), "the large picture is for somebody");
                let slowest_large = large.iter().map(|it| rates[*it].min(MOST)).min();
                for viewer in division.small().iter().filter(|it| rates.contains_key(*it)) {
                    prop_assert!(Some(rates[viewer]) < slowest_large, "the slow ones are in the small group");
                }
            }
        }
    }
}
