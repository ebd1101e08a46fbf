//! What was sent lately, to be sent again when it is lost.
//!
//! Two tell of a loss: the browser's NACK, and the transport-wide feedback, which comes anyway and tells of lost repairs too. Each
//! packet is under way once at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The packets of one viewer's stream; `P` is what the driver needs to send one again.
#[derive(Debug)]
pub struct Repair<P> {
    /// The number of the oldest packet; the others follow without gaps.
    first: u64,
    packets: VecDeque<Sent<P>>,
    /// The transport-wide numbers of what was sent, and the packets they carried; padding carried none.
    transport: VecDeque<(u16, Option<u64>)>,
    repaired: u64,
}

#[derive(Debug)]
struct Sent<P> {
    packet: P,
    first_sent: Instant,
    last_sent: Instant,
    is_queued: bool,
    has_arrived: bool,
}

impl<P: Clone> Repair<P> {
    pub fn new() -> Self {
        Self {
            first: 0,
            packets: VecDeque::new(),
            transport: VecDeque::new(),
            repaired: 0,
        }
    }

    /// A packet leaves for the first time. Returns its number for [`sent_again`](Self::sent_again); its RTP sequence number is its
    /// last 16 bits from a start that the driver chooses.
    pub fn sent(&mut self, packet: P, transport: u16, round_trip: Duration, now: Instant) -> u64 {
        let history = HISTORY.max(useful(round_trip));
        while let Some(oldest) = self.packets.front()
            && (self.packets.len() == PACKETS || now > oldest.first_sent + history)
        {
            self.packets.pop_front();
            self.first += 1;
        }
        let number = self.first + self.packets.len() as u64;
        self.packets.push_back(Sent {
            packet,
            first_sent: now,
            last_sent: now,
            is_queued: false,
            has_arrived: false,
        });
        self.carries(transport, Some(number));
        number
    }

    /// A repair leaves.
    pub fn sent_again(&mut self, number: u64, transport: u16, now: Instant) {
        if let Some(sent) = self.packet(number) {
            sent.last_sent = now;
            sent.is_queued = false;
        }
        self.repaired += 1;
        self.carries(transport, Some(number));
    }

    /// A packet that carries nothing leaves.
    pub fn sent_padding(&mut self, transport: u16) {
        self.carries(transport, None);
    }

    /// The browser asks for a packet again. `None`: it is on its way, or too old to be of use.
    pub fn missing(&mut self, number: u64, round_trip: Duration, now: Instant) -> Option<P> {
        let sent = self.packet(number)?;
        // Of one that was sent once, whoever tells knows; of a repair nobody can before a round trip.
        let is_repair_under_way = sent.last_sent > sent.first_sent
            && now < sent.last_sent + round_trip.mul_f64(UNDER_WAY);
        let is_under_way = sent.is_queued || sent.has_arrived || is_repair_under_way;
        if is_under_way || now > sent.first_sent + useful(round_trip) {
            return None;
        }
        sent.is_queued = true;
        Some(sent.packet.clone())
    }

    /// The repair of this packet did not leave after all.
    pub fn given_up(&mut self, number: u64) {
        if let Some(sent) = self.packet(number) {
            sent.is_queued = false;
        }
    }

    /// No repair that was asked for up to now leaves any more.
    pub fn all_given_up(&mut self) {
        for sent in &mut self.packets {
            sent.is_queued = false;
        }
    }

    /// The feedback says that what this transport-wide number carried is there.
    pub fn arrived(&mut self, transport: u16) {
        if let Some(number) = self.carried(transport)
            && let Some(sent) = self.packet(number)
        {
            sent.has_arrived = true;
        }
    }

    /// Packets of the last moments that are not known to have arrived, although a report could tell.
    pub fn unheard_of(&self, round_trip: Duration, now: Instant) -> Vec<u64> {
        (self.first..)
            .zip(&self.packets)
            .filter(|(_, sent)| {
                let could_tell = now >= sent.last_sent + round_trip.mul_f64(UNDER_WAY);
                !sent.has_arrived && could_tell && now < sent.first_sent + GUESSED
            })
            .map(|(number, _)| number)
            .collect()
    }

    /// Which packet a lost transport-wide number carried.
    pub fn carried(&self, transport: u16) -> Option<u64> {
        let newest = self.transport.back()?.0;
        let back = usize::from(newest.wrapping_sub(transport));
        let index = self.transport.len().checked_sub(back + 1)?;
        let (found, number) = self.transport.get(index)?;
        number.filter(|_| *found == transport)
    }

    /// How often one repair is sent when the way loses this much by its nature, 0 to 1.
    pub fn copies(random_loss: f64) -> usize {
        1 + COPIES_ABOVE
            .iter()
            .filter(|loss| random_loss > **loss)
            .count()
    }

    /// The viewer goes on with a key frame: nothing that was sent before is of use.
    pub fn skip(&mut self) {
        self.first += self.packets.len() as u64;
        self.packets.clear();
    }

    /// Packets sent again.
    pub fn repaired(&self) -> u64 {
        self.repaired
    }

    fn packet(&mut self, number: u64) -> Option<&mut Sent<P>> {
        let index = number.checked_sub(self.first)?;
        self.packets.get_mut(index as usize)
    }

