//! What a browser's RTCP says, as the core reads it.

use std::time::Duration;

use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, SymbolTypeTcc, TransportLayerCc,
};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use tracing::warn;

use super::super::PeerStatistics;
use super::super::clock::{NtpTime, wall_now};
use crate::media::congestion::{Arrival, ReceiverClock};

/// Appends what `report` says of each packet. draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1.
pub(super) fn arrivals(
    report: &TransportLayerCc,
    clock: &mut ReceiverClock,
    arrivals: &mut Vec<Arrival>,
) {
    let mut at = Some(clock.unwrap(report.reference_time));
    let mut deltas = report.recv_deltas.iter();
    let mut sequence = report.base_sequence_number;
    let mut left = usize::from(report.packet_status_count);
    let mut tell = |symbol: SymbolTypeTcc| {
        if left == 0 {
            return false;
        }
        left -= 1;
        let arrived = match symbol {
            SymbolTypeTcc::PacketReceivedSmallDelta | SymbolTypeTcc::PacketReceivedLargeDelta => {
                at = deltas.next().and_then(|delta| moved(at?, delta.delta));
                // A report that is too short, or goes back before its own origin, tells nothing more of use.
                let Some(at) = at else {
                    return false;
                };
                Some(at)
            }
            SymbolTypeTcc::PacketNotReceived => None,
            // It is there, and nobody knows since when: neither an arrival to reckon with nor a loss.
            SymbolTypeTcc::PacketReceivedWithoutDelta => {
                sequence = sequence.wrapping_add(1);
                return true;
            }
        };
        arrivals.push(Arrival {
            sequence,
            at: arrived,
        });
        sequence = sequence.wrapping_add(1);
        true
    };
    for chunk in &report.packet_chunks {
        let goes_on = match chunk {
            PacketStatusChunk::RunLengthChunk(chunk) => {
                (0..chunk.run_length).all(|_| tell(chunk.packet_status_symbol))
            }
            PacketStatusChunk::StatusVectorChunk(chunk) => {
                chunk.symbol_list.iter().all(|symbol| tell(*symbol))
            }
        };
        if !goes_on {
            return;
        }
    }
}

/// `delta` is in microseconds.
fn moved(at: Duration, delta: i64) -> Option<Duration> {
    let by = Duration::from_micros(delta.unsigned_abs());
    if delta < 0 {
        at.checked_sub(by)
    } else {
        at.checked_add(by)
    }
}

/// The RTP sequence numbers that are asked for. RFC 4585, section 6.2.1.
pub(super) fn missing(nack: &TransportLayerNack) -> impl Iterator<Item = u16> {
    nack.nacks.iter().flat_map(|pair| {
        let behind = (0..16).filter(|bit| pair.lost_packets & 1 << bit != 0);
        std::iter::once(0)
            .chain(behind.map(|bit| bit + 1))
            .map(|ahead| pair.packet_id.wrapping_add(ahead))
    })
}

/// RFC 3550, section 6.4.1. Returns the round trip when the report tells one.
pub(super) fn read_reception(
    block: &ReceptionReport,
    statistics: &mut PeerStatistics,
) -> Option<Duration> {
    statistics.fraction_lost = f32::from(block.fraction_lost) / 256.0;
    statistics.lost_packets = u64::from(block.total_lost);
    statistics.jitter = Duration::from_micros(u64::from(block.jitter) * 100 / 9);
    if block.last_sender_report == 0 {
        return None;
    }
    let now = NtpTime::from(wall_now()).middle();
    let elapsed = now
        .wrapping_sub(block.last_sender_report)
        .wrapping_sub(block.delay);
    // A wall clock that was set in between, or a browser that counts wrong, gives nonsense.
    if elapsed >= LONGEST_ROUND_TRIP {
        warn!(elapsed, "browser reports a round trip that cannot be");
        return None;
    }
    statistics.round_trip = Some(Duration::from_micros(
        u64::from(elapsed) * 1_000_000 / 65536,
    ));
    statistics.round_trip
}

