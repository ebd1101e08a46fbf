//! How much arrives, by the receiver's clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::history::Acknowledged;

/// What arrived lately.
#[derive(Debug, Default)]
pub(super) struct AcknowledgedRate {
    /// Oldest first.
    arrivals: VecDeque<Arrived>,
    bytes: u64,
    since: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Arrived {
    /// By the receiver's clock.
    at: Duration,
    sent: Instant,
    bytes: u32,
}

/// The way of some packets: how fast they were sent, and what the queue did meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stretch {
    pub(super) packets: usize,
    /// In bits per second.
    pub(super) sent: f64,
    pub(super) arrived: f64,
    /// In seconds: how long it took to send them, and to arrive. What is more is what the queue grew.
    pub(super) sending: f64,
    pub(super) arriving: f64,
}

impl AcknowledgedRate {
    pub(super) fn add(&mut self, packet: &Acknowledged) {
        self.since.get_or_insert(packet.arrived);
        self.arrivals.push_back(Arrived {
            at: packet.arrived,
            sent: packet.sent,
            bytes: packet.bytes,
        });
        self.bytes += u64::from(packet.bytes);
        while let Some(oldest) = self.arrivals.front()
            && (oldest.at + WINDOW < packet.arrived || self.arrivals.len() > MOST_ARRIVALS)
        {
            self.bytes -= u64::from(oldest.bytes);
            self.arrivals.pop_front();
        }
    }

    /// Bits per second over half a second. `None` until half a second is known.
    pub(super) fn rate(&self) -> Option<f64> {
        let newest = self.arrivals.back()?.at;
        let known = newest.saturating_sub(self.since?);
        if known < WINDOW {
            return None;
        }
        Some(self.bytes as f64 * 8.0 / WINDOW.as_secs_f64())
    }

    /// Bits per second over what came last. While a queue is never empty this is what the link carries, to a packet; otherwise it is
    /// noisy, for frames come in bursts.
    pub(super) fn recent(&self) -> Option<f64> {
        let newest = self.arrivals.back()?.at;
        let (mut bytes, mut first) = (0, newest);
        for (count, packet) in self.arrivals.iter().rev().enumerate() {
            first = packet.at;
            if packet.at + RECENT <= newest && count >= FEWEST_RECENT {
                break;
            }
            // The first of them did not arrive in the time since it arrived.
            bytes += u64::from(packet.bytes);
        }
        let known = newest.saturating_sub(first);
        (known >= RECENT).then(|| bytes as f64 * 8.0 / known.as_secs_f64())
    }

    /// What became of the packets that were sent since then, as far as they are half a second old at most.
    pub(super) fn since(&self, since: Instant) -> Option<Stretch> {
        let mut packets = self.arrivals.iter().filter(|it| it.sent >= since);
        let first = packets.next()?;
        let (mut count, mut bytes, mut last) = (1, 0, first);
        for packet in packets {
            count += 1;
            bytes += u64::from(packet.bytes);
            last = packet;
        }
        let sending = last.sent.saturating_duration_since(first.sent);
        let arriving = last.at.saturating_sub(first.at);
        if sending.is_zero() || arriving.is_zero() {
            return None;
        }
        let (sending, arriving) = (sending.as_secs_f64(), arriving.as_secs_f64());
        Some(Stretch {
            packets: count,
            sent: bytes as f64 * 8.0 / sending,
            arrived: bytes as f64 * 8.0 / arriving,
            sending,
            arriving,
        })
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
