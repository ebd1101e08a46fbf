//! The peer connection of one viewer: what it offers, how it finds a way, how it closes.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::certificate::CertificateParams;
use rtc::peer_connection::configuration::RTCIceTransportPolicy;
use rtc::peer_connection::transport::{RTCDtlsTransportState, RTCIceCandidate};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters,
    RTCRtpEncodingParameters, RTCRtpHeaderExtensionCapability, RTCRtpRtxParameters, RtpCodecKind,
};
use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tracing::{debug, warn};
use webrtc::error::{Error, Result};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::transport::DtlsTransport;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCCertificate,
    RTCConfigurationBuilder, RTCIceCandidateInit, RTCIceServer, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngine, SettingEngineBuilder,
    Slot, crypto,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit, RtpSender};
use webrtc::runtime::Runtime;

use super::PeerSettings;
use super::one_port::Place;
use super::ports::{Binding, can_ask_for_local_names};
use super::stream::{CAPTURE_TIME_URI, PLAYOUT_DELAY_URI, Stream, StreamHandle, TRANSPORT_CC_URI};
use super::told::{as_sent, is_reachable, tell_common_port, ufrag};
use crate::media::h264::ProfileLevelId;
use crate::viewer::{IceCandidate, IceServer};

/// What the connection tells by itself.
#[derive(Debug)]
pub(super) enum Happening {
    Candidate(IceCandidate),
    State(RTCPeerConnectionState),
    /// The crate's loop ended.
    Stopped,
}

pub(super) struct Connection {
    peer: Pin<Box<dyn PeerConnection>>,
    track: Arc<TrackLocalStaticRTP>,
    sender: Option<Arc<dyn RtpSender>>,
    place: Option<Arc<Place>>,
}

/// The two ends of a way. A browser's hidden address becomes known under the same numbers, which is no other way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Way {
    local: (String, u16),
    remote: (String, u16),
}

