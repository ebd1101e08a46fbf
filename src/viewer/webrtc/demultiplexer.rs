//! Whose datagram it is, when all viewers come to one port.
//!
//! ```text
//!  first byte (RFC 7983)   whose it is
//!  0–3    STUN request     of whom its USERNAME calls (RFC 8445, section 7.2.2), from wherever it comes
//!         STUN response    of who sent the request; else as below
//!         STUN indication  as below
//!  20–63  DTLS             of whom this address is known to belong to
//!  128–191 RTP, RTCP       of whom this address is known to belong to
//!  anything else           nobody's
//! ```
//!
//! An address belongs to the viewer who last found a check from there to be genuine: that is seen by the success response which
//! it sends there, and it sends none to somebody who does not know its ICE password. To guess a name is therefore to cost that
//! viewer one HMAC and to learn nothing. Who knows the password of a viewer and forges another viewer's address gets what that
//! one sends only when the other was silent for [`HOLD`]; what it gets is encrypted with keys that it does not have.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat(u64);

/// A local address and where something came from or goes to.
pub(super) type Way = (IpAddr, SocketAddr);

type Transaction = [u8; 12];

#[derive(Debug, Default)]
pub(super) struct Demultiplexer {
    next_seat: u64,
    seated: BTreeMap<Seat, Seated>,
    names: BTreeMap<String, Seat>,
    transactions: BTreeMap<Transaction, Seat>,
    owners: BTreeMap<Way, Owner>,
}

/// What there is to forget once a viewer leaves, the oldest first.
#[derive(Debug, Default)]
struct Seated {
    name: Option<String>,
    transactions: VecDeque<Transaction>,
    ways: VecDeque<Way>,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    seat: Seat,
    /// When it last found a check from there to be genuine.
    confirmed: Instant,
}

impl Demultiplexer {
    pub(super) fn enter(&mut self) -> Seat {
        let seat = Seat(self.next_seat);
        self.next_seat += 1;
        self.seated.insert(seat, Seated::default());
        seat
    }

    pub(super) fn leave(&mut self, seat: Seat) {
        let Some(seated) = self.seated.remove(&seat) else {
            return;
        };
        if let Some(name) = &seated.name {
            remove_own(&mut self.names, name, seat);
        }
        for transaction in &seated.transactions {
            remove_own(&mut self.transactions, transaction, seat);
        }
        for way in &seated.ways {
            self.disown(way, seat);
        }
    }

    /// `ufrag` stands in its newest offer. Nobody calls it by the one before any more.
    pub(super) fn name(&mut self, seat: Seat, ufrag: &str) {
        let Some(seated) = self.seated.get_mut(&seat) else {
            return;
        };
        if let Some(before) = seated.name.replace(ufrag.to_owned()) {
            remove_own(&mut self.names, &before, seat);
        }
        self.names.insert(ufrag.to_owned(), seat);
    }

    /// `datagram` is about to leave: what it says about the answers to come.
    pub(super) fn note_sent(&mut self, seat: Seat, way: Way, datagram: &[u8], now: Instant) {
        let Some(message) = StunMessage::read(datagram) else {
            return;
        };
        match message.class() {
            Class::Request => self.note_request(seat, message.transaction),
            Class::SuccessResponse => self.note_genuine(seat, way, now),
            Class::Indication | Class::ErrorResponse => {}
        }
    }

