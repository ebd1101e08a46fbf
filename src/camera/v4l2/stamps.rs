//! When and which: what a driver says of its pictures, made safe to count and to subtract.

use std::time::Duration;

use crate::media::MediaTime;

/// Gives frames times that grow and numbers that show gaps, whatever the driver says.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    captured: MediaTime,
    told_sequence: u32,
    sequence: u32,
}

impl Stamps {
    /// `captured` is `None` when the driver does not use the monotonic clock: then the moment of taking it must do.
    pub(super) fn stamp(
        &mut self,
        captured: Option<MediaTime>,
        told_sequence: u32,
        now: MediaTime,
    ) -> (MediaTime, u32) {
        let is_credible = |captured: &MediaTime| {
            now.since(*captured) <= PAST_AT_MOST && captured.since(now) <= FUTURE_AT_MOST
        };
        let mut captured = captured.filter(is_credible).unwrap_or(now);
        let mut sequence = 0;
        if let Some(last) = self.last {
            let just_after = last.captured.since_boot() + Duration::from_micros(1);
            captured = captured.max(MediaTime::from_monotonic(just_after));
            let gap = told_sequence.wrapping_sub(last.told_sequence);
            let gap = if (1..=GAP_AT_MOST).contains(&gap) {
                gap
            } else {
                1
            };
            sequence = last.sequence.wrapping_add(gap);
        }
        self.last = Some(Last {
            captured,
            told_sequence,
            sequence,
        });
        (captured, sequence)
    }
}

/// No picture waits this long in a driver that still streams.
const PAST_AT_MOST: Duration = Duration::from_secs(10);

/// vivid stamps up to one frame ahead, and the slowest rate of a camera that is worth a name is one frame a second.
const FUTURE_AT_MOST: Duration = Duration::from_secs(1);

/// Half a minute at 30 frames a second. A larger step is a counter that wrapped, was reset, or never counted.
const GAP_AT_MOST: u32 = 900;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> MediaTime {
        MediaTime::from_monotonic(Duration::from_millis(ms))
    }

    #[test]
    fn a_good_driver_is_believed() {
        let mut stamps = Stamps::default();
        assert_eq!(stamps.stamp(Some(at(990)), 7, at(1000)), (at(990), 0));
        assert_eq!(stamps.stamp(Some(at(1023)), 8, at(1033)), (at(1023), 1));
        // Two pictures were dropped.
        assert_eq!(stamps.stamp(Some(at(1123)), 11, at(1133)), (at(1123), 4));
    }

    #[test]
    fn a_driver_that_never_counts_loses_no_pictures() {
        let mut stamps = Stamps::default();
        let sequences = [1000, 1033, 1066].map(|ms| stamps.stamp(None, 0, at(ms)));
        assert_eq!(sequences, [(at(1000), 0), (at(1033), 1), (at(1066), 2)]);
    }

    #[test]
    fn a_counter_that_starts_again_is_no_gap_of_four_thousand_million_pictures() {
        let mut stamps = Stamps::default();
        stamps.stamp(None, 500, at(1000));
        assert_eq!(stamps.stamp(None, 0, at(1033)).1, 1);
        assert_eq!(stamps.stamp(None, u32::MAX, at(1066)).1, 2);
        assert_eq!(stamps.stamp(None, 0, at(1100)).1, 3);
    }

    #[test]
    fn a_clock_of_its_own_or_a_wrapped_one_gives_way_to_ours() {
        let mut stamps = Stamps::default();
        assert_eq!(stamps.stamp(Some(at(5)), 0, at(60_000)).0, at(60_000));
        assert_eq!(stamps.stamp(Some(at(90_000)), 1, at(60_033)).0, at(60_033));
        assert_eq!(stamps.stamp(Some(at(60_500)), 2, at(60_066)).0, at(60_500));
    }

    proptest! {
        #[test]
        fn time_grows_and_numbers_move_on(told in prop::collection::vec((any::<Option<u64>>(), any::<u32>(), 0..100_u64), 1..50)) {
            let mut stamps = Stamps::default();
            let mut now = 1_000_000;
            let mut before: Option<(MediaTime, u32)> = None;
            for (captured, sequence, passed) in told {
                now += passed;
                let captured = captured.map(|us| MediaTime::from_monotonic(Duration::from_micros(us)));
                let stamped = stamps.stamp(captured, sequence, at(now));
                if let Some(before) = before {
                    prop_assert!(stamped.0 > before.0);
                    prop_assert!((1..=GAP_AT_MOST).contains(&stamped.1.wrapping_sub(before.1)));
                }
                before = Some(stamped);
            }
        }
    }
}
