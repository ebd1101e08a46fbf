//! Buffers: what we hold and what the kernel holds.
//!
//! ```text
//!            submit                      (the device works)
//!   ours ───────────────► the kernel's ─────────────────────► done
//!    ▲                        │                                │
//!    │◄───────── stop ────────┘                                │
//!    └───────────────── try_dequeue, take_back ────────────────┘
//! ```
//!
//! A [`Slot`] lends its bytes only while it is ours: `submit` wants `&mut`, so no slice of it can be left when the device writes.

mod dequeued;
mod slot;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::io::Errno;

use super::abi::{self, MAX_PLANES, Plane};
use super::error::{V4l2Error, refused};
use super::ioctl::{self, BufferCall, BufferRecord};
use super::{BufferType, Device, Memory};
use crate::media::MediaTime;

pub use dequeued::Dequeued;
pub use slot::Slot;

use dequeued::Used;
use slot::{Shared, SlotPlane};

/// One queue of a device, with its buffers allocated. Closing the device frees them; dropping this alone does not.
#[derive(Debug)]
pub struct Queue {
    shared: Arc<Shared>,
    buffer_type: BufferType,
    memory: Memory,
    plane_count: usize,
    count: usize,
}

/// What goes along with a slot. `default()` is right for an empty buffer of a queue with its own memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Submission<'a> {
    /// How many bytes of each plane are a picture, `data_offset` included. Output queues only.
    pub used: &'a [u32],
    /// Copied to the access unit that is made of it. Output queues only.
    pub captured: Option<MediaTime>,
    /// The memory of each plane. [`Memory::DmaBuf`] only.
    pub imports: &'a [Import<'a>],
}

/// A plane in somebody else's memory. The same dma-buf at the same slot each time spares the kernel mapping it again.
#[derive(Clone, Copy, Debug)]
pub struct Import<'a> {
    pub dma_buf: BorrowedFd<'a>,
    /// The dma-buf's whole size: bcm2835-codec refuses 0.
    pub length: u32,
    /// Where the picture begins; not every driver looks.
    pub data_offset: u32,
}

impl Queue {
    /// Allocates buffers: `count` is a wish, the slots are what the driver made of it. None of them is queued.
    ///
    /// `planes` is how many memory planes the format has.
    pub fn request(
        device: &Device,
        buffer_type: BufferType,
        memory: Memory,
        count: u32,
        planes: usize,
    ) -> Result<(Self, Vec<Slot>), V4l2Error> {
        let attempt = "allocate buffers";
        let told = ioctl::request_buffers(device.as_fd(), buffer_type, memory, count)
            .map_err(refused(attempt))?;
        if !(1..=BUFFERS_AT_MOST).contains(&told.count) {
            return Err(V4l2Error::Nonsense {
                attempt,
                found: format!("{} buffers", told.count),
                expected: format!("1 to {BUFFERS_AT_MOST}"),
            });
        }
        let queue = Self {
            shared: Arc::new(Shared {
                node: Arc::clone(&device.node),
                stops: AtomicU32::new(0),
            }),
            buffer_type,
            memory,
            plane_count: planes.clamp(1, MAX_PLANES),
            count: told.count as usize,
        };
        let slots = (0..told.count)
            .map(|index| queue.slot(index))
            .collect::<Result<_, _>>()?;
        Ok((queue, slots))
    }

