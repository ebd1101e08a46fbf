//! Who watches: calls the robot's relay as the page does, and decodes what comes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use rovercast::media::h264;
use rovercast::viewer::IceCandidate;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

use super::common::{artefact, wait_for};
use super::receiver::{Arrival, Receiver};

/// One coded picture, as its packets brought it.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) at: Instant,
    pub(crate) timestamp: u32,
    pub(crate) key_frame: bool,
    /// No packet was missing.
    whole: bool,
    annex_b: Vec<u8>,
}

impl Picture {
    /// As its SPS says. Only key frames have one.
    fn size(&self) -> Option<(u32, u32)> {
        let sps = h264::nal_units(&self.annex_b).find(|nal| nal[0] & 0x1f == 7)?;
        let bits = h264_reader::rbsp::decode_nal(sps).ok()?;
        let reader = h264_reader::rbsp::BitReader::new(&bits[..]);
        let sps = h264_reader::nal::sps::SeqParameterSet::from_bits(reader).ok()?;
        sps.pixel_dimensions().ok()
    }
}

/// One dashboard with one peer.
pub(crate) struct Viewer {
    seen: Arc<Mutex<Vec<Picture>>>,
    /// What it heard from the relay after it had joined, candidates left out.
    words: Words,
    losses: mpsc::UnboundedSender<()>,
    leave: mpsc::UnboundedSender<()>,
    link: JoinHandle<()>,
    port: u16,
    _packets: JoinHandle<()>,
}

type Words = Arc<Mutex<Vec<Value>>>;
type Socket = WebSocketStream<TcpStream>;

impl Viewer {
    /// Returns when it sees pictures.
    pub(crate) async fn join(relay: SocketAddr) -> Self {
        let stream = TcpStream::connect(relay).await.unwrap();
        let url =
            format!("ws://{relay}/webrtc-relay?type=dashboard&robot_id=rover-7&camera_id=front");
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        say(&mut socket, &json!({ "type": "ready" })).await;
        let offer = loop {
            let message = hear(&mut socket).await.expect("the relay hung up");
            match message["type"].as_str() {
                Some("offer") => break message["sdp"].as_str().unwrap().to_owned(),
                Some("bye" | "error") => panic!("{message}"),
                _ => {}
            }
        };
        let mut receiver = Receiver::open().await;
        let answer = receiver.answer(&offer).await;
        say(&mut socket, &json!({ "type": "answer", "sdp": answer })).await;
        let port = timeout(JOINED_WITHIN, trickle(&mut socket, &mut receiver))
            .await
            .expect("no picture");

        let seen = Arc::new(Mutex::new(Vec::new()));
        let words = Words::default();
        let (losses, reported) = mpsc::unbounded_channel();
        let (leave, left) = mpsc::unbounded_channel();
        let packets = tokio::spawn(watch(receiver, Arc::clone(&seen), reported));
        let link = tokio::spawn(stay(socket, Arc::clone(&words), left));
        let viewer = Self {
            seen,
            words,
            losses,
            leave,
            link,
            port,
            _packets: packets,
        };
        viewer.until("a key frame", JOINED_WITHIN, |picture| picture.key_frame);
        viewer
    }

    /// How many peers it had, one after the other; a robot that ends one counts, too.
    pub(crate) fn sessions(&self) -> usize {
        1 + self.words.lock().unwrap().len()
    }

    /// Where its packets come to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until the newest key frame is of this size.
    pub(crate) fn until_size(&self, size: (u32, u32), within: Duration) {
        let what = format!("pictures of {}x{}", size.0, size.1);
        wait_for(&what, within, || {
            let seen = self.seen();
            let newest = seen.iter().rev().find(|picture| picture.key_frame)?;
            (newest.size() == Some(size)).then_some(())
        });
    }

    /// What the newest key frame's SPS says of it.
    pub(crate) fn profile(&self) -> String {
        let seen = self.seen();
        let newest = seen.iter().rev().find(|picture| picture.key_frame);
        let profile = newest.and_then(|picture| h264::ProfileLevelId::of(&picture.annex_b));
        profile.expect("a key frame has an SPS").to_string()
    }

    /// How long nothing came before it saw the last change to this size.
    pub(crate) fn pause_before(&self, size: (u32, u32)) -> Duration {
        let seen = self.seen();
        let key_frames: Vec<usize> = (0..seen.len()).filter(|it| seen[*it].key_frame).collect();
        let mut changes = key_frames.windows(2).filter(|pair| {
            seen[pair[0]].size() != Some(size) && seen[pair[1]].size() == Some(size)
        });
        let change = changes.next_back().expect("it changed")[1];
        seen[change].at - seen[change - 1].at
    }

