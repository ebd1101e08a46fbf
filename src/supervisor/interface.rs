//! What a supervisor is told, what it wants done, and what it says of a camera.

use std::time::{Duration, Instant};

/// A camera is named by its place in the configuration.
pub type CameraIndex = usize;

/// What the parts tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// So many viewers are there now, on their way in included.
    Viewers {
        camera: CameraIndex,
        count: usize,
    },
    /// Access units came out of the encoder since the last report.
    Moved {
        camera: CameraIndex,
    },
    /// The encoder is being put right: until its next unit it has as long as one that starts.
    Recovering {
        camera: CameraIndex,
    },
    /// Pictures of another size are wanted, for which camera and encoder are opened again.
    OtherSize {
        camera: CameraIndex,
    },
    /// The pipeline ended by itself. `lasting`: opening it again with this configuration must fail in the same way.
    Failed {
        camera: CameraIndex,
        why: String,
        lasting: bool,
    },
    /// A camera or an encoder was plugged in, or its driver loaded: one that is waited for may be there now.
    DeviceCame,
    /// The pipeline has ended because it was told to.
    Stopped {
        camera: CameraIndex,
    },
    /// The instant that `poll_timeout` named has come.
    Timeout,
    ShutDown,
}

/// What the app is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open camera and encoder.
    Start {
        camera: CameraIndex,
    },
    /// End the pipeline; `Report::Stopped` or `Report::Failed` must follow.
    Stop {
        camera: CameraIndex,
        why: StopReason,
    },
    FeedWatchdog,
    /// One line for `systemctl status`.
    Status(String),
    /// Everything has stopped after `ShutDown`.
    Exit,
}

/// Why a pipeline is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    NobodyWatches,
    /// It gave no access unit within its deadline.
    Stalled,
    /// It starts again at once, for pictures of another size.
    OtherSize,
    ShuttingDown,
}

/// What a camera's pipeline is doing, for `/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraState {
    Asleep,
    Starting {
        since: Instant,
    },
    Running {
        moved: Instant,
    },
    Stopping {
        since: Instant,
        why: StopReason,
    },
    /// It failed and is tried again.
    Waiting {
        until: Instant,
    },
}

impl CameraState {
    /// The word an operator would use.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Starting { .. } => "starting",
            Self::Running { .. } => "running",
            Self::Stopping { .. } => "stopping",
            Self::Waiting { .. } => "waiting",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct SupervisorSettings {
    /// systemd's `WatchdogSec`, when it watches.
    pub watchdog: Option<Duration>,
    /// The jitter of restarts.
    pub seed: u64,
}
