//! One robot with a test card, the relay that it dials, and who watches.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use rovercast::media::h264::NalType;
use rovercast::viewer::IceCandidate;
use serde_json::{Value, json};

use super::common::http::{self, Metrics};
use super::common::process::{Rovercast, free_address};
use super::common::{artefact, wait_for};
use super::receiver::{Arrival, PATIENCE, Receiver};
use super::relay::{RobotLink, SeedRelay};

/// Every character that a URL gives a meaning to, and the percent sign itself.
pub(crate) const KEY: &str = "s3cr&t/+%=#?key";
pub(crate) const KEY_ENCODED: &str = "s3cr%26t%2F%2B%25%3D%23%3Fkey";

/// What differs between robots.
pub(crate) struct Robot {
    pub(crate) source: &'static str,
    pub(crate) encoder: &'static str,
    /// The line with the camera's id; a lone camera needs none.
    pub(crate) camera_id: &'static str,
    /// More of `[webrtc]`.
    pub(crate) webrtc: String,
    pub(crate) log: &'static str,
}

impl Default for Robot {
    fn default() -> Self {
        Self {
            source: "test-card",
            encoder: "auto",
            camera_id: "id = \"front\"",
            webrtc: String::new(),
            log: "rovercast=debug",
        }
    }
}

impl Robot {
    /// Starts it, and does not wait for anything.
    ///
    /// The viewer page is on only because then the robot offers loopback addresses, too: a test needs no network.
    pub(crate) fn start(&self, name: &str, relay: SocketAddr, http: SocketAddr) -> Rovercast {
        let key = artefact(&format!("{name}.key"));
        fs::write(&key, format!("{KEY}\n")).unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            r#"[robot]
id = "rover-7"

[[camera]]
{}
source = "{}"
encoder = "{}"
size = "320x240"
fps = 30
bitrate = {{ min = "100 kbps", start = "500 kbps", max = "1 Mbps" }}

[relay]
url = "ws://{relay}/webrtc-relay"
api_key_file = "{}"
backoff = {{ first = "50 ms", max = "1 s" }}

[http]
listen = "{http}"
viewer = true

{}
"#,
            self.camera_id,
            self.source,
            self.encoder,
            key.display(),
            self.webrtc
        );
        let config = artefact(&format!("{name}.toml"));
        fs::write(&config, text).unwrap();
        let path = config.to_str().unwrap();
        Rovercast::start_logging(name, self.log, &["run", "--config", path])
    }
}

/// A robot at its relay.
pub(crate) struct Scene {
    pub(crate) relay: SeedRelay,
    pub(crate) link: RobotLink,
    pub(crate) robot: Rovercast,
    pub(crate) http: Endpoints,
}

impl Scene {
    /// A robot that has been welcomed.
    pub(crate) async fn open(name: &str, robot: Robot) -> Self {
        let relay = SeedRelay::open().await;
        let http = free_address();
        let robot = robot.start(name, relay.address, http);
        let mut link = relay.accept().await;
        link.say(json!({ "type": "welcome" })).await;
        Self {
            relay,
            link,
            robot,
            http: Endpoints(http),
        }
    }

    /// A robot and who watches it, three pictures in.
    pub(crate) async fn watched(name: &str, robot: Robot) -> (Self, Receiver) {
        let mut scene = Self::open(name, robot).await;
        let mut viewer = scene.join("ready").await;
        pictures(&mut viewer, 3).await;
        (scene, viewer)
    }

    /// A dashboard comes, announced by one of the two words for it, and its picture.
    pub(crate) async fn join(&mut self, ready: &str) -> Receiver {
        let offer = self.offer(ready).await;
        let mut viewer = Receiver::open().await;
        let answer = viewer.answer(&offer).await;
        self.link
            .say(json!({ "type": "answer", "sdp": answer }))
            .await;
        self.trickle(&mut viewer, &offer).await;
        viewer
    }

    /// Says that a dashboard is ready, and returns the robot's offer.
    pub(crate) async fn offer(&mut self, ready: &str) -> String {
        self.link.say(json!({ "type": ready })).await;
        let offer = self.link.hear_kind("offer").await;
        assert_eq!(fields(&offer), ["sdp", "type"], "{offer}");
        offer["sdp"].as_str().unwrap().to_owned()
    }

