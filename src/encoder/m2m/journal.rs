//! Which access unit was made of which frame: by the timestamp that the driver copies, and never by counting.
//!
//! Drivers skip frames without a word, mark others as failed, hold some back and give headers a buffer of their own. The timestamp is
//! the one thing that the stateful encoder interface promises to bring along.

use std::time::Duration;

use crate::media::MediaTime;

/// The frames that an encoder took and has not answered yet, oldest first. Its memory is fixed.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: [Option<Entry>; ENTRIES],
    last_stamp: Option<MediaTime>,
}

/// A frame that went in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// What the driver was given: whole microseconds, and never the same twice.
    stamp: MediaTime,
    pub(super) captured: MediaTime,
    pub(super) sequence: u32,
}

/// A frame that came out, and how many before it never will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) entry: Entry,
    pub(super) skipped: u32,
}

impl Journal {
    /// Writes a frame down and returns the timestamp to give to the driver. When it is full the oldest is forgotten: an encoder
    /// that holds more frames than this does not encode live.
    pub(super) fn enter(&mut self, captured: MediaTime, sequence: u32) -> MediaTime {
        let micros = Duration::from_micros(
            u64::try_from(captured.since_boot().as_micros()).unwrap_or(u64::MAX),
        );
        // Zero is what drivers write that copied nothing.
        let mut stamp = MediaTime::from_monotonic(micros.max(MICROSECOND));
        if let Some(last) = self.last_stamp {
            stamp = stamp.max(MediaTime::from_monotonic(last.since_boot() + MICROSECOND));
        }
        self.last_stamp = Some(stamp);
        if self.is_full() {
            self.forget_first();
        }
        let place = self.entries.iter_mut().find(|entry| entry.is_none());
        if let Some(place) = place {
            *place = Some(Entry {
                stamp,
                captured,
                sequence,
            });
        }
        stamp
    }

    /// Takes the frame with this timestamp out, and all that went in before it. `None`: no frame that is waited for.
    pub(super) fn take(&mut self, stamp: MediaTime) -> Option<Match> {
        let index = self.find(stamp)?;
        let entry = self.entries[index]?;
        for _ in 0..=index {
            self.forget_first();
        }
        Some(Match {
            entry,
            skipped: index as u32,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries[0].is_none()
    }

    /// The encoder did not take the frame that was entered last.
    pub(super) fn take_back(&mut self, stamp: MediaTime) {
        for entry in &mut self.entries {
            if entry.is_some_and(|entry| entry.stamp == stamp) {
                *entry = None;
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.iter().all(Option::is_some)
    }

    /// Nothing that went in will come out.
    pub(super) fn clear(&mut self) {
        self.entries = Default::default();
    }

    /// The very one; else the nearest that a driver may have cut to this.
    fn find(&self, stamp: MediaTime) -> Option<usize> {
        let waiting = || self.entries.iter().flatten().enumerate();
        let exactly = waiting().find(|(_, entry)| entry.stamp == stamp);
        let nearly = || {
            waiting()
                .filter(|(_, entry)| entry.stamp > stamp && entry.stamp.since(stamp) < CUT_AT_MOST)
                .min_by_key(|(_, entry)| entry.stamp.since(stamp))
        };
        exactly.or_else(nearly).map(|(index, _)| index)
    }

    fn forget_first(&mut self) {
        self.entries[0] = None;
        self.entries.rotate_left(1);
    }
}

const MICROSECOND: Duration = Duration::from_micros(1);

/// Two frames are in the encoder, four in its buffers at most; the rest is for those that it skips.
const ENTRIES: usize = 16;

/// bcm2835-codec cuts to microseconds, which is exact here; nobody is known to cut more than a millisecond, and no two frames are
/// that near.
const CUT_AT_MOST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(nanos: u64) -> MediaTime {
        MediaTime::from_monotonic(Duration::from_nanos(nanos))
    }

    fn enter(journal: &mut Journal, count: u64) -> Vec<MediaTime> {
        (1..=count)
            .map(|n| journal.enter(at(n * 33_333_333), n as u32))
            .collect()
    }

    #[test]
    fn a_unit_finds_its_frame_and_its_exact_time() {
        let mut journal = Journal::default();
        let stamps = enter(&mut journal, 2);
        assert_eq!(stamps[0], at(33_333_000), "whole microseconds");
        let found = journal.take(stamps[0]).unwrap();
        assert_eq!(
            (found.entry.captured, found.entry.sequence),
            (at(33_333_333), 1)
        );
        assert_eq!(found.skipped, 0);
        assert!(!journal.is_empty());
    }

    #[test]
    fn frames_that_the_encoder_skips_are_forgotten_with_the_next_that_comes() {
        let mut journal = Journal::default();
        let stamps = enter(&mut journal, 4);
        let found = journal.take(stamps[2]).unwrap();
        assert_eq!((found.entry.sequence, found.skipped), (3, 2));
        assert_eq!(journal.take(stamps[0]), None, "too late");
        assert_eq!(journal.take(stamps[3]).unwrap().skipped, 0);
        assert!(journal.is_empty());
    }

    #[test]
    fn garbage_with_a_zero_timestamp_is_nobody_s() {
        let mut journal = Journal::default();
        enter(&mut journal, 2);
        assert_eq!(journal.take(at(0)), None);
        assert_eq!(journal.take(at(u64::MAX)), None);
        assert!(!journal.is_empty());
    }

    #[test]
    fn a_driver_that_cuts_to_milliseconds_still_finds_the_frame() {
        let mut journal = Journal::default();
        enter(&mut journal, 3);
        assert_eq!(journal.take(at(66_000_000)).unwrap().entry.sequence, 2);
    }

    #[test]
    fn two_frames_of_one_microsecond_are_told_apart() {
        let mut journal = Journal::default();
        let first = journal.enter(at(1_000_100), 1);
        let second = journal.enter(at(1_000_900), 2);
        assert!(second > first);
        assert_eq!(journal.take(second).unwrap().entry.sequence, 2);
    }

    proptest! {
        #[test]
        fn whatever_is_skipped_units_come_with_their_own_frame(
            gaps in prop::collection::vec(0_u64..50_000_000, 1..60),
            comes_out in prop::collection::vec(any::<bool>(), 60),
        ) {
            let mut journal = Journal::default();
            let mut now = 1_000_000_000;
            let mut waiting: Vec<(MediaTime, u32, MediaTime)> = Vec::new();
            for (sequence, gap) in gaps.iter().enumerate() {
                now += gap;
                let stamp = journal.enter(at(now), sequence as u32);
                waiting.push((stamp, sequence as u32, at(now)));
                if comes_out[sequence] && waiting.len() <= ENTRIES {
                    let (stamp, sequence, captured) = waiting[waiting.len() / 2];
                    let found = journal.take(stamp).unwrap();
                    prop_assert_eq!(found.entry.sequence, sequence);
                    prop_assert_eq!(found.entry.captured, captured);
                    prop_assert_eq!(found.skipped as usize, waiting.len() / 2);
                    waiting.drain(..=waiting.len() / 2);
                }
                prop_assert_eq!(journal.is_empty(), waiting.is_empty());
            }
        }
    }
}
