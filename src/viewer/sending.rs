//! One viewer's packets on their way out: when each leaves, which leave again, and what the link is found to carry.
//!
//! ```text
//!                     ┌─────────────── Sending ───────────────┐
//!   push_unit ───────►│ Pacer ───────────────────────────────►│ poll ──► Departure, numbered
//!   nacked ──────────►│   ▲ repairs ◄── Repair ◄── arrived,   │
//!   report ──────────►│   │ estimate               lost       │ estimator() ──► what an encoder may fill
//!                     │   └─ Estimator ◄───────────┘          │
//!                     └────────────────────────────────────────┘
//!
//!            nothing answered                  a report
//!   Sending ──────────────────► Silent (one ──────────► Sending, from a key frame on
//!                               packet every 100 ms)
//! ```
//!
//! Every packet that leaves has the next transport-wide number, repairs and padding too: they fill the link like any other.

mod reports;

use std::time::{Duration, Instant};

use self::reports::Reports;
use crate::media::Bitrate;
use crate::media::congestion::{Arrival, EstimateRange, Estimator, ProbeId, SentPacket};
use crate::media::pacer::{self, Pacer, Pushed, Room};
use crate::media::repair::Repair;

/// What the driver needs to send one packet of the picture, as often as it must.
pub trait Payload: Clone {
    /// How many bytes of it are the encoder's.
    fn bytes(&self) -> usize;
}

/// What leaves now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure<P> {
    /// For the first time. The RTP sequence number is `number`'s last 16 bits, from a start that the driver chooses.
    Media {
        packet: P,
        number: u64,
        transport: u16,
    },
    /// Again (RFC 4588).
    Repair {
        packet: P,
        number: u64,
        transport: u16,
    },
    /// The newest packet of the picture once more, to fill a probe with: what carries nothing new must look like something that was
    /// lost. `is_empty`: with none of its bytes, only to be answered.
    Padding {
        packet: P,
        number: u64,
        is_empty: bool,
        transport: u16,
    },
}

/// One viewer's way out.
#[derive(Debug)]
pub struct Sending<P> {
    estimator: Estimator,
    pacer: Pacer<Outgoing<P>>,
    repair: Repair<P>,
    /// The next transport-wide number.
    transport: u16,
    /// The newest packet of the picture, by its number.
    newest: Option<(u64, P)>,
    /// Units are left out up to a key frame.
    waits: bool,
    /// The newest key frame, up to the report that tells what became of it.
    key_frame: Option<KeyFrame>,
    keep_alive: Instant,
    /// The browser reports on every packet; otherwise nothing is known of the link.
    is_reported: bool,
    reports: Reports,
    /// A browser without RTX has no use for packets that carry nothing new.
    may_pad: bool,
    sent_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
enum Outgoing<P> {
    New { packet: P, ends_key_frame: bool },
    Again(u64, P),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyFrame {
    Leaves,
    /// The transport-wide number of its last packet.
    Left(u16),
}

impl<P: Payload> Sending<P> {
    pub fn new(range: EstimateRange, now: Instant) -> Self {
        Self {
            estimator: Estimator::new(range, now),
            pacer: Pacer::new(range.start, now),
            repair: Repair::new(),
            transport: FIRST_TRANSPORT_NUMBER,
            newest: None,
            waits: true,
            key_frame: None,
            keep_alive: now,
            is_reported: true,
            reports: Reports::default(),
            may_pad: true,
            sent_bytes: 0,
        }
    }

    /// What the browser agreed to: transport-cc feedback, and RTX.
    pub fn agree(&mut self, is_reported: bool, has_rtx: bool) {
        self.is_reported = is_reported;
        self.may_pad = has_rtx;
        // Until the first report too: a person waits for the picture, and what it shows of the link is learnt soonest this way.
        if !is_reported || self.newest.is_none() {
            self.pacer
                .set_estimate(self.estimator.range().most, Room::Ample);
        }
    }

