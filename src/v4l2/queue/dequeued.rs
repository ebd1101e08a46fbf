//! What the kernel says of a buffer that it gives back.

use crate::media::MediaTime;
use crate::v4l2::abi::{self, MAX_PLANES};

/// A buffer that the kernel gave back. It becomes ours with [`take_back`](super::Slot::take_back).
#[derive(Debug)]
#[must_use]
pub struct Dequeued {
    pub index: usize,
    /// Counts what the device made, dropped or not; some drivers leave it 0.
    pub sequence: u32,
    pub(super) flags: u32,
    pub(super) timestamp: MediaTime,
    pub(super) used: [Used; MAX_PLANES],
    pub(super) plane_count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) begin: u32,
    pub(super) end: u32,
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
