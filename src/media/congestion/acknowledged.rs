//! How much arrives, by the receiver's clock.

use std::collections::VecDeque;
use std::time::Duration;

use super::history::Acknowledged;

/// What arrived lately.
#[derive(Debug, Default)]
pub(super) struct AcknowledgedRate {
    /// Oldest first: when, and how many bytes.
    arrivals: VecDeque<(Duration, u32)>,
    bytes: u64,
    since: Option<Duration>,
}

impl AcknowledgedRate {
    pub(super) fn add(&mut self, packet: &Acknowledged) {
        self.since.get_or_insert(packet.arrived);
        self.arrivals.push_back((packet.arrived, packet.bytes));
        self.bytes += u64::from(packet.bytes);
        while let Some(&(at, bytes)) = self.arrivals.front()
            && (at + WINDOW < packet.arrived || self.arrivals.len() > MOST_ARRIVALS)
        {
            self.arrivals.pop_front();
            self.bytes -= u64::from(bytes);
        }
    }

    /// Bits per second over half a second. `None` until half a second is known.
    pub(super) fn rate(&self) -> Option<f64> {
        let newest = self.arrivals.back()?.0;
        let known = newest.saturating_sub(self.since?);
        if known < WINDOW {
            return None;
        }
        Some(self.bytes as f64 * 8.0 / WINDOW.as_secs_f64())
    }

    /// Bits per second over what came last. While a queue is never empty this is what the link carries, to a packet; otherwise it is
    /// noisy, for frames come in bursts.
    pub(super) fn recent(&self) -> Option<f64> {
        let newest = self.arrivals.back()?.0;
        let (mut bytes, mut first) = (0, newest);
        for (count, (at, size)) in self.arrivals.iter().rev().enumerate() {
            first = *at;
            if *at + RECENT <= newest && count >= FEWEST_RECENT {
                break;
            }
            // The first of them did not arrive in the time since it arrived.
            bytes += u64::from(*size);
        }
        let known = newest.saturating_sub(first);
        (known >= RECENT).then(|| bytes as f64 * 8.0 / known.as_secs_f64())
    }
}

/// Fifteen frames at 30 fps: one more or less at the edge changes the rate by 7 %. Longer would notice a narrowed link late.
const WINDOW: Duration = Duration::from_millis(500);

/// Three frames at 30 fps. Longer, and a link that became narrow is taken for one that lost a little, while frames of the old size
/// go on filling its queue.
const RECENT: Duration = Duration::from_millis(100);

/// Four distances: at 300 kbit/s they take longer than the time.
const FEWEST_RECENT: usize = 4;

/// Half a second at 40 Mbit/s. Beyond it the window is shorter, and the rate too low: no camera needs more.
const MOST_ARRIVALS: usize = 2048;