impl Connection {
    /// Binds the sockets. `runtime`'s loop must be polled from here on.
    pub(super) async fn open(
        settings: &PeerSettings,
        profile: ProfileLevelId,
        (runtime, place): (Arc<dyn Runtime>, Option<Arc<Place>>),
        (stream, handle): (Stream, &StreamHandle),
        happenings: mpsc::Sender<Happening>,
    ) -> Result<Self> {
        let codec = h264(profile);
        // Boxed: these 20 KB are needed for a moment, and a viewer's task would keep room for them.
        let peer = Box::pin(
            PeerConnectionBuilder::new()
                .with_configuration(
                    RTCConfigurationBuilder::new()
                        .with_ice_servers(settings.ice_servers.iter().map(ice_server).collect())
                        .with_ice_transport_policy(if settings.relay_only {
                            RTCIceTransportPolicy::Relay
                        } else {
                            RTCIceTransportPolicy::All
                        })
                        .with_certificates(vec![certificate()?])
                        .build(),
                )
                .with_media_engine(media_engine(&codec)?)
                .with_interceptor_registry(
                    Registry::new().with(Slot::from(NEXT_TO_THE_APPLICATION), stream),
                )
                .with_setting_engine(setting_engine(settings))
                .with_handler(Arc::new(Handler {
                    happenings,
                    common_port: place.as_ref().map(|place| place.port()),
                }))
                .with_runtime(runtime)
                .with_dedicated_reactor_pool_size(1)
                .with_udp_addrs(vec![Binding::new(settings)])
                .build(),
        )
        .await?;
        let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
            STREAM.to_owned(),
            TRACK.to_owned(),
            TRACK.to_owned(),
            RtpCodecKind::Video,
            vec![RTCRtpEncodingParameters {
                rtp_coding_parameters: RTCRtpCodingParameters {
                    ssrc: Some(handle.ssrc),
                    rtx: Some(RTCRtpRtxParameters {
                        ssrc: handle.rtx_ssrc,
                    }),
                    ..Default::default()
                },
                codec,
                ..Default::default()
            }],
        )));
        let transceiver = peer
            .add_transceiver_from_track(
                Arc::clone(&track) as Arc<dyn TrackLocal>,
                Some(RTCRtpTransceiverInit {
                    direction: RTCRtpTransceiverDirection::Sendonly,
                    streams: vec![STREAM.to_owned()],
                    send_encodings: vec![],
                }),
            )
            .await?;
        Ok(Self {
            peer: Box::pin(peer),
            track,
            sender: transceiver.sender().await?,
            place,
        })
    }

    /// The offer to send. Candidates follow as they are found.
    pub(super) async fn offer(&self) -> Result<String> {
        let offer = self.peer.create_offer(None).await?;
        let sdp = as_sent(&offer.sdp);
        if let Some(place) = &self.place
            && let Some(ufrag) = ufrag(&sdp)
        {
            place.name(ufrag);
        }
        self.peer.set_local_description(offer).await?;
        Ok(sdp)
    }

    /// An offer of another way: sockets are bound anew on what addresses there are now. RFC 8445, section 2.4.
    pub(super) async fn offer_another_way(&self) -> Result<String> {
        self.peer.restart_ice().await?;
        self.offer().await
    }

    pub(super) async fn answer(&self, sdp: String) -> std::result::Result<(), AnswerError> {
        let answer = RTCSessionDescription::answer(sdp).map_err(|_| AnswerError::Unreadable)?;
        let read = answer.unmarshal().map_err(|_| AnswerError::Unreadable)?;
        // Port 0 refuses a media section (RFC 9429, section 5.3.1); the crate would wait for packets that never come.
        let takes_video = read
            .media_descriptions
            .iter()
            .any(|media| media.media_name.media == "video" && media.media_name.port.value != 0);
        if !takes_video {
            return Err(AnswerError::NoVideo);
        }
        let taken = self.peer.set_remote_description(answer).await;
        taken.map_err(|_| AnswerError::Unfit)
    }

    pub(super) async fn add_candidate(&self, candidate: IceCandidate) -> Result<()> {
        // Browsers say with an empty candidate that there are no more (RFC 8838, section 13).
        if candidate.candidate.is_empty() {
            return Ok(());
        }
        self.peer
            .add_ice_candidate(RTCIceCandidateInit {
                candidate: candidate.candidate,
                sdp_mid: candidate.sdp_mid,
                sdp_mline_index: candidate.sdp_mline_index,
                ..Default::default()
            })
            .await
    }

    /// Makes the connection send what `stream` holds, in the next poll of its loop.
    pub(super) async fn send(&self, stream: &StreamHandle) -> Result<()> {
        match stream.nudge() {
            Some(nudge) => self.track.write_rtp(nudge).await,
            None => Err(Error::Other("the browser took no H.264 video".to_owned())),
        }
    }

    /// True once the browser said good-bye. The crate tells it to nobody: without media its state stays `Connected` until the
    /// checks of the way fail, and that takes 5 s.
    pub(super) async fn is_closed_by_browser(&self) -> bool {
        let Some(transport) = self.transport().await else {
            return false;
        };
        matches!(
            transport.state().await,
            Ok(RTCDtlsTransportState::Closed | RTCDtlsTransportState::Failed)
        )
    }

    /// Between which addresses packets go now; `None` while a way is looked for.
    pub(super) async fn way(&self) -> Option<Way> {
        let ice = self.transport().await?.ice_transport();
        let pair = ice.get_selected_candidate_pair().await.ok()??;
        let address = |candidate: &RTCIceCandidate| (candidate.address.clone(), candidate.port);
        Some(Way {
            local: address(pair.local()),
            remote: address(pair.remote()),
        })
    }

    async fn transport(&self) -> Option<Arc<dyn DtlsTransport>> {
        let sender = self.sender.as_ref()?;
        sender.transport().await.ok()?
    }

    /// Says good-bye (DTLS close_notify) and closes the sockets.
    pub(super) async fn close(&self) -> Result<()> {
        self.peer.close().await
    }
}

/// Why an answer is of no use. The crate's own words repeat what they could not read: addresses, and the password of the ICE
/// session. These go to the relay and into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("it is no session description that can be read")]
    Unreadable,
    #[error("it takes no H.264 video")]
    NoVideo,
    #[error("it does not fit the offer: codec, media section, ICE or DTLS parameters")]
    Unfit,
}

struct Handler {
    happenings: mpsc::Sender<Happening>,
    /// What the browser is told instead of the port that the crate knows.
    common_port: Option<u16>,
}

impl Handler {
    /// Never waits: this runs inside the connection's loop.
    fn tell(&self, happening: Happening) {
        if let Err(error) = self.happenings.try_send(happening) {
            warn!(%error, "viewer is behind with its connection, dropping a happening");
        }
    }
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let mut candidate = event.candidate;
        if !is_reachable(&candidate.address) {
            return;
        }
        if let Some(port) = self.common_port {
            tell_common_port(&mut candidate, port);
        }
        let candidate = match candidate.to_json() {
            Ok(init) => init.candidate,
            Err(error) => {
                debug!(%error, "cannot write a candidate of our own");
                return;
            }
        };
        self.tell(Happening::Candidate(IceCandidate {
            candidate,
            // The crate leaves the mid empty, which matches no media section. There is one, and it is the first.
            sdp_mid: Some(MID.to_owned()),
            sdp_mline_index: Some(0),
        }));
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.tell(Happening::State(state));
    }
}

