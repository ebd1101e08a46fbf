//! Several viewers on one UDP port.

use std::net::UdpSocket;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rovercast::viewer::webrtc::OnePort;

use super::*;

#[tokio::test]
async fn all_viewers_come_to_the_one_port_and_each_is_heard() {
    let port = free_port();
    let common = OnePort::new(port);
    let mut scenes = vec![];
    for _ in 0..5 {
        scenes.push(watching(&common).await);
    }

    // The one in the middle lost its picture.
    let ssrc = ssrc(&mut scenes[2]).await;
    scenes.iter_mut().for_each(Scene::events_until_quiet);
    scenes[2].lose_picture(ssrc).await;
    for scene in &mut scenes {
        while let Ok((_, event)) = scene.events.try_recv() {
            assert!(!is_key_frame_request(&event), "somebody else's report");
        }
        scene.show(1000, true);
        scene.packets(5).await;
        assert!(scene.is_reached_through(port).await);
    }
}

#[tokio::test]
async fn viewer_who_looks_for_another_way_disturbs_no_neighbour() {
    let common = OnePort::new(free_port());
    let mut stays = watching(&common).await;
    let mut moves = watching(&common).await;
    let before = moves.offer.clone();

    moves.peer.network_changed(NetworkChange::Moved);
    moves.until_offered().await;
    assert_ne!(ufrag(&before), ufrag(&moves.offer));
    assert!(!moves.offer.contains("a=candidate"), "{}", moves.offer);
    moves.connect().await;

    for scene in [&mut stays, &mut moves] {
        for sequence in 2..5 {
            scene.show(sequence, true);
        }
        scene.packets(10).await;
        while let Ok((_, event)) = scene.events.try_recv() {
            assert!(!matches!(event, PeerEvent::Ended(_)), "{event:?}");
        }
    }
}

#[tokio::test]
async fn strangers_at_the_one_port_change_nothing() {
    let port = free_port();
    let mut scene = watching(&OnePort::new(port)).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let name = ufrag(&scene.offer).unwrap();
    let name = name.strip_prefix("a=ice-ufrag:").unwrap();

    // A name that nobody has, one that somebody has (without the password), and what follows a check.
    for username in ["nobody:far", &format!("{name}:far")] {
        stranger
            .send_to(&check(username), ("127.0.0.1", port))
            .unwrap();
    }
    for first in 0..=255 {
        let garbage = [first; 40];
        stranger.send_to(&garbage, ("127.0.0.1", port)).unwrap();
    }
    for sequence in 2..5 {
        scene.show(sequence, true);
    }

    scene.packets(10).await;
    stranger
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(stranger.recv(&mut [0; 100]).is_err(), "it was answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn viewers_who_come_and_go_on_one_port_give_it_back() {
    let port = free_port();
    let common = OnePort::new(port);
    let comers = (0..4).map(|_| {
        let common = common.clone();
        tokio::spawn(async move {
            for _ in 0..8 {
                let mut scene = watching(&common).await;
                scene.peer.close();
                scene.end().await;
                scene.receiver.connection.close().await.unwrap();
            }
        })
    });
    for comer in comers.collect::<Vec<_>>() {
        comer.await.unwrap();
    }

    let free = async {
        while UdpSocket::bind(("127.0.0.1", port)).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let freed = tokio::time::timeout(PATIENCE, free).await;
    freed.expect("the port is still taken");
}

#[tokio::test]
async fn port_that_somebody_else_took_ends_the_viewer_with_its_number() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (sender, mut events) = mpsc::channel(8);
    let settings = PeerSettings {
        loopback: true,
        udp_ports: UdpPorts::One(OnePort::new(port)),
        ..Default::default()
    };
    let profile = ProfileLevelId([0x42, 0xe0, 0x1f]);
    let units = Outlet::new();
    let viewer = ViewerId::anonymous();
    let _peer = Peer::open(viewer, settings, profile, units.subscribe(), sender);

    let event = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap();

    let Some((_, PeerEvent::Ended(PeerEnd::Broken { found }))) = event else {
        panic!("{event:?}");
    };
    assert!(found.contains(&format!("127.0.0.1:{port}")), "{found}");
}

async fn watching(common: &OnePort) -> Scene {
    let mut scene = Scene::open_on(UdpPorts::One(common.clone())).await;
    scene.connect().await;
    scene.show(1, true);
    scene.packets(5).await;
    scene
}

async fn ssrc(scene: &mut Scene) -> u32 {
    scene.show(2, true);
    scene.packets(1).await[0].header.ssrc
}

fn is_key_frame_request(event: &PeerEvent) -> bool {
    matches!(event, PeerEvent::Feedback(Feedback::KeyFrame))
}

impl Scene {
    /// As a browser does, asks until a key frame is wanted from the robot: one that it has not reported on is its answer.
    async fn lose_picture(&mut self, ssrc: u32) {
        let asked = async {
            while !is_key_frame_request(&self.events.recv().await.expect("the peer is gone").1) {}
        };
        tokio::pin!(asked);
        for _ in 0..ASKS {
            let loss = PictureLossIndication {
                sender_ssrc: 1,
                media_ssrc: ssrc,
            };
            self.receiver.report(loss).await;
            if tokio::time::timeout(ASKED_AGAIN, &mut asked).await.is_ok() {
                return;
            }
        }
        panic!("nobody asked for a key frame");
    }

    /// Whether the browser's pair in use leads there.
    async fn is_reached_through(&self, port: u16) -> bool {
        let receivers = self.receiver.connection.get_receivers().await;
        let transport = receivers[0].transport().await.unwrap().unwrap();
        let pair = transport
            .ice_transport()
            .get_selected_candidate_pair()
            .await;
        pair.unwrap().unwrap().remote().port == port
    }
}

/// A binding request of ICE without its integrity. RFC 8489, section 5.
fn check(username: &str) -> Vec<u8> {
    let padded = username.len().next_multiple_of(4);
    let mut check = vec![0, 1, 0, padded as u8 + 4, 0x21, 0x12, 0xa4, 0x42];
    check.extend_from_slice(&[7; 12]);
    check.extend_from_slice(&[0, 6, 0, username.len() as u8]);
    check.extend_from_slice(username.as_bytes());
    check.resize(24 + padded, 0);
    check
}

/// One that nobody gets who lets the kernel choose: it gives those from 32768 on.
fn free_port() -> u16 {
    let mut random = StdRng::from_os_rng();
    loop {
        let port = random.random_range(15_000..32_000);
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Chromium's `max_wait_for_keyframe`.
const ASKED_AGAIN: Duration = Duration::from_millis(200);