/// In 1/65536 s: a minute.
const LONGEST_ROUND_TRIP: u32 = 60 << 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
        RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    };
    use rtc::rtcp::transport_feedbacks::transport_layer_nack::NackPair;
    use rtc::shared::marshal::Unmarshal;

    use super::*;

    fn read(report: &TransportLayerCc) -> Vec<(u16, Option<u64>)> {
        let mut found = Vec::new();
        arrivals(report, &mut ReceiverClock::default(), &mut found);
        let first = found.iter().find_map(|arrival| arrival.at);
        found
            .into_iter()
            .map(|arrival| {
                let since = arrival
                    .at
                    .map(|at| (at - first.unwrap()).as_millis() as u64);
                (arrival.sequence, since)
            })
            .collect()
    }

    fn delta(symbol: SymbolTypeTcc, ms: i64) -> RecvDelta {
        RecvDelta {
            type_tcc_packet: symbol,
            delta: ms * 1000,
        }
    }

    fn run(symbol: SymbolTypeTcc, run_length: u16) -> PacketStatusChunk {
        PacketStatusChunk::RunLengthChunk(RunLengthChunk {
            type_tcc: StatusChunkTypeTcc::RunLengthChunk,
            packet_status_symbol: symbol,
            run_length,
        })
    }

    #[test]
    fn lost_and_reordered_packets_keep_their_numbers_over_the_wrap() {
        use SymbolTypeTcc::{
            PacketNotReceived as Lost, PacketReceivedLargeDelta as Large,
            PacketReceivedSmallDelta as Small,
        };
        let report = TransportLayerCc {
            base_sequence_number: 65_534,
            packet_status_count: 5,
            reference_time: 1 << 20,
            packet_chunks: vec![
                run(Small, 2),
                PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                    type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                    symbol_size: SymbolSizeTypeTcc::TwoBit,
                    symbol_list: vec![Lost, Large, Small, Lost, Lost, Lost, Lost],
                }),
            ],
            recv_deltas: vec![
                delta(Small, 1),
                delta(Small, 9),
                delta(Large, -5),
                delta(Small, 2),
            ],
            ..Default::default()
        };
        assert_eq!(
            read(&report),
            [
                (65_534, Some(0)),
                (65_535, Some(9)),
                (0, None),
                (1, Some(4)),
                (2, Some(6)),
            ]
        );
    }

    #[test]
    fn report_with_fewer_times_than_packets_counts_up_to_there() {
        let report = TransportLayerCc {
            base_sequence_number: 7,
            packet_status_count: 9000,
            packet_chunks: vec![run(SymbolTypeTcc::PacketReceivedSmallDelta, 8191)],
            recv_deltas: vec![delta(SymbolTypeTcc::PacketReceivedSmallDelta, 1)],
            ..Default::default()
        };
        assert_eq!(read(&report).len(), 1);
    }

    #[test]
    fn nack_names_the_packet_and_the_sixteen_behind_it() {
        let nack = TransportLayerNack {
            nacks: vec![NackPair {
                packet_id: 65_535,
                lost_packets: 0b1000_0000_0000_0001,
            }],
            ..Default::default()
        };
        assert_eq!(missing(&nack).collect::<Vec<_>>(), [65_535, 0, 15]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(
            body in proptest::collection::vec(any::<u8>(), 16..200),
        ) {
            let words = body.len() / 4;
            let mut bytes = vec![0x8f, 205, 0, words as u8];
            bytes.extend_from_slice(&body[..words * 4]);
            if let Ok(report) = TransportLayerCc::unmarshal(&mut bytes.as_slice()) {
                let mut found = Vec::new();
                arrivals(&report, &mut ReceiverClock::default(), &mut found);
                prop_assert!(found.len() <= usize::from(report.packet_status_count));
            }
        }
    }
}
