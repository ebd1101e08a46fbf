//! What a hostile browser, or a relay that makes one up, may say of its connection: answers and candidates, mutilated at random.
//!
//! A release build ends at a panic wherever it happens, with the pictures of everybody: there must be none, in the WebRTC crate
//! neither. `ROVERCAST_FUZZ=100000 cargo test --test hostile_words` looks for longer, with other numbers each time.
#![allow(clippy::unwrap_used)] // clippy takes the helpers of these tests for a library

#[path = "common/mutation.rs"]
mod mutation;

use std::panic;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mutation::Mutation;
use rovercast::media::h264::ProfileLevelId;
use rovercast::pipeline::feed::Outlet;
use rovercast::viewer::ViewerId;
use rovercast::viewer::webrtc::{Peer, PeerEnd, PeerEvent, PeerSettings};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Chromium 156 to the offer of a demo; all that RFC 8866 and its extensions have lines for; the least that can be taken.
const ANSWERS: [&str; 3] = [
    include_str!("corpus/answers/chromium.sdp"),
    include_str!("corpus/answers/everything.sdp"),
    include_str!("corpus/answers/least.sdp"),
];

/// Candidates of all kinds, one a line.
const CANDIDATES: &str = include_str!("corpus/candidates.txt");

#[tokio::test]
async fn no_answer_and_no_candidate_takes_the_robot_down() {
    let panics = Panics::noted();
    let mut mutation = Mutation::seeded();
    let candidates: Vec<_> = CANDIDATES.lines().collect();
    for round in 0..mutation.rounds(300) {
        let answer = mutation.of(ANSWERS[round % ANSWERS.len()]);
        let candidates: Vec<_> = (0..8).map(|_| mutation.candidate(&candidates)).collect();
        let mut scene = Scene::open().await;
        scene.peer.answer(answer.clone());
        for candidate in &candidates {
            scene.peer.candidate(candidate.clone());
        }
        if let Ok(l) = std::env::var("LINGER") {
            tokio::time::sleep(Duration::from_millis(l.parse().unwrap())).await;
        }
        let end = scene.end().await;
        if round % 50 == 0 {
            println!("{end:?}");
        }
        assert!(
            end.is_some() && panics.none(),
            "round {round}: {end:?} {panics:?} for the answer\n{answer:?}\nand {candidates:#?}"
        );
    }
}

/// A viewer that waits for an answer.
struct Scene {
    peer: Peer,
    events: mpsc::Receiver<(ViewerId, PeerEvent)>,
    _units: Outlet,
}

impl Scene {
    async fn open() -> Self {
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

/// Everything that panicked in this process.
#[derive(Clone, Debug, Default)]
struct Panics(Arc<Mutex<Vec<String>>>);

impl Panics {
    fn noted() -> Self {
        let panics = Self::default();
        let noted = panics.clone();
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            usual(panic);
            let mut noted = noted.0.lock().unwrap_or_else(PoisonError::into_inner);
            noted.push(panic.to_string());
        }));
        panics
    }

    fn none(&self) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.is_empty()
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