    /// Waits for the robot's good-bye.
    pub(crate) fn until_bye(&self, within: Duration) {
        wait_for("a good-bye", within, || {
            let words = self.words.lock().unwrap();
            words.iter().any(|it| it["type"] == "bye").then_some(())
        });
    }

    /// PLI.
    pub(crate) fn report_loss(&self) {
        self.losses.send(()).unwrap();
    }

    pub(crate) async fn leave(self) {
        self.leave.send(()).unwrap();
        self.link.await.unwrap();
    }

    /// The next pictures that come.
    pub(crate) fn next(&self, count: usize) -> Vec<Picture> {
        let from = self.seen().len();
        wait_for(
            &format!("{count} pictures"),
            Duration::from_secs(60),
            || {
                let seen = self.seen();
                (seen.len() >= from + count).then(|| seen[from..from + count].to_vec())
            },
        )
    }

    /// The first picture, past or to come, of which `wanted` is true.
    pub(crate) fn until(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Picture) -> bool,
    ) -> Picture {
        wait_for(what, within, || {
            self.seen().iter().find(|picture| wanted(picture)).cloned()
        })
    }

    /// Ten new pictures, of which most differ.
    pub(crate) fn until_moving(&self, within: Duration) {
        let from = Instant::now();
        let pictures = wait_for("a moving picture", within, || {
            let seen = self.seen();
            let first = seen.partition_point(|picture| picture.at < from);
            (seen.len() >= first + 10).then(|| self.decodable(&seen, first))
        });
        assert_moving(&pictures);
    }

    /// From the last key frame before `first` on, so that they can be decoded.
    fn decodable(&self, seen: &[Picture], first: usize) -> Vec<Picture> {
        let key = seen[..=first]
            .iter()
            .rposition(|picture| picture.key_frame)
            .unwrap_or(0);
        seen[key.max(first.saturating_sub(60))..].to_vec()
    }

    /// All that came from the first key frame to the first loss, as NAME.h264.
    pub(crate) fn write(&self, name: &str) {
        let seen = self.seen();
        let bytes: Vec<_> = seen
            .iter()
            .skip_while(|picture| !picture.key_frame)
            .take_while(|picture| picture.whole)
            .flat_map(|picture| &picture.annex_b)
            .copied()
            .collect();
        std::fs::write(artefact(&format!("{name}.h264")), bytes).unwrap();
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Vec<Picture>> {
        self.seen.lock().unwrap()
    }
}

/// Time goes forward, and most pictures differ from the one before.
pub(crate) fn assert_moving(pictures: &[Picture]) {
    for pair in pictures.windows(2) {
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!(
            (1..90_000 * 600).contains(&step),
            "timestamps went by {step}"
        );
    }
    let mut decoder = Decoder::new().unwrap();
    let mut last: Option<Vec<u8>> = None;
    let (mut decoded, mut moved) = (0, 0);
    // A decoder starts at a key frame; without one among them, sizes of changed pictures have to tell.
    let Some(first) = pictures.iter().position(|picture| picture.key_frame) else {
        let changing = pictures
            .iter()
            .filter(|it| it.annex_b.len() > SKIPPED_PICTURE);
        assert!(
            2 * changing.count() > pictures.len(),
            "the picture stands still"
        );
        return;
    };
    for picture in &pictures[first..] {
        if !picture.whole {
            break;
        }
        let Ok(Some(yuv)) = decoder.decode(&picture.annex_b) else {
            continue;
        };
        decoded += 1;
        let luma = yuv.y().to_vec();
        moved += usize::from(last.is_some_and(|last| last != luma));
        last = Some(luma);
    }
    println!(
        "{decoded} of {} pictures decoded, {moved} moved",
        pictures.len()
    );
    assert!(
        decoded < 2 || 2 * moved >= decoded,
        "the picture stands still"
    );
}

/// A picture in which nothing changed is a slice header and one number.
const SKIPPED_PICTURE: usize = 40;

async fn say(socket: &mut Socket, message: &Value) {
    let text = Message::text(message.to_string());
    socket.send(text).await.unwrap();
}

/// The next message, or the end. May be dropped at any point.
async fn hear(socket: &mut Socket) -> Option<Value> {
    loop {
        if let Message::Text(text) = socket.next().await?.ok()? {
            return Some(serde_json::from_str(&text).unwrap());
        }
    }
}