    fn carries(&mut self, transport: u16, number: Option<u64>) {
        if self.transport.len() == PACKETS {
            self.transport.pop_front();
        }
        self.transport.push_back((transport, number));
    }
}

impl<P: Clone> Default for Repair<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// A repair that leaves later is of no use: on a way as long as to a satellite it takes a round trip to hear of a loss, and another
/// when the repair is lost.
fn useful(round_trip: Duration) -> Duration {
    USEFUL.max(round_trip * 4)
}

/// Chromium asks ten times, a round trip apart; a picture that is a second late is not worth one bit any more.
const HISTORY: Duration = Duration::from_secs(2);
const USEFUL: Duration = Duration::from_secs(1);

/// Older, and the browser asked for it again.
const GUESSED: Duration = Duration::from_millis(300);

/// Two seconds at 10 Mbit/s. Beyond it the oldest are forgotten, and the browser gets a key frame instead.
const PACKETS: usize = 2048;

/// Of a round trip: sooner than this nobody can know that the repair was lost.
const UNDER_WAY: f64 = 0.8;

/// A second copy above 2 %, a third above 4 %: each costs as much of the rate as the way loses, and saves a round trip, 200 ms of
/// standstill, after most of the repairs that would be lost.
const COPIES_ABOVE: [f64; 2] = [0.02, 0.04];

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests need some instant to count from
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(50);

    #[test]
    fn repair_is_under_way_once_at_a_time() {
        let start = Instant::now();
        let mut repair = Repair::new();
        let number = repair.sent("packet", 1, ROUND_TRIP, start);
        // Reports make a round trip look longer than it is for a NACK.
        let at = start + ROUND_TRIP / 2;
        assert_eq!(repair.missing(number, ROUND_TRIP, at), Some("packet"));
        assert_eq!(repair.missing(number, ROUND_TRIP, at), None);
        repair.sent_again(number, 2, at);
        assert_eq!(
            repair.missing(number, ROUND_TRIP, at + ROUND_TRIP / 2),
            None
        );
        assert!(
            repair
                .missing(number, ROUND_TRIP, at + ROUND_TRIP)
                .is_some()
        );
    }

    #[test]
    fn lost_repair_is_found_by_its_transport_number() {
        let start = Instant::now();
        let mut repair = Repair::new();
        let number = repair.sent("packet", u16::MAX, ROUND_TRIP, start);
        repair.sent_padding(0);
        repair.sent_again(number, 1, start + ROUND_TRIP);
        assert_eq!(repair.carried(u16::MAX), Some(number));
        assert_eq!(repair.carried(0), None);
        assert_eq!(repair.carried(1), Some(number));
        assert_eq!(repair.carried(2), None);
    }

    #[test]
    fn what_no_report_told_of_is_known_until_the_browser_asks_itself() {
        let start = Instant::now();
        let mut repair = Repair::new();
        repair.sent("first", 1, ROUND_TRIP, start);
        let second = repair.sent("second", 2, ROUND_TRIP, start);
        repair.arrived(1);
        assert!(repair.unheard_of(ROUND_TRIP, start).is_empty());
        assert_eq!(repair.unheard_of(ROUND_TRIP, start + ROUND_TRIP), [second]);
        assert!(repair.unheard_of(ROUND_TRIP, start + GUESSED).is_empty());
    }

    #[test]
    fn repair_that_did_not_leave_may_be_asked_for_again() {
        let start = Instant::now();
        let mut repair = Repair::new();
        let first = repair.sent("first", 1, ROUND_TRIP, start);
        let second = repair.sent("second", 2, ROUND_TRIP, start);
        let at = start + ROUND_TRIP;
        for number in [first, second] {
            assert!(repair.missing(number, ROUND_TRIP, at).is_some());
        }
        repair.given_up(first);
        assert_eq!(repair.missing(first, ROUND_TRIP, at), Some("first"));
        assert_eq!(repair.missing(second, ROUND_TRIP, at), None);
        repair.all_given_up();
        assert_eq!(repair.missing(second, ROUND_TRIP, at), Some("second"));
    }

    #[test]
    fn longer_way_has_a_longer_history() {
        let start = Instant::now();
        let satellite = Duration::from_millis(700);
        let mut repair = Repair::new();
        let first = repair.sent("first", 1, satellite, start);
        let late = start + Duration::from_millis(2500);
        repair.sent("second", 2, satellite, late);
        assert_eq!(repair.missing(first, satellite, late), Some("first"));
    }

    #[test]
    fn nothing_is_repaired_that_a_key_frame_replaces() {
        let start = Instant::now();
        let mut repair = Repair::new();
        let before = repair.sent("before", 1, ROUND_TRIP, start);
        repair.skip();
        let after = repair.sent("after", 2, ROUND_TRIP, start);
        let at = start + ROUND_TRIP;
        assert_eq!(repair.missing(before, ROUND_TRIP, at), None);
        assert_eq!(repair.missing(after, ROUND_TRIP, at), Some("after"));
    }

    #[test]
    fn packet_of_two_seconds_ago_is_not_sent_again() {
        let start = Instant::now();
        let mut repair = Repair::new();
        let number = repair.sent("packet", 1, ROUND_TRIP, start);
        let late = start + Duration::from_millis(1500);
        assert_eq!(repair.missing(number, ROUND_TRIP, late), None);
    }
}
