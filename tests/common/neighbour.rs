//! A download beside us: TCP with Reno's rules (RFC 5681), always something to send.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Neighbour {
    window: f64,
    threshold: f64,
    next: u64,
    /// In flight: when it was sent.
    flight: BTreeMap<u64, Instant>,
    /// Losses of packets before this are one congestion event.
    recover: u64,
    newest_answer: Instant,
    pub(crate) arrived_bytes: u64,
}

impl Neighbour {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            window: 10.0,
            threshold: f64::MAX,
            next: 0,
            flight: BTreeMap::new(),
            recover: 0,
            newest_answer: now,
            arrived_bytes: 0,
        }
    }

    /// The number of a packet that may leave now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<u64> {
        if now > self.newest_answer + PATIENCE && !self.flight.is_empty() {
            self.threshold = (self.window / 2.0).max(2.0);
            self.window = 1.0;
            self.flight.clear();
            self.newest_answer = now;
        }
        if self.flight.len() as f64 >= self.window {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.flight.insert(number, now);
        Some(number)
    }

    pub(crate) fn acknowledged(&mut self, number: u64, now: Instant) {
        self.arrived_bytes += PACKET as u64;
        self.newest_answer = now;
        self.flight.remove(&number);
        self.window += match self.window < self.threshold {
            true => 1.0,
            false => 1.0 / self.window,
        };
        // Three that came after it: it is lost.
        let lost = self.flight.range(..number.saturating_sub(3)).next();
        if let Some((&first, _)) = lost {
            if first >= self.recover {
                self.window = (self.window / 2.0).max(2.0);
                self.threshold = self.window;
                self.recover = self.next;
            }
            self.flight = self.flight.split_off(&number.saturating_sub(3));
        }
    }
}

pub(crate) const PACKET: usize = 1250;

/// From the browser's side of the link back to us.
pub(crate) const RETURN: Duration = Duration::from_millis(25);

/// The least retransmission timeout of RFC 6298.
const PATIENCE: Duration = Duration::from_secs(1);
