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

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::io::Errno;
use tracing::warn;

use super::abi::{self, MAX_PLANES, Plane};
use super::error::{V4l2Error, refused};
use super::ioctl::{self, Access, BufferCall, BufferRecord, Mapping};
use super::{BufferType, Device, Memory};
use crate::media::MediaTime;

/// One queue of a device, with its buffers allocated. Closing the device frees them; dropping this alone does not.
#[derive(Debug)]
pub struct Queue {
    shared: Arc<Shared>,
    buffer_type: BufferType,
    memory: Memory,
    plane_count: usize,
    count: usize,
}

/// One buffer of a queue.
#[derive(Debug)]
pub struct Slot {
    shared: Arc<Shared>,
    buffer_type: BufferType,
    index: u32,
    planes: Vec<SlotPlane>,
    /// How often the queue had been stopped when the kernel got it; stopping gives every buffer back.
    submitted: Option<u32>,
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

/// A buffer that the kernel gave back. It becomes ours with [`Slot::take_back`].
#[derive(Debug)]
#[must_use]
pub struct Dequeued {
    pub index: usize,
    /// Counts what the device made, dropped or not; some drivers leave it 0.
    pub sequence: u32,
    flags: u32,
    timestamp: MediaTime,
    used: [Used; MAX_PLANES],
    plane_count: usize,
}

#[derive(Debug)]
struct Shared {
    node: Arc<OwnedFd>,
    stops: AtomicU32,
}

#[derive(Debug)]
struct SlotPlane {
    /// For mmap(2); not a place in the buffer.
    offset: u32,
    length: u32,
    used: Used,
    /// Made on the first look: what the CPU never looks at is never in the process's address space.
    mapping: OnceLock<Option<Mapping>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    begin: u32,
    end: u32,
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
    /// [`Self::stop`]. Exported and mapped
    /// memory lives on until its last user lets go, and may make this fail as busy on Linux before 5.0.
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

impl Slot {
    pub fn index(&self) -> usize {
        self.index as usize
    }

    pub fn is_with_kernel(&self) -> bool {
        self.submitted == Some(self.shared.stops.load(Ordering::Acquire))
    }

    /// How much room a plane has.
    pub fn room(&self, plane: usize) -> u32 {
        self.planes.get(plane).map_or(0, |plane| plane.length)
    }

    /// The part of a plane that the device filled. Empty while the kernel has the buffer, and without memory of its own.
    pub fn filled(&self, plane: usize) -> &[u8] {
        let Some(plane) = self.planes.get(plane).filter(|_| !self.is_with_kernel()) else {
            return &[];
        };
        let Some(mapping) = plane.mapping(self) else {
            return &[];
        };
        mapping
            .bytes()
            .get(plane.used.begin as usize..plane.used.end as usize)
            .unwrap_or_default()
    }

    /// Where in the plane the device's picture begins and ends.
    pub fn filled_range(&self, plane: usize) -> std::ops::Range<u32> {
        self.planes
            .get(plane)
            .map_or(0..0, |plane| plane.used.begin..plane.used.end)
    }

    /// A plane to write a picture to. Empty while the kernel has the buffer, without memory of its own, and in capture queues.
    pub fn room_mut(&mut self, plane: usize) -> &mut [u8] {
        if self.is_with_kernel() {
            return &mut [];
        }
        if let Some(plane) = self.planes.get(plane) {
            plane.mapping(self);
        }
        self.planes
            .get_mut(plane)
            .and_then(|plane| plane.mapping.get_mut()?.as_mut())
            .map_or(&mut [], Mapping::bytes_mut)
    }

    /// A dma-buf of a plane, for another device. That device must not write to it while the slot's bytes are read here.
    pub fn export(&self, plane: usize) -> Result<OwnedFd, V4l2Error> {
        let (node, plane) = (self.shared.node.as_fd(), plane as u32);
        ioctl::export_buffer(node, self.buffer_type, self.index, plane)
            .map_err(refused("export a buffer"))
    }

    /// The buffer is ours from here on, also after an error, which says that the driver's numbers cannot be true.
    pub fn take_back(&mut self, dequeued: &Dequeued) -> Result<(), V4l2Error> {
        let attempt = "take a buffer back";
        if dequeued.index != self.index() || !self.is_with_kernel() {
            return Err(V4l2Error::Nonsense {
                attempt,
                found: format!("buffer {}", dequeued.index),
                expected: format!("{}, and that the kernel had it", self.index),
            });
        }
        self.submitted = None;
        let used = &dequeued.used[..dequeued.plane_count];
        for (plane, used) in self.planes.iter_mut().zip(used) {
            plane.used = Used::default();
            if used.begin > used.end || used.end > plane.length {
                return Err(V4l2Error::Nonsense {
                    attempt,
                    found: format!("bytes {} to {}", used.begin, used.end),
                    expected: format!("at most {}", plane.length),
                });
            }
            plane.used = *used;
        }
        Ok(())
    }
}

impl SlotPlane {
    fn mapping(&self, slot: &Slot) -> Option<&Mapping> {
        let map = || {
            let access = if slot.buffer_type.is_output() {
                Access::ReadWrite
            } else {
                Access::Read
            };
            let node = slot.shared.node.as_fd();
            Mapping::new(node, self.offset.into(), self.length as usize, access)
                .inspect_err(|errno| warn!(%errno, slot = slot.index, "cannot map a buffer"))
                .ok()
        };
        self.mapping.get_or_init(map).as_ref()
    }
}

impl Dequeued {
    /// The data is damaged, or the device could not use it.
    pub fn is_error(&self) -> bool {
        self.flags & abi::BUF_FLAG_ERROR != 0
    }

