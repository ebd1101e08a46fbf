//! Access units to RTP payloads, once for all viewers. RFC 6184, packetization-mode 1.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::media::h264::nal_units;
use crate::media::{AccessUnit, MediaTime};

/// An access unit as the payloads of its RTP packets. The last packet has the marker bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedUnit {
    pub key_frame: bool,
    pub captured: MediaTime,
    /// How long the encoder had the frame; zero from `pack`, which does not know.
    pub encoding: Duration,
    /// The sequence number of the frame it was made from.
    pub sequence: u32,
    pub payloads: Vec<Bytes>,
    /// All payloads together.
    pub bytes: usize,
}

/// Packs `unit` into payloads of at most `mtu` bytes; less than [`SMALLEST_MTU`] counts as that.
///
/// NAL units that fit are sent as they are, and share the unit's memory. Neighbours that fit into one packet together share
/// one (STAP-A), which is where SPS and PPS go. Larger ones are cut into fragments of the same size, the last a little smaller (FU-A): a short last
/// packet would cost as much to lose as a full one.
pub fn pack(unit: &AccessUnit, mtu: usize) -> PackedUnit {
    let mtu = mtu.max(SMALLEST_MTU);
    let nals: Vec<&[u8]> = nal_units(&unit.data).collect();
    let packets = plan(&nals, mtu);

    // One allocation for everything that needs a header of ours.
    let mut written = BytesMut::with_capacity(packets.iter().map(Packets::written_bytes).sum());
    let mut payloads = Vec::with_capacity(packets.iter().map(Packets::count).sum());
    for packets in packets {
        match packets {
            Packets::Single(nal) => payloads.push(unit.data.slice_ref(nal)),
            Packets::Aggregate { nals, .. } => {
                write_aggregate(nals, &mut written);
                payloads.push(written.split().freeze());
            }
            Packets::Fragments { nal, count } => {
                for fragment in 0..count {
                    write_fragment(nal, fragment, count, &mut written);
                    payloads.push(written.split().freeze());
                }
            }
        }
    }
    PackedUnit {
        key_frame: unit.key_frame,
        captured: unit.captured,
        encoding: Duration::ZERO,
        sequence: unit.sequence,
        bytes: payloads.iter().map(Bytes::len).sum(),
        payloads,
    }
}

/// How one or more neighbouring NAL units travel.
enum Packets<'a> {
    Single(&'a [u8]),
    /// `bytes` is the length of the payload.
    Aggregate {
        nals: &'a [&'a [u8]],
        bytes: usize,
    },
    Fragments {
        nal: &'a [u8],
        count: usize,
    },
}

impl Packets<'_> {
    fn count(&self) -> usize {
        match self {
            Self::Single(_) | Self::Aggregate { .. } => 1,
            Self::Fragments { count, .. } => *count,
        }
    }

    fn written_bytes(&self) -> usize {
        match self {
            Self::Single(_) => 0,
            Self::Aggregate { bytes, .. } => *bytes,
            Self::Fragments { nal, count } => nal.len() - 1 + count * FU_HEADERS,
        }
    }
}

