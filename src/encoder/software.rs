//! openh264 on a thread of its own, for boards and laptops without an encoder in hardware.

mod allowance;
mod bucket;
mod coder;
mod frame_coder;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

pub use self::frame_coder::{FrameCoder, Order};
use super::outbox::Outbox;
use super::{Another, Encoder, EncoderError, Submitted};
use crate::media::rate::EncoderLimits;
use crate::media::{AccessUnit, Bitrate, Frame, PictureFormat};

/// What can be chosen about an encoder.
#[derive(Clone, Copy, Debug)]
pub struct EncoderSettings {
    pub bitrate: Bitrate,
}

/// Codes constrained baseline H.264: one reference, no B pictures, key frames only on request.
///
/// One frame waits while another is coded; a third is handed back. Dropping the encoder waits for the frame that is being
/// coded, and for nothing else.
///
/// A frame has no access unit when half a second of bits is still to be sent although openh264 already codes as coarsely as it can
/// (720p of fast motion at 300 kbps). More pictures would only arrive later.
#[derive(Debug)]
pub struct SoftwareEncoder {
    format: PictureFormat,
    /// `None` only while it is being dropped.
    mailbox: Option<SyncSender<Job>>,
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Job {
    frame: Frame,
    key_frame: bool,
}

#[derive(Debug)]
struct Shared {
    outbox: Outbox,
    bitrate: AtomicU64,
    is_halved: AtomicBool,
    converted_bytes: AtomicU64,
    stopping: AtomicBool,
}

impl SoftwareEncoder {
    pub fn open(format: PictureFormat, settings: EncoderSettings) -> Result<Self, EncoderError> {
        let start = |error: std::io::Error| EncoderError::Start {
            encoder: NAME,
            found: error.to_string(),
        };
        let bitrate = taken(settings.bitrate);
        let coder = FrameCoder::open(format, bitrate)?;
        let shared = Arc::new(Shared {
            outbox: Outbox::new().map_err(start)?,
            bitrate: AtomicU64::new(bitrate.as_bps()),
            is_halved: AtomicBool::new(false),
            converted_bytes: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        let (mailbox, jobs) = sync_channel(WAITING_FRAMES);
        let worker = std::thread::Builder::new()
            .name("encode".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || work(coder, &jobs, &shared)
            })
            .map_err(start)?;
        Ok(Self {
            format,
            mailbox: Some(mailbox),
            shared,
            worker: Some(worker),
        })
    }
}

impl Encoder for SoftwareEncoder {
    fn submit(&mut self, frame: Frame, key_frame: bool) -> Result<Submitted, EncoderError> {
        if self.shared.outbox.is_full() {
            return Ok(Submitted::Full(frame));
        }
        let mailbox = self.mailbox.as_ref().expect("only drop takes the mailbox");
        match mailbox.try_send(Job { frame, key_frame }) {
            Ok(()) => Ok(Submitted::Taken),
            Err(TrySendError::Full(job)) => Ok(Submitted::Full(job.frame)),
            Err(TrySendError::Disconnected(_)) => Err(stopped("its thread ended")),
        }
    }

    fn try_access_unit(&mut self) -> Result<Option<AccessUnit>, EncoderError> {
        self.shared.outbox.pop().transpose()
    }

    fn set_bitrate(&mut self, target: Bitrate) -> Result<Bitrate, EncoderError> {
        let bitrate = taken(target);
        self.shared
            .bitrate
            .store(bitrate.as_bps(), Ordering::Relaxed);
        Ok(bitrate)
    }

    fn halve(&mut self, halved: bool) -> bool {
        self.shared.is_halved.store(halved, Ordering::Relaxed);
        true
    }

    fn can_halve(&self) -> bool {
        true
    }

    fn limits(&self) -> Option<EncoderLimits> {
        Some(EncoderLimits {
            least: LOWEST_BITRATE,
            most: HIGHEST_BITRATE,
            ..EncoderLimits::ANY
        })
    }

    fn another(&self) -> Option<Another> {
        let format = self.format;
        Some(Arc::new(move |bitrate| {
            Ok(Box::new(Self::open(format, EncoderSettings { bitrate })?))
        }))
    }

    fn copied_bytes(&self) -> u64 {
        self.shared.converted_bytes.load(Ordering::Relaxed)
    }

    fn makes_key_frames_on_request(&self) -> bool {
        true
    }

    fn name(&self) -> &str {
        NAME
    }
}

impl AsFd for SoftwareEncoder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.outbox.as_fd()
    }
}

impl Drop for SoftwareEncoder {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.mailbox = None;
        if let Some(worker) = self.worker.take() {
            // Its panic is already told by the outbox.
            let _ = worker.join();
        }
    }
}

/// On the encoder's thread, up to the end of the jobs.
fn work(mut coder: FrameCoder, jobs: &Receiver<Job>, shared: &Shared) {
    // Also when a panic unwinds through here.
    let _told = TellStopped(&shared.outbox);
    for job in jobs {
        if shared.stopping.load(Ordering::Relaxed) {
            return;
        }
        let order = Order {
            bitrate: Bitrate::bps(shared.bitrate.load(Ordering::Relaxed)),
            key_frame: job.key_frame,
            is_halved: shared.is_halved.load(Ordering::Relaxed),
        };
        let result = coder.encode(job.frame, order);
        let copied = coder.copied_bytes();
        shared.converted_bytes.store(copied, Ordering::Relaxed);
        match result {
            Ok(Some(unit)) => shared.outbox.push(Ok(unit)),
            Ok(None) => {}
            Err(error) => {
                let is_passing = error.is_passing();
                shared.outbox.push(Err(error));
                if !is_passing {
                    return;
                }
            }
        }
    }
}

struct TellStopped<'a>(&'a Outbox);

impl Drop for TellStopped<'_> {
    fn drop(&mut self) {
        self.0.push(Err(stopped("its thread ended")));
    }
}

fn taken(target: Bitrate) -> Bitrate {
    target.clamp(LOWEST_BITRATE, HIGHEST_BITRATE)
}

fn stopped(found: &str) -> EncoderError {
    EncoderError::Stopped {
        encoder: NAME,
        found: found.into(),
    }
}

const NAME: &str = "openh264";

/// The next frame is at hand when one is finished. More would only grow old: the newest wins before the encoder.
const WAITING_FRAMES: usize = 1;

/// Below this a picture of any use does not fit, and openh264 would skip most frames.
const LOWEST_BITRATE: Bitrate = Bitrate::kbps(100);
/// More than a robot's uplink and a CPU encoder can do.
const HIGHEST_BITRATE: Bitrate = Bitrate::kbps(50_000);

#[cfg(test)]
mod tests;
