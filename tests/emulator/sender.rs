//! The robot's side of one viewer, as `viewer/webrtc` and `viewer` together have it.

use std::time::Instant;

use rovercast::media::Bitrate;
use rovercast::media::congestion::{Arrival, EstimateRange, Estimator};
use rovercast::media::pacer::Pushed;
use rovercast::viewer::sending::{Departure, HEADERS, Payload, Sending};

use super::encoder::Frame;
use super::{Answer, Fragment, MediaPacket, PAYLOAD};

#[derive(Debug)]
pub struct Sender {
    sending: Sending<Fragment>,
    pub wants_key_frame: bool,
    pub skipped: u64,
}

impl Payload for Fragment {
    fn bytes(&self) -> usize {
        self.payload
    }
}

impl Sender {
    pub fn new(range: EstimateRange, now: Instant) -> Self {
        let mut sending = Sending::new(range, now);
        sending.agree(true, true);
        Self {
            sending,
            wants_key_frame: true,
            skipped: 0,
        }
    }

    pub fn estimator(&self) -> &Estimator {
        self.sending.estimator().expect("the browser reports")
    }

    pub fn media(&self) -> Bitrate {
        self.sending.media().expect("the browser reports")
    }

    pub fn frame(&mut self, frame: &Frame) {
        let count = frame.bytes.div_ceil(PAYLOAD);
        let packets = (0..count).map(|index| Fragment {
            frame: frame.number,
            key_frame: frame.key_frame,
            captured: frame.captured,
            index: index as u16,
            count: count as u16,
            payload: frame.bytes / count,
        });
        match self.sending.push_unit(packets, frame.key_frame) {
            Pushed::Queued => {}
            Pushed::Skipped { units } => {
                self.skipped += units;
                self.wants_key_frame = !self.sending.is_silent();
            }
        }
    }

    pub fn answer(&mut self, answer: Answer, now: Instant) {
        match answer {
            Answer::PictureLost => self.wants_key_frame |= self.sending.needs_key_frame(),
            Answer::Missing(sequences) => {
                for sequence in sequences {
                    self.sending.nacked(sequence as u16, now);
                }
            }
            Answer::Feedback(report) => {
                let was_silent = self.sending.is_silent();
                let arrivals: Vec<Arrival> = report
                    .into_iter()
                    .map(|(sequence, at)| Arrival { sequence, at })
                    .collect();
                self.sending.report(&arrivals, now);
                if was_silent && !self.sending.is_silent() {
                    self.wants_key_frame = true;
                }
            }
        }
    }

    /// What leaves now.
    pub fn poll(&mut self, now: Instant) -> Option<MediaPacket> {
        let departure = self.sending.poll(now);
        if self.sending.is_silent() {
            self.wants_key_frame = false;
        }
        Some(match departure? {
            Departure::Media {
                packet,
                number,
                transport,
            }
            | Departure::Repair {
                packet,
                number,
                transport,
            } => MediaPacket {
                transport,
                media: Some((number, packet)),
                bytes: packet.payload + HEADERS,
            },
            Departure::Padding {
                packet,
                is_empty,
                transport,
                ..
            } => MediaPacket {
                transport,
                media: None,
                bytes: HEADERS + if is_empty { 0 } else { packet.payload },
            },
        })
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sending.poll_timeout()
    }
}
