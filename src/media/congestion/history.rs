//! What was sent and not yet reported on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Arrival, ProbeId, SentPacket};

/// The packets that a report may still tell about, oldest first, numbered without gaps.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The number of the oldest packet, unwrapped.
    first: u64,
    packets: VecDeque<Packet>,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    at: Instant,
    bytes: u32,
    probe: Option<ProbeId>,
    /// `None` for what was never sent: a gap in the numbers.
    fate: Option<Fate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unknown,
    Lost,
    Arrived,
}

/// A packet that the receiver has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    pub(super) number: u64,
    pub(super) sent: Instant,
    /// On the receiver's clock.
    pub(super) arrived: Duration,
    pub(super) bytes: u32,
    pub(super) probe: Option<ProbeId>,
}

/// What one report tells.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// In order of arrival.
    pub(super) acknowledged: Vec<Acknowledged>,
    pub(super) lost: u32,
    /// Packets that an earlier report called lost and that were only late.
    pub(super) late: u32,
}

impl History {
    pub(super) fn sent(&mut self, packet: SentPacket, now: Instant) {
        let number = match self.packets.is_empty() {
            true => u64::from(packet.sequence) + FIRST_ROUND,
            false => unwrap(packet.sequence, self.end()),
        };
        if self.packets.is_empty() {
            self.first = number;
        }
        // A number in the past or far ahead: the count began anew.
        if number < self.end() || number - self.end() > PACKETS as u64 {
            self.packets.clear();
            self.first = number;
        }
        while self.end() < number {
            self.push(Packet {
                at: now,
                bytes: 0,
                probe: None,
                fate: None,
            });
        }
        self.push(Packet {
            at: now,
            bytes: packet.bytes as u32,
            probe: packet.probe,
            fate: Some(Fate::Unknown),
        });
    }

    /// Sorts out `arrivals` into `reported`. What was told before, or never sent, counts for nothing.
    pub(super) fn report(
        &mut self,
        arrivals: impl IntoIterator<Item = Arrival>,
        reported: &mut Reported,
    ) {
        reported.acknowledged.clear();
        reported.lost = 0;
        reported.late = 0;
        for arrival in arrivals {
            let number = unwrap(arrival.sequence, self.end());
            let Some(packet) = number
                .checked_sub(self.first)
                .and_then(|index| self.packets.get_mut(index as usize))
            else {
                continue;
            };
            match (packet.fate, arrival.at) {
                (Some(Fate::Unknown), None) => {
                    packet.fate = Some(Fate::Lost);
                    reported.lost += 1;
                }
                (Some(fate @ (Fate::Unknown | Fate::Lost)), Some(arrived)) => {
                    packet.fate = Some(Fate::Arrived);
                    reported.late += u32::from(fate == Fate::Lost);
                    reported.acknowledged.push(Acknowledged {
                        number,
                        sent: packet.at,
                        arrived,
                        bytes: packet.bytes,
                        probe: packet.probe,
                    });
                }
                (Some(Fate::Lost), None) | (Some(Fate::Arrived) | None, _) => {}
            }
        }
        reported
            .acknowledged
            .sort_unstable_by_key(|packet| (packet.arrived, packet.number));
    }

    fn end(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    fn push(&mut self, packet: Packet) {
        if self.packets.len() == PACKETS {
            self.packets.pop_front();
            self.first += 1;
        }
        self.packets.push_back(packet);
    }
}

/// The number nearest to `near` that ends in `sequence`.
fn unwrap(sequence: u16, near: u64) -> u64 {
    let ahead = sequence.wrapping_sub(near as u16) as i16;
    near.saturating_add_signed(i64::from(ahead))
}

/// Eight seconds at 5 Mbit/s. The oldest are forgotten first: a report that comes so late tells of another time.
const PACKETS: usize = 4096;

/// Keeps numbers before the first one representable.
const FIRST_ROUND: u64 = 1 << 16;

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests need some instant to count from
mod tests {
    use super::*;

    fn packet(sequence: u16) -> SentPacket {
        SentPacket {
            sequence,
            bytes: 1200,
            payload: 1140,
            probe: None,
        }
    }

    fn arrival(sequence: u16, ms: Option<u64>) -> Arrival {
        Arrival {
            sequence,
            at: ms.map(Duration::from_millis),
        }
    }

    #[test]
    fn numbers_wrap_without_a_gap() {
        let (mut history, mut reported) = (History::default(), Reported::default());
        let now = Instant::now();
        for sequence in [65_534, 65_535, 0, 1] {
            history.sent(packet(sequence), now);
        }
        let all = [65_534, 65_535, 0, 1].map(|sequence| arrival(sequence, Some(10)));
        history.report(all, &mut reported);
        let numbers: Vec<u64> = reported.acknowledged.iter().map(|it| it.number).collect();
        assert_eq!(numbers.len(), 4);
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    }

    #[test]
    fn late_packet_is_taken_back_from_the_lost() {
        let (mut history, mut reported) = (History::default(), Reported::default());
        let now = Instant::now();
        history.sent(packet(7), now);
        history.sent(packet(8), now);
        history.report([arrival(7, None), arrival(8, Some(5))], &mut reported);
        assert_eq!((reported.lost, reported.acknowledged.len()), (1, 1));
        history.report([arrival(7, Some(6)), arrival(8, Some(5))], &mut reported);
        assert_eq!((reported.late, reported.acknowledged.len()), (1, 1));
    }

    #[test]
    fn report_of_what_was_never_sent_counts_for_nothing() {
        let (mut history, mut reported) = (History::default(), Reported::default());
        history.report([arrival(7, Some(1))], &mut reported);
        assert!(reported.acknowledged.is_empty());
        history.sent(packet(100), Instant::now());
        history.report(
            [arrival(99, None), arrival(101, None), arrival(40_000, None)],
            &mut reported,
        );
        assert_eq!(reported.lost, 0);
    }
}
