//! What every camera owes the pipeline, and the pipeline owes every camera.

pub mod file;
mod metronome;
pub mod tap;
pub mod test_card;
pub mod v4l2;

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use crate::media::{Frame, PictureFormat, Size};
use crate::v4l2::V4l2Error;

/// A source of pictures that is open and running. Dropping it stops and closes it, and waits two seconds for that at most.
///
/// The camera owes: its file descriptor is readable (`POLLIN`) when `try_frame` may have a frame; no call blocks; when all its
/// slots are lent it drops pictures and goes on; every frame has the format that `format` tells.
///
/// The pipeline owes: it polls the descriptor, calls `try_frame` when it is readable, and drops frames as soon as the
/// encoder is done with them.
pub trait Camera: AsFd + Send {
    /// What the frames look like: read back from the device, not what was asked for.
    fn format(&self) -> PictureFormat;

    /// Takes the newest finished frame, if any. Older finished frames go straight back to the device.
    fn try_frame(&mut self) -> Result<Option<Frame>, CameraError>;

    /// Pictures that came damaged or short since it was opened, and were dropped.
    fn damaged_frames(&self) -> u64 {
        0
    }

    /// The memory of its slots, by the index that a frame's loan tells, for as long as the camera is open. Empty when its
    /// pictures are in this process's own memory, or in the encoder's already.
    fn shared_buffers(&self) -> &[SharedBuffer] {
        &[]
    }
}

/// One buffer that more than one device can use.
#[derive(Debug)]
pub struct SharedBuffer {
    pub dma_buf: OwnedFd,
    /// Of the whole dma-buf.
    pub length: u32,
}

/// Why a camera gives no pictures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CameraError {
    /// The device is gone and may come back.
    #[error("camera {camera} is unplugged")]
    Unplugged { camera: String },
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file is no video that can be played, and says what was found.
    #[error("cannot play {}: {found}", path.display())]
    NotPlayable { path: PathBuf, found: String },
    /// The camera cannot make such pictures.
    #[error("camera {camera} cannot make {asked}: expecting {expected}")]
    Unsupported {
        camera: String,
        asked: String,
        expected: &'static str,
    },
    /// The device or its driver refuses.
    #[error("camera {camera}: {refusal}")]
    Refused { camera: String, refusal: V4l2Error },
    /// The signal at its input is another one now; opening it again asks what it is.
    #[error("camera {camera} has another picture at its input")]
    Changed { camera: String },
    /// Pictures come, and none of them is whole.
    #[error("camera {camera} gave {count} damaged pictures in a row")]
    Damaged { camera: String, count: u32 },
    #[error("cannot {what} of camera {camera}")]
    Device {
        camera: String,
        what: &'static str,
        source: std::io::Error,
    },
}

impl CameraError {
    pub fn is_unplugged(&self) -> bool {
        match self {
            Self::Unplugged { .. } => true,
            Self::Unreadable { .. }
            | Self::NotPlayable { .. }
            | Self::Unsupported { .. }
            | Self::Refused { .. }
            | Self::Changed { .. }
            | Self::Damaged { .. }
            | Self::Device { .. } => false,
        }
    }

    /// What kind of failure it is, to search the journal and to count by.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unplugged { .. } => "camera unplugged",
            Self::Unreadable { .. } => "file unreadable",
            Self::NotPlayable { .. } => "file not playable",
            Self::Unsupported { .. } => "camera unsuitable",
            Self::Refused { .. } => "camera refused",
            Self::Changed { .. } => "camera input changed",
            Self::Damaged { .. } => "camera pictures damaged",
            Self::Device { .. } => "camera failed",
        }
    }

    /// False when opening it again with the same configuration must fail the same way.
    pub fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Unplugged { .. }
            | Self::Unreadable { .. }
            | Self::Refused { .. }
            | Self::Changed { .. }
            | Self::Damaged { .. }
            | Self::Device { .. } => true,
            Self::NotPlayable { .. } | Self::Unsupported { .. } => false,
        }
    }
}

/// Even, because chroma has half of them; 8192 is the largest side of any encoder that boards have (wave5).
const USABLE_SIDES: &str = "even sides of 16 to 8192 pixels";

fn has_usable_sides(size: Size) -> bool {
    [size.width, size.height]
        .iter()
        .all(|side| side.is_multiple_of(2) && (16..=8192).contains(side))
}