    /// How many buffers the driver allocated.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn buffer_type(&self) -> BufferType {
        self.buffer_type
    }

    /// Gives a buffer to the device. After an error it is still ours.
    pub fn submit(&self, slot: &mut Slot, submission: &Submission<'_>) -> Result<(), V4l2Error> {
        let attempt = "queue a buffer";
        if !Arc::ptr_eq(&slot.shared, &self.shared) || slot.is_with_kernel() {
            return Err(V4l2Error::Nonsense {
                attempt,
                found: format!(
                    "buffer {}, which the kernel or another queue has",
                    slot.index
                ),
                expected: "one that is ours".into(),
            });
        }
        let mut record = empty_record(slot.index);
        record.plane_count = self.plane_count as u32;
        if let Some(captured) = submission.captured {
            let since_boot = captured.since_boot();
            record.seconds = i64::try_from(since_boot.as_secs()).unwrap_or(i64::MAX);
            record.microseconds = since_boot.subsec_micros().into();
        }
        for (index, plane) in record.planes[..self.plane_count].iter_mut().enumerate() {
            plane.bytesused = submission.used.get(index).copied().unwrap_or(0);
            match self.memory {
                Memory::Mmap => {
                    let own = slot.planes.get(index);
                    plane.length = own.map_or(0, |own| own.length);
                    plane.m.value = own.map_or(0, |own| own.offset);
                }
                Memory::DmaBuf => {
                    let Some(import) = submission.imports.get(index) else {
                        return Err(V4l2Error::Nonsense {
                            attempt,
                            found: format!("memory for {index} planes"),
                            expected: format!("for {}", self.plane_count),
                        });
                    };
                    plane.length = import.length;
                    plane.m = ioctl::descriptor(import.dma_buf);
                    plane.data_offset = import.data_offset;
                }
            }
        }
        let lengths = record.planes.map(|plane| plane.length);
        self.call(BufferCall::Queue, &mut record)
            .map_err(refused(attempt))?;
        for (plane, length) in slot.planes.iter_mut().zip(lengths) {
            plane.length = length;
            plane.used = Used::default();
        }
        slot.submitted = Some(self.shared.stops.load(Ordering::Acquire));
        Ok(())
    }

    /// The next buffer that the device is done with. The error answers `is_end_of_stream` after the one marked last.
    pub fn try_dequeue(&self) -> Result<Option<Dequeued>, V4l2Error> {
        let attempt = "take a buffer back";
        let mut record = empty_record(0);
        record.plane_count = MAX_PLANES as u32;
        match self.call(BufferCall::Dequeue, &mut record) {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(refused(attempt)(errno)),
        }
        let index = record.index as usize;
        let plane_count = record.plane_count as usize;
        if index >= self.count || !(1..=MAX_PLANES).contains(&plane_count) {
            return Err(V4l2Error::Nonsense {
                attempt,
                found: format!("buffer {index} with {plane_count} planes"),
                expected: format!("0 to {} with 1 to {MAX_PLANES}", self.count - 1),
            });
        }
        let timestamp = Duration::from_secs(record.seconds.unsigned_abs())
            .saturating_add(Duration::from_micros(record.microseconds.unsigned_abs()));
        Ok(Some(Dequeued {
            index,
            sequence: record.sequence,
            flags: record.flags,
            timestamp: MediaTime::from_monotonic(timestamp),
            used: record.planes.map(|plane| Used {
                begin: plane.data_offset,
                end: plane.bytesused,
            }),
            plane_count,
        }))
    }

    pub fn start(&self) -> Result<(), V4l2Error> {
        ioctl::stream_on(self.node(), self.buffer_type).map_err(refused("start streaming"))
    }

    /// Every buffer is ours again, and what the device was doing is lost. May block while firmware finishes: two seconds on a
    /// Raspberry Pi, a minute with wave5, for ever when it hangs.
    pub fn stop(&self) -> Result<(), V4l2Error> {
        ioctl::stream_off(self.node(), self.buffer_type).map_err(refused("stop streaming"))?;
        self.shared.stops.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Gives the buffers' memory up, so that the format can be changed: the queue is of no use afterwards. As blocking as
    /// [`Self::stop`]. Exported and mapped memory lives on until its last user lets go, and may make this fail as busy on Linux before 5.0.
    pub fn free(&self) -> Result<(), V4l2Error> {
        ioctl::request_buffers(self.node(), self.buffer_type, self.memory, 0)
            .map(drop)
            .map_err(refused("free buffers"))
    }

    fn slot(&self, index: u32) -> Result<Slot, V4l2Error> {
        let attempt = "look at a buffer";
        let mut record = empty_record(index);
        if self.memory == Memory::Mmap {
            record.plane_count = MAX_PLANES as u32;
            self.call(BufferCall::Query, &mut record)
                .map_err(refused(attempt))?;
            if record.plane_count as usize != self.plane_count {
                return Err(V4l2Error::Nonsense {
                    attempt,
                    found: format!("{} planes", record.plane_count),
                    expected: format!("{} as the format says", self.plane_count),
                });
            }
        }
        Ok(Slot {
            shared: Arc::clone(&self.shared),
            buffer_type: self.buffer_type,
            index,
            planes: record.planes[..self.plane_count]
                .iter()
                .map(|plane| SlotPlane {
                    offset: plane.m.value,
                    length: plane.length,
                    used: Used::default(),
                    mapping: match self.memory {
                        Memory::Mmap => OnceLock::new(),
                        // Whoever allocated it has the mapping, if anybody.
                        Memory::DmaBuf => OnceLock::from(None),
                    },
                })
                .collect(),
            submitted: None,
        })
    }

    fn call(&self, call: BufferCall, record: &mut BufferRecord) -> Result<(), Errno> {
        ioctl::buffer(self.node(), call, self.buffer_type, self.memory, record)
    }

    fn node(&self) -> BorrowedFd<'_> {
        self.shared.node.as_fd()
    }
}

fn empty_record(index: u32) -> BufferRecord {
    BufferRecord {
        index,
        flags: 0,
        field: abi::FIELD_NONE,
        seconds: 0,
        microseconds: 0,
        sequence: 0,
        plane_count: 0,
        planes: [Plane::default(); MAX_PLANES],
    }
}

/// `VIDEO_MAX_FRAME` was 32 for twenty years; queues that say they can have more are not asked for more.
const BUFFERS_AT_MOST: u32 = 64;
