//! str0m in rovercast's place: the same test card and encoder, the same relay and page, the same rules for bitrate and size of the
//! picture. The estimate, the pacing, the repair and the reports' reading are str0m's.

#[path = "rival/crypto.rs"]
mod crypto;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rovercast::camera::Camera;
use rovercast::camera::test_card::{TestCard, TestCardSettings};
use rovercast::encoder::software::{EncoderSettings, SoftwareEncoder};
use rovercast::media::rate::steering::{Action, Input as Told, Steering};
use rovercast::media::rate::{EncoderLimits, Halving, PictureLadder, Prefer};
use rovercast::media::{Bitrate, Size};
use rovercast::metrics::CameraMetrics;
use rovercast::pipeline::feed::{Feed, Outlet};
use rovercast::pipeline::{Outlets, Parts, Pipeline};
use rovercast::relay::message::{FromRelay, ToRelay};
use rovercast::viewer::packetizer::PackedUnit;
use rovercast::viewer::{IceCandidate, ViewerId};
use str0m::bwe::{self, BweKind};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, MediaTime, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

/// What the encoder may be asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) least: Bitrate,
    pub(crate) start: Bitrate,
    pub(crate) most: Bitrate,
}

/// A robot called [`NAME`] with one camera, `front`, for one viewer. It ends with this value.
pub(crate) struct Rival {
    pub(crate) port: u16,
    target: Arc<AtomicU64>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) const NAME: &str = "str0m";

