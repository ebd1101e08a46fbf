//! The RTP packets of one viewer: headers, extensions, and repairs (RFC 4588).

use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use rand::Rng;
use rand::rngs::StdRng;
use rtc::interceptor::StreamInfo;
use rtc::rtp;
use rtc::rtp::header::{EXTENSION_PROFILE_ONE_BYTE, Extension, Header};

use super::super::clock::{NtpTime, monotonic_now, wall_now};
use super::{
    CAPTURE_TIME_INTERVAL, CAPTURE_TIME_URI, PLAYOUT_DELAY, PLAYOUT_DELAY_URI, TRANSPORT_CC_URI,
};
use crate::media::MediaTime;
use crate::viewer::packetizer::PackedUnit;
use crate::viewer::sending::{Departure, Payload};

/// A packet of the picture, before it has a header.
#[derive(Clone, Debug)]
pub(super) struct MediaPacket {
    payload: Bytes,
    timestamp: u32,
    marker: bool,
    /// The first of its unit, and what it tells about it.
    lead: Option<Lead>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Lead {
    pub(super) captured: MediaTime,
    /// When it could have been on the wire at the earliest.
    pub(super) ready: MediaTime,
    pub(super) key_frame: bool,
}

impl Payload for MediaPacket {
    fn bytes(&self) -> usize {
        self.payload.len()
    }
}

impl MediaPacket {
    /// The packets of `unit`, in order.
    pub(super) fn of(unit: &PackedUnit, timestamp: u32) -> impl Iterator<Item = Self> {
        let last = unit.payloads.len().saturating_sub(1);
        let lead = Lead {
            captured: unit.captured,
            ready: MediaTime::from_monotonic(unit.captured.since_boot() + unit.encoding),
            key_frame: unit.key_frame,
        };
        let payloads = unit.payloads.iter().enumerate();
        payloads.map(move |(index, payload)| Self {
            payload: payload.clone(),
            timestamp,
            marker: index == last,
            lead: (index == 0).then_some(lead),
        })
    }

    pub(super) fn lead(&self) -> Option<Lead> {
        self.lead
    }
}

/// What the browser agreed to. Ids are those of one-byte extension headers, 1 to 14 (RFC 8285, section 4.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed {
    pub(super) payload_type: u8,
    pub(super) rtx_payload_type: Option<u8>,
    capture_time_id: Option<u8>,
    playout_delay_id: Option<u8>,
    pub(super) transport_cc_id: Option<u8>,
}

impl Agreed {
    pub(super) fn from(info: &StreamInfo) -> Self {
        let id = |uri: &str| {
            let extension = info
                .rtp_header_extensions
                .iter()
                .find(|extension| extension.uri == uri)?;
            u8::try_from(extension.id)
                .ok()
                .filter(|id| (1..=14).contains(id))
        };
        let reports = info
            .rtcp_feedback
            .iter()
            .any(|feedback| feedback.typ == "transport-cc");
        Self {
            payload_type: info.payload_type,
            rtx_payload_type: info.payload_type_rtx,
            capture_time_id: id(CAPTURE_TIME_URI),
            playout_delay_id: id(PLAYOUT_DELAY_URI),
            transport_cc_id: id(TRANSPORT_CC_URI).filter(|_| reports),
        }
    }
}

/// Writes what departs.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) ssrc: u32,
    pub(super) rtx_ssrc: u32,
    first_sequence_number: u16,
    rtx_sequence_number: u16,
    /// The browser has reported on this stream, so it has seen what the first packets carried.
    pub(super) acknowledged: bool,
    capture_time_due: Option<Instant>,
    /// Room for the transport-wide numbers of many packets, for one allocation.
    numbers: BytesMut,
}

impl Writer {
    pub(super) fn new(random: &mut StdRng) -> Self {
        Self {
            ssrc: random.random(),
            rtx_ssrc: random.random(),
            first_sequence_number: random.random::<u16>() & FIRST_SEQUENCE_NUMBER_MASK,
            rtx_sequence_number: random.random::<u16>() & FIRST_SEQUENCE_NUMBER_MASK,
            acknowledged: false,
            capture_time_due: None,
            numbers: BytesMut::new(),
        }
    }

    /// The number, as the core counts, of the packet with this RTP sequence number: its last 16 bits.
    pub(super) fn number(&self, sequence: u16) -> u16 {
        sequence.wrapping_sub(self.first_sequence_number)
    }