/// Carries candidates both ways until the track is there. Returns the port that it comes to.
async fn trickle(socket: &mut Socket, receiver: &mut Receiver) -> u16 {
    let mut port = None;
    loop {
        tokio::select! {
            arrival = receiver.arrival() => match arrival {
                Arrival::Candidate(it) => {
                    // RFC 8839, section 5.1: foundation, component, transport, priority, address, port.
                    let word = it.candidate.split(' ').nth(5);
                    port = word.and_then(|port| port.parse().ok()).or(port);
                    say(socket, &json!({
                        "type": "ice_candidate",
                        "candidate": it.candidate,
                        "sdp_mid": it.sdp_mid,
                        "sdp_mline_index": it.sdp_mline_index,
                    })).await;
                }
                Arrival::Picture => return port.expect("it has a candidate"),
            },
            message = hear(socket) => {
                let message = message.expect("the relay hung up");
                if message["type"] == "ice_candidate" {
                    receiver.add_candidate(IceCandidate {
                        candidate: message["candidate"].as_str().unwrap().to_owned(),
                        sdp_mid: message["sdp_mid"].as_str().map(str::to_owned),
                        sdp_mline_index: message["sdp_mline_index"].as_u64().map(|it| it as u16),
                    }).await;
                }
            }
        }
    }
}

/// Holds the place at the relay; everything but a candidate is the end of the one session that there should be.
async fn stay(mut socket: Socket, words: Words, mut left: mpsc::UnboundedReceiver<()>) {
    loop {
        tokio::select! {
            message = hear(&mut socket) => match message {
                Some(message) if message["type"] == "ice_candidate" => {}
                Some(message) => {
                    println!("the viewer hears {message}");
                    words.lock().unwrap().push(message);
                }
                None => return,
            },
            _ = left.recv() => {
                say(&mut socket, &json!({ "type": "bye" })).await;
                let _ = socket.close(None).await;
                return;
            }
        }
    }
}

/// Puts packets together to pictures, until the track ends.
async fn watch(
    mut receiver: Receiver,
    seen: Arc<Mutex<Vec<Picture>>>,
    mut losses: mpsc::UnboundedReceiver<()>,
) {
    let track: Arc<dyn TrackRemote> = receiver.track().await;
    let mut current: Option<Picture> = None;
    let mut next_sequence_number: Option<u16> = None;
    let mut media_ssrc = 0;
    loop {
        tokio::select! {
            event = track.poll() => {
                let Some(event) = event else { return };
                let TrackRemoteEvent::OnRtpPacket(packet) = event else { continue };
                media_ssrc = packet.header.ssrc;
                let sequence_number = packet.header.sequence_number;
                let next = next_sequence_number.unwrap_or(sequence_number);
                // Probes of the link are packets sent again.
                if sequence_number.wrapping_sub(next) > u16::MAX / 2 {
                    continue;
                }
                let in_order = next == sequence_number;
                next_sequence_number = Some(sequence_number.wrapping_add(1));
                let picture = current.get_or_insert_with(|| Picture {
                    at: Instant::now(),
                    timestamp: packet.header.timestamp,
                    key_frame: false,
                    whole: true,
                    annex_b: Vec::new(),
                });
                picture.whole &= in_order && picture.timestamp == packet.header.timestamp;
                depacketize(&packet.payload, &mut picture.annex_b);
                if packet.header.marker && let Some(mut picture) = current.take() {
                    picture.at = Instant::now();
                    picture.key_frame = h264::is_key_frame(&picture.annex_b);
                    if !picture.whole {
                        println!("packets were lost before {sequence_number}");
                    }
                    seen.lock().unwrap().push(picture);
                }
            }
            Some(()) = losses.recv() => {
                let loss = PictureLossIndication { sender_ssrc: 0, media_ssrc };
                track.write_rtcp(vec![Box::new(loss)]).await.unwrap();
            }
        }
    }
}

/// RFC 6184: single NAL units (5.6), aggregates (5.7.1) and fragments (5.8), as a byte stream.
fn depacketize(payload: &[u8], annex_b: &mut Vec<u8>) {
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    const START_CODE: [u8; 4] = [0, 0, 0, 1];
    match payload {
        [] => {}
        [header, rest @ ..] if header & 0x1f == STAP_A => {
            let mut rest = rest;
            while let Some((length, more)) = rest.split_first_chunk() {
                let (nal, after) = more.split_at(u16::from_be_bytes(*length).into());
                annex_b.extend(START_CODE);
                annex_b.extend(nal);
                rest = after;
            }
        }
        [indicator, header, rest @ ..] if indicator & 0x1f == FU_A => {
            let is_first = header & 0x80 != 0;
            if is_first {
                annex_b.extend(START_CODE);
                annex_b.push(indicator & 0xe0 | header & 0x1f);
            }
            annex_b.extend(rest);
        }
        nal => {
            annex_b.extend(START_CODE);
            annex_b.extend(nal);
        }
    }
}

/// The handshake's cryptography is emulated, too.
const JOINED_WITHIN: Duration = Duration::from_secs(60);
