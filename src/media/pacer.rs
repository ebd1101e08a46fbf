//! When the packets of one viewer leave: an access unit over part of a frame time, never as one burst.
//!
//! ```text
//!   push_unit ──► media ───┐                      ┌──► Packet
//!   push_repair ► repairs ─┼──► leaky bucket ─────┤
//!   probe ───────► wish ───┘    pace × estimate   └──► Padding (only to fill a probe)
//! ```
//!
//! A queue that would take longer than [`QUEUE`] is given up as a whole: the viewer goes on with the next key frame rather than
//! falling behind. Repairs go first, for the browser waits for them with everything that follows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Bitrate;
use super::congestion::{Probe, ProbeId};

/// The queue of one viewer; `P` is what the driver needs to send a packet.
#[derive(Debug)]
pub struct Pacer<P> {
    media: VecDeque<Waiting<P>>,
    repairs: VecDeque<Waiting<P>>,
    /// Of `media` and `repairs`.
    bytes: usize,
    /// Of the key frame that is leaving.
    key_frame_bytes: usize,
    /// What piled up behind the last key frame is not gone yet.
    is_behind_key_frame: bool,
    estimate: Bitrate,
    room: Room,
    /// When the bucket is empty.
    free: Instant,
    probe: Option<Probe>,
    /// What one packet that carries nothing new has on the wire.
    padding: usize,
    is_held: bool,
}

#[derive(Debug)]
struct Waiting<P> {
    packet: P,
    bytes: usize,
    key_frame: bool,
    /// The last of its access unit.
    last: bool,
}

/// How much of a link there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// All that is ever wanted.
    Ample,
    /// The estimate.
    Scarce,
    /// The estimate, beside somebody else who fills the queue.
    Contended,
}

/// What leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure<P> {
    Packet {
        packet: P,
        probe: Option<ProbeId>,
    },
    /// A packet that carries nothing new, of the size that [`Pacer::set_padding`] was told.
    Padding {
        probe: ProbeId,
    },
}

/// What became of an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    Queued,
    /// The queue was full. It is empty now, and the viewer must go on with a key frame.
    Skipped {
        units: u64,
    },
}

impl<P> Pacer<P> {
    pub fn new(estimate: Bitrate, now: Instant) -> Self {
        Self {
            media: VecDeque::new(),
            repairs: VecDeque::new(),
            bytes: 0,
            key_frame_bytes: 0,
            is_behind_key_frame: false,
            estimate,
            room: Room::Scarce,
            free: now,
            probe: None,
            padding: PADDING,
            is_held: false,
        }
    }

    /// What the link takes, as the estimator says.
    pub fn set_estimate(&mut self, estimate: Bitrate, room: Room) {
        self.estimate = Bitrate::bps(estimate.as_bps().max(LEAST.as_bps()));
        self.room = room;
    }

    /// Nothing leaves while the browser answers nothing, and nothing waits for it.
    pub fn hold(&mut self, held: bool) {
        self.is_held = held;
    }

    /// Queues the packets of one access unit, each with its bytes on the wire.
    pub fn push_unit(
        &mut self,
        packets: impl IntoIterator<Item = (P, usize)>,
        key_frame: bool,
    ) -> Pushed {
        if self.is_held {
            return Pushed::Skipped {
                units: self.clear() + 1,
            };
        }
        if let Some(units) = self.make_room(key_frame) {
            return Pushed::Skipped { units: units + 1 };
        }
        self.is_behind_key_frame |= key_frame;
        for (packet, bytes) in packets {
            self.bytes += bytes;
            self.key_frame_bytes += if key_frame { bytes } else { 0 };
            self.media.push_back(Waiting {
                packet,
                bytes,
                key_frame,
                last: false,
            });
        }
        if let Some(last) = self.media.back_mut() {
            last.last = true;
        }
        Pushed::Queued
    }

    /// How many bytes on the wire the next packet has that carries nothing new: an old packet is sent again, and they differ in size.
    pub fn set_padding(&mut self, bytes: usize) {
        self.padding = bytes.max(1);
    }

    /// Queues a packet that the browser misses. False when too many wait: it is for whoever asks again.
    #[must_use]
    pub fn push_repair(&mut self, packet: P, bytes: usize) -> bool {
        if self.is_held || self.repairs.len() == REPAIRS {
            return false;
        }
        self.bytes += bytes;
        self.repairs.push_back(Waiting {
            packet,
            bytes,
            key_frame: false,
            last: false,
        });
        true
    }

    /// Sends at the probe's rate until its bytes are gone. One that is running is replaced.
    pub fn start_probe(&mut self, probe: Probe, now: Instant) {
        self.probe = Some(probe);
        self.free = now;
    }