    pub fn is_key_frame(&self) -> bool {
        self.flags & abi::BUF_FLAG_KEYFRAME != 0
    }

    /// The end of a drain; it may be empty.
    pub fn is_last(&self) -> bool {
        self.flags & abi::BUF_FLAG_LAST != 0
    }

    /// As the device has it: of the picture it was made from, when it comes from an encoder.
    pub fn timestamp(&self) -> MediaTime {
        self.timestamp
    }

    /// When the picture was captured; `None` when the driver stamps with some other clock.
    pub fn captured(&self) -> Option<MediaTime> {
        let clock = self.flags & abi::BUF_FLAG_TIMESTAMP_MASK;
        (clock == abi::BUF_FLAG_TIMESTAMP_MONOTONIC).then_some(self.timestamp)
    }

    /// How many bytes the device left in a plane.
    pub fn used_bytes(&self, plane: usize) -> u32 {
        let plane = self.used.get(plane).copied().unwrap_or_default();
        plane.end.saturating_sub(plane.begin)
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

#[cfg(test)]
impl Slot {
    /// A slot that is ours and holds `picture`, without a device behind it.
    pub(crate) fn filled_with(index: usize, picture: &[u8]) -> Self {
        use rustix::fs::{MemfdFlags, memfd_create};
        let node = memfd_create("slot", MemfdFlags::CLOEXEC).expect("memory");
        rustix::io::write(&node, picture).expect("memory");
        let length = picture.len() as u32;
        Self {
            shared: Arc::new(Shared {
                node: Arc::new(node),
                stops: AtomicU32::new(0),
            }),
            buffer_type: BufferType::VideoCapture,
            index: index as u32,
            planes: vec![SlotPlane {
                offset: 0,
                length,
                used: Used {
                    begin: 0,
                    end: length,
                },
                mapping: OnceLock::new(),
            }],
            submitted: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dequeued(index: usize, begin: u32, end: u32) -> Dequeued {
        let mut used = [Used::default(); MAX_PLANES];
        used[0] = Used { begin, end };
        Dequeued {
            index,
            sequence: 0,
            flags: 0,
            timestamp: MediaTime::from_monotonic(Duration::ZERO),
            used,
            plane_count: 1,
        }
    }

    fn with_kernel(picture: &[u8]) -> Slot {
        let mut slot = Slot::filled_with(2, picture);
        slot.submitted = Some(0);
        slot
    }

    #[test]
    fn a_slot_is_mapped_on_the_first_look_and_not_before() {
        let slot = Slot::filled_with(0, b"picture");
        assert!(slot.planes[0].mapping.get().is_none());
        assert_eq!(slot.filled(0), b"picture");
        assert!(slot.planes[0].mapping.get().is_some());
        assert_eq!(slot.filled(1), b"", "there is no such plane");
    }

    #[test]
    fn what_the_kernel_has_shows_no_bytes() {
        let mut slot = with_kernel(b"picture");
        assert!(slot.is_with_kernel());
        assert_eq!(slot.filled(0), b"");
        assert!(slot.room_mut(0).is_empty());

        slot.take_back(&dequeued(2, 3, 7)).unwrap();
        assert_eq!(slot.filled(0), b"ture", "behind the data offset");
        assert!(slot.room_mut(0).is_empty(), "capture buffers are read-only");
    }

    #[test]
    fn stopping_gives_every_slot_back() {
        let slot = with_kernel(b"picture");
        slot.shared.stops.fetch_add(1, Ordering::AcqRel);
        assert!(!slot.is_with_kernel());
    }

    #[test]
    fn a_driver_that_says_more_bytes_than_there_are_is_not_believed() {
        for (begin, end) in [(0, 8), (5, 3), (0, u32::MAX), (u32::MAX, u32::MAX)] {
            let mut slot = with_kernel(b"picture");
            let error = slot.take_back(&dequeued(2, begin, end)).unwrap_err();
            assert!(error.to_string().ends_with("when expecting at most 7"));
            assert!(!slot.is_with_kernel());
            assert_eq!(slot.filled(0), b"");
        }
    }

    #[test]
    fn a_slot_takes_only_its_own_buffer_back_and_only_once() {
        let mut slot = with_kernel(b"picture");
        assert!(slot.take_back(&dequeued(1, 0, 7)).is_err());
        assert!(slot.is_with_kernel());
        slot.take_back(&dequeued(2, 0, 7)).unwrap();
        assert!(slot.take_back(&dequeued(2, 0, 7)).is_err());
    }

    #[test]
    fn only_the_monotonic_clock_tells_when_a_picture_was_captured() {
        let mut buffer = dequeued(0, 0, 0);
        assert_eq!(buffer.captured(), None);
        buffer.flags = abi::BUF_FLAG_TIMESTAMP_MONOTONIC | abi::BUF_FLAG_ERROR;
        assert_eq!(buffer.captured(), Some(buffer.timestamp()));
        assert!(buffer.is_error() && !buffer.is_last() && !buffer.is_key_frame());
        // V4L2_BUF_FLAG_TIMESTAMP_COPY: an encoder's.
        buffer.flags = 0x4000;
        assert_eq!(buffer.captured(), None);
    }
}
