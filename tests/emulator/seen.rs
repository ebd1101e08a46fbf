//! What came of a run.

use std::time::{Duration, Instant};

use super::screen::Screen;

/// What was seen of one viewer.
#[derive(Debug)]
pub struct Seen {
    pub origin: Instant,
    pub samples: Vec<Sample>,
    pub screen: Screen,
    pub frames: u32,
    pub wire_bytes: u64,
    pub media_bytes: u64,
    pub padding_bytes: u64,
}

/// Every 50 ms.
#[derive(Clone, Debug)]
pub struct Sample {
    pub at: Duration,
    pub estimate: f64,
    pub target: f64,
    pub link: f64,
    pub queue: Duration,
    pub wire_bytes: u64,
    pub neighbour_bytes: u64,
}

impl Seen {
    /// Shown, of those made.
    pub fn share_shown(&self) -> f64 {
        self.screen.shown.len() as f64 / f64::from(self.frames)
    }

    pub fn frozen(&self, from: f64, to: f64) -> Duration {
        let at = |seconds| self.origin + Duration::from_secs_f64(seconds);
        self.screen.frozen(at(from), at(to))
    }

    pub fn between(&self, from: f64, to: f64) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |it| (from..to).contains(&it.at.as_secs_f64()))
    }

    pub fn mean_estimate(&self, from: f64, to: f64) -> f64 {
        let all: Vec<f64> = self.between(from, to).map(|it| it.estimate).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    }

    /// What the estimate exceeded for all but `part` of the time.
    pub fn estimate(&self, part: f64, from: f64, to: f64) -> f64 {
        let mut all: Vec<f64> = self.between(from, to).map(|it| it.estimate).collect();
        all.sort_by(f64::total_cmp);
        all[(all.len() as f64 * part) as usize]
    }

    pub fn least_target(&self, from: f64, to: f64) -> f64 {
        self.between(from, to)
            .map(|it| it.target)
            .fold(f64::MAX, f64::min)
    }

    /// Everything that arrived, of what the link carries.
    pub fn used(&self, from: f64, to: f64) -> f64 {
        let all: Vec<&Sample> = self.between(from, to).collect();
        let (Some(first), Some(last)) = (all.first(), all.last()) else {
            return 0.0;
        };
        let carries: f64 = all.iter().map(|it| it.link * 0.05).sum();
        (last.wire_bytes - first.wire_bytes) as f64 * 8.0 / carries
    }

    /// Ours, of ours and the neighbour's.
    pub fn share(&self, from: f64, to: f64) -> f64 {
        let all: Vec<&Sample> = self.between(from, to).collect();
        let (Some(first), Some(last)) = (all.first(), all.last()) else {
            return 0.0;
        };
        let ours = (last.wire_bytes - first.wire_bytes) as f64;
        let theirs = (last.neighbour_bytes - first.neighbour_bytes) as f64;
        ours / (ours + theirs)
    }

    /// The queue that this share of the samples did not exceed.
    pub fn queue(&self, share: f64, from: f64, to: f64) -> Duration {
        let mut all: Vec<Duration> = self.between(from, to).map(|it| it.queue).collect();
        all.sort();
        all.get(((all.len() - 1) as f64 * share) as usize)
            .copied()
            .unwrap_or_default()
    }

    /// How old the picture on the screen was at its worst: just before the next one came.
    pub fn oldest_picture(&self, from: f64, to: f64) -> Duration {
        let shown = &self.screen.shown;
        shown
            .windows(2)
            .filter(|pair| (from..to).contains(&(pair[1].0 - self.origin).as_secs_f64()))
            .map(|pair| pair[1].0 - (pair[0].0 - pair[0].1))
            .max()
            .unwrap_or(Duration::MAX)
    }

    /// The longest time for which every sample had so much of a queue: what stands, whatever frames add to it.
    pub fn standing_queue(&self, from: f64, to: f64) -> Duration {
        let all: Vec<Duration> = self.between(from, to).map(|it| it.queue).collect();
        all.windows(20)
            .map(|second| second.iter().copied().min().unwrap_or_default())
            .max()
            .unwrap_or_default()
    }

    pub fn least_estimate(&self, from: f64, to: f64) -> f64 {
        self.between(from, to)
            .map(|it| it.estimate)
            .fold(f64::MAX, f64::min)
    }

    /// The first picture after this second.
    pub fn first_shown_after(&self, from: f64) -> Duration {
        let from = self.origin + Duration::from_secs_f64(from);
        let first = self.screen.shown.iter().find(|(at, _, _)| *at > from);
        first.map_or(Duration::MAX, |(at, _, _)| *at - from)
    }

    /// How long it took from this second until so much arrives.
    pub fn reached(&self, from: f64, estimate: f64) -> Duration {
        self.between(from, f64::MAX)
            .find(|it| it.estimate >= estimate)
            .map_or(Duration::MAX, |it| it.at - Duration::from_secs_f64(from))
    }

    pub fn latency(&self, share: f64, from: f64, to: f64) -> Duration {
        let mut all: Vec<Duration> = self
            .screen
            .shown
            .iter()
            .filter(|(at, _, _)| (from..to).contains(&(*at - self.origin).as_secs_f64()))
            .map(|(_, latency, _)| *latency)
            .collect();
        all.sort();
        all.get((all.len().saturating_sub(1) as f64 * share) as usize)
            .copied()
            .unwrap_or(Duration::MAX)
    }
}
