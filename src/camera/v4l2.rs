//! A camera behind Video4Linux: found, agreed with, and streaming from buffers that are lent and come home.
//!
//! ```text
//!   Whereabouts ──► Negotiated ──► V4l2Camera ──► Frame { Loan } ──► encoder
//!                   format, rate       ▲                               │ lease dropped
//!                                      └────── Returns (eventfd) ◄─────┘
//! ```
//!
//! Between [`Negotiated`] and [`V4l2Camera`] somebody decides whose memory the pictures are in: the camera's own, which an
//! encoder may import, or an encoder's or a heap's, which the camera imports.

mod negotiated;
mod negotiation;
mod returns;
mod stamps;
mod survey;
mod whereabouts;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tracing::{debug, warn};

use crate::camera::metronome::monotonic_now;
use crate::camera::{Camera, CameraError, SharedBuffer};
use crate::media::{Fourcc, Frame, Lease, MediaTime, PictureFormat};
use crate::v4l2::aside::ClosedAside;
use crate::v4l2::{Dequeued, Device, Event, Import, Queue, Submission, V4l2Error};

pub use negotiated::Negotiated;
pub use negotiation::{CameraSettings, FORMATS};
pub use survey::{CameraFound, FormatFound, SizeFound};
pub use whereabouts::Whereabouts;

use returns::{LentSlot, Returns};
use stamps::Stamps;

/// A camera that streams. Dropping it stops and closes it: aside, for a USB camera that has stopped answering takes five seconds for
/// each question.
#[derive(Debug)]
pub struct V4l2Camera(ClosedAside<Streaming>);

/// An open node and its buffers. Dropping it may block.
#[derive(Debug)]
struct Streaming {
    name: String,
    device: Arc<Device>,
    /// Readable when the device or `returns` is.
    ready: OwnedFd,
    queue: Queue,
    format: PictureFormat,
    whole_frame: u64,
    /// Those that the kernel has, by index. The others are lent, or in `returns`.
    slots: Vec<Option<Arc<LentSlot>>>,
    returns: Arc<Returns>,
    shared: Vec<SharedBuffer>,
    imports: Vec<SharedBuffer>,
    stamps: Stamps,
    damaged: Damaged,
}

/// Pictures that were marked as damaged by the driver, or that are too short to be whole.
#[derive(Clone, Copy, Debug, Default)]
struct Damaged {
    in_a_row: u32,
    total: u64,
}

impl Damaged {
    /// True when opening the camera again is better than waiting on.
    fn count(&mut self) -> bool {
        self.total += 1;
        self.in_a_row += 1;
        self.in_a_row >= DAMAGED_AT_MOST
    }
}

impl Camera for V4l2Camera {
    fn format(&self) -> PictureFormat {
        self.0.format
    }

    fn try_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        self.0.try_frame()
    }

    fn damaged_frames(&self) -> u64 {
        self.0.damaged.total
    }

    fn shared_buffers(&self) -> &[SharedBuffer] {
        &self.0.shared
    }
}

impl AsFd for V4l2Camera {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.ready.as_fd()
    }
}