    pub(super) fn whose(&self, way: Way, datagram: &[u8]) -> Option<Seat> {
        let owner = || self.owners.get(&way).map(|owner| owner.seat);
        match datagram.first()? {
            0..=3 => {
                let message = StunMessage::read(datagram)?;
                match message.class() {
                    Class::Request => self.names.get(message.called()?).copied(),
                    Class::Indication => owner(),
                    Class::SuccessResponse | Class::ErrorResponse => {
                        let asked = self.transactions.get(&message.transaction);
                        asked.copied().or_else(owner)
                    }
                }
            }
            20..=63 | 128..=191 => owner(),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.seated.is_empty()
            && self.names.is_empty()
            && self.transactions.is_empty()
            && self.owners.is_empty()
    }

    fn note_request(&mut self, seat: Seat, transaction: Transaction) {
        let Some(seated) = self.seated.get_mut(&seat) else {
            return;
        };
        if self.transactions.insert(transaction, seat) == Some(seat) {
            return;
        }
        seated.transactions.push_back(transaction);
        if seated.transactions.len() > TRANSACTIONS
            && let Some(oldest) = seated.transactions.pop_front()
        {
            remove_own(&mut self.transactions, &oldest, seat);
        }
    }

    fn note_genuine(&mut self, seat: Seat, way: Way, now: Instant) {
        let Some(seated) = self.seated.get_mut(&seat) else {
            return;
        };
        if let Some(owner) = self.owners.get(&way)
            && owner.seat != seat
            && now.saturating_duration_since(owner.confirmed) < HOLD
        {
            return;
        }
        let confirmed = now;
        self.owners.insert(way, Owner { seat, confirmed });
        // In the order of use: the addresses that a browser gave up are the first to be forgotten.
        seated.ways.retain(|known| *known != way);
        seated.ways.push_back(way);
        if seated.ways.len() > WAYS
            && let Some(oldest) = seated.ways.pop_front()
        {
            self.disown(&oldest, seat);
        }
    }

    fn disown(&mut self, way: &Way, seat: Seat) {
        if self.owners.get(way).is_some_and(|owner| owner.seat == seat) {
            self.owners.remove(way);
        }
    }
}

/// `key` may be somebody else's by now.
fn remove_own<K: Ord>(map: &mut BTreeMap<K, Seat>, key: &K, seat: Seat) {
    if map.get(key) == Some(&seat) {
        map.remove(key);
    }
}

/// Whether it is for a TURN server: a message with one of the methods of RFC 8656, section 17, or channel data (section 12.4).
pub(super) fn is_turn(datagram: &[u8]) -> bool {
    match datagram.first() {
        Some(0..=3) => {
            StunMessage::read(datagram).is_some_and(|message| message.method() != BINDING)
        }
        Some(first) => (64..=79).contains(first),
        None => false,
    }
}

/// Whether it is worth to be noted: RFC 7983, section 7.
pub(super) fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(0..=3))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Request,
    Indication,
    SuccessResponse,
    ErrorResponse,
}

/// RFC 8489, section 5.
struct StunMessage<'d> {
    message_type: u16,
    transaction: Transaction,
    attributes: &'d [u8],
}

impl<'d> StunMessage<'d> {
    fn read(datagram: &'d [u8]) -> Option<Self> {
        let (message_type, rest) = datagram.split_first_chunk::<2>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (cookie, rest) = rest.split_first_chunk::<4>()?;
        let (transaction, attributes) = rest.split_first_chunk::<12>()?;
        let message_type = u16::from_be_bytes(*message_type);
        if message_type & 0xc000 != 0 || u32::from_be_bytes(*cookie) != MAGIC_COOKIE {
            return None;
        }
        Some(Self {
            message_type,
            transaction: *transaction,
            attributes: attributes.get(..u16::from_be_bytes(*length).into())?,
        })
    }

    fn class(&self) -> Class {
        match self.message_type & 0x0110 {
            0x0000 => Class::Request,
            0x0010 => Class::Indication,
            0x0100 => Class::SuccessResponse,
            _ => Class::ErrorResponse,
        }
    }

    fn method(&self) -> u16 {
        self.message_type & !0x0110
    }

    /// The fragment of USERNAME before the colon: ours.
    fn called(&self) -> Option<&'d str> {
        let mut rest = self.attributes;
        loop {
            let (kind, after) = rest.split_first_chunk::<2>()?;
            let (length, after) = after.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let value = after.get(..length)?;
            if u16::from_be_bytes(*kind) == USERNAME {
                let (called, _) = str::from_utf8(value).ok()?.split_once(':')?;
                return Some(called);
            }
            rest = after.get(length.next_multiple_of(4)..)?;
        }
    }
}

const MAGIC_COOKIE: u32 = 0x2112_a442;
const BINDING: u16 = 0x0001;
const USERNAME: u16 = 0x0006;

/// Browsers ask whether the way is still there every four to six seconds (RFC 7675, section 5.1), Chromium twice as often: two of
/// these may be lost. A browser that comes from the address and port of one that went without a word waits as long.
const HOLD: Duration = Duration::from_secs(15);

/// Checks under way: eight pairs of addresses, one check in 50 ms each, for the half second that an answer may take. The oldest
/// is forgotten, and its answer found by its address, if that is known.
const TRANSACTIONS: usize = 128;

/// Of one browser: more than it has interfaces, NATs and relays. The one longest without a check is forgotten.
const WAYS: usize = 32;

#[cfg(test)]
mod tests;