    /// `None` for padding that the browser did not agree to.
    pub(super) fn write(
        &mut self,
        departure: Departure<MediaPacket>,
        agreed: &Agreed,
        now: Instant,
    ) -> Option<rtp::Packet> {
        match departure {
            Departure::Media {
                packet,
                number,
                transport,
            } => {
                let sequence = self.sequence(number);
                Some(self.media(&packet, sequence, transport, agreed, now))
            }
            Departure::Repair {
                packet,
                number,
                transport,
            } => {
                let sequence = self.sequence(number);
                Some(match agreed.rtx_payload_type {
                    Some(payload_type) => {
                        let payload = &packet.payload;
                        self.rtx(payload_type, sequence, &packet, payload, transport, agreed)
                    }
                    None => self.media(&packet, sequence, transport, agreed, now),
                })
            }
            Departure::Padding {
                packet,
                number,
                is_empty,
                transport,
            } => {
                let sequence = self.sequence(number);
                let payload_type = agreed.rtx_payload_type?;
                // All of the packet or nothing: half of it, should the whole be lost, would be taken for it.
                let payload = match is_empty {
                    true => Bytes::new(),
                    false => packet.payload.clone(),
                };
                Some(self.rtx(payload_type, sequence, &packet, &payload, transport, agreed))
            }
        }
    }

    fn media(
        &mut self,
        packet: &MediaPacket,
        sequence_number: u16,
        transport: u16,
        agreed: &Agreed,
        now: Instant,
    ) -> rtp::Packet {
        let mut header = Header {
            version: 2,
            marker: packet.marker,
            payload_type: agreed.payload_type,
            sequence_number,
            timestamp: packet.timestamp,
            ssrc: self.ssrc,
            ..Default::default()
        };
        self.number_packet(&mut header, transport, agreed);
        if let Some(lead) = packet.lead {
            self.tell(&mut header, lead, agreed, now);
        }
        rtp::Packet {
            header,
            payload: packet.payload.clone(),
        }
    }

    /// RFC 4588, section 4: the original number before the original payload.
    fn rtx(
        &mut self,
        payload_type: u8,
        original: u16,
        packet: &MediaPacket,
        payload: &Bytes,
        transport: u16,
        agreed: &Agreed,
    ) -> rtp::Packet {
        let mut header = Header {
            version: 2,
            marker: packet.marker,
            payload_type,
            sequence_number: self.rtx_sequence_number,
            timestamp: packet.timestamp,
            ssrc: self.rtx_ssrc,
            ..Default::default()
        };
        self.rtx_sequence_number = self.rtx_sequence_number.wrapping_add(1);
        self.number_packet(&mut header, transport, agreed);
        let mut again = BytesMut::with_capacity(2 + payload.len());
        again.put_u16(original);
        again.put_slice(payload);
        rtp::Packet {
            header,
            payload: again.freeze(),
        }
    }

    fn number_packet(&mut self, header: &mut Header, transport: u16, agreed: &Agreed) {
        let Some(id) = agreed.transport_cc_id else {
            return;
        };
        if self.numbers.capacity() < 2 {
            self.numbers = BytesMut::with_capacity(2 * NUMBERS);
        }
        self.numbers.put_u16(transport);
        header.extensions.reserve_exact(1);
        add_extension(header, id, self.numbers.split().freeze());
    }

    /// The extensions of a unit's first packet. Most units have none: equal packets travel together (UDP GSO).
    fn tell(&mut self, header: &mut Header, lead: Lead, agreed: &Agreed, now: Instant) {
        let announce = lead.key_frame || !self.acknowledged;
        if let Some(id) = agreed.capture_time_id
            && (announce || self.capture_time_due.is_none_or(|due| now >= due))
        {
            self.capture_time_due = Some(now + CAPTURE_TIME_INTERVAL);
            add_extension(header, id, capture_time(lead.captured));
        }
        if let Some(id) = agreed.playout_delay_id
            && announce
        {
            add_extension(header, id, Bytes::from_static(&PLAYOUT_DELAY));
        }
    }

    fn sequence(&self, number: u64) -> u16 {
        self.first_sequence_number.wrapping_add(number as u16)
    }
}

fn add_extension(header: &mut Header, id: u8, payload: Bytes) {
    header.extension = true;
    header.extension_profile = EXTENSION_PROFILE_ONE_BYTE;
    header.extensions.push(Extension { id, payload });
}

/// NTP time of the capture, and the estimated offset of the capture clock from ours: none, it is ours.
fn capture_time(captured: MediaTime) -> Bytes {
    let age = monotonic_now().since(captured);
    let mut payload = BytesMut::with_capacity(16);
    payload.put_u64(NtpTime::from(wall_now() - age).bits());
    payload.put_i64(0);
    payload.freeze()
}

/// A first number below 2^15 keeps a lost first packet from being taken for a wrap by SRTP receivers (RFC 3711, section 3.3.1).
const FIRST_SEQUENCE_NUMBER_MASK: u16 = 0x7fff;

/// Two seconds of packets. All that are still in somebody's hands keep the 1 KB alive.
const NUMBERS: usize = 512;
