//! All viewers' links → the one rate of the one encoder.
//!
//! The slowest viewer decides, for what does not fit into its link would only be late. A viewer whose link carries less than is of
//! use to anybody decides nothing: it gets key frames when its link has room, and the others their picture.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::{EncoderLimits, RateMethod};
use crate::media::Bitrate;

/// Why the target is what it is. `V` names a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why<V> {
    Start,
    /// This viewer's link carries the least.
    Slowest {
        viewer: V,
        behind: usize,
    },
    /// Every link carries more than the encoder may make.
    Most,
    /// No link carries the least that is of use.
    Least,
}

impl<V: fmt::Display> fmt::Display for Why<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("nothing is known of the viewers' links yet"),
            Self::Slowest { viewer, behind: 0 } => {
                write!(f, "viewer {viewer} has the slowest link")
            }
            Self::Slowest { viewer, behind } => write!(
                f,
                "viewer {viewer} has the slowest link, not counting {behind} that no picture of use fits into"
            ),
            Self::Most => f.write_str("every link carries the most that is allowed"),
            Self::Least => f.write_str("no link carries the least that is of use"),
        }
    }
}

/// One encoder's target. `V` names a viewer.
#[derive(Debug)]
pub struct SharedRate<V> {
    limits: EncoderLimits,
    target: Bitrate,
    /// What the deciding viewer's link carries, even where no encoder makes so little.
    left: Bitrate,
    moved: Option<Instant>,
    why: Why<V>,
    /// Viewers that decide nothing, and since when they could again.
    behind: BTreeMap<V, Option<Instant>>,
}

impl<V: Ord + Clone> SharedRate<V> {
    pub fn new(limits: EncoderLimits, start: Bitrate) -> Self {
        let mut shared = Self {
            limits,
            target: start,
            left: start,
            moved: None,
            why: Why::Start,
            behind: BTreeMap::new(),
        };
        shared.target = shared.on_grid(start);
        shared
    }

    /// What each viewer's link leaves for the encoder, at least ten times a second. Returns a target that the encoder is to take.
    pub fn update(&mut self, viewers: &BTreeMap<V, Bitrate>, now: Instant) -> Option<Bitrate> {
        self.sort_out(viewers, now);
        let deciding = viewers
            .iter()
            .filter(|(viewer, _)| !self.behind.contains_key(viewer))
            .min_by_key(|(_, rate)| **rate);
        let (wanted, why) = match deciding {
            Some((_, rate)) if *rate >= self.limits.most => (self.limits.most, Why::Most),
            Some((viewer, rate)) => (
                *rate,
                Why::Slowest {
                    viewer: viewer.clone(),
                    behind: self.behind.len(),
                },
            ),
            // The best that can be had: somebody may see something.
            None => {
                let (viewer, rate) = viewers.iter().max_by_key(|(_, rate)| **rate)?;
                let why = match *rate < self.limits.least {
                    true => Why::Least,
                    false => Why::Slowest {
                        viewer: viewer.clone(),
                        behind: self.behind.len() - 1,
                    },
                };
                (*rate, why)
            }
        };
        self.left = wanted;
        let wanted = self.on_grid(wanted);
        if !self.is_worth(wanted, now) {
            return None;
        }
        self.target = wanted;
        self.moved = Some(now);
        self.why = why;
        Some(wanted)
    }

    /// Another encoder makes the pictures. The target is then one that it takes.
    pub fn set_limits(&mut self, limits: EncoderLimits) {
        self.limits = limits;
        self.target = self.on_grid(self.target);
    }

    pub fn target(&self) -> Bitrate {
        self.target
    }

    /// What the pictures may have, be it less than the encoder can be asked for.
    pub fn left(&self) -> Bitrate {
        self.target.min(self.left)
    }

    /// Why the target last moved.
    pub fn why(&self) -> &Why<V> {
        &self.why
    }

    /// True when nothing of use fits into this viewer's link.
    pub fn is_behind(&self, viewer: &V) -> bool {
        self.behind.contains_key(viewer)
    }

