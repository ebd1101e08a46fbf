//! How long packets stand in a queue, from the fastest that were ever seen.
//!
//! The gradient says whether a queue grows; this says whether one is there. RFC 8836, section 2, item 1: a standing queue is
//! delay that nobody gains from.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::history::Acknowledged;

#[derive(Debug)]
pub(super) struct QueueDelay {
    /// One-way delays are counted from here: the clocks of both ends share no origin.
    origin: Instant,
    /// The least delay of each second, oldest first, by our clock.
    seconds: VecDeque<(Instant, i64)>,
    /// Delays of the last moments, by the receiver's clock.
    recent: VecDeque<(Duration, i64)>,
    standing: Duration,
}

impl QueueDelay {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            origin: now,
            seconds: VecDeque::new(),
            recent: VecDeque::new(),
            standing: Duration::ZERO,
        }
    }

    /// In order of arrival. `forget`: an old minimum may be forgotten; not while a queue may be the neighbour's. True when the way has
    /// become longer, so that what was taken for a queue was none.
    #[must_use]
    pub(super) fn add(&mut self, packet: &Acknowledged, forget: bool) -> bool {
        let mut is_longer = false;
        let sent = packet.sent.saturating_duration_since(self.origin);
        let delay = packet.arrived.as_micros() as i64 - sent.as_micros() as i64;
        match self.seconds.back_mut() {
            Some((start, least)) if packet.sent < *start + Duration::from_secs(1) => {
                *least = delay.min(*least);
            }
            Some(_) | None => {
                is_longer = self.forget_shorter_way();
                self.seconds.push_back((packet.sent, delay));
            }
        }
        while self.seconds.len() > MOST_SECONDS || (forget && self.seconds.len() > BASE_SECONDS) {
            self.seconds.pop_front();
        }
        self.recent.push_back((packet.arrived, delay));
        while let Some((at, _)) = self.recent.front()
            && (*at + RECENT < packet.arrived && self.recent.len() > FEWEST_RECENT
                || self.recent.len() > MOST_RECENT)
        {
            self.recent.pop_front();
        }
        is_longer
    }

    /// A queue is never as long for seconds: not ours, which we drain, and not one that TCP fills and lets go by turns.
    fn forget_shorter_way(&mut self) -> bool {
        let Some(older) = self.seconds.len().checked_sub(CONSTANT_SECONDS) else {
            return false;
        };
        let newest = || self.seconds.range(older..).map(|(_, least)| *least);
        let (least, most) = (newest().min(), newest().max());
        let is_constant = least
            .zip(most)
            .is_some_and(|(least, most)| most - least <= CONSTANT);
        if !is_constant {
            return false;
        }
        let shorter = self.seconds.drain(..older).map(|(_, least)| least).min();
        shorter
            .zip(most)
            .is_some_and(|(shorter, most)| most - shorter > CONSTANT)
    }

    /// What every packet up to the newest waited at least.
    pub(super) fn least(&self) -> Duration {
        let base = self.seconds.iter().map(|(_, least)| *least).min();
        let recent = self.recent.iter().map(|(_, delay)| *delay).min();
        waited(base, recent)
    }

    /// To be called when all packets of a report are added.
    pub(super) fn settle(&mut self) {
        self.standing = self.least();
    }

    /// What every packet of the last moments waited at least.
    pub(super) fn standing(&self) -> Duration {
        self.standing
    }
}

/// Beyond the least delay; nothing while none is known.
fn waited(base: Option<i64>, delay: Option<i64>) -> Duration {
    let waited = base.zip(delay).map_or(0, |(base, delay)| delay - base);
    Duration::from_micros(waited.max(0) as u64)
}

/// A way that became longer by itself counts as a queue for so long. Clocks that drift by 50 ppm come apart by half a ms in it.
const BASE_SECONDS: usize = 10;

/// So long must the least delay of each second be the same, in microseconds and but for jitter, to be the way's own. Around the top
/// of its curve CUBIC keeps a queue within 6 ms for 3 s at 4 Mbit/s, and for 6 s at 40 (RFC 9438, section 4.2).
const CONSTANT_SECONDS: usize = 6;
const CONSTANT: i64 = 6000;

/// With a neighbour that fills the queue the emptiest moment is longer ago.
const MOST_SECONDS: usize = 60;

/// Two frames at 30 fps: their fastest packet shows the queue without the jitter.
const RECENT: Duration = Duration::from_millis(70);

/// At a few packets a second the time alone would keep one, jitter included.
const FEWEST_RECENT: usize = 4;

/// 130 ms at 35 Mbit/s; beyond it the window is shorter.
const MOST_RECENT: usize = 512;