fn plan<'a>(nals: &'a [&'a [u8]], mtu: usize) -> Vec<Packets<'a>> {
    let mut packets = Vec::new();
    let mut rest = nals;
    while let Some(first) = rest.first() {
        let mut bytes = STAP_HEADER;
        let together = rest
            .iter()
            .take_while(|nal| {
                bytes += STAP_SIZE + nal.len();
                bytes <= mtu && nal.len() <= usize::from(u16::MAX)
            })
            .count();
        let (now, later) = rest.split_at(together.max(1));
        packets.push(if together > 1 {
            let bytes = STAP_HEADER + now.iter().map(|nal| STAP_SIZE + nal.len()).sum::<usize>();
            Packets::Aggregate { nals: now, bytes }
        } else if first.len() <= mtu {
            Packets::Single(first)
        } else {
            let count = (first.len() - 1).div_ceil(mtu - FU_HEADERS);
            Packets::Fragments { nal: first, count }
        });
        rest = later;
    }
    packets
}

/// RFC 6184, section 5.7.1.
fn write_aggregate(nals: &[&[u8]], out: &mut BytesMut) {
    let forbidden = nals.iter().fold(0, |bits, nal| bits | nal[0] & FORBIDDEN);
    let importance = nals.iter().map(|nal| nal[0] & IMPORTANCE).max();
    out.put_u8(forbidden | importance.unwrap_or(0) | STAP_A);
    for nal in nals {
        // `plan` lets in no NAL unit beyond 16 bits.
        out.put_u16(nal.len() as u16);
        out.put_slice(nal);
    }
}

/// Writes fragment `index` of `count`. RFC 6184, section 5.8.
fn write_fragment(nal: &[u8], index: usize, count: usize, out: &mut BytesMut) {
    let (header, payload) = (nal[0], &nal[1..]);
    let size = payload.len().div_ceil(count);
    let cut = |index| payload.len().min(size * index);
    let start = if index == 0 { FU_START } else { 0 };
    let end = if index + 1 == count { FU_END } else { 0 };
    out.put_u8(header & (FORBIDDEN | IMPORTANCE) | FU_A);
    out.put_u8(start | end | header & TYPE);
    out.put_slice(&payload[cut(index)..cut(index + 1)]);
}

/// IPv6 promises 1280 bytes to everyone; this only keeps a wrong setting from making packets of headers alone.
pub const SMALLEST_MTU: usize = 64;

// The parts of a NAL unit's first byte. RFC 6184, section 1.3.
const FORBIDDEN: u8 = 0x80;
const IMPORTANCE: u8 = 0x60;
const TYPE: u8 = 0x1f;

// RFC 6184, table 1.
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// The STAP-A's own NAL header, and the size in front of each unit.
const STAP_HEADER: usize = 1;
const STAP_SIZE: usize = 2;

/// FU indicator and FU header, which replace the NAL header.
const FU_HEADERS: usize = 2;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn unit(nals: &[Vec<u8>]) -> AccessUnit {
        let data: Vec<u8> = nals
            .iter()
            .flat_map(|nal| [&[0, 0, 0, 1][..], nal].concat())
            .collect();
        AccessUnit {
            data: data.into(),
            key_frame: true,
            captured: MediaTime::from_monotonic(Duration::from_secs(7)),
            sequence: 42,
        }
    }

    /// A NAL unit of `length` bytes in which no start code appears.
    fn nal(header: u8, length: usize) -> Vec<u8> {
        let mut nal: Vec<u8> = (0..length).map(|at| (at % 250) as u8 | 0x04).collect();
        nal[0] = header;
        nal
    }

    /// What a receiver does. RFC 6184, sections 5.6 to 5.8.
    fn depacketize(payloads: &[Bytes]) -> Vec<Vec<u8>> {
        let mut nals: Vec<Vec<u8>> = Vec::new();
        let mut open = false;
        for payload in payloads {
            match payload[0] & TYPE {
                STAP_A => {
                    let mut rest = &payload[1..];
                    while let [high, low, behind @ ..] = rest {
                        let size = usize::from(u16::from_be_bytes([*high, *low]));
                        nals.push(behind[..size].to_vec());
                        rest = &behind[size..];
                    }
                    assert!(rest.is_empty());
                }
                FU_A => {
                    let (indicator, header) = (payload[0], payload[1]);
                    assert_eq!(
                        header & FU_START != 0,
                        !open,
                        "start bit in the wrong place"
                    );
                    if !open {
                        nals.push(vec![indicator & !TYPE | header & TYPE]);
                    }
                    nals.last_mut().unwrap().extend_from_slice(&payload[2..]);
                    open = header & FU_END == 0;
                }
                _ => nals.push(payload.to_vec()),
            }
            assert!(payload[0] & TYPE == FU_A || !open, "fragments torn apart");
        }
        assert!(!open, "last fragment missing");
        nals
    }

    #[test]
    fn key_frame_is_one_packet_of_headers_and_fragments_of_one_size() {
        let nals = [nal(0x67, 30), nal(0x68, 5), nal(0x65, 5000)];
        let packed = pack(&unit(&nals), 1200);
        let sizes: Vec<usize> = packed.payloads.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [40, 1002, 1002, 1002, 1002, 1001]);
        assert_eq!(packed.payloads[0][0], 0x60 | STAP_A);
        assert_eq!(packed.payloads[1][..2], [0x60 | FU_A, FU_START | 5]);
        assert_eq!(packed.payloads[5][..2], [0x60 | FU_A, FU_END | 5]);
        assert_eq!(packed.bytes, sizes.iter().sum::<usize>());
        assert_eq!((packed.sequence, packed.key_frame), (42, true));
        assert_eq!(depacketize(&packed.payloads), nals);
    }

    #[test]
    fn small_picture_is_sent_from_the_units_own_memory() {
        let unit = unit(&[nal(0x41, 900)]);
        let packed = pack(&unit, 1200);
        assert_eq!(packed.payloads.len(), 1);
        assert_eq!(packed.payloads[0].as_ptr(), unit.data[4..].as_ptr());
    }

    #[test]
    fn unit_that_fills_the_packet_to_the_last_byte_is_not_cut() {
        assert_eq!(pack(&unit(&[nal(0x41, 1200)]), 1200).payloads.len(), 1);
        assert_eq!(pack(&unit(&[nal(0x41, 1201)]), 1200).payloads.len(), 2);
    }

    #[test]
    fn unit_without_pictures_has_no_packets() {
        assert!(pack(&unit(&[]), 1200).payloads.is_empty());
    }

    proptest! {
        #[test]
        fn receiver_gets_the_same_nal_units(
            shapes in vec((0usize..4, prop_oneof![4 => 1usize..200, 1 => 1usize..70_000]), 0..8),
            mtu in 0usize..2000,
        ) {
            let headers = [0x67, 0x68, 0x65, 0x01];
            let nals: Vec<Vec<u8>> = shapes.iter().map(|&(kind, length)| nal(headers[kind], length)).collect();
            let packed = pack(&unit(&nals), mtu);
            prop_assert_eq!(depacketize(&packed.payloads), nals);
            for payload in &packed.payloads {
                prop_assert!(payload.len() <= mtu.max(SMALLEST_MTU));
            }
        }
    }
}