    fn sort_out(&mut self, viewers: &BTreeMap<V, Bitrate>, now: Instant) {
        self.behind.retain(|viewer, _| viewers.contains_key(viewer));
        let mut rates: Vec<Bitrate> = viewers.values().copied().collect();
        rates.sort_unstable();
        let median = rates.get(rates.len() / 2).copied().unwrap_or_default();
        // One alone is followed wherever its link goes.
        let share = Bitrate::bps(median.as_bps() / OF_MEDIAN);
        let floor = match viewers.len() {
            0 | 1 => self.limits.least,
            _ => self.limits.least.max(share),
        };
        let back = Bitrate::bps((floor.as_bps() as f64 * BACK) as u64);
        let is_alone = viewers.len() == 1;
        for (viewer, rate) in viewers {
            if is_alone && *rate >= floor {
                self.behind.remove(viewer);
                continue;
            }
            match self.behind.get_mut(viewer) {
                None if *rate < floor => {
                    self.behind.insert(viewer.clone(), None);
                }
                None => {}
                Some(since) if *rate < back => *since = None,
                Some(since) => {
                    let since = *since.get_or_insert(now);
                    if now >= since + BACK_FOR {
                        self.behind.remove(viewer);
                    }
                }
            }
        }
    }

    fn is_worth(&self, wanted: Bitrate, now: Instant) -> bool {
        let (down, up, wait_up) = match self.limits.method {
            RateMethod::Control => (CONTROL_DOWN, CONTROL_UP, Duration::ZERO),
            RateMethod::Reopen => (REOPEN_DOWN, REOPEN_UP, REOPEN_UP_AFTER),
        };
        let worth = f64::from(self.limits.least_change_percent) / 100.0;
        let (down, up) = (down.max(worth * TOO_MUCH), up.max(worth));
        let since = self.moved.map(|moved| now.saturating_duration_since(moved));
        let passed = |wait: Duration| since.is_none_or(|since| since >= wait);
        let (was, wanted) = (self.target.as_bps() as f64, wanted.as_bps() as f64);
        let is_end = self.limits.method == RateMethod::Control
            && wanted == self.on_grid(self.limits.most).as_bps() as f64;
        if wanted < was {
            wanted < was * (1.0 - down) && passed(self.limits.interval)
        } else {
            (wanted > was * (1.0 + up) || is_end && wanted > was)
                && passed(self.limits.interval.max(wait_up))
        }
    }

    /// A multiple of the step within the limits, not above `rate` unless that is below the least.
    fn on_grid(&self, rate: Bitrate) -> Bitrate {
        let step = self.limits.step.as_bps().max(1);
        let rate = rate.clamp(self.limits.least, self.limits.most).as_bps();
        Bitrate::bps((rate / step * step).max(self.limits.least.as_bps()))
    }
}

/// A viewer with less than an eighth of what the middle one has would cost the others seven eighths of their picture.
const OF_MEDIAN: u64 = 8;

/// A viewer at the border would move everybody's picture with every frame.
const BACK: f64 = 1.3;
const BACK_FOR: Duration = Duration::from_secs(3);

/// What is too much for a link comes late; what could be more is only less pretty.
const TOO_MUCH: f64 = 0.3;

/// A control costs nothing; below these changes nobody sees a difference.
const CONTROL_DOWN: f64 = 0.01;
const CONTROL_UP: f64 = 0.02;