    /// Carries candidates both ways until the picture is there.
    pub(crate) async fn trickle(&mut self, viewer: &mut Receiver, offer: &str) {
        loop {
            tokio::select! {
                arrival = viewer.arrival() => match arrival {
                    Arrival::Candidate(candidate) => self.link.say_candidate(candidate).await,
                    Arrival::Picture => return,
                },
                message = self.link.hear() => {
                    viewer.add_candidate(candidate(&message, offer)).await;
                }
            }
        }
    }
}

/// What the robot tells over HTTP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoints(pub(crate) SocketAddr);

impl Endpoints {
    pub(crate) fn metric(self, name: &str) -> f64 {
        Metrics::read(self.0).value(name)
    }

    /// Waits until a metric, summed over cameras, has this value.
    pub(crate) fn until_metric(self, name: &str, value: f64) {
        wait_for(&format!("{name} {value}"), PATIENCE, || {
            (self.metric(name) == value).then_some(())
        });
    }

    pub(crate) fn page(self, path: &str) -> String {
        http::get(self.0, path).unwrap().body
    }
}

/// A robot's candidate, which must belong to a media section of its offer.
fn candidate(message: &Value, offer: &str) -> IceCandidate {
    assert_eq!(message["type"], "ice_candidate", "{message}");
    let expected = ["candidate", "sdp_mid", "sdp_mline_index", "type"];
    assert_eq!(fields(message), expected, "{message}");
    let mid = message["sdp_mid"].as_str().unwrap();
    assert!(offer.contains(&format!("\r\na=mid:{mid}\r\n")), "{message}");
    IceCandidate {
        candidate: message["candidate"].as_str().unwrap().to_owned(),
        sdp_mid: Some(mid.to_owned()),
        sdp_mline_index: message["sdp_mline_index"]
            .as_u64()
            .map(|index| index as u16),
    }
}

fn fields(message: &Value) -> Vec<&str> {
    let mut fields: Vec<_> = message.as_object().unwrap().keys().collect();
    fields.sort();
    fields.into_iter().map(String::as_str).collect()
}

/// One coded picture, as its packets told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) key_frame: bool,
    pub(crate) packets: usize,
    pub(crate) first_sequence_number: u16,
    pub(crate) timestamp: u32,
}

/// The next pictures that come.
pub(crate) async fn pictures(viewer: &mut Receiver, count: usize) -> Vec<Picture> {
    let mut pictures = Vec::new();
    let mut current: Option<Picture> = None;
    while pictures.len() < count {
        let packet = viewer.new_packet().await;
        let picture = current.get_or_insert(Picture {
            key_frame: false,
            packets: 0,
            first_sequence_number: packet.header.sequence_number,
            timestamp: packet.header.timestamp,
        });
        assert_eq!(picture.timestamp, packet.header.timestamp);
        picture.packets += 1;
        picture.key_frame |= carries_key_frame(&packet.payload);
        if packet.header.marker {
            pictures.extend(current.take());
        }
    }
    pictures
}

/// RFC 6184: single NAL units (5.6), aggregates (5.7.1) and fragments (5.8) of an IDR picture.
fn carries_key_frame(payload: &[u8]) -> bool {
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    match payload[0] & 0x1f {
        STAP_A => {
            let mut rest = &payload[1..];
            while let Some((length, more)) = rest.split_first_chunk() {
                let (nal, after) = more.split_at(u16::from_be_bytes(*length).into());
                if NalType::of(nal[0]) == NalType::IdrSlice {
                    return true;
                }
                rest = after;
            }
            false
        }
        FU_A => NalType::of(payload[1]) == NalType::IdrSlice,
        _ => NalType::of(payload[0]) == NalType::IdrSlice,
    }
}

/// Nothing is missing between one picture and the next.
pub(crate) fn assert_complete(pictures: &[Picture]) {
    for pair in pictures.windows(2) {
        let next = pair[0]
            .first_sequence_number
            .wrapping_add(pair[0].packets as u16);
        assert_eq!(pair[1].first_sequence_number, next, "{pair:?}");
    }
}
