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

    /// Bits per second over what came last: noisy, for frames come in bursts, except while a queue evens them out.
    pub(super) fn recent(&self) -> Option<f64> {
        let newest = self.arrivals.back()?.0;
        let bytes: u64 = self
            .arrivals
            .iter()
            .rev()
            .take_while(|(at, _)| *at + RECENT > newest)
            .map(|(_, bytes)| u64::from(*bytes))
            .sum();
        let known = newest.saturating_sub(self.since?);
        (known >= RECENT).then(|| bytes as f64 * 8.0 / RECENT.as_secs_f64())
    }
}

/// Fifteen frames at 30 fps: one more or less at the edge changes the rate by 7 %. Longer would notice a narrowed link late.
const WINDOW: Duration = Duration::from_millis(500);

/// Six frames at 30 fps; four times a feedback interval of Chromium.
const RECENT: Duration = Duration::from_millis(200);

/// Half a second at 40 Mbit/s. Beyond it the window is shorter, and the rate too low: no camera needs more.
const MOST_ARRIVALS: usize = 2048;
