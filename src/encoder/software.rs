//! openh264 on a thread of its own, for boards and laptops without an encoder in hardware.

mod allowance;
mod bucket;
mod coder;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use bytes::BytesMut;
use tracing::{debug, warn};

use self::coder::Coder;
use super::convert::Converter;
use super::convert::halved::{Halver, halved};
use super::outbox::Outbox;
use super::{Another, Encoder, EncoderError, Submitted};
use crate::media::h264::Conditioner;
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
        let worker = Worker::new(format, bitrate)?;
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
                move || worker.run(&jobs, &shared)
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

/// What lives on the encoder's thread.
struct Worker {
    format: PictureFormat,
    converter: Converter,
    halver: Halver,
    is_halved: bool,
    coder: Coder,
    conditioner: Conditioner,
    /// Asked for, and not come out yet.
    owes_key_frame: bool,
    /// What openh264 wrote of the newest frame.
    coded: Vec<u8>,
    /// Its memory is used again when no viewer needs the units in it any more.
    memory: BytesMut,
}

impl Worker {
    fn new(format: PictureFormat, bitrate: Bitrate) -> Result<Self, EncoderError> {
        Ok(Self {
            format,
            converter: Converter::new(format)?,
            halver: Halver::default(),
            is_halved: false,
            coder: Coder::open(format, bitrate)?,
            conditioner: Conditioner::new(),
            owes_key_frame: true,
            coded: Vec::new(),
            memory: BytesMut::new(),
        })
    }

    fn run(mut self, jobs: &Receiver<Job>, shared: &Shared) {
        // Also when a panic unwinds through here.
        let _told = TellStopped(&shared.outbox);
        for job in jobs {
            if shared.stopping.load(Ordering::Relaxed) {
                return;
            }
            self.owes_key_frame |= job.key_frame;
            let bitrate = Bitrate::bps(shared.bitrate.load(Ordering::Relaxed));
            let is_halved = shared.is_halved.load(Ordering::Relaxed);
            let result = self
                .resize(is_halved, bitrate)
                .and_then(|()| self.encode(job.frame, bitrate));
            let written = self.converter.converted_bytes() + self.halver.written_bytes();
            shared.converted_bytes.store(written, Ordering::Relaxed);
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

    fn resize(&mut self, is_halved: bool, bitrate: Bitrate) -> Result<(), EncoderError> {
        if is_halved == self.is_halved {
            return Ok(());
        }
        let size = match is_halved {
            true => halved(self.format.size),
            false => self.format.size,
        };
        debug!(%size, "encoder opens anew for its size");
        self.coder.open_for_size(size, bitrate)?;
        self.is_halved = is_halved;
        self.owes_key_frame = true;
        Ok(())
    }

    fn encode(
        &mut self,
        frame: Frame,
        bitrate: Bitrate,
    ) -> Result<Option<AccessUnit>, EncoderError> {
        let (captured, sequence) = (frame.captured, frame.sequence);
        self.coder.aim(bitrate, captured, self.owes_key_frame)?;
        let whole = self.converter.convert(&frame)?;
        let picture = match self.is_halved {
            true => self.halver.halve(&whole),
            false => whole,
        };
        self.coder
            .encode(&picture, captured, self.owes_key_frame, &mut self.coded)?;
        drop(frame);
        if self.coded.is_empty() {
            debug!(sequence, %bitrate, "encoder skips a frame to hold its bitrate");
            return Ok(None);
        }
        let conditioned = self
            .conditioner
            .condition(&self.coded, &mut self.memory)
            .map_err(|error| EncoderError::Frame {
                sequence,
                found: error.to_string(),
            })?;
        if let Some(surprise) = self.conditioner.take_surprise() {
            warn!(%surprise, "openh264's stream is unusual");
        }
        self.owes_key_frame &= !conditioned.key_frame;
        let data = self.memory.split().freeze();
        Ok(conditioned.has_picture.then_some(AccessUnit {
            data,
            key_frame: conditioned.key_frame,
            captured,
            sequence,
        }))
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
