//! One direction of a way: a bottleneck with a queue, then what the rest of the way does to packets.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::traces::Trace;

#[derive(Clone, Debug)]
pub struct LinkSettings {
    pub rate: Trace,
    /// What finds more than so much time of the rate waiting is dropped.
    pub queue: Duration,
    pub delay: Duration,
    /// From the first on it takes the second longer: another cell, another satellite.
    pub longer: Option<(Duration, Duration)>,
    /// Added to each packet, evenly distributed.
    pub jitter: Duration,
    /// Jitter may let a packet overtake another.
    pub reorders: bool,
    pub loss: Loss,
    /// Nothing gets through from the first to the second.
    pub outages: Vec<(Duration, Duration)>,
}

#[derive(Clone, Copy, Debug)]
pub enum Loss {
    None,
    Random(f64),
    /// Gilbert and Elliott: the chances to go bad and good again with each packet, and to be lost while bad.
    Bursty {
        worse: f64,
        better: f64,
        lost: f64,
    },
}

impl LinkSettings {
    pub fn fast(delay: Duration) -> Self {
        Self {
            rate: Trace::constant(100e6),
            queue: Duration::from_secs(1),
            delay,
            longer: None,
            jitter: Duration::ZERO,
            reorders: false,
            loss: Loss::None,
            outages: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub struct Link {
    settings: LinkSettings,
    origin: Instant,
    /// When the bottleneck is free.
    free: Duration,
    /// (when it is through, bytes) of what waits at the bottleneck.
    waiting: VecDeque<(Duration, usize)>,
    waiting_bytes: usize,
    newest: Instant,
    is_bad: bool,
    random: StdRng,
    pub carried_bytes: u64,
    pub dropped: u64,
}

impl Link {
    pub fn new(settings: LinkSettings, origin: Instant, seed: u64) -> Self {
        Self {
            settings,
            origin,
            free: Duration::ZERO,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            newest: origin,
            is_bad: false,
            random: StdRng::seed_from_u64(seed),
            carried_bytes: 0,
            dropped: 0,
        }
    }

    /// When it arrives, if it does.
    pub fn send(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let at = now - self.origin;
        let is_out = |(from, to): &(Duration, Duration)| at >= *from && at < *to;
        if self.settings.outages.iter().any(is_out) {
            return None;
        }
        while let Some((through, bytes)) = self.waiting.front()
            && *through <= at
        {
            self.waiting_bytes -= bytes;
            self.waiting.pop_front();
        }
        let room =
            self.settings.rate.at(at).max(LEAST_RATE) / 8.0 * self.settings.queue.as_secs_f64();
        if self.waiting_bytes + bytes > (room as usize).max(LEAST_ROOM) {
            self.dropped += 1;
            return None;
        }
        let through = self
            .settings
            .rate
            .finish(self.free.max(at), bytes as f64 * 8.0);
        self.free = through;
        self.waiting.push_back((through, bytes));
        self.waiting_bytes += bytes;
        if self.is_lost() {
            return None;
        }
        self.carried_bytes += bytes as u64;
        let jitter = self.settings.jitter.mul_f64(self.random.random());
        let longer = self.settings.longer.filter(|(from, _)| at >= *from);
        let delay = self.settings.delay + longer.map_or(Duration::ZERO, |(_, more)| more);
        let mut arrival = self.origin + through + delay + jitter;
        if !self.settings.reorders {
            arrival = arrival.max(self.newest);
            self.newest = arrival;
        }
        Some(arrival)
    }

    /// How long a packet that came now would wait.
    pub fn queue_delay(&self, now: Instant) -> Duration {
        self.free.saturating_sub(now - self.origin)
    }

    fn is_lost(&mut self) -> bool {
        match self.settings.loss {
            Loss::None => false,
            Loss::Random(share) => self.random.random_bool(share),
            Loss::Bursty {
                worse,
                better,
                lost,
            } => {
                let turns = if self.is_bad { better } else { worse };
                self.is_bad ^= self.random.random_bool(turns);
                self.is_bad && self.random.random_bool(lost)
            }
        }
    }
}

/// During a handover the modem keeps what it would keep at this rate.
const LEAST_RATE: f64 = 300e3;

/// Every queue has room for a few packets.
const LEAST_ROOM: usize = 4 * 1250;
