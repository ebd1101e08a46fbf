//! The browser's side of a viewer's connection, made with the crate that rovercast itself uses.
#![allow(clippy::unwrap_used)] // a test's helper: a panic is its way to fail
#![allow(dead_code)] // two suites share this, and neither needs all of it

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rovercast::viewer::IceCandidate;
use rtc::interceptor::TwccReceiverBuilder;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCDtlsTransportState};
use rtc::rtcp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use tokio::sync::mpsc;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCIceCandidateInit, RTCPeerConnectionIceEvent, RTCSessionDescription, Registry,
    SettingEngineBuilder, Slot, configure_nack, configure_rtcp_reports,
};

/// The browser's side.
pub(crate) struct Receiver {
    pub(crate) connection: Box<dyn PeerConnection>,
    candidates: mpsc::Receiver<IceCandidate>,
    tracks: mpsc::Receiver<Arc<dyn TrackRemote>>,
    track: Option<Arc<dyn TrackRemote>>,
    answer: String,
    newest: Option<u16>,
}

impl Receiver {
    pub(crate) async fn open() -> Self {
        let mut engine = MediaEngine::default();
        for (payload_type, mime_type, fmtp) in [
            (
                96,
                "video/H264",
                "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            ),
            (97, "video/rtx", "apt=96"),
        ] {
            let rtp_codec = RTCRtpCodec {
                mime_type: mime_type.to_owned(),
                clock_rate: 90_000,
                channels: 0,
                sdp_fmtp_line: fmtp.to_owned(),
                rtcp_feedback: [("transport-cc", ""), ("ccm", "fir")]
                    .map(|(typ, parameter)| RTCPFeedback {
                        typ: typ.to_owned(),
                        parameter: parameter.to_owned(),
                    })
                    .to_vec(),
            };
            let codec = RTCRtpCodecParameters {
                rtp_codec,
                payload_type,
            };
            engine.register_codec(codec, RtpCodecKind::Video).unwrap();
        }
        for uri in [CAPTURE_TIME_URI, PLAYOUT_DELAY_URI, TRANSPORT_CC_URI] {
            let extension = RTCRtpHeaderExtensionCapability {
                uri: uri.to_owned(),
            };
            engine
                .register_header_extension(extension, RtpCodecKind::Video, None)
                .unwrap();
        }
        let registry = configure_rtcp_reports(configure_nack(Registry::new(), &mut engine))
            .with(Slot::TwccReceiver, TwccReceiverBuilder::new().build());
        let (candidates_out, candidates) = mpsc::channel(64);
        let (tracks_out, tracks) = mpsc::channel(4);
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(
                SettingEngineBuilder::new()
                    .with_include_loopback_candidate(true)
                    // The server is done with the handshake before the client is, and ready when the robot's first packet
                    // comes. As the client, which browsers are, this crate loses packets that are right behind the handshake.
                    .with_answering_dtls_role(RTCDtlsRole::Server)
                    .build(),
            )
            .with_handler(Arc::new(Handler {
                candidates: candidates_out,
                tracks: tracks_out,
            }))
            .with_udp_addrs(vec!["127.0.0.1:0"]);
        // Its future has 20 KB, and the futures of all tests would have them, too.
        let connection = Box::pin(connection.build()).await.unwrap();
        Self {
            connection: Box::new(connection),
            candidates,
            tracks,
            track: None,
            answer: String::new(),
            newest: None,
        }
    }

    pub(crate) async fn answer(&mut self, offer: &str) -> String {
        assert!(offer.contains("\r\na=ice-options:trickle\r\n"));
        let offer = RTCSessionDescription::offer(offer.to_owned()).unwrap();
        self.connection.set_remote_description(offer).await.unwrap();
        let answer = self.connection.create_answer(None).await.unwrap();
        self.answer.clone_from(&answer.sdp);
        self.connection.set_local_description(answer).await.unwrap();
        self.answer.clone()
    }

    pub(crate) async fn add_candidate(&self, candidate: IceCandidate) {
        let candidate = RTCIceCandidateInit {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_mline_index: candidate.sdp_mline_index,
            ..Default::default()
        };
        self.connection.add_ice_candidate(candidate).await.unwrap();
    }

    pub(crate) async fn candidate(&mut self) -> IceCandidate {
        self.candidates.recv().await.unwrap()
    }

    /// The next thing that happens to it.
    pub(crate) async fn arrival(&mut self) -> Arrival {
        tokio::select! {
            candidate = self.candidates.recv() => Arrival::Candidate(candidate.unwrap()),
            track = self.tracks.recv() => {
                self.track = track;
                Arrival::Picture
            }
        }
    }

    pub(crate) fn extension_id(&self, uri: &str) -> u8 {
        let line = self
            .answer
            .lines()
            .find(|line| line.ends_with(uri))
            .unwrap();
        let id = line.strip_prefix("a=extmap:").unwrap();
        id.split(' ').next().unwrap().parse().unwrap()
    }

    pub(crate) async fn track(&mut self) -> Arc<dyn TrackRemote> {
        if self.track.is_none() {
            let track = tokio::time::timeout(PATIENCE, self.tracks.recv()).await;
            self.track = track.expect("no picture");
        }
        Arc::clone(self.track.as_ref().unwrap())
    }

    pub(crate) async fn packets(&mut self, count: usize) -> Vec<rtc::rtp::Packet> {
        let track = self.track().await;
        let mut packets = vec![];
        while packets.len() < count {
            let event = tokio::time::timeout(PATIENCE, track.poll()).await;
            let event = event.expect("no more packets");
            if let TrackRemoteEvent::OnRtpPacket(packet) = event.expect("the track ended") {
                packets.push(packet);
            }
        }
        packets
    }

    /// The next packet that it has not had: a link is probed with packets sent again, which a jitter buffer drops.
    pub(crate) async fn new_packet(&mut self) -> rtc::rtp::Packet {
        loop {
            let packet = self.packets(1).await.remove(0);
            let number = packet.header.sequence_number;
            let ahead = self.newest.map(|newest| number.wrapping_sub(newest));
            if ahead.is_none_or(|ahead| (1..=u16::MAX / 2).contains(&ahead)) {
                self.newest = Some(number);
                return packet;
            }
        }
    }

    pub(crate) async fn report(&mut self, packet: impl rtcp::Packet + 'static) {
        let track = self.track().await;
        track.write_rtcp(vec![Box::new(packet)]).await.unwrap();
    }

    /// The crate has no event for it.
    pub(crate) async fn until_closed(&self) {
        let transport = self.connection.get_receivers().await[0].transport().await;
        let transport = transport.unwrap().unwrap();
        let closed = async {
            while transport.state().await.unwrap() != RTCDtlsTransportState::Closed {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, closed)
            .await
            .expect("no good-bye");
    }
}

/// What a receiver has to tell.
pub(crate) enum Arrival {
    /// For the robot.
    Candidate(IceCandidate),
    /// Its packets come from now on.
    Picture,
}

struct Handler {
    candidates: mpsc::Sender<IceCandidate>,
    tracks: mpsc::Sender<Arc<dyn TrackRemote>>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let candidate = event.candidate.to_json().unwrap();
        drop(self.candidates.try_send(IceCandidate {
            candidate: candidate.candidate,
            sdp_mid: Some("0".to_owned()),
            sdp_mline_index: Some(0),
        }));
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        drop(self.tracks.try_send(track));
    }
}

pub(crate) const CAPTURE_TIME_URI: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
pub(crate) const PLAYOUT_DELAY_URI: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

pub(crate) const TRANSPORT_CC_URI: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Far beyond what anything takes on loopback, even on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