    /// Queues the packets of one access unit. After [`Pushed::Skipped`] nothing is taken before a key frame.
    pub fn push_unit(&mut self, packets: impl IntoIterator<Item = P>, key_frame: bool) -> Pushed {
        if self.waits && !key_frame {
            return Pushed::Skipped { units: 1 };
        }
        let mut packets = packets.into_iter().peekable();
        let packets = std::iter::from_fn(|| {
            let packet = packets.next()?;
            let bytes = packet.bytes() + HEADERS;
            let ends_key_frame = key_frame && packets.peek().is_none();
            let outgoing = Outgoing::New {
                packet,
                ends_key_frame,
            };
            Some((outgoing, bytes))
        });
        let pushed = self.pacer.push_unit(packets, key_frame);
        match pushed {
            Pushed::Queued => {
                self.waits = false;
                if key_frame {
                    self.key_frame = Some(KeyFrame::Leaves);
                }
            }
            Pushed::Skipped { .. } => {
                match self.key_frame {
                    // It goes on leaving, and may need repair; what waited behind it is gone.
                    Some(KeyFrame::Leaves) => self.repair.all_given_up(),
                    Some(KeyFrame::Left(_)) | None => self.repair.skip(),
                }
                self.waits = true;
            }
        }
        pushed
    }

    /// The browser misses the packet with this number, of which it tells the last 16 bits.
    pub fn nacked(&mut self, number: u16, now: Instant) {
        let Some((newest, _)) = self.newest else {
            return;
        };
        let behind = (newest as u16).wrapping_sub(number);
        if let Some(number) = newest.checked_sub(u64::from(behind)) {
            self.repair(number, now);
        }
    }

    /// Asked when the browser says that it lost the picture (PLI, FIR). False while a key frame is on its way that no report told of:
    /// the browser does not know of it yet, and a second one would only make both late. On a link that a key frame takes 200 ms of,
    /// Chromium asks for another before the first is there.
    pub fn needs_key_frame(&self) -> bool {
        !self.is_reported || self.is_silent() || self.key_frame.is_none()
    }

    /// The browser's report on packets by their transport-wide numbers.
    pub fn report(&mut self, arrivals: &[Arrival], now: Instant) {
        if !self.is_reported {
            return;
        }
        let left_out = self.reports.hear(arrivals, now);
        if let (Some(KeyFrame::Left(end)), Some(newest)) = (self.key_frame, arrivals.last())
            && newest.sequence.wrapping_sub(end) <= u16::MAX / 2
        {
            self.key_frame = None;
        }
        let was_silent = self.is_silent();
        self.estimator.feedback(arrivals.iter().copied(), now);
        if was_silent && !self.is_silent() {
            self.pacer.hold(false);
            self.waits = true;
        }
        for arrived in arrivals.iter().filter(|arrival| arrival.at.is_some()) {
            self.repair.arrived(arrived.sequence);
        }
        if self.likely_loses() {
            for sequence in left_out {
                if let Some(number) = self.repair.carried(sequence) {
                    self.repair_with(number, 1, now);
                }
            }
        }
        for lost in arrivals.iter().filter(|arrival| arrival.at.is_none()) {
            if let Some(number) = self.repair.carried(lost.sequence) {
                self.repair(number, now);
            }
        }
        self.follow();
    }

    /// A round trip from elsewhere.
    pub fn round_trip(&mut self, measured: Duration) {
        self.estimator.round_trip(measured);
    }

    /// The packets go another way from now on. What waits was for the old one.
    pub fn route_changed(&mut self, now: Instant) {
        self.estimator.route_changed(now);
        if self.is_reported {
            self.follow();
        }
        self.pacer.hold(false);
        self.forget_pictures();
    }

    /// What leaves now. To be called until it is `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Departure<P>> {
        if self.is_reported {
            self.estimator.handle_timeout(now);
            if self.is_silent() {
                return self.keep_alive(now);
            }
            self.guess(now);
            if self.newest.is_some()
                && let Some(probe) = self.estimator.poll_probe(now)
            {
                self.pacer.start_probe(probe, now);
            }
        }
        loop {
            match self.pacer.poll(now)? {
                pacer::Departure::Packet { packet, probe } => {
                    return Some(self.depart(packet, probe, now));
                }
                pacer::Departure::Padding { .. } if !self.may_pad || self.newest.is_none() => {}
                pacer::Departure::Padding { probe } => return self.pad(Some(probe), now),
            }
        }
    }

