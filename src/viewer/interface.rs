//! What a viewer is told, and what it wants done.

use std::sync::Arc;

use super::packetizer::PackedUnit;
use super::reach::NetworkChange;
use super::signalled::IceCandidate;
use super::{ANSWER_DEADLINE, CONNECT_DEADLINE};

/// What happens to a viewer.
#[derive(Clone, Debug)]
pub enum Input {
    /// The offer is on its way to the browser.
    Offered,
    Answer(String),
    /// The connection would not take the answer, and says what was found in it.
    AnswerRefused(String),
    /// The connection cannot go on, and says why.
    Broken(String),
    RemoteCandidate(IceCandidate),
    Connected,
    /// Nothing comes back at the moment. The network may return.
    Disconnected,
    /// The way to the browser is beyond repair; another may be found.
    Failed,
    /// The robot's network is another than before.
    Network(NetworkChange),
    /// The browser closed the connection.
    Left,
    Unit(Arc<PackedUnit>),
    /// The viewer was too slow: `missed` units are gone.
    Lagged {
        missed: u64,
    },
    /// The browser lost the picture (PLI or FIR).
    LossReport,
    /// The browser answers nothing, so nothing is sent to it.
    Silent,
    /// The browser answers again.
    Answers,
    /// Whether nobody else watches the camera.
    Alone(bool),
    Close,
    Timeout,
}

/// What the driver must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    ApplyAnswer(String),
    AddCandidate(IceCandidate),
    /// Make another offer, with fresh ICE credentials and candidates.
    RestartIce,
    Send(Arc<PackedUnit>),
    AskKeyFrame,
    /// The last action. The driver closes the connection.
    End(PeerEnd),
}

/// Why a viewer is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerEnd {
    #[error("closed by the robot")]
    Closed,
    #[error("the browser left")]
    Left,
    #[error("no answer to the offer within {} s", ANSWER_DEADLINE.as_secs())]
    NoAnswer,
    #[error("cannot use the browser's answer: {found}")]
    BadAnswer { found: String },
    #[error("no way to the browser found within {} s of its answer", CONNECT_DEADLINE.as_secs())]
    NotConnected,
    #[error("the connection to the browser failed")]
    Failed,
    #[error("nothing heard from the browser for too long")]
    Lost,
    /// The robot's side could not go on, whatever the browser did.
    #[error("cannot serve the browser: {found}")]
    Broken { found: String },
}

/// What became of the units and requests of one viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewerCounts {
    pub sent: u64,
    /// Units that came too early, too late, or after a gap.
    pub skipped: u64,
    /// Key frames asked for.
    pub asked: u64,
}
