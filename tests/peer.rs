//! A viewer's connection against a receiver of the same crate, on loopback. What browsers make of it is shown elsewhere.

#![allow(clippy::disallowed_methods)] // compares what was sent with the clock
#![allow(clippy::unwrap_used)] // clippy takes the helpers of these tests for a library

#[path = "peer/one_port.rs"]
mod one_port;
#[path = "common/receiver.rs"]
mod receiver;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rovercast::media::congestion::Because;
use rovercast::media::h264::ProfileLevelId;
use rovercast::media::{AccessUnit, Bitrate, Feedback, MediaTime};
use rovercast::pipeline::feed::Outlet;
use rovercast::viewer::packetizer::pack;
use rovercast::viewer::webrtc::{
    LinkStatistics, Peer, PeerEnd, PeerEvent, PeerSettings, PeerStatistics, UdpPorts,
};
use rovercast::viewer::{IceCandidate, NetworkChange, ViewerId};
use rtc::rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use receiver::{CAPTURE_TIME_URI, PATIENCE, PLAYOUT_DELAY_URI, Receiver, TRANSPORT_CC_URI};

#[tokio::test]
async fn picture_starts_with_a_key_frame_and_stays_in_order() {
    let mut scene = Scene::connected().await;
    scene.show(5, false);
    scene.show(6, true);
    scene.show(7, false);

    let packets = scene.packets(6).await;

    let first = &packets[0];
    assert_eq!(first.payload[0] & 0x1f, 24, "SPS and PPS together (STAP-A)");
    assert!(
        first.header.sequence_number < 0x8000,
        "room before the first wrap"
    );
    for pair in packets.windows(2) {
        let expected = pair[0].header.sequence_number.wrapping_add(1);
        assert_eq!(pair[1].header.sequence_number, expected);
    }
    let ends: Vec<_> = packets
        .iter()
        .filter(|packet| packet.header.marker)
        .collect();
    assert_eq!(ends.len(), 2, "two pictures");
    let apart = ends[1]
        .header
        .timestamp
        .wrapping_sub(ends[0].header.timestamp);
    assert_eq!(apart, 9000, "a tenth of a second at 90 kHz");
}

#[tokio::test]
async fn key_frame_from_before_the_connection_is_sent_at_once() {
    let mut scene = Scene::open().await;
    scene.show(1, true);
    scene.show(2, false);

    scene.connect().await;

    let PeerEvent::FirstPacket { .. } = scene.event().await else {
        panic!("nothing was sent");
    };
    scene.show(3, false);
    assert!(!scene.packets(1).await.is_empty());
}

