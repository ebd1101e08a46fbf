//! One buffer of a queue: whose it is, and the bytes that it lends while it is ours.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use tracing::warn;

use super::dequeued::{Dequeued, Used};
use crate::v4l2::BufferType;
use crate::v4l2::error::{V4l2Error, refused};
use crate::v4l2::ioctl::{self, Access, Mapping};

/// One buffer of a queue.
#[derive(Debug)]
pub struct Slot {
    pub(super) shared: Arc<Shared>,
    pub(super) buffer_type: BufferType,
    pub(super) index: u32,
    pub(super) planes: Vec<SlotPlane>,
    /// How often the queue had been stopped when the kernel got it; stopping gives every buffer back.
    pub(super) submitted: Option<u32>,
}

/// What a queue and its slots have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node: Arc<OwnedFd>,
    pub(super) stops: AtomicU32,
}

#[derive(Debug)]
pub(super) struct SlotPlane {
    /// For mmap(2); not a place in the buffer.
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) used: Used,
    /// Made on the first look: what the CPU never looks at is never in the process's address space.
    pub(super) mapping: OnceLock<Option<Mapping>>,
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

    /// The planes to write a picture to, the first `N` of them. Empty while the kernel has the buffer, without memory of its own, and
    /// in capture queues.
    pub fn room_mut<const N: usize>(&mut self) -> [&mut [u8]; N] {
        let ours: &mut [SlotPlane] = if self.is_with_kernel() {
            &mut []
        } else {
            for plane in &self.planes {
                plane.mapping(self);
            }
            &mut self.planes
        };
        let mut planes = ours.iter_mut();
        std::array::from_fn(|_| {
            let mapping = planes.next().and_then(|it| it.mapping.get_mut()?.as_mut());
            mapping.map_or(&mut [][..], Mapping::bytes_mut)
        })
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
    use std::time::Duration;

    use super::*;
    use crate::media::MediaTime;
    use crate::v4l2::abi::{self, MAX_PLANES};

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
        assert!(slot.room_mut::<1>()[0].is_empty());

        slot.take_back(&dequeued(2, 3, 7)).unwrap();
        assert_eq!(slot.filled(0), b"ture", "behind the data offset");
        let [room, none] = slot.room_mut();
        assert!(room.is_empty(), "capture buffers are read-only");
        assert!(none.is_empty(), "there is no such plane");
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