impl Streaming {
    fn try_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        self.requeue_returned()?;
        let state = self.device_state()?;
        if state.contains(PollFlags::PRI) {
            self.hear_events()?;
        }
        let mut newest: Option<(Arc<LentSlot>, Dequeued)> = None;
        while let Some((slot, dequeued)) = self.take_from_kernel()? {
            if let Some((older, _)) = newest.replace((slot, dequeued)) {
                self.give_to_kernel(older)?;
            }
            // A coded picture needs the ones before it.
            if self.format.fourcc == Fourcc::H264 {
                break;
            }
        }
        if let Some((slot, dequeued)) = newest {
            return Ok(Some(self.lend(slot, &dequeued)));
        }
        if state.contains(PollFlags::HUP) {
            return Err(CameraError::Unplugged {
                camera: self.name.clone(),
            });
        }
        if state.contains(PollFlags::ERR) {
            // Level-triggered: going on would turn for ever.
            return Err(CameraError::Device {
                camera: self.name.clone(),
                what: "go on with the stream",
                source: Errno::IO.into(),
            });
        }
        Ok(None)
    }

    fn requeue_returned(&mut self) -> Result<(), CameraError> {
        while let Some(slot) = self.returns.take() {
            self.give_to_kernel(slot)?;
        }
        Ok(())
    }

    /// What poll(2) says of the device alone, now.
    fn device_state(&self) -> Result<PollFlags, CameraError> {
        let mut device = [PollFd::new(&*self.device, PollFlags::IN | PollFlags::PRI)];
        match poll(&mut device, Some(&Timespec::default())) {
            Ok(_) => Ok(device[0].revents()),
            Err(Errno::INTR) => Ok(PollFlags::empty()),
            Err(errno) => Err(CameraError::Device {
                camera: self.name.clone(),
                what: "wait for pictures",
                source: errno.into(),
            }),
        }
    }

    fn hear_events(&self) -> Result<(), CameraError> {
        while let Some(event) = self.device.try_event().map_err(|it| self.refused(it))? {
            match event {
                Event::SourceChange => {
                    return Err(CameraError::Changed {
                        camera: self.name.clone(),
                    });
                }
                Event::EndOfStream | Event::Other(_) => {}
            }
        }
        Ok(())
    }

    /// The next whole picture; damaged ones go straight back.
    fn take_from_kernel(&mut self) -> Result<Option<(Arc<LentSlot>, Dequeued)>, CameraError> {
        loop {
            let next = self.queue.try_dequeue().map_err(|it| self.refused(it))?;
            let Some(dequeued) = next else {
                return Ok(None);
            };
            let Some(mut slot) = self.slots.get_mut(dequeued.index).and_then(Option::take) else {
                return Err(self.nonsense(&dequeued, "one that the kernel had"));
            };
            let Some(ours) = Arc::get_mut(&mut slot) else {
                return Err(self.nonsense(&dequeued, "one that is not lent"));
            };
            let taken = ours.slot.take_back(&dequeued);
            let is_whole = u64::from(dequeued.used_bytes(0)) >= self.whole_frame;
            if taken.is_ok() && is_whole && !dequeued.is_error() {
                self.damaged.in_a_row = 0;
                return Ok(Some((slot, dequeued)));
            }
            self.count_damaged(&dequeued)?;
            self.give_to_kernel(slot)?;
        }
    }

    fn count_damaged(&mut self, dequeued: &Dequeued) -> Result<(), CameraError> {
        let is_too_much = self.damaged.count();
        if self.damaged.in_a_row == 1 {
            warn!(
                camera = self.name,
                marked = dequeued.is_error(),
                bytes = dequeued.used_bytes(0),
                expected = self.whole_frame,
                total = self.damaged.total,
                "dropped a damaged picture"
            );
        }
        if !is_too_much {
            return Ok(());
        }
        Err(CameraError::Damaged {
            camera: self.name.clone(),
            count: self.damaged.in_a_row,
        })
    }

    fn lend(&mut self, slot: Arc<LentSlot>, dequeued: &Dequeued) -> Frame {
        let now = MediaTime::from_monotonic(monotonic_now());
        let (captured, sequence) = self
            .stamps
            .stamp(dequeued.captured(), dequeued.sequence, now);
        Frame::new(self.format, captured, sequence, Lease::of_device(slot))
    }

    fn give_to_kernel(&mut self, mut slot: Arc<LentSlot>) -> Result<(), CameraError> {
        let index = slot.slot.index();
        let import = self.imports.get(index).map(|buffer| Import {
            dma_buf: buffer.dma_buf.as_fd(),
            length: buffer.length,
            data_offset: 0,
        });
        let submission = Submission {
            imports: import.as_slice(),
            ..Submission::default()
        };
        // `Loan` has it that nobody else keeps a reference; one that is kept costs its slot, and nothing else.
        let Some(ours) = Arc::get_mut(&mut slot) else {
            warn!(
                camera = self.name,
                slot = index,
                "a slot that came home is still in use"
            );
            return Ok(());
        };
        self.queue
            .submit(&mut ours.slot, &submission)
            .map_err(|it| self.refused(it))?;
        if let Some(place) = self.slots.get_mut(index) {
            *place = Some(slot);
        }
        Ok(())
    }

    fn nonsense(&self, dequeued: &Dequeued, expected: &str) -> CameraError {
        self.refused(V4l2Error::Nonsense {
            attempt: "take a buffer back",
            found: format!("buffer {}", dequeued.index),
            expected: expected.into(),
        })
    }

    fn refused(&self, refusal: V4l2Error) -> CameraError {
        refused(&self.name, refusal)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        // Frames that are still lent keep the descriptor open; without this the device would stay busy until they are dropped.
        let stopped = self.queue.stop().and_then(|()| self.queue.free());
        if let Err(error) = stopped {
            debug!(camera = self.name, %error, "camera is closed as it is");
        }
    }
}

fn refused(camera: &str, refusal: V4l2Error) -> CameraError {
    let camera = camera.to_owned();
    if refusal.is_unplugged() {
        CameraError::Unplugged { camera }
    } else {
        CameraError::Refused { camera, refusal }
    }
}

/// Half a second at 30 frames a second. A cable or a hub that damages every picture is not mended by waiting; opening the camera
/// again has helped.
const DAMAGED_AT_MOST: u32 = 15;

/// Stopping takes a camera less than a second, a slow exposure included. Longer, and it is opened again once its driver has let go of
/// it. The supervisor's five seconds for a pipeline's end are for this and for the encoder's close.
const CLOSE_AT_MOST: Duration = Duration::from_millis(1500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_picture_now_and_then_is_no_reason_to_open_the_camera_again() {
        let mut damaged = Damaged::default();
        for _ in 0..10 {
            assert!((1..DAMAGED_AT_MOST).all(|_| !damaged.count()));
            damaged.in_a_row = 0;
        }
        assert_eq!(damaged.total, 140);
    }

    #[test]
    fn fifteen_in_a_row_are() {
        let mut damaged = Damaged::default();
        let counted = (0..15).map(|_| damaged.count()).position(|it| it);
        assert_eq!(counted, Some(14));
    }
}
