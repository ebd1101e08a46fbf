//! How the pictures that cameras give lie in memory.

use crate::media::{Fourcc, PictureFormat, Size};

/// The formats that are understood.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layout {
    Yu12,
    Nv12,
    Yuyv,
    Uyvy,
    Jpeg,
}

impl Layout {
    pub(super) fn of(fourcc: Fourcc) -> Option<Self> {
        match fourcc {
            Fourcc::YU12 => Some(Self::Yu12),
            Fourcc::NV12 => Some(Self::Nv12),
            Fourcc::YUYV => Some(Self::Yuyv),
            Fourcc::UYVY => Some(Self::Uyvy),
            Fourcc::MJPG => Some(Self::Jpeg),
            _ => None,
        }
    }

    /// The least bytes of a line of the first plane.
    pub(super) fn line_bytes(self, size: Size) -> usize {
        match self {
            Self::Yu12 | Self::Nv12 => size.width as usize,
            Self::Yuyv | Self::Uyvy => size.width as usize * 2,
            Self::Jpeg => 0,
        }
    }

    /// The least bytes of a frame.
    pub(super) fn frame_bytes(self, format: &PictureFormat) -> usize {
        let (stride, height) = (format.stride as usize, format.size.height as usize);
        match self {
            Self::Yu12 => stride * height + stride / 2 * (height / 2) * 2,
            Self::Nv12 => stride * height + stride * (height / 2),
            Self::Yuyv | Self::Uyvy => stride * height,
            Self::Jpeg => 0,
        }
    }
}

pub(super) const SUPPORTED: &str = "YU12, NV12, YUYV, UYVY, MJPG";