/// A new start costs a key frame and some frames: only for what would otherwise be late, or for a picture that is clearly better.
const REOPEN_DOWN: f64 = 0.1;
const REOPEN_UP: f64 = 0.3;
const REOPEN_UP_AFTER: Duration = Duration::from_secs(5);

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests need some instant to count from
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const LIMITS: EncoderLimits = EncoderLimits {
        least: Bitrate::kbps(300),
        most: Bitrate::kbps(4000),
        step: Bitrate::kbps(25),
        interval: Duration::from_millis(100),
        least_change_percent: 0,
        method: RateMethod::Control,
    };

    fn viewers(kbps: &[u64]) -> BTreeMap<usize, Bitrate> {
        kbps.iter()
            .map(|it| Bitrate::kbps(*it))
            .enumerate()
            .collect()
    }

    #[test]
    fn slowest_viewer_decides() {
        let mut shared = SharedRate::new(LIMITS, Bitrate::kbps(1500));
        let took = shared.update(&viewers(&[3000, 1000, 2000]), Instant::now());
        assert_eq!(took, Some(Bitrate::kbps(1000)));
        assert_eq!(shared.why().to_string(), "viewer 1 has the slowest link");
    }

    #[test]
    fn viewer_below_the_floor_drags_nobody_down_and_comes_back_when_it_stays_above() {
        let start = Instant::now();
        let mut shared = SharedRate::new(LIMITS, Bitrate::kbps(1500));
        shared.update(&viewers(&[3000, 250, 2000]), start);
        assert_eq!(shared.target(), Bitrate::kbps(2000));
        assert!(shared.is_behind(&1));

        // Above the floor for a moment is not enough.
        shared.update(&viewers(&[3000, 600, 2000]), start + Duration::from_secs(1));
        shared.update(&viewers(&[3000, 200, 2000]), start + Duration::from_secs(2));
        shared.update(&viewers(&[3000, 600, 2000]), start + Duration::from_secs(3));
        assert_eq!(shared.target(), Bitrate::kbps(2000));
        shared.update(&viewers(&[3000, 600, 2000]), start + Duration::from_secs(6));
        assert_eq!(shared.target(), Bitrate::kbps(600));
    }

    #[test]
    fn lone_viewer_is_followed_down_to_the_least() {
        let mut shared = SharedRate::new(LIMITS, Bitrate::kbps(1500));
        let took = shared.update(&viewers(&[120]), Instant::now());
        assert_eq!(took, Some(LIMITS.least));
        assert_eq!(*shared.why(), Why::Least);
    }

    #[test]
    fn encoder_that_must_be_opened_again_is_left_alone_for_little() {
        let limits = EncoderLimits {
            method: RateMethod::Reopen,
            ..LIMITS
        };
        let start = Instant::now();
        let mut shared = SharedRate::new(limits, Bitrate::kbps(1500));
        assert_eq!(shared.update(&viewers(&[1400]), start), None);
        let down = shared.update(&viewers(&[1000]), start);
        assert_eq!(down, Some(Bitrate::kbps(1000)));
        assert_eq!(
            shared.update(&viewers(&[2000]), start + Duration::from_secs(1)),
            None
        );
        let up = shared.update(&viewers(&[2000]), start + Duration::from_secs(6));
        assert_eq!(up, Some(Bitrate::kbps(2000)));
    }

    #[test]
    fn change_that_is_not_worth_it_is_not_made_but_too_much_is_taken_back_sooner() {
        let limits = EncoderLimits {
            least_change_percent: 20,
            ..LIMITS
        };
        let start = Instant::now();
        let mut shared = SharedRate::new(limits, Bitrate::kbps(1500));
        let second = Duration::from_secs(1);
        assert_eq!(shared.update(&viewers(&[1750]), start), None);
        assert_eq!(shared.update(&viewers(&[1425]), start + second), None);
        let down = shared.update(&viewers(&[1375]), start + second * 2);
        assert_eq!(down, Some(Bitrate::kbps(1375)));
        let up = shared.update(&viewers(&[1700]), start + second * 3);
        assert_eq!(up, Some(Bitrate::kbps(1700)));
    }

    #[test]
    fn firmware_that_stands_no_less_is_asked_for_no_less_but_what_the_link_carries_is_known() {
        let firmware = EncoderLimits {
            least: Bitrate::kbps(600),
            ..EncoderLimits::ANY
        };
        let mut shared = SharedRate::new(LIMITS, Bitrate::kbps(300));
        shared.set_limits(firmware.within(Bitrate::kbps(300), Bitrate::kbps(4000)));
        assert_eq!(shared.target(), Bitrate::kbps(600));
        shared.update(&viewers(&[400]), Instant::now());
        assert_eq!(shared.target(), Bitrate::kbps(600));
        assert_eq!(shared.left(), Bitrate::kbps(400));
    }

    #[test]
    fn configuration_that_asks_for_less_than_the_encoder_makes_gets_its_least() {
        let firmware = EncoderLimits {
            least: Bitrate::kbps(600),
            most: Bitrate::kbps(2000),
            ..EncoderLimits::ANY
        };
        let within = firmware.within(Bitrate::kbps(100), Bitrate::kbps(500));
        assert_eq!(
            (within.least, within.most),
            (Bitrate::kbps(600), Bitrate::kbps(600))
        );
        let within = firmware.within(Bitrate::kbps(3000), Bitrate::kbps(9000));
        assert_eq!(
            (within.least, within.most),
            (Bitrate::kbps(2000), Bitrate::kbps(2000))
        );
    }

    fn any_limits() -> impl Strategy<Value = EncoderLimits> {
        (
            100u64..900,
            0u64..5000,
            1u64..100,
            0u64..6000,
            0u32..40,
            any::<bool>(),
        )
            .prop_map(
                |(least, more, step, interval, least_change_percent, reopens)| EncoderLimits {
                    least: Bitrate::kbps(least),
                    most: Bitrate::kbps(least + more),
                    step: Bitrate::kbps(step),
                    interval: Duration::from_millis(interval),
                    least_change_percent,
                    method: if reopens {
                        RateMethod::Reopen
                    } else {
                        RateMethod::Control
                    },
                },
            )
    }

    proptest! {
        #[test]
        fn any_encoder_is_asked_only_for_what_it_takes_and_no_sooner_than_it_can(
            limits in any_limits(),
            steps in vec((vec(50u64..9000, 0..5), 1u64..2000), 1..60),
        ) {
            let mut now = Instant::now();
            let mut shared = SharedRate::new(limits, Bitrate::kbps(1500));
            let mut moved: Option<(Instant, Bitrate)> = None;
            for (rates, elapsed) in steps {
                now += Duration::from_millis(elapsed);
                let was = shared.target();
                if let Some(target) = shared.update(&viewers(&rates), now) {
                    prop_assert!((limits.least..=limits.most).contains(&target));
                    let is_end = target == limits.least;
                    prop_assert!(is_end || target.as_bps() % limits.step.as_bps() == 0);
                    if let Some((at, before)) = moved {
                        prop_assert!(now >= at + limits.interval);
                        prop_assert_eq!(before, was);
                    }
                    if limits.method == RateMethod::Reopen && target > was {
                        let worth = was.as_bps() * u64::from(limits.least_change_percent) / 100;
                        prop_assert!(target.as_bps() >= was.as_bps() + worth);
                    }
                    moved = Some((now, target));
                }
                prop_assert!(shared.left() <= shared.target());
            }
        }

        #[test]
        fn target_stays_on_the_grid_and_moves_no_faster_than_the_encoder_can(
            steps in vec((vec(50u64..9000, 0..5), 1u64..400), 1..60),
        ) {
            let mut now = Instant::now();
            let mut shared = SharedRate::new(LIMITS, Bitrate::kbps(1500));
            let mut moved: Option<Instant> = None;
            for (rates, elapsed) in steps {
                now += Duration::from_millis(elapsed);
                if let Some(target) = shared.update(&viewers(&rates), now) {
                    prop_assert!((LIMITS.least..=LIMITS.most).contains(&target));
                    prop_assert_eq!(target.as_bps() % LIMITS.step.as_bps(), 0);
                    prop_assert!(moved.is_none_or(|moved| now >= moved + LIMITS.interval));
                    moved = Some(now);
                }
            }
        }
    }
}
