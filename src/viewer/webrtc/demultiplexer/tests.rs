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
        prop_assert!(port.is_empty());
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