fn h264(profile: ProfileLevelId) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: "video/H264".to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: format!(
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
        ),
        rtcp_feedback: [
            ("transport-cc", ""),
            ("ccm", "fir"),
            ("nack", ""),
            ("nack", "pli"),
        ]
        .map(|(typ, parameter)| RTCPFeedback {
            typ: typ.to_owned(),
            parameter: parameter.to_owned(),
        })
        .to_vec(),
    }
}

fn media_engine(codec: &RTCRtpCodec) -> Result<MediaEngine> {
    let mut engine = MediaEngine::default();
    let rtx = RTCRtpCodec {
        mime_type: "video/rtx".to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: format!("apt={H264_PAYLOAD_TYPE}"),
        rtcp_feedback: vec![],
    };
    for (rtp_codec, payload_type) in [(codec.clone(), H264_PAYLOAD_TYPE), (rtx, RTX_PAYLOAD_TYPE)] {
        engine.register_codec(
            RTCRtpCodecParameters {
                rtp_codec,
                payload_type,
            },
            RtpCodecKind::Video,
        )?;
    }
    for uri in [CAPTURE_TIME_URI, PLAYOUT_DELAY_URI, TRANSPORT_CC_URI] {
        engine.register_header_extension(
            RTCRtpHeaderExtensionCapability {
                uri: uri.to_owned(),
            },
            RtpCodecKind::Video,
            None,
        )?;
    }
    Ok(engine)
}

fn setting_engine(settings: &PeerSettings) -> SettingEngine {
    let at_once = Some(Duration::ZERO);
    SettingEngineBuilder::new()
        .with_include_loopback_candidate(settings.loopback)
        .with_multicast_dns_mode(if can_ask_for_local_names() {
            MulticastDnsMode::QueryOnly
        } else {
            MulticastDnsMode::Disabled
        })
        // The sockets of addresses that are gone lead nowhere.
        .with_discard_local_candidates_during_ice_restart(true)
        // Browsers hide their addresses; their own checks arrive a second before a hidden name is resolved. The first pair
        // that works is good enough, and a better one may still be nominated by the browser.
        .with_host_acceptance_min_wait(at_once)
        .with_prflx_acceptance_min_wait(at_once)
        .with_srflx_acceptance_min_wait(at_once)
        .with_relay_acceptance_min_wait(RELAY_PATIENCE)
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS))
        .build()
}

fn ice_server(server: &IceServer) -> RTCIceServer {
    RTCIceServer {
        urls: server.urls.clone(),
        username: server.username.clone().unwrap_or_default(),
        credential: server
            .credential
            .as_ref()
            .map(|secret| secret.expose_secret().to_owned())
            .unwrap_or_default(),
    }
}

/// The same for all viewers: a key costs a slow board tens of milliseconds, and its viewers are all shown the same robot.
fn certificate() -> Result<RTCCertificate> {
    static CERTIFICATE: Mutex<Option<RTCCertificate>> = Mutex::new(None);
    let mut certificate = CERTIFICATE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let fresh_until = SystemTime::now() + CERTIFICATE_REST;
    if let Some(certificate) = certificate.as_ref()
        && certificate.expires > fresh_until
    {
        return Ok(certificate.clone());
    }
    let provider = crypto::default_provider().map_err(|error| Error::Crypto(error.to_string()))?;
    let made = RTCCertificate::generate(
        provider.crypto(),
        crypto::SignatureScheme::EcdsaP256Sha256,
        CertificateParams::new(vec!["rovercast".to_owned()])
            .map_err(|error| Error::Other(error.to_string()))?,
    )?;
    Ok(certificate.insert(made).clone())
}

const STREAM: &str = "rovercast";
const TRACK: &str = "video";
/// The one media section.
const MID: &str = "0";

/// Dynamic payload types (RFC 3551, section 3); browsers take whatever is offered.
const H264_PAYLOAD_TYPE: u8 = 102;
const RTX_PAYLOAD_TYPE: u8 = 103;

/// Beyond all positions that the crate names: units enter here, before everything that must see their packets.
const NEXT_TO_THE_APPLICATION: usize = 50_000;

/// Each step of a join (check, nominate) waits for the next round of checks, 200 ms by default; RFC 8445, section 14.2 paces at
/// 50 ms. A round is one packet of 100 bytes a pair of addresses.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Two seconds of checks a pair: both sides must have each other's candidates by then to open a firewall's hole.
const CHECKS: u16 = 40;

/// A relay costs a detour for as long as the viewer watches; direct ways get this long to show up.
const RELAY_PATIENCE: Option<Duration> = Some(Duration::from_millis(500));

/// The crate's certificates last two days on ARM; a viewer who stays checks it only at the start.
const CERTIFICATE_REST: Duration = Duration::from_secs(3600);
