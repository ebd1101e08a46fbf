//! The robot's side of one viewer: what `viewer/webrtc` does with the estimator and the pacer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rovercast::media::Bitrate;
use rovercast::media::congestion::{Arrival, EstimateRange, Estimator, SentPacket};
use rovercast::media::pacer::{Departure, Pacer, Pushed};

use super::encoder::Frame;
use super::{Answer, Fragment, HEADERS, MediaPacket, PAYLOAD, ms};

#[derive(Debug)]
pub struct Sender {
    pub estimator: Estimator,
    pacer: Pacer<Outgoing>,
    transport: u16,
    /// The number of the next media packet.
    media: u64,
    sent: VecDeque<Sent>,
    /// A key frame is needed and has not come.
    waits: bool,
    pub wants_key_frame: bool,
    keep_alive: Instant,
    pub skipped: u64,
    pub repaired: u64,
    round_trip: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Outgoing {
    New(Fragment),
    Again(u64, Fragment),
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    sequence: u64,
    transport: u16,
    fragment: Fragment,
    at: Instant,
    queued: bool,
}

impl Sender {
    pub fn new(range: EstimateRange, now: Instant) -> Self {
        Self {
            estimator: Estimator::new(range, now),
            pacer: Pacer::new(range.start, now),
            transport: 65_000,
            media: 1000,
            sent: VecDeque::new(),
            waits: true,
            wants_key_frame: true,
            keep_alive: now,
            skipped: 0,
            repaired: 0,
            round_trip: ms(100),
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
                    self.repair(|sent| sent.sequence == sequence, now);
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
                for (sequence, at) in report {
                    if at.is_none() {
                        self.repair(|sent| sent.transport == sequence, now);
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
                let (sequence, fragment, payload) = match packet {
                    Outgoing::New(fragment) => {
                        self.media += 1;
                        (self.media, fragment, fragment.payload)
                    }
                    Outgoing::Again(sequence, fragment) => (sequence, fragment, 0),
                };
                let bytes = fragment.payload + HEADERS;
                let transport = self.number(bytes, payload, probe, now);
                self.remember(sequence, transport, fragment, now);
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

    fn padding(
        &mut self,
        bytes: usize,
        probe: Option<rovercast::media::congestion::ProbeId>,
        now: Instant,
    ) -> MediaPacket {
        MediaPacket {
            transport: self.number(bytes, 0, probe, now),
            media: None,
            bytes,
        }
    }

    fn number(
        &mut self,
        bytes: usize,
        payload: usize,
        probe: Option<rovercast::media::congestion::ProbeId>,
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

    fn remember(&mut self, sequence: u64, transport: u16, fragment: Fragment, now: Instant) {
        let known = self.sent.iter_mut().rev().find(|it| it.sequence == sequence);
        if let Some(sent) = known {
            (sent.transport, sent.at, sent.queued) = (transport, now, false);
            self.repaired += 1;
            return;
        }
        self.sent.push_back(Sent {
            sequence,
            transport,
            fragment,
            at: now,
            queued: false,
        });
        if self.sent.len() > 600 {
            self.sent.pop_front();
        }
    }

    /// Both NACK and feedback tell of a loss; each packet is under way once at a time.
    fn repair(&mut self, is_it: impl Fn(&Sent) -> bool, now: Instant) {
        let _ = self.round_trip;
        let Some(sent) = self.sent.iter_mut().rev().find(|sent| is_it(sent)) else {
            return;
        };
        if sent.queued || now < sent.at + AGAIN {
            return;
        }
        sent.queued = true;
        let outgoing = Outgoing::Again(sent.sequence, sent.fragment);
        self.pacer
            .push_repair(outgoing, sent.fragment.payload + HEADERS);
    }

    pub fn media_rate(&self) -> Bitrate {
        self.estimator.media()
    }
}

const KEEP_ALIVE: Duration = Duration::from_millis(100);

const AGAIN: Duration = Duration::from_millis(40);
