//! What a hostile browser, or a relay that makes one up, may say: messages, answers and candidates, mutilated at random.
//!
//! A release build ends at a panic wherever it happens, with the pictures of everybody: there must be none, in the WebRTC crate
//! neither. `ROVERCAST_FUZZ=100000 cargo test --test hostile_words` looks for longer, with other numbers each time. What is found
//! goes into `tests/corpus`, and is tried first from then on.
#![allow(clippy::unwrap_used)] // clippy takes the helpers of these tests for a library

#[path = "common/mutation.rs"]
mod mutation;

use std::panic;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use mutation::Mutation;
use rovercast::media::h264::ProfileLevelId;
use rovercast::pipeline::feed::Outlet;
use rovercast::relay::message::{FromRelay, ToRelay};
use rovercast::relay::server::{Relay, RelaySettings, serve};
use rovercast::viewer::webrtc::{Peer, PeerEnd, PeerEvent, PeerSettings};
use rovercast::viewer::{IceCandidate, ViewerId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Chromium 156 to the offer of a demo; all that RFC 8866 and its extensions have lines for; the least that can be taken.
const ANSWERS: [&str; 3] = [
    include_str!("corpus/answers/chromium.sdp"),
    include_str!("corpus/answers/everything.sdp"),
    include_str!("corpus/answers/least.sdp"),
];

/// Candidates of all kinds, one a line.
const CANDIDATES: &str = include_str!("corpus/candidates.txt");

/// Messages of all kinds, to robots and to relays, one a line.
const MESSAGES: &str = include_str!("corpus/messages.txt");

#[tokio::test]
async fn no_answer_and_no_candidate_takes_the_robot_down() {
    let mut mutation = Mutation::seeded();
    let corpus: Vec<_> = CANDIDATES.lines().collect();
    for answer in ANSWERS {
        let candidates = corpus.iter().map(|line| IceCandidate {
            candidate: (*line).to_owned(),
            sdp_mid: Some("0".into()),
            sdp_mline_index: Some(0),
        });
        assert_survived(answer, candidates.collect(), FIRST_CHECKS).await;
    }
    for round in 0..mutation.rounds(300) {
        let answer = mutation.of(ANSWERS[round % ANSWERS.len()]);
        let candidates = (0..8).map(|_| mutation.candidate(&corpus)).collect();
        let linger = if round % 16 == 0 {
            FIRST_CHECKS
        } else {
            Duration::ZERO
        };
        assert_survived(&answer, candidates, linger).await;
    }
}

/// The crate uses what it took for so long before the viewer is closed.
async fn assert_survived(answer: &str, candidates: Vec<IceCandidate>, linger: Duration) {
    let mut scene = Scene::open().await;
    scene.peer.answer(answer.to_owned());
    for candidate in &candidates {
        scene.peer.candidate(candidate.clone());
    }
    if !linger.is_zero() {
        sleep(linger).await;
    }
    let end = scene.end().await;
    let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(
        end.is_some() && panics.is_empty(),
        "{end:?} {panics:?} for the answer\n{answer:?}\nand {candidates:#?}"
    );
    // What stands in an answer is the browser's: addresses, and the password of its session.
    let reason = end.unwrap().to_string();
    let own_words = [
        "closed by the robot",
        "cannot use the browser's answer: it is no session description that can be read",
        "cannot use the browser's answer: it takes no H.264 video",
        "cannot use the browser's answer: it does not fit the offer: codec, media section, ICE or DTLS parameters",
        "the connection to the browser failed",
    ];
    assert!(own_words.contains(&&*reason), "{reason}");
}

#[test]
fn message_that_can_be_read_is_the_same_when_it_is_said_again() {
    let mut mutation = Mutation::seeded();
    let corpus: Vec<_> = MESSAGES.lines().collect();
    let mut read = 0;
    for round in 0..mutation.rounds(20_000) {
        let original = corpus[round % corpus.len()];
        let text = match round / corpus.len() {
            0 => original.to_owned(),
            _ => mutation.of(original),
        };
        if let Ok(message) = FromRelay::parse(&text) {
            let again = FromRelay::parse(&message.to_json()).unwrap();
            // An offer to a robot is refused unread, and a time is a number of seconds with a fraction.
            assert_eq!(again.to_json(), message.to_json(), "{text}");
            read += 1;
        }
        if let Ok(message) = ToRelay::parse(&text) {
            let again = ToRelay::parse(&message.to_json()).unwrap();
            assert_eq!(again, message, "{text}");
            read += 1;
        }
    }
    assert!(read > 1000, "only {read} could be read: all is garbage");
}

#[tokio::test]
async fn no_message_takes_the_relay_down() {
    LazyLock::force(&PANICS);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let relay = Relay::new(RelaySettings {
        listen: address,
        key_file: None,
        ice_servers: Vec::new(),
        turn_secret_file: None,
        origins: Vec::new(),
    })
    .unwrap();
    let served = tokio::spawn(serve(
        listener,
        None,
        relay.router(),
        std::future::pending(),
    ));
    let mut mutation = Mutation::seeded();
    let corpus: Vec<_> = MESSAGES.lines().collect();
    let mut said = 0;
    let rounds = mutation.rounds(600);
    while said < rounds {
        // As many as they may say at once; both are cut off for it sooner or later, and come again.
        let mut robot = call(address, "robot").await;
        let mut dashboard = call(address, "dashboard").await;
        for _ in 0..BURST {
            let line = corpus[said % corpus.len()];
            let _ = robot.send(Message::text(mutation.of(line))).await;
            let _ = dashboard.send(Message::text(mutation.of(line))).await;
            said += 1;
        }
        for mut caller in [robot, dashboard] {
            let _ = caller.close(None).await;
            // All that was said was heard when the relay agrees.
            while let Some(Ok(_)) = caller.next().await {}
        }
    }

    let mut dashboard = call(address, "dashboard").await;
    let mut robot = call(address, "robot").await;
    let ready = Message::text(r#"{"type":"ready"}"#);
    dashboard.send(ready).await.unwrap();
    let hears = async {
        loop {
            let message = robot.next().await.unwrap().unwrap();
            if message.to_text().unwrap().contains(r#""type":"ready""#) {
                return;
            }
        }
    };
    timeout(PATIENCE, hears).await.expect("the relay works");
    assert!(!served.is_finished());
    let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(panics.is_empty(), "{panics:?}");
    let counts = relay.counts();
    assert!(counts.messages > 100, "{counts:?}: all was garbage");
}

async fn call(relay: std::net::SocketAddr, role: &str) -> WebSocketStream<TcpStream> {
    let url = format!("ws://{relay}/webrtc-relay?type={role}&robot_id=rover");
    let stream = TcpStream::connect(relay).await.unwrap();
    client_async(url, stream).await.unwrap().0
}

/// A viewer that waits for an answer.
struct Scene {
    peer: Peer,
    events: mpsc::Receiver<(ViewerId, PeerEvent)>,
    _units: Outlet,
}

impl Scene {
    async fn open() -> Self {
        LazyLock::force(&PANICS);
        let units = Outlet::new();
        let (sender, events) = mpsc::channel(512);
        let settings = PeerSettings {
            loopback: true,
            ..Default::default()
        };
        let profile = ProfileLevelId([0x42, 0xe0, 0x1f]);
        let feed = units.subscribe();
        let peer = Peer::open(ViewerId::anonymous(), settings, profile, feed, sender);
        let mut scene = Self {
            peer,
            events,
            _units: units,
        };
        let offer = scene.event().await;
        assert!(matches!(offer, Some(PeerEvent::Offer { .. })), "{offer:?}");
        scene
    }

    /// `None` when the viewer's task is gone without a word.
    async fn event(&mut self) -> Option<PeerEvent> {
        let event = timeout(PATIENCE, self.events.recv()).await;
        Some(event.expect("the viewer lives or is gone")?.1)
    }

    /// Closes it when it does not end by itself.
    async fn end(&mut self) -> Option<PeerEnd> {
        self.peer.close();
        loop {
            if let PeerEvent::Ended(end) = self.event().await? {
                return Some(end);
            }
        }
    }
}

/// Everything that panicked in this process, tests included.
static PANICS: LazyLock<Arc<Mutex<Vec<String>>>> = LazyLock::new(|| {
    let panics = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&panics);
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        usual(panic);
        if let Ok(mut noted) = noted.try_lock() {
            noted.push(panic.to_string());
        }
    }));
    panics
});

/// The checks of the candidates begin after 50 ms.
const FIRST_CHECKS: Duration = Duration::from_millis(120);

/// Of the allowance of a dashboard.
const BURST: usize = 30;

const PATIENCE: Duration = Duration::from_secs(20);
