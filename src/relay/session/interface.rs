//! What a session is told, and what it wants done.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::status::{LinkEnd, LinkStatus};
use crate::relay::message::{FromRelay, ToRelay};
use crate::viewer::{IceCandidate, IceServer, ViewerId};

#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// Viewers at once; the next is told so.
    pub max_viewers: usize,
    /// From `Start` to the first dial: cameras of one robot must not all shake hands at once.
    pub start_after: Duration,
    pub ping_interval: Duration,
    pub backoff_first: Duration,
    pub backoff_max: Duration,
    pub backoff_reset_after: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            max_viewers: 8,
            start_after: Duration::ZERO,
            ping_interval: Duration::from_secs(20),
            backoff_first: Duration::from_millis(250),
            backoff_max: Duration::from_secs(60),
            backoff_reset_after: Duration::from_secs(60),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Input {
    Start,
    /// The time that [`Session::poll_timeout`](super::Session::poll_timeout) named has come.
    Timeout,
    /// `from` is our own address on it, where the driver knows it.
    LinkOpened {
        from: Option<IpAddr>,
    },
    /// Anything came from the relay, be it a pong.
    LinkHeard,
    LinkMessage(FromRelay),
    LinkEnded(LinkEnd),
    ViewerOffer {
        viewer: ViewerId,
        sdp: String,
    },
    ViewerCandidate {
        viewer: ViewerId,
        candidate: IceCandidate,
    },
    ViewerEnded {
        viewer: ViewerId,
        reason: String,
    },
    /// Addresses or routes came or went; `addresses` is what this machine has now, loopback included.
    NetworkChanged {
        addresses: Arc<BTreeSet<IpAddr>>,
    },
    ShutDown,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make one link. Every `Dial` is answered by one `LinkEnded`, sooner or later, and no other is made before that.
    Dial,
    Ping,
    Send(ToRelay),
    HangUp {
        reason: &'static str,
    },
    /// `ice_servers` are the relay's; configured ones are not among them.
    OpenViewer {
        viewer: ViewerId,
        ice_servers: Vec<IceServer>,
    },
    Answer {
        viewer: ViewerId,
        sdp: String,
    },
    Candidate {
        viewer: ViewerId,
        candidate: IceCandidate,
    },
    /// Send this viewer what is known of its link.
    ReportLink {
        viewer: ViewerId,
    },
    /// Inputs about this viewer that its closed peer still has to give are no longer wanted: the next `OpenViewer` may carry
    /// the same name.
    CloseViewer {
        viewer: ViewerId,
        reason: CloseReason,
    },
    /// Worth a line in the log: the first of its kind, or a summary.
    Report(LinkStatus),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    #[error("replaced by a new viewer of the same name")]
    Replaced,
    #[error("left")]
    Left,
    #[error("no answer to the offer")]
    NoAnswer,
    #[error("robot is shutting down")]
    ShutDown,
}
