//! One browser's connection. This folder alone names the `webrtc` and `rtc` crates.
//!
//! One task a viewer; this is its handle, and what it tells.

#![allow(clippy::disallowed_methods)] // drivers, this folder over: each reads the clock once per turn

mod burst_socket;
mod clock;
mod connection;
mod demultiplexer;
mod one_port;
mod one_task;
mod ports;
mod session;
mod stream;
mod told;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{Instrument, debug, info_span, warn};

use super::{IceCandidate, IceServer, NetworkChange, ViewerId};
use crate::config::BitrateRange;
use crate::media::congestion::Because;
use crate::media::h264::ProfileLevelId;
use crate::media::{Bitrate, Feedback};
use crate::metrics::CameraMetrics;
use crate::pipeline::feed::Feed;
use one_port::Place;
use session::{Events, watch};

pub use super::PeerEnd;
pub use one_port::OnePort;
pub use ports::UdpPorts;

/// What all viewers of a robot have in common.
#[derive(Clone, Debug, Default)]
pub struct PeerSettings {
    pub ice_servers: Vec<IceServer>,
    /// Offer loopback addresses too: the browser runs on this machine (the demo, tests).
    pub loopback: bool,
    /// Offer the addresses of TURN servers only.
    pub relay_only: bool,
    pub udp_ports: UdpPorts,
    /// What the encoder may be asked for.
    pub bitrate: BitrateRange,
    /// Where the viewers of one camera count.
    pub metrics: Arc<CameraMetrics>,
}

impl PeerSettings {
    /// Among those who share a port. TURN servers alone are no use of it.
    fn place(&self) -> Option<Arc<Place>> {
        match &self.udp_ports {
            UdpPorts::One(port) if !self.relay_only => {
                let mut urls = self.ice_servers.iter().flat_map(|server| &server.urls);
                Some(port.enter(urls.any(|url| !url.starts_with("stun:"))))
            }
            UdpPorts::Any | UdpPorts::Range(..) | UdpPorts::One(_) => None,
        }
    }
}

/// What a peer tells. `Ended` is the last.
#[derive(Debug)]
pub enum PeerEvent {
    /// Send this to the browser; candidates follow.
    Offer {
        sdp: String,
    },
    Candidate(IceCandidate),
    Connected,
    /// Nothing comes back; `Connected` or `Ended` follows.
    Disconnected,
    Feedback(Feedback),
    /// The first unit is on its way, this long after the peer was opened.
    FirstPacket {
        after: Duration,
    },
    /// Once a second, whatever is sent.
    Statistics(PeerStatistics),
    Ended(PeerEnd),
}

/// What was sent to a browser, and what it said about it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PeerStatistics {
    /// Without retransmissions.
    pub packets: u64,
    /// RTP payload bytes, without retransmissions.
    pub bytes: u64,
    /// Packets that the browser asked for again (NACK).
    pub nacked_packets: u64,
    /// PLI and FIR.
    pub picture_losses: u64,
    pub lost_packets: u64,
    /// Of the packets since the browser's report before: 0 to 1.
    pub fraction_lost: f32,
    pub jitter: Duration,
    pub round_trip: Option<Duration>,
    /// Units that came too early, too late, or after a gap.
    pub skipped_units: u64,
    /// Packets sent again, for a NACK or a report of a loss.
    pub repaired_packets: u64,
    /// Everything, headers, repairs and probes included.
    pub sent_bytes: u64,
    /// The same a second, lately.
    pub sent: Bitrate,
    /// How long the newest packet waits before it leaves.
    pub waits: Duration,
    /// Absent when the browser reports nothing about packets.
    pub link: Option<LinkStatistics>,
}

/// What the link to a browser is found to carry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkStatistics {
    /// Headers, repairs and probes included.
    pub estimate: Bitrate,
    /// What arrives.
    pub acknowledged: Option<Bitrate>,
    /// What every packet waits on the way at least.
    pub queue_delay: Duration,
    pub because: Because,
}

/// The handle of one browser's connection. No call blocks. Dropping it closes the connection.
#[derive(Debug)]
pub struct Peer {
    viewer: ViewerId,
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Command {
    Answer(String),
    Candidate(IceCandidate),
    Network(NetworkChange),
    Watch(Feed),
    Alone(bool),
    Close,
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Answer(_) => "answer",
            Self::Candidate(_) => "candidate",
            Self::Network(_) => "network change",
            Self::Watch(_) => "another rendition",
            Self::Alone(_) => "who else watches",
            Self::Close => "close",
        }
    }
}

impl Peer {
    /// Starts the viewer's task; it makes an offer for pictures of `profile`.
    ///
    /// When `events` is full the viewer waits, misses units and goes on with a key frame; it never loses an event.
    pub fn open(
        viewer: ViewerId,
        settings: PeerSettings,
        profile: ProfileLevelId,
        units: Feed,
        events: mpsc::Sender<(ViewerId, PeerEvent)>,
    ) -> Self {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let span = info_span!("viewer", id = %viewer);
        let events = Events {
            viewer: viewer.clone(),
            sender: events,
        };
        tokio::spawn(watch(settings, profile, units, events, inbox).instrument(span));
        Self { viewer, commands }
    }

    pub fn viewer(&self) -> &ViewerId {
        &self.viewer
    }

    pub fn answer(&self, sdp: String) {
        self.command(Command::Answer(sdp));
    }

    pub fn candidate(&self, candidate: IceCandidate) {
        self.command(Command::Candidate(candidate));
    }

    /// The robot's network changed: another offer may follow, with the addresses that there are now.
    pub fn network_changed(&self, change: NetworkChange) {
        self.command(Command::Network(change));
    }

    /// From the next key frame of these units on, they are sent.
    pub fn watch(&self, units: Feed) {
        self.command(Command::Watch(units));
    }

    /// Nobody else watches the camera, or somebody does again: key frames cost the others.
    pub fn is_alone(&self, is_alone: bool) {
        self.command(Command::Alone(is_alone));
    }

    /// Says good-bye to the browser; `Ended` follows within half a second.
    pub fn close(&self) {
        self.command(Command::Close);
    }

    fn command(&self, command: Command) {
        match self.commands.try_send(command) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(command)) => {
                // Its words hold addresses and the password of the ICE session.
                let dropped = command.name();
                warn!(viewer = %self.viewer, dropped, "viewer is behind, leaving out what it was told");
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                debug!(viewer = %self.viewer, "viewer is gone already");
            }
        }
    }
}

/// An answer and the candidates that a browser has at most. Beyond it the newest command is dropped with a warning: the viewer's
/// task does not run, and is going to be late anyway.
const COMMANDS: usize = 128;
