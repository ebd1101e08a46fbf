//! Camera and encoder on one named thread: poll(2) on both and on a wake-up descriptor, then one turn that never blocks.

pub mod feed;
pub mod second;
pub mod trial;
mod turner;

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::mpsc;

use self::feed::Outlet;
use self::second::Second;
use self::turner::Turner;
use crate::camera::{Camera, CameraError};
use crate::encoder::{Encoder, EncoderError, Handover};
use crate::media::h264::ProfileLevelId;
use crate::media::rate::{EncoderLimits, PictureScale};
use crate::media::{Bitrate, Size};
use crate::metrics::CameraMetrics;

/// A camera and its encoder, running. Dropping it stops both without waiting; the last report tells when they have ended.
#[derive(Debug)]
pub struct Pipeline {
    orders: Arc<Orders>,
    _thread: JoinHandle<()>,
}

/// What a pipeline tells, in order; `Ended` is the last.
#[derive(Debug)]
pub enum Report {
    /// Camera and encoder are open. The first, unless they could not be opened. A second encoder can be opened as told, if so.
    Opened(Encoding, Option<Second>),
    /// Access units came out since the last report; told at most every 250 ms, the first at once.
    Moved,
    /// The encoder stood still or failed, and is being put right: units take longer to come than they use to.
    Recovering,
    /// What the encoder's SPS says, before the first unit with it is sent.
    Profile(ProfileLevelId),
    Ended(Result<(), PipelineError>),
}

/// What encodes, and how pictures get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// For people: `vh264enc (/dev/video2)`.
    pub encoder: String,
    /// `None`: the encoder reads pictures where they are.
    pub handover: Option<Handover>,
    /// What it can be asked for; a camera with its own encoder makes as many bits as it likes.
    pub limits: Option<EncoderLimits>,
    /// Of the camera's pictures.
    pub size: Size,
    /// It makes smaller pictures when told to.
    pub can_halve: bool,
    /// Camera and encoder were opened for half of the picture.
    pub is_half: bool,
}

/// Why a pipeline ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    Camera(#[from] CameraError),
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    #[error("cannot wait for camera and encoder")]
    Poll(#[from] std::io::Error),
    #[error("the pipeline's thread panicked")]
    Panicked,
}

impl PipelineError {
    /// What kind of failure it is, to search the journal and to count by.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Camera(error) => error.class(),
            Self::Encoder(error) => error.class(),
            Self::Poll(_) => "pipeline cannot wait",
            Self::Panicked => "pipeline panicked",
        }
    }

    /// The camera is gone, and another may come in its place.
    pub fn is_unplugged(&self) -> bool {
        match self {
            Self::Camera(error) => error.is_unplugged(),
            Self::Encoder(_) | Self::Poll(_) | Self::Panicked => false,
        }
    }

    /// False when opening both again with the same configuration must fail the same way.
    pub fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Camera(error) => error.is_worth_retrying(),
            Self::Encoder(error) => error.is_worth_retrying(),
            Self::Poll(_) | Self::Panicked => true,
        }
    }
}

/// Both halves, opened.
pub struct Parts {
    pub camera: Box<dyn Camera>,
    pub encoder: Box<dyn Encoder>,
    /// The pictures are half of what the camera is asked for otherwise.
    pub is_half: bool,
    second: Option<Second>,
}

impl Parts {
    pub fn new(camera: Box<dyn Camera>, encoder: Box<dyn Encoder>) -> Self {
        Self {
            camera,
            encoder,
            is_half: false,
            second: None,
        }
    }

    fn encoding(&self) -> Encoding {
        Encoding {
            encoder: self.encoder.name().to_owned(),
            handover: self.encoder.handover().cloned(),
            limits: self.encoder.limits(),
            size: self.camera.format().size,
            can_halve: self.encoder.can_halve(),
            is_half: self.is_half,
        }
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("format", &self.camera.format())
            .finish_non_exhaustive()
    }
}

/// Where a pipeline's products go.
#[derive(Clone, Debug)]
pub struct Outlets {
    pub units: Outlet,
    /// Unbounded, because a thread must not wait for the app; it holds a handful of reports a second at most.
    pub reports: mpsc::UnboundedSender<Report>,
    pub metrics: Arc<CameraMetrics>,
}

/// What others want of a running pipeline. One value each: a newer wish replaces the older.
#[derive(Debug)]
struct Orders {
    wake: OwnedFd,
    stop: AtomicBool,
    key_frame: AtomicBool,
    /// In bit/s; 0: no wish.
    bitrate: AtomicU64,
    /// Every so many frames one is coded.
    every: AtomicU32,
    is_halved: AtomicBool,
}

impl Pipeline {
    /// Starts the thread; `open` runs on it, because opening a device may block for seconds.
    pub fn start(
        name: &str,
        outlets: Outlets,
        open: impl FnOnce() -> Result<Parts, PipelineError> + Send + 'static,
    ) -> std::io::Result<Self> {
        let orders = Arc::new(Orders {
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            stop: AtomicBool::new(false),
            key_frame: AtomicBool::new(false),
            bitrate: AtomicU64::new(0),
            every: AtomicU32::new(1),
            is_halved: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&orders);
        let span = tracing::info_span!("pipeline", camera = name);
        let thread = std::thread::Builder::new()
            .name(thread_name(name))
            .spawn(move || {
                let _entered = span.enter();
                let mut last_word = LastWord {
                    reports: outlets.reports.clone(),
                    result: Err(PipelineError::Panicked),
                };
                last_word.result = open().and_then(|mut parts| {
                    outlets.metrics.pipeline_starts.add(1);
                    let second = parts.second.take();
                    let opened = Report::Opened(parts.encoding(), second);
                    let _ = outlets.reports.send(opened);
                    Turner::new(parts, outlets, theirs).run()
                });
            })?;
        Ok(Self {
            orders,
            _thread: thread,
        })
    }

    /// Asks for a key frame as soon as the spacing allows.
    pub fn request_key_frame(&self) {
        self.orders.key_frame.store(true, Ordering::Release);
        self.orders.wake();
    }

    pub fn set_bitrate(&self, target: Bitrate) {
        self.orders
            .bitrate
            .store(target.as_bps(), Ordering::Release);
        self.orders.wake();
    }

    /// Codes fewer frames, or smaller ones where the encoder makes them, from one of the next on.
    pub fn set_scale(&self, scale: PictureScale) {
        self.orders.every.store(scale.every, Ordering::Relaxed);
        self.orders
            .is_halved
            .store(scale.divisor > 1, Ordering::Relaxed);
    }

    /// Ends it soon; `Report::Ended` tells when.
    pub fn stop(&self) {
        self.orders.stop.store(true, Ordering::Release);
        self.orders.wake();
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Orders {
    fn wake(&self) {
        // Only a full counter can refuse, and then the descriptor is readable anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn sleep_again(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
    }
}

/// Tells the end even when the thread panics.
struct LastWord {
    reports: mpsc::UnboundedSender<Report>,
    result: Result<(), PipelineError>,
}

impl Drop for LastWord {
    fn drop(&mut self) {
        let result = std::mem::replace(&mut self.result, Ok(()));
        let _ = self.reports.send(Report::Ended(result));
    }
}

/// Linux keeps 15 characters of a thread's name.
fn thread_name(camera: &str) -> String {
    format!("cam-{camera}").chars().take(15).collect()
}
