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
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    const ROBOT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const REQUEST: u16 = 0x0001;
    const SUCCESS: u16 = 0x0101;
    const ERROR: u16 = 0x0111;
    const CLIENT_HELLO: &[u8] = &[22, 254, 253, 0];
    const RTCP: &[u8] = &[0x80, 201, 0, 1];

    fn way(port: u16) -> Way {
        (ROBOT, (Ipv4Addr::new(198, 51, 100, 7), port).into())
    }

    fn message(message_type: u16, transaction: u8, username: Option<&str>) -> Vec<u8> {
        let mut attributes = vec![0x80, 0x22, 0, 3, b'a', b'b', b'c', 0];
        if let Some(username) = username {
            attributes.extend_from_slice(&USERNAME.to_be_bytes());
            attributes.extend_from_slice(&(username.len() as u16).to_be_bytes());
            attributes.extend_from_slice(username.as_bytes());
            attributes.resize(attributes.len().next_multiple_of(4), 0);
        }
        let mut message = message_type.to_be_bytes().to_vec();
        message.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
        message.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        message.extend_from_slice(&[transaction; 12]);
        message.extend_from_slice(&attributes);
        message
    }

    /// Two viewers, called `anna` and `bert`.
    struct Scene {
        port: Demultiplexer,
        anna: Seat,
        bert: Seat,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let mut port = Demultiplexer::default();
            let (anna, bert) = (port.enter(), port.enter());
            port.name(anna, "anna");
            port.name(bert, "bert");
            let now = Instant::now();
            Self {
                port,
                anna,
                bert,
                now,
            }
        }

        fn send(&mut self, seat: Seat, way: Way, datagram: &[u8]) {
            self.port.note_sent(seat, way, datagram, self.now);
        }

        /// `seat` found a check from there to be genuine.
        fn confirm(&mut self, seat: Seat, way: Way) {
            self.send(seat, way, &message(SUCCESS, 0, None));
        }
    }

    #[test]
    fn check_reaches_whom_it_calls_from_wherever_it_comes() {
        let scene = Scene::new();
        for (username, whose) in [
            (Some("anna:far"), Some(scene.anna)),
            (Some("bert:far"), Some(scene.bert)),
            (Some("carl:far"), None),
            (Some("anna"), None),
            (Some(":anna"), None),
            (None, None),
        ] {
            let check = message(REQUEST, 1, username);
            assert_eq!(scene.port.whose(way(1), &check), whose, "{username:?}");
        }
    }

    #[test]
    fn address_is_known_once_a_check_from_there_was_answered() {
        let mut scene = Scene::new();
        let check = message(REQUEST, 1, Some("anna:far"));
        assert_eq!(scene.port.whose(way(1), &check), Some(scene.anna));
        assert_eq!(scene.port.whose(way(1), CLIENT_HELLO), None);
        // An error response is what somebody without the password gets, if anything.
        scene.send(scene.anna, way(1), &message(ERROR, 1, None));
        assert_eq!(scene.port.whose(way(1), CLIENT_HELLO), None);

        scene.confirm(scene.anna, way(1));

        assert_eq!(scene.port.whose(way(1), CLIENT_HELLO), Some(scene.anna));
        assert_eq!(scene.port.whose(way(1), RTCP), Some(scene.anna));
        assert_eq!(scene.port.whose(way(2), RTCP), None, "another port");
        let elsewhere = (Ipv4Addr::new(192, 0, 2, 2).into(), way(1).1);
        assert_eq!(scene.port.whose(elsewhere, RTCP), None);
        for nobodys in [&[][..], &[4], &[19], &[64], &[127], &[192], &[255]] {
            assert_eq!(scene.port.whose(way(1), nobodys), None, "{nobodys:?}");
        }
    }

    #[test]
    fn response_reaches_who_asked_though_both_asked_the_same_server() {
        let mut scene = Scene::new();
        let server = way(3478);
        scene.send(scene.anna, server, &message(REQUEST, 1, None));
        scene.send(scene.bert, server, &message(REQUEST, 2, None));
        let whose = |answer: Vec<u8>| scene.port.whose(server, &answer);
        assert_eq!(whose(message(SUCCESS, 1, None)), Some(scene.anna));
        assert_eq!(whose(message(ERROR, 2, None)), Some(scene.bert));
        assert_eq!(whose(message(SUCCESS, 3, None)), None);
    }

    #[test]
    fn viewer_who_watches_keeps_its_address_and_one_who_fell_silent_does_not() {
        let mut scene = Scene::new();
        scene.confirm(scene.anna, way(1));

        scene.confirm(scene.bert, way(1));
        assert_eq!(scene.port.whose(way(1), RTCP), Some(scene.anna));
        scene.now += HOLD / 2;
        scene.confirm(scene.anna, way(1));
        scene.now += HOLD / 2;
        scene.confirm(scene.bert, way(1));
        assert_eq!(scene.port.whose(way(1), RTCP), Some(scene.anna));

        scene.now += HOLD / 2;
        scene.confirm(scene.bert, way(1));
        assert_eq!(scene.port.whose(way(1), RTCP), Some(scene.bert));
        scene.port.leave(scene.anna);
        assert_eq!(scene.port.whose(way(1), RTCP), Some(scene.bert));
    }

    #[test]
    fn own_requests_to_an_address_do_not_make_it_ones_own() {
        // Candidates are what a browser says: somebody else's address, perhaps.
        let mut scene = Scene::new();
        scene.send(scene.bert, way(1), &message(REQUEST, 1, Some("far:bert")));
        assert_eq!(scene.port.whose(way(1), CLIENT_HELLO), None);
        assert_eq!(scene.port.whose(way(1), RTCP), None);
    }

    #[test]
    fn new_offer_replaces_the_name_of_the_one_before() {
        let mut scene = Scene::new();
        scene.port.name(scene.anna, "anna2");
        let check = |name: &str| message(REQUEST, 1, Some(&format!("{name}:far")));
        assert_eq!(scene.port.whose(way(1), &check("anna2")), Some(scene.anna));
        assert_eq!(scene.port.whose(way(1), &check("anna")), None);
    }

    #[test]
    fn turn_is_told_from_checks() {
        assert!(is_turn(&message(0x0003, 1, None)), "Allocate");
        assert!(is_turn(&message(0x0016, 1, None)), "Send indication");
        assert!(is_turn(&[0x40, 0, 0, 0]), "channel data");
        for other in [&message(REQUEST, 1, None)[..], CLIENT_HELLO, RTCP, &[]] {
            assert!(!is_turn(other));
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter,
        Leave(usize),
        Name(usize, u8),
        Sent(usize, u16, u16, u8),
        Later(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let kind = prop_oneof![Just(REQUEST), Just(SUCCESS), Just(ERROR)];
        prop_oneof![
            Just(Step::Enter),
            any::<usize>().prop_map(Step::Leave),
            (any::<usize>(), 0..8u8).prop_map(|(seat, name)| Step::Name(seat, name)),
            (any::<usize>(), 0..90u16, kind, any::<u8>())
                .prop_map(|(seat, port, kind, id)| Step::Sent(seat, port, kind, id)),
            (0..20u8).prop_map(Step::Later),
        ]
    }

    proptest! {
        #[test]
        fn everything_is_bounded_belongs_to_somebody_there_and_goes_with_them(
            steps in proptest::collection::vec(step(), 0..400)
        ) {
            let Scene { mut port, anna, bert, mut now } = Scene::new();
            let mut seats = vec![anna, bert];
            let pick = |seats: &[Seat], index: usize| {
                (!seats.is_empty()).then(|| seats[index % seats.len()])
            };
            for step in steps {
                match step {
                    Step::Enter => seats.push(port.enter()),
                    Step::Leave(index) => {
                        if let Some(seat) = pick(&seats, index) {
                            port.leave(seat);
                            seats.retain(|other| *other != seat);
                        }
                    }
                    Step::Name(index, name) => {
                        if let Some(seat) = pick(&seats, index) {
                            port.name(seat, &name.to_string());
                        }
                    }
                    Step::Sent(index, remote, kind, id) => {
                        if let Some(seat) = pick(&seats, index) {
                            port.note_sent(seat, way(remote), &message(kind, id, None), now);
                        }
                    }
                    Step::Later(seconds) => now += Duration::from_secs(seconds.into()),
                }
                let n = seats.len();
                prop_assert!(port.names.len() <= n);
                prop_assert!(port.owners.len() <= n * WAYS);
                prop_assert!(port.transactions.len() <= n * TRANSACTIONS);
                prop_assert!(port.owners.values().all(|owner| seats.contains(&owner.seat)));
                prop_assert!(port.names.values().all(|seat| seats.contains(seat)));
            }
            seats.iter().for_each(|seat| port.leave(*seat));
            prop_assert!(port.seated.is_empty() && port.names.is_empty());
            prop_assert!(port.owners.is_empty() && port.transactions.is_empty());
        }

        #[test]
        fn no_datagram_is_too_bad(datagram: Vec<u8>) {
            let Scene { mut port, anna, now, .. } = Scene::new();
            port.whose(way(1), &datagram);
            port.note_sent(anna, way(1), &datagram, now);
            is_turn(&datagram);
        }

        #[test]
        fn no_message_is_too_broken(at: usize, byte: u8, length: usize) {
            let Scene { mut port, anna, now, .. } = Scene::new();
            let mut broken = message(REQUEST, 1, Some("anna:far"));
            let count = broken.len();
            broken[at % count] = byte;
            broken.truncate(length % (count + 1));
            port.whose(way(1), &broken);
            port.note_sent(anna, way(1), &broken, now);
        }
    }
}
