//! What a person sees: frames in order, each when it is complete and can be decoded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Fragment;

#[derive(Debug, Default)]
pub struct Screen {
    /// Frames that are not shown yet, by the sequence number of their first packet.
    frames: BTreeMap<u64, Partial>,
    /// The number after the last packet of the frame that was shown last.
    next: Option<u64>,
    /// When, how late, and which frame.
    pub shown: Vec<(Instant, Duration, u32)>,
}

#[derive(Debug)]
struct Partial {
    fragment: Fragment,
    /// Bits of the packets that are here.
    here: Vec<bool>,
    missing: u16,
}

impl Screen {
    pub fn receive(&mut self, sequence: u64, fragment: Fragment, now: Instant) {
        let first = sequence - u64::from(fragment.index);
        if self.next.is_some_and(|next| first < next) {
            return;
        }
        let partial = self.frames.entry(first).or_insert_with(|| Partial {
            fragment,
            here: vec![false; usize::from(fragment.count)],
            missing: fragment.count,
        });
        let here = &mut partial.here[usize::from(fragment.index)];
        if !*here {
            *here = true;
            partial.missing -= 1;
        }
        self.show(now);
    }

    pub fn last_shown(&self) -> Option<Instant> {
        self.shown.last().map(|(at, _, _)| *at)
    }

    /// Everything before this sequence number is of no interest any more.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// As Chromium counts it: a frame that stays 150 ms longer than frames do, or three times as long, and all of its time.
    pub fn frozen(&self, from: Instant, to: Instant) -> Duration {
        let times: Vec<Instant> = std::iter::once(from)
            .chain(self.shown.iter().map(|(at, _, _)| *at))
            .filter(|at| *at >= from && *at <= to)
            .chain(std::iter::once(to))
            .collect();
        times
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .filter(|gap| *gap > Duration::from_millis(183))
            .sum()
    }

    fn show(&mut self, now: Instant) {
        loop {
            let follows = self
                .next
                .filter(|next| self.frames.get(next).is_some_and(|it| it.missing == 0));
            let starts = || {
                self.frames
                    .iter()
                    .find(|(_, it)| it.fragment.key_frame && it.missing == 0)
                    .map(|(first, _)| *first)
            };
            let Some(first) = follows.or_else(starts) else {
                return;
            };
            let Some(partial) = self.frames.remove(&first) else {
                return;
            };
            let fragment = partial.fragment;
            self.next = Some(first + u64::from(fragment.count));
            while let Some(older) = self.frames.first_entry()
                && *older.key() < first
            {
                older.remove();
            }
            self.shown
                .push((now, now - fragment.captured, fragment.frame));
        }
    }
}