impl Rival {
    /// Dials the relay at `relay`.
    pub(crate) fn start(relay: SocketAddr, size: Size, range: Range) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("threads are not even asked for");
        let socket = runtime
            .block_on(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("loopback has a free port");
        let port = socket.local_addr().expect("it is bound").port();
        let target = Arc::new(AtomicU64::new(range.start.as_bps()));
        let (end, ended) = oneshot::channel();
        let told = Arc::clone(&target);
        let thread = thread::Builder::new()
            .name("str0m".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serve(relay, socket, size, range, &told) => {}
                        _ = ended => {}
                    }
                });
            })
            .expect("one more thread");
        Self {
            port,
            target,
            end: Some(end),
            thread: Some(thread),
        }
    }

    pub(crate) fn target_kbps(&self) -> f64 {
        self.target.load(Ordering::Relaxed) as f64 / 1e3
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Relay = tokio_tungstenite::WebSocketStream<TcpStream>;

async fn serve(
    address: SocketAddr,
    socket: UdpSocket,
    size: Size,
    range: Range,
    target: &AtomicU64,
) {
    let url = format!(
        "ws://{address}/webrtc-relay?type=robot&robot_id={NAME}&api_key=any&camera_id=front"
    );
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (mut relay, _) = tokio_tungstenite::client_async(url, stream)
        .await
        .expect("it is a relay");
    let viewer = loop {
        if let FromRelay::Ready { viewer } = heard(&mut relay).await {
            break viewer;
        }
    };
    let (picture, mut units) = Picture::start(size, range);
    let mut call = Call::open(socket, picture, range);
    call.offer(&mut relay, viewer).await;
    loop {
        let timeout = call.drain();
        target.store(call.picture.steering.target().as_bps(), Ordering::Relaxed);
        let mut datagram = [0; 2048];
        tokio::select! {
            message = heard(&mut relay) => call.hear(message),
            received = call.socket.recv_from(&mut datagram) => {
                // Linux tells of datagrams that nobody took, too.
                if let Ok((bytes, from)) = received {
                    call.receive(&datagram[..bytes], from);
                }
            }
            unit = units.next() => {
                if let Ok(unit) = unit {
                    call.send(&unit);
                }
            }
            () = tokio::time::sleep_until(timeout.into()) => {}
        }
    }
}

async fn heard(relay: &mut Relay) -> FromRelay {
    loop {
        let message = relay.next().await.expect("the relay stays");
        if let Message::Text(text) = message.expect("the relay stays") {
            return FromRelay::parse(&text).expect("the relay speaks its protocol");
        }
    }
}

/// The test card in the encoder, and the rules that rovercast has for its bitrate.
struct Picture {
    pipeline: Pipeline,
    steering: Steering<&'static str>,
}

impl Picture {
    fn start(size: Size, range: Range) -> (Self, Feed) {
        let outlets = Outlets {
            units: Outlet::new(),
            reports: mpsc::unbounded_channel().0,
            metrics: Arc::new(CameraMetrics::default()),
        };
        let feed = outlets.units.subscribe();
        let pipeline = Pipeline::start(NAME, outlets, move || {
            let settings = TestCardSettings {
                size,
                interval: INTERVAL,
            };
            let camera = TestCard::open(&settings)?;
            let settings = EncoderSettings {
                bitrate: range.start,
            };
            let encoder = SoftwareEncoder::open(camera.format(), settings)?;
            Ok(Parts::new(Box::new(camera), Box::new(encoder)))
        });
        let limits = EncoderLimits {
            least: range.least,
            most: range.most,
            ..EncoderLimits::ANY
        };
        let ladder = PictureLadder::new(size, INTERVAL, Prefer::default(), Halving::ByEncoder);
        let picture = Self {
            pipeline: pipeline.expect("one more thread"),
            steering: Steering::new(limits, range.start, ladder),
        };
        (picture, feed)
    }

    fn estimated(&mut self, estimate: f64, now: Instant) {
        let told = Told::Estimate {
            viewer: NAME,
            rate: Bitrate::bps((estimate * MEDIA_SHARE) as u64),
        };
        self.steering.handle(told, now);
    }

    fn steer(&mut self, now: Instant) {
        if self
            .steering
            .poll_timeout()
            .is_some_and(|(at, _)| at <= now)
        {
            self.steering.handle(Told::Timeout, now);
        }
        while let Some(action) = self.steering.poll_action() {
            match action {
                Action::SetBitrate(target) => self.pipeline.set_bitrate(target),
                Action::SetScale(scale) => self.pipeline.set_scale(scale),
            }
        }
    }
}

/// One viewer.
struct Call {
    rtc: Rtc,
    mid: Option<Mid>,
    pending: Option<SdpPendingOffer>,
    socket: UdpSocket,
    address: SocketAddr,
    picture: Picture,
    sequence: u64,
    is_connected: bool,
    has_begun: bool,
}

impl Call {
    fn open(socket: UdpSocket, picture: Picture, range: Range) -> Self {
        let mut config = Rtc::builder()
            .set_crypto_provider(Arc::new(crypto::provider()))
            .set_rtp_mode(true)
            .clear_codecs()
            .set_extension(5, Extension::PlayoutDelay)
            .enable_bwe(Some(bwe::Bitrate::bps(range.start.as_bps())));
        config
            .codec_config()
            .add_h264(PAYLOAD_TYPE, Some(RTX), true, CONSTRAINED_BASELINE_3_1);
        let mut rtc = config.build(Instant::now());
        let wanted = bwe::Bitrate::bps(range.most.as_bps());
        rtc.bwe().set_bitrate(bwe::Bitrate::ZERO, wanted);
        let address = socket.local_addr().expect("it is bound");
        Self {
            rtc,
            mid: None,
            pending: None,
            socket,
            address,
            picture,
            sequence: 1000,
            is_connected: false,
            has_begun: false,
        }
    }

    async fn offer(&mut self, relay: &mut Relay, viewer: ViewerId) {
        let mut change = self.rtc.sdp_api();
        let mid = change.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
        let (offer, pending) = change.apply().expect("it adds a picture");
        (self.mid, self.pending) = (Some(mid), Some(pending));
        let candidate = Candidate::host(self.address, "udp").expect("it is an address");
        let candidate = self
            .rtc
            .add_local_candidate(candidate)
            .expect("it is the first")
            .to_sdp_string();
        let offer = ToRelay::Offer {
            viewer: viewer.clone(),
            sdp: offer.to_sdp_string(),
        };
        let candidate = ToRelay::IceCandidate {
            viewer,
            candidate: IceCandidate {
                candidate,
                sdp_mid: Some(mid.to_string()),
                sdp_mline_index: Some(0),
            },
        };
        for message in [offer, candidate] {
            let message = Message::text(message.to_json());
            relay.send(message).await.expect("the relay stays");
        }
    }

    fn hear(&mut self, message: FromRelay) {
        if let FromRelay::Answer { sdp, .. } = message
            && let Some(pending) = self.pending.take()
        {
            let answer = SdpAnswer::from_sdp_string(&sdp).expect("Chromium made it");
            let api = self.rtc.sdp_api();
            api.accept_answer(pending, answer)
                .expect("it answers the offer");
        }
    }

    fn receive(&mut self, datagram: &[u8], source: SocketAddr) {
        let Ok(contents) = datagram.try_into() else {
            return;
        };
        let receive = Receive {
            proto: Protocol::Udp,
            source,
            destination: self.address,
            contents,
        };
        let input = Input::Receive(Instant::now(), receive);
        self.rtc.handle_input(input).expect("str0m lives");
    }

    /// As an application does it: nothing before the connection, and then from a key frame on.
    fn send(&mut self, unit: &PackedUnit) {
        if !self.is_connected || !(self.has_begun || unit.key_frame) {
            return;
        }
        self.has_begun = true;
        let now = Instant::now();
        let mid = self.mid.expect("it is connected");
        let mut direct = self.rtc.direct_api();
        let stream = direct
            .stream_tx_by_mid(mid, None)
            .expect("it was negotiated");
        let last = unit.payloads.len() - 1;
        for (index, payload) in unit.payloads.iter().enumerate() {
            self.sequence += 1;
            // The picture is shown at once, as rovercast asks for it.
            let extensions = ExtensionValues {
                play_delay_min: Some(MediaTime::ZERO),
                play_delay_max: Some(MediaTime::ZERO),
                ..Default::default()
            };
            let time = unit.captured.rtp_timestamp();
            let payload = payload.to_vec();
            let write = RtpWrite::new(PAYLOAD_TYPE, self.sequence.into(), time, now, payload)
                .nackable(true)
                .marker(index == last)
                .ext_vals(extensions);
            stream.write_rtp(write);
        }
    }

    /// Does all that str0m wants done. Returns when to come back.
    fn drain(&mut self) -> Instant {
        let now = Instant::now();
        self.rtc
            .handle_input(Input::Timeout(now))
            .expect("str0m lives");
        let timeout = loop {
            match self.rtc.poll_output().expect("str0m lives") {
                Output::Timeout(at) => break at,
                Output::Transmit(transmit) => {
                    // Full buffers lose datagrams, as networks do.
                    let _ = self
                        .socket
                        .try_send_to(&transmit.contents, transmit.destination);
                }
                Output::Event(event) => self.happened(&event, now),
            }
        };
        self.picture.steer(now);
        timeout.min(now + LOOK_AGAIN)
    }

    #[allow(clippy::wildcard_enum_match_arm)] // the others are of no interest here, and a later version has more
    fn happened(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Connected => {
                self.is_connected = true;
                self.picture.pipeline.request_key_frame();
            }
            Event::KeyframeRequest(_) => self.picture.pipeline.request_key_frame(),
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                self.picture.estimated(estimate.as_f64(), now);
            }
            _ => {}
        }
    }
}

const PAYLOAD_TYPE: Pt = Pt::new_with_value(102);
const RTX: Pt = Pt::new_with_value(103);
const CONSTRAINED_BASELINE_3_1: u32 = 0x42_e0_1f;

/// 30 pictures a second.
const INTERVAL: Duration = Duration::from_nanos(33_333_333);

/// What an application would leave for headers.
const MEDIA_SHARE: f64 = 0.93;

/// The shortest patience of the rules for the picture.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