    /// When to come back.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_silent() {
            return Some(self.keep_alive);
        }
        let silence = match self.is_reported {
            true => self.estimator.poll_timeout().map(|(at, _)| at),
            false => None,
        };
        [self.pacer.poll_timeout(), silence, self.overdue()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Nobody answers: nothing is sent that somebody would want to see. A browser without RTX is sent the picture all the same, for
    /// nothing else would show the end of the silence.
    pub fn is_silent(&self) -> bool {
        self.is_reported && self.may_pad && self.estimator.is_silent()
    }

    /// The link, when the browser reports on it.
    pub fn estimator(&self) -> Option<&Estimator> {
        self.is_reported.then_some(&self.estimator)
    }

    /// What an encoder may fill, when the browser reports: less while packets wait here, so that they leave before it is too late for them.
    pub fn media(&self) -> Option<Bitrate> {
        let media = self.estimator()?.media();
        let waits = self.delay().saturating_sub(USUAL_DELAY).as_secs_f64();
        let share = (1.0 - waits / PUSHED_BACK.as_secs_f64()).max(LEAST_SHARE);
        Some(Bitrate::bps((media.as_bps() as f64 * share) as u64))
    }

    /// How long the newest packet waits before it leaves.
    pub fn delay(&self) -> Duration {
        self.pacer.delay()
    }

    /// Packets sent again.
    pub fn repaired(&self) -> u64 {
        self.repair.repaired()
    }

    /// Everything, headers included.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// So much that reports are lost, too.
    fn likely_loses(&self) -> bool {
        self.estimator.likely_random_loss() > GUESSED_ABOVE
    }

    /// When a report must be lost.
    fn overdue(&self) -> Option<Instant> {
        let guesses = self.is_reported && self.likely_loses();
        self.reports.overdue().filter(|_| guesses)
    }

    /// A report is lost, and perhaps the NACK that would have told the same: what they were about is sent again before anybody asks.
    fn guess(&mut self, now: Instant) {
        if self.overdue().is_none_or(|at| now < at) {
            return;
        }
        self.reports.guessed();
        let round_trip = self.estimator.smoothed_round_trip();
        for number in self.repair.unheard_of(round_trip, now) {
            self.repair_with(number, 1, now);
        }
    }

    fn follow(&mut self) {
        let estimate = self.estimator.estimate();
        let room = if self.estimator.is_competing() {
            Room::Contended
        } else if estimate >= self.estimator.range().most {
            Room::Ample
        } else {
            Room::Scarce
        };
        self.pacer.set_estimate(estimate, room);
    }

    fn keep_alive(&mut self, now: Instant) -> Option<Departure<P>> {
        self.pacer.hold(true);
        self.forget_pictures();
        if now < self.keep_alive {
            return None;
        }
        self.keep_alive = now + KEEP_ALIVE;
        self.pad(None, now)
    }

    /// What is on its way or waits is of no use any more.
    fn forget_pictures(&mut self) {
        self.pacer.clear();
        self.repair.skip();
        self.waits = true;
        self.key_frame = None;
    }

    fn depart(
        &mut self,
        packet: Outgoing<P>,
        probe: Option<ProbeId>,
        now: Instant,
    ) -> Departure<P> {
        match packet {
            Outgoing::New {
                packet,
                ends_key_frame,
            } => {
                let payload = packet.bytes();
                let transport = self.number(payload + HEADERS, payload, probe, now);
                if ends_key_frame {
                    self.key_frame = Some(KeyFrame::Left(transport));
                }
                let round_trip = self.estimator.smoothed_round_trip();
                let number = (self.repair).sent(packet.clone(), transport, round_trip, now);
                self.newest = Some((number, packet.clone()));
                self.pacer.set_padding(payload + HEADERS);
                Departure::Media {
                    packet,
                    number,
                    transport,
                }
            }
            Outgoing::Again(number, packet) => {
                let transport = self.number(packet.bytes() + HEADERS, 0, probe, now);
                self.repair.sent_again(number, transport, now);
                Departure::Repair {
                    packet,
                    number,
                    transport,
                }
            }
        }
    }

    /// Without a probe to fill it is empty.
    fn pad(&mut self, probe: Option<ProbeId>, now: Instant) -> Option<Departure<P>> {
        let (number, packet) = self.newest.clone()?;
        let payload = probe.map_or(0, |_| packet.bytes());
        let transport = self.number(payload + HEADERS, 0, probe, now);
        self.repair.sent_padding(transport);
        Some(Departure::Padding {
            packet,
            number,
            is_empty: probe.is_none(),
            transport,
        })
    }

    fn number(
        &mut self,
        bytes: usize,
        payload: usize,
        probe: Option<ProbeId>,
        now: Instant,
    ) -> u16 {
        let sequence = self.transport;
        self.transport = sequence.wrapping_add(1);
        self.sent_bytes += bytes as u64;
        let packet = SentPacket {
            sequence,
            bytes,
            payload,
            probe,
        };
        self.estimator.sent(packet, now);
        sequence
    }

    /// Both NACK and report tell of a loss.
    fn repair(&mut self, number: u64, now: Instant) {
        let copies = Repair::<P>::copies(self.estimator.likely_random_loss());
        self.repair_with(number, copies, now);
    }

    fn repair_with(&mut self, number: u64, copies: usize, now: Instant) {
        let round_trip = self.estimator.smoothed_round_trip();
        let Some(packet) = self.repair.missing(number, round_trip, now) else {
            return;
        };
        let bytes = packet.bytes() + HEADERS;
        let again = || Outgoing::Again(number, packet.clone());
        if !self.pacer.push_repair(again(), bytes) {
            self.repair.given_up(number);
            return;
        }
        for _ in 1..copies {
            if self.pacer.repairs_take() > pacer::QUEUE / COPIES_OF_QUEUE
                || !self.pacer.push_repair(again(), bytes)
            {
                return;
            }
        }
    }
}

/// What the link may be estimated at so that an encoder gets all of `least` to `most`.
pub fn estimate_range(least: Bitrate, start: Bitrate, most: Bitrate) -> EstimateRange {
    let with_headers = |rate: Bitrate| Bitrate::bps((rate.as_bps() as f64 * WITH_HEADERS) as u64);
    EstimateRange {
        // Below the encoder's least, so that it shows who cannot be served.
        least: Bitrate::bps(with_headers(least).as_bps() / 2),
        start: with_headers(start),
        most: Bitrate::bps((with_headers(most).as_bps() as f64 * WITH_REPAIR) as u64),
    }
}

/// IPv4, UDP, RTP, one extension and the SRTP tag.
pub const HEADERS: usize = 20 + 8 + 12 + 8 + 10;

/// Packets of 1000 bytes with as many of headers as there are.
const WITH_HEADERS: f64 = 1.06;

/// The most that is ever sent is the encoder's most, and what a way that loses a tenth wants again.
const WITH_REPAIR: f64 = 1.15;

/// When much is lost at once, copies of what repairs it take half of the queue at most: more would leave no time for the picture.
const COPIES_OF_QUEUE: u32 = 2;

/// The end of a silence is seen this soon, for 5 kbit/s.
const KEEP_ALIVE: Duration = Duration::from_millis(100);

/// Below it a lost report seldom hides a lost packet.
const GUESSED_ABOVE: f64 = 0.02;

/// What a key frame takes to leave.
const USUAL_DELAY: Duration = Duration::from_millis(100);

/// Half of the rate is left when the queue is nearly given up: frames become smaller before one is left out, which would cost a key
/// frame.
const PUSHED_BACK: Duration = Duration::from_millis(500);
const LEAST_SHARE: f64 = 0.5;

/// Any: near the wrap it wraps soon, where faults would show.
const FIRST_TRANSPORT_NUMBER: u16 = 65_000;

#[cfg(test)]
mod tests;