    /// What may leave now. To be called until it is `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Departure<P>> {
        if self.is_held || now + self.burst() < self.free {
            return None;
        }
        let (rate, probe) = match self.probe {
            Some(probe) => (probe.rate, Some(probe.id)),
            None => (self.pace(), None),
        };
        let (departure, bytes) = match self.next() {
            Some(waiting) => {
                let packet = waiting.packet;
                (Departure::Packet { packet, probe }, waiting.bytes)
            }
            None => {
                let probe = probe?;
                (Departure::Padding { probe }, self.padding)
            }
        };
        let late = match (self.probe, self.room) {
            (Some(_), _) => MADE_UP,
            (None, Room::Contended) => BURST,
            (None, Room::Ample | Room::Scarce) => Duration::ZERO,
        };
        self.free = self.free.max(now.checked_sub(late).unwrap_or(now)) + time_of(bytes, rate);
        if let Some(probe) = &mut self.probe {
            probe.bytes = probe.bytes.saturating_sub(bytes);
            if probe.bytes == 0 {
                self.probe = None;
            }
        }
        Some(departure)
    }

    /// When to come back: with an empty bucket, so that as much as it holds leaves together.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let anything = !self.is_held && (self.bytes > 0 || self.probe.is_some());
        let ahead = match self.probe {
            Some(_) => self.burst(),
            None => Duration::ZERO,
        };
        anything.then(|| self.free.checked_sub(ahead).unwrap_or(self.free))
    }

    /// How long the newest packet waits.
    pub fn delay(&self) -> Duration {
        time_of(self.bytes, self.estimate)
    }

    /// How long the repairs that wait take.
    pub fn repairs_take(&self) -> Duration {
        let bytes = self.repairs.iter().map(|repair| repair.bytes).sum();
        time_of(bytes, self.estimate)
    }

    /// Forgets everything that waits; returns how many access units can no longer be complete.
    pub fn clear(&mut self) -> u64 {
        let units = self.media.iter().filter(|waiting| waiting.last).count() as u64;
        self.media.clear();
        self.repairs.clear();
        self.bytes = 0;
        self.key_frame_bytes = 0;
        units
    }

    /// How many access units were given up, when the next cannot be taken.
    fn make_room(&mut self, key_frame: bool) -> Option<u64> {
        let is_leaving = self.key_frame_bytes > 0;
        if key_frame {
            // A decoder starts anew with it: what waits before it only makes it late. But one that is leaving is let go, or none
            // would ever arrive on a link that a key frame takes seconds of.
            return match (self.delay() > QUEUE / 2, is_leaving) {
                (false, _) => None,
                (true, true) => Some(self.clear_behind_key_frame()),
                (true, false) => {
                    self.clear();
                    None
                }
            };
        }
        let others = self.bytes.saturating_sub(self.key_frame_bytes);
        // What piles up behind a key frame is soon gone, for the encoder makes less than may leave. Skipped, it would cost the next.
        self.is_behind_key_frame &= is_leaving || others > self.bytes_in(QUEUE);
        let queue = match self.is_behind_key_frame {
            true => QUEUE * 2,
            false => QUEUE,
        };
        match (others > self.bytes_in(queue), is_leaving) {
            (false, _) => None,
            (true, true) => Some(self.clear_behind_key_frame()),
            (true, false) => Some(self.clear()),
        }
    }

    fn clear_behind_key_frame(&mut self) -> u64 {
        let mut units = 0;
        for repair in self.repairs.drain(..) {
            self.bytes -= repair.bytes;
        }
        while let Some(newest) = self.media.pop_back_if(|newest| !newest.key_frame) {
            self.bytes -= newest.bytes;
            units += u64::from(newest.last);
        }
        units
    }

    fn next(&mut self) -> Option<Waiting<P>> {
        let waiting = self
            .repairs
            .pop_front()
            .or_else(|| self.media.pop_front())?;
        self.bytes -= waiting.bytes;
        if waiting.key_frame {
            self.key_frame_bytes -= waiting.bytes;
        }
        Some(waiting)
    }

    fn pace(&self) -> Bitrate {
        let pace = match self.room {
            Room::Ample | Room::Scarce => PACE,
            Room::Contended => CONTENDED_PACE,
        };
        Bitrate::bps((self.estimate.as_bps() as f64 * pace) as u64)
    }

    /// A probe's packets keep their distance, and those that a full queue would drop; others may go out together and be one system
    /// call.
    fn burst(&self) -> Duration {
        match (self.probe, self.room) {
            (Some(_), _) | (None, Room::Contended) => Duration::from_millis(1),
            (None, Room::Ample) => AMPLE_BURST,
            (None, Room::Scarce) => BURST,
        }
    }

    fn bytes_in(&self, time: Duration) -> usize {
        (self.estimate.as_bps() as f64 / 8.0 * time.as_secs_f64()) as usize
    }
}

fn time_of(bytes: usize, rate: Bitrate) -> Duration {
    Duration::from_secs_f64(bytes as f64 * 8.0 / rate.as_bps().max(1) as f64)
}

/// So late may a timer be and a probe's packets still leave at its rate, those that are due together. Of a probe of 20 ms that is
/// half: more would be one burst.
const MADE_UP: Duration = Duration::from_millis(10);

/// A frame of usual size leaves in under half a frame time; the rest is for key frames. Slower, frames come later than they must;
/// faster, a key frame fills a small queue of the link and is lost in part.
const PACE: f64 = 2.0;

/// A queue that somebody else keeps full has room for one packet at a time: of those that come together it drops all but the first,
/// and the picture stands still until they are repaired. Slower still, a key frame takes all the time of four frames.
const CONTENDED_PACE: f64 = 1.5;

/// Timers of 1 ms and one system call for equal packets; the group that delay is measured by is as long.
const BURST: Duration = Duration::from_millis(4);

/// Half a frame time, in which a usual frame leaves: on a link that carries all there is, one wake-up and one system call a frame.
const AMPLE_BURST: Duration = Duration::from_millis(17);

/// Seven frames. More is visibly late for driving; less skips when one frame is large, and a skip costs a key frame.
pub const QUEUE: Duration = Duration::from_millis(250);

/// A whole key frame of 180 kB. Beyond it the browser asks again for what it still wants.
const REPAIRS: usize = 150;

/// Until one was sent: nearly a full packet.
const PADDING: usize = 1200;

/// A rate of zero has no time.
const LEAST: Bitrate = Bitrate::kbps(10);

#[cfg(test)]
mod tests;
