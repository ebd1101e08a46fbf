//! The robot's side of one viewer: what `viewer/webrtc` does with the estimator and the pacer.

use std::time::{Duration, Instant};

use rovercast::media::congestion::{Arrival, EstimateRange, Estimator, ProbeId, SentPacket};
use rovercast::media::pacer::{Departure, Pacer, Pushed};
use rovercast::media::repair::Repair;

use super::encoder::Frame;
use super::{Answer, Fragment, HEADERS, MediaPacket, PAYLOAD};

#[derive(Debug)]
pub struct Sender {
    pub estimator: Estimator,
    pacer: Pacer<Outgoing>,
    transport: u16,
    repair: Repair<Fragment>,
    /// A key frame is needed and has not come.
    waits: bool,
    pub wants_key_frame: bool,
    keep_alive: Instant,
    pub skipped: u64,
}

#[derive(Clone, Copy, Debug)]
enum Outgoing {
    New(Fragment),
    Again(u64, Fragment),
}

impl Sender {
    pub fn new(range: EstimateRange, now: Instant) -> Self {
        Self {
            estimator: Estimator::new(range, now),
            pacer: Pacer::new(range.start, now),
            transport: 65_000,
            repair: Repair::new(),
            waits: true,
            wants_key_frame: true,
            keep_alive: now,
            skipped: 0,
        }
    }

    pub fn frame(&mut self, frame: &Frame) {
        if self.waits && !frame.key_frame {
            self.skipped += 1;
            self.wants_key_frame = !self.estimator.is_silent();
            return;
        }
        let count = frame.bytes.div_ceil(PAYLOAD);
        let packets = (0..count).map(|index| {
            let payload = frame.bytes / count;
            let fragment = Fragment {
                frame: frame.number,
                key_frame: frame.key_frame,
                captured: frame.captured,
                index: index as u16,
                count: count as u16,
                payload,
            };
            (Outgoing::New(fragment), payload + HEADERS)
        });
        match self.pacer.push_unit(packets, frame.key_frame) {
            Pushed::Queued => self.waits = false,
            Pushed::Skipped { units } => {
                self.repair.skip();
                self.skipped += units;
                self.waits = true;
                self.wants_key_frame = !self.estimator.is_silent();
            }
        }
    }

    pub fn answer(&mut self, answer: Answer, now: Instant) {
        match answer {
            Answer::PictureLost => self.wants_key_frame = true,
            Answer::Missing(sequences) => {
                for sequence in sequences {
                    self.repair(sequence, now);
                }
            }
            Answer::Feedback(report) => {
                let silent = self.estimator.is_silent();
                self.estimator.feedback(
                    report
                        .iter()
                        .map(|&(sequence, at)| Arrival { sequence, at }),
                    now,
                );
                if silent && !self.estimator.is_silent() {
                    self.pacer.hold(false);
                    self.waits = true;
                    self.wants_key_frame = true;
                }
                for (sequence, _) in report.iter().filter(|(_, at)| at.is_some()) {
                    self.repair.arrived(*sequence);
                }
                for (sequence, at) in report {
                    if at.is_none()
                        && let Some(number) = self.repair.carried(sequence)
                    {
                        self.repair(number, now);
                    }
                }
            }
        }
        self.pacer.set_estimate(self.estimator.estimate());
    }

    /// What leaves now.
    pub fn poll(&mut self, now: Instant) -> Option<MediaPacket> {
        self.estimator.handle_timeout(now);
        if self.estimator.is_silent() {
            self.pacer.hold(true);
            self.pacer.clear();
            self.repair.skip();
            self.waits = true;
            self.wants_key_frame = false;
            if now < self.keep_alive {
                return None;
            }
            self.keep_alive = now + KEEP_ALIVE;
            return Some(self.padding(100, None, now));
        }
        if let Some(probe) = self.estimator.poll_probe(now) {
            self.pacer.start_probe(probe, now);
        }
        let packet = match self.pacer.poll(now)? {
            Departure::Padding { bytes, probe } => self.padding(bytes, Some(probe), now),
            Departure::Packet { packet, probe } => {
                let (Outgoing::New(fragment) | Outgoing::Again(_, fragment)) = packet;
                let bytes = fragment.payload + HEADERS;
                let (sequence, transport) = match packet {
                    Outgoing::New(_) => {
                        let transport = self.number(bytes, fragment.payload, probe, now);
                        (self.repair.sent(fragment, transport, now), transport)
                    }
                    Outgoing::Again(number, _) => {
                        let transport = self.number(bytes, 0, probe, now);
                        self.repair.sent_again(number, transport, now);
                        (number, transport)
                    }
                };
                MediaPacket {
                    transport,
                    media: Some((sequence, fragment)),
                    bytes,
                }
            }
        };
        Some(packet)
    }

    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.estimator.is_silent() {
            return Some(self.keep_alive.max(now));
        }
        let timeout = self.estimator.poll_timeout().map(|(at, _)| at);
        [self.pacer.poll_timeout(), timeout]
            .into_iter()
            .flatten()
            .min()
    }

    fn padding(&mut self, bytes: usize, probe: Option<ProbeId>, now: Instant) -> MediaPacket {
        let transport = self.number(bytes, 0, probe, now);
        self.repair.sent_padding(transport);
        MediaPacket {
            transport,
            media: None,
            bytes,
        }
    }

    fn number(
        &mut self,
        bytes: usize,
        payload: usize,
        probe: Option<ProbeId>,
        now: Instant,
    ) -> u16 {
        let sequence = self.transport;
        self.transport = self.transport.wrapping_add(1);
        let packet = SentPacket {
            sequence,
            bytes,
            payload,
            probe,
        };
        self.estimator.sent(packet, now);
        sequence
    }

    /// Both NACK and feedback tell of a loss.
    fn repair(&mut self, number: u64, now: Instant) {
        let round_trip = self.estimator.smoothed_round_trip();
        let Some(fragment) = self.repair.missing(number, round_trip, now) else {
            return;
        };
        for _ in 0..Repair::<Fragment>::copies(self.estimator.random_loss()) {
            let bytes = fragment.payload + HEADERS;
            self.pacer
                .push_repair(Outgoing::Again(number, fragment), bytes);
        }
    }
}

const KEEP_ALIVE: Duration = Duration::from_millis(100);