#[tokio::test]
async fn browser_learns_when_the_picture_was_taken() {
    let mut scene = Scene::connected().await;
    let age = Duration::from_millis(250);
    let captured = MediaTime::from_monotonic(monotonic_now() - age);
    scene.show_unit(&unit(1, true, captured));

    let packets = scene.packets(5).await;

    let header = &packets[0].header;
    let capture_time = header
        .get_extension(scene.receiver.extension_id(CAPTURE_TIME_URI))
        .unwrap();
    assert_eq!(capture_time.len(), 16);
    let ntp = u64::from_be_bytes(capture_time[..8].try_into().unwrap());
    let taken = Duration::from_secs_f64(ntp as f64 / 4_294_967_296.0 - 2_208_988_800.0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let found = now - taken;
    assert!(
        found >= age && found < age + Duration::from_secs(2),
        "taken {found:?} ago"
    );
    assert_eq!(&capture_time[8..], [0; 8]);
    let playout_delay = header
        .get_extension(scene.receiver.extension_id(PLAYOUT_DELAY_URI))
        .unwrap();
    assert_eq!(&playout_delay[..], [0; 3]);
    for packet in &packets[1..] {
        assert_eq!(
            packet.header.extensions.len(),
            1,
            "the transport-wide number"
        );
    }
}

#[tokio::test]
async fn two_hundred_loss_reports_are_a_few_key_frame_requests() {
    let mut scene = Scene::connected().await;
    scene.show(1, true);
    let ssrc = scene.packets(5).await[0].header.ssrc;
    scene.events_until_quiet();
    let loss = || PictureLossIndication {
        sender_ssrc: 1,
        media_ssrc: ssrc,
    };

    // A browser asks again until it has what it wants: while it has not reported on the first key frame, that one is its answer.
    let mut requests = 0;
    for _ in 0..ASKS {
        if requests > 0 {
            break;
        }
        for _ in 0..200 {
            scene.receiver.report(loss()).await;
        }
        scene
            .receiver
            .report(FullIntraRequest {
                sender_ssrc: 1,
                media_ssrc: ssrc,
                fir: vec![FirEntry {
                    ssrc,
                    sequence_number: 1,
                }],
            })
            .await;
        while let Ok(event) = tokio::time::timeout(QUIET, scene.events.recv()).await {
            let (_, event) = event.expect("the peer is gone");
            requests += usize::from(matches!(event, PeerEvent::Feedback(Feedback::KeyFrame)));
        }
    }
    assert!((1..=3).contains(&requests), "{requests} requests");
}

#[tokio::test]
async fn every_packet_is_numbered_and_reports_become_an_estimate() {
    let mut scene = Scene::connected().await;
    scene.show(1, true);
    let transport_cc = scene.receiver.extension_id(TRANSPORT_CC_URI);
    let mut numbers = vec![];
    let estimate = loop {
        scene.show(2 + numbers.len() as u32, false);
        for packet in scene.packets(1).await {
            let number = packet.header.get_extension(transport_cc).unwrap();
            numbers.push(u16::from_be_bytes(number[..].try_into().unwrap()));
        }
        let next = tokio::time::timeout(QUIET / 10, scene.events.recv()).await;
        if let Ok(Some((_, PeerEvent::Feedback(Feedback::Estimate(estimate))))) = next {
            break estimate;
        }
        assert!(numbers.len() < 500, "no estimate");
    };
    assert!(estimate > Bitrate::kbps(300), "{estimate}");
    // Probes are numbered too, and come on a stream of their own.
    let ahead = numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    assert!(
        ahead.clone().all(|ahead| (1..200).contains(&ahead)),
        "{numbers:?}"
    );
}

#[tokio::test]
async fn candidates_before_the_answer_are_used() {
    let mut scene = Scene::open().await;
    let sdp = scene.receiver.answer(&scene.offer).await;
    let candidate = scene.receiver.candidate().await;
    scene.peer.candidate(candidate);

    scene.peer.answer(sdp);

    scene.until_connected().await;
}

#[tokio::test]
async fn garbage_candidates_do_no_harm() {
    let mut scene = Scene::open().await;
    for candidate in [
        "",
        "candidate:",
        "candidate:1 1 udp 99999999999 nowhere x typ host",
        "\0",
    ] {
        scene.peer.candidate(IceCandidate {
            candidate: candidate.to_owned(),
            sdp_mid: Some("7".to_owned()),
            sdp_mline_index: Some(900),
        });
    }

    scene.connect().await;

    scene.show(1, true);
    scene.packets(5).await;
}

#[tokio::test]
async fn garbage_answer_ends_the_viewer_and_says_what_was_found() {
    for garbage in ["", "v=1", "\u{0}\u{1}", "v=0\r\nm=video x\r\n", "m="] {
        let mut scene = Scene::open().await;

        scene.peer.answer(garbage.to_owned());

        let PeerEnd::BadAnswer { found } = scene.end().await else {
            panic!("another end");
        };
        assert!(!found.is_empty());
    }
}

#[tokio::test]
async fn answer_without_video_ends_the_viewer() {
    let mut scene = Scene::open().await;
    let sdp = scene.receiver.answer(&scene.offer).await;
    let refused = sdp.replace("m=video 9", "m=video 0");
    assert_ne!(refused, sdp);
    scene.show(1, true);

    scene.peer.answer(refused);

    assert!(matches!(scene.end().await, PeerEnd::BadAnswer { .. }));
}

#[tokio::test]
async fn browser_notices_that_the_robot_closes() {
    let mut scene = Scene::watching().await;
    let before = tokio::time::Instant::now();

    scene.peer.close();

    assert_eq!(scene.end().await, PeerEnd::Closed);
    assert!(before.elapsed() < Duration::from_millis(500));
    scene.receiver.until_closed().await;
}

#[tokio::test]
async fn robot_notices_that_the_browser_closes() {
    let mut scene = Scene::watching().await;

    scene.receiver.connection.close().await.unwrap();

    assert_eq!(scene.end().await, PeerEnd::Left);
}

#[tokio::test]
async fn browser_that_falls_silent_is_told_of_in_the_next_statistics() {
    let elsewhere = Runtime::new().unwrap();
    let mut scene = Scene::open_elsewhere(&elsewhere).await;
    scene.connect().await;
    scene.show(1, true);
    scene.packets(5).await;
    let before = scene
        .statistics_until(|it| it.sent > Bitrate::kbps(10))
        .await;
    assert!(
        before
            .link
            .is_some_and(|link| link.because != Because::Silence)
    );

    // Its sockets are gone, and nobody says good-bye.
    elsewhere.shutdown_background();
    scene.show(2, false);

    let is_silent = |link: LinkStatistics| link.because == Because::Silence;
    scene
        .statistics_until(|it| it.link.is_some_and(is_silent))
        .await;
    scene.until_disconnected().await;
    let after = scene.statistics_until(|_| true).await;
    assert!(after.sent < Bitrate::kbps(10), "{after:?}");
    assert!(
        after.link.is_some_and(|link| link.acknowledged.is_none()),
        "{after:?}"
    );
}

#[tokio::test]
async fn forgotten_peer_closes_itself() {
    let mut scene = Scene::connected().await;

    scene.forget();

    assert_eq!(scene.end().await, PeerEnd::Closed);
}

#[tokio::test]
async fn statistics_count_what_was_sent() {
    let mut scene = Scene::connected().await;
    let mut statistics = PeerStatistics::default();
    for sequence in 1..60 {
        scene.show(sequence, sequence == 1);
        tokio::time::sleep(Duration::from_millis(33)).await;
        while let Ok((_, event)) = scene.events.try_recv() {
            if let PeerEvent::Statistics(latest) = event {
                statistics = latest;
            }
        }
    }

    assert!(statistics.packets > 20 && statistics.bytes > 20 * 100);
    assert_eq!(statistics.lost_packets, 0);
    assert!(
        statistics
            .round_trip
            .is_some_and(|round_trip| round_trip < Duration::from_secs(1))
    );
}

#[tokio::test]
async fn viewer_sees_on_after_its_way_was_looked_for_anew() {
    let mut scene = Scene::watching().await;
    let before = scene.offer.clone();
    scene.events_until_quiet();

    // The first of two changes in a row gets no answer.
    scene.peer.network_changed(NetworkChange::Moved);
    scene.until_offered().await;
    scene.peer.network_changed(NetworkChange::Moved);
    scene.until_offered().await;
    assert_ne!(ufrag(&before), ufrag(&scene.offer));
    scene.connect().await;

    for sequence in 2..7 {
        scene.show(sequence, true);
    }
    scene.packets(5).await;
}

#[tokio::test]
async fn estimate_begins_anew_on_another_way() {
    let mut scene = Scene::watching().await;
    let start = Bitrate::kbps(1600);
    scene.show_until_estimate(|it| it > start).await;

    scene.peer.network_changed(NetworkChange::Moved);
    scene.until_offered().await;
    scene.connect().await;

    scene.show_until_estimate(|it| it <= start).await;
}

fn ufrag(sdp: &str) -> Option<&str> {
    sdp.lines().find(|line| line.starts_with("a=ice-ufrag:"))
}

#[tokio::test]
async fn fifty_viewers_come_and_go_and_leave_nothing() {
    drop(Scene::connected().await);
    let before = open_files();
    for _ in 0..50 {
        let mut scene = Scene::connected().await;
        scene.peer.close();
        scene.end().await;
        scene.receiver.connection.close().await.unwrap();
    }
    // The other tests of this process have sockets, too, and end some time.
    let gone = async {
        while open_files() > before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let gone = tokio::time::timeout(PATIENCE, gone).await;
    assert!(gone.is_ok(), "{before} before, {} after", open_files());
}

/// One viewer and its receiver.
struct Scene {
    units: Outlet,
    peer: Peer,
    events: mpsc::Receiver<(ViewerId, PeerEvent)>,
    offer: String,
    receiver: Receiver,
}

impl Scene {
    async fn open() -> Self {
        Self::open_on(UdpPorts::Any).await
    }

    async fn open_on(udp_ports: UdpPorts) -> Self {
        Self::with(udp_ports, Receiver::open().await).await
    }

    /// Its receiver ends with `runtime`, without a word.
    async fn open_elsewhere(runtime: &Runtime) -> Self {
        let receiver = runtime.spawn(Receiver::open()).await.unwrap();
        Self::with(UdpPorts::Any, receiver).await
    }

    async fn with(udp_ports: UdpPorts, receiver: Receiver) -> Self {
        let units = Outlet::new();
        let subscription = units.subscribe();
        let (sender, events) = mpsc::channel(512);
        let settings = PeerSettings {
            loopback: true,
            udp_ports,
            ..Default::default()
        };
        let profile = ProfileLevelId([0x42, 0xe0, 0x1f]);
        let viewer = ViewerId::anonymous();
        let peer = Peer::open(viewer, settings, profile, subscription, sender);
        let mut scene = Self {
            units,
            peer,
            events,
            offer: String::new(),
            receiver,
        };
        let PeerEvent::Offer { sdp } = scene.event().await else {
            panic!("no offer");
        };
        scene.offer = sdp;
        scene
    }

    async fn connected() -> Self {
        let mut scene = Self::open().await;
        scene.connect().await;
        scene
    }

    async fn watching() -> Self {
        let mut scene = Self::connected().await;
        scene.show(1, true);
        scene.packets(5).await;
        scene
    }

    async fn statistics_until(
        &mut self,
        wanted: impl Fn(&PeerStatistics) -> bool,
    ) -> PeerStatistics {
        loop {
            if let PeerEvent::Statistics(statistics) = self.event().await
                && wanted(&statistics)
            {
                return statistics;
            }
        }
    }

    /// Shows picture after picture, each when the one before has arrived.
    async fn show_until_estimate(&mut self, wanted: impl Fn(Bitrate) -> bool) {
        for sequence in 2..500 {
            self.show(sequence, true);
            self.packets(1).await;
            while let Ok(event) = tokio::time::timeout(QUIET / 30, self.events.recv()).await {
                let (_, event) = event.expect("the peer is gone");
                if let PeerEvent::Feedback(Feedback::Estimate(estimate)) = event
                    && wanted(estimate)
                {
                    return;
                }
            }
        }
        panic!("no such estimate");
    }

    async fn until_disconnected(&mut self) {
        while !matches!(self.event().await, PeerEvent::Disconnected) {}
    }

    async fn until_offered(&mut self) {
        loop {
            if let PeerEvent::Offer { sdp } = self.event().await {
                self.offer = sdp;
                return;
            }
        }
    }

    async fn connect(&mut self) {
        let answer = self.receiver.answer(&self.offer).await;
        self.peer.answer(answer);
        self.until_connected().await;
    }

    /// Trickles both ways until the peer is connected.
    async fn until_connected(&mut self) {
        loop {
            tokio::select! {
                event = self.events.recv() => match event.unwrap().1 {
                    PeerEvent::Candidate(candidate) => {
                        assert_eq!(candidate.sdp_mid.as_deref(), Some("0"));
                        assert_eq!(candidate.sdp_mline_index, Some(0));
                        self.receiver.add_candidate(candidate).await;
                    }
                    PeerEvent::Connected => return,
                    PeerEvent::Ended(reason) => panic!("ended: {reason}"),
                    PeerEvent::Offer { .. } | PeerEvent::Disconnected | PeerEvent::Feedback(_)
                    | PeerEvent::FirstPacket { .. } | PeerEvent::Statistics(_) => {}
                },
                candidate = self.receiver.candidate() => self.peer.candidate(candidate),
                () = tokio::time::sleep(PATIENCE) => panic!("not connected"),
            }
        }
    }

    fn show(&self, sequence: u32, key_frame: bool) {
        let captured = MediaTime::from_monotonic(Duration::from_millis(100) * sequence + DAY);
        self.show_unit(&unit(sequence, key_frame, captured));
    }

    fn show_unit(&self, unit: &AccessUnit) {
        // Nobody takes it once the peer is gone.
        self.units.publish(Arc::new(pack(unit, 1200)), false);
    }

    async fn packets(&mut self, count: usize) -> Vec<rtc::rtp::Packet> {
        self.receiver.packets(count).await
    }

    async fn event(&mut self) -> PeerEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event
            .expect("the peer is silent")
            .expect("the peer is gone")
            .1
    }

    fn events_until_quiet(&mut self) {
        while self.events.try_recv().is_ok() {}
    }

    async fn end(&mut self) -> PeerEnd {
        loop {
            if let PeerEvent::Ended(reason) = self.event().await {
                return reason;
            }
        }
    }

    /// Drops the handle while events go on.
    fn forget(&mut self) {
        let (sender, _) = mpsc::channel(1);
        let profile = ProfileLevelId([0x42, 0xe0, 0x1f]);
        self.peer = Peer::open(
            ViewerId::anonymous(),
            PeerSettings::default(),
            profile,
            Outlet::new().subscribe(),
            sender,
        );
    }
}

/// Five packets with 1200 bytes each when it is a key frame, one packet otherwise.
fn unit(sequence: u32, key_frame: bool, captured: MediaTime) -> AccessUnit {
    let mut data = BytesMut::new();
    if key_frame {
        data.extend_from_slice(&[0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0xda]);
        data.extend_from_slice(&[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80]);
        data.extend_from_slice(&[0, 0, 0, 1, 0x65]);
        data.extend_from_slice(&[0xab; 4500]);
    } else {
        data.extend_from_slice(&[0, 0, 0, 1, 0x41]);
        data.extend_from_slice(&[0xcd; 300]);
    }
    AccessUnit {
        data: Bytes::from(data),
        key_frame,
        captured,
        sequence,
    }
}

fn monotonic_now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Nothing more comes.
const QUIET: Duration = Duration::from_millis(300);

/// Reports come every 100 ms: the second time a browser asks, it has reported on what it has.
const ASKS: usize = 5;

const DAY: Duration = Duration::from_secs(86_400);
