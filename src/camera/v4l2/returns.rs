//! The way home for slots: from whatever thread dropped the frame to the camera.

use std::fmt;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::media::Loan;
use crate::v4l2::Slot;

/// Slots that came home and are not queued yet. It has room for all that there are, so it never is full and never allocates.
#[derive(Debug)]
pub(super) struct Returns {
    slots: Mutex<Vec<Arc<LentSlot>>>,
    /// Readable while there may be some.
    wake: OwnedFd,
}

/// A slot that can be lent. There is one reference to it: the kernel's place in the camera, the lease or `Returns` has it.
pub(super) struct LentSlot {
    pub(super) slot: Slot,
    /// Gone when the camera is closed: then the slot is dropped where its lease ends.
    home: Weak<Returns>,
}

impl Returns {
    pub(super) fn new(slots: usize) -> Result<Self, Errno> {
        Ok(Self {
            slots: Mutex::new(Vec::with_capacity(slots)),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    pub(super) fn take(&self) -> Option<Arc<LentSlot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.pop();
        if slots.is_empty() {
            // Under the lock, so that a wake-up for a slot that comes next is not taken away. Empty: there was none to take.
            let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
        }
        slot
    }

    fn put(&self, slot: Arc<LentSlot>) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.push(slot);
        // Only a full counter can refuse, and then the descriptor is readable anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

impl AsFd for Returns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl LentSlot {
    pub(super) fn new(slot: Slot, home: &Arc<Returns>) -> Self {
        Self {
            slot,
            home: Arc::downgrade(home),
        }
    }
}

impl Loan for LentSlot {
    fn index(&self) -> usize {
        self.slot.index()
    }

    fn range(&self) -> Range<u32> {
        self.slot.filled_range(0)
    }

    fn bytes(&self) -> &[u8] {
        self.slot.filled(0)
    }

    fn come_home(self: Arc<Self>) {
        if let Some(home) = self.home.upgrade() {
            home.put(self);
        }
    }
}

impl fmt::Debug for LentSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.slot.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::media::{Fourcc, Frame, Lease, MediaTime, PictureFormat, Size};

    fn frame(slot: Arc<LentSlot>) -> Frame {
        let format = PictureFormat {
            fourcc: Fourcc::YUYV,
            size: Size {
                width: 2,
                height: 2,
            },
            stride: 4,
            interval: Duration::from_millis(33),
        };
        let captured = MediaTime::from_monotonic(Duration::ZERO);
        Frame::new(format, captured, 0, Lease::of_device(slot))
    }

    fn is_readable(returns: &Returns) -> bool {
        let mut wake = [PollFd::new(returns, PollFlags::IN)];
        poll(&mut wake, Some(&Timespec::default())) == Ok(1)
    }

    #[test]
    fn a_frame_dropped_by_an_encoder_s_thread_wakes_the_camera_and_brings_its_slot() {
        let returns = Arc::new(Returns::new(2).unwrap());
        let lend = |index, picture: &[u8]| {
            frame(Arc::new(LentSlot::new(
                Slot::filled_with(index, picture),
                &returns,
            )))
        };
        let (first, second) = (lend(3, b"12345678"), lend(1, b"abcdefgh"));
        assert_eq!(first.bytes(), b"12345678");
        assert_eq!(
            first.loan().map(|loan| (loan.index(), loan.range())),
            Some((3, 0..8))
        );
        assert!(!is_readable(&returns));

        std::thread::spawn(move || drop(first)).join().unwrap();
        assert!(is_readable(&returns));
        drop(second);

        let mut home: Vec<_> = std::iter::from_fn(|| returns.take()).collect();
        home.sort_by_key(|slot| slot.index());
        assert_eq!(
            home.iter().map(|slot| slot.index()).collect::<Vec<_>>(),
            [1, 3]
        );
        assert!(
            home.iter_mut().all(|slot| Arc::get_mut(slot).is_some()),
            "nobody else has them"
        );
        assert!(!is_readable(&returns));
    }

    #[test]
    fn a_frame_that_outlives_its_camera_takes_its_slot_along() {
        let returns = Arc::new(Returns::new(1).unwrap());
        let slot = Arc::new(LentSlot::new(Slot::filled_with(0, b"12345678"), &returns));
        let watch = Arc::downgrade(&slot);
        let frame = frame(slot);

        drop(returns);
        assert_eq!(frame.bytes(), b"12345678");
        drop(frame);
        assert!(watch.upgrade().is_none());
    }
}
