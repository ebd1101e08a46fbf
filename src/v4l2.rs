//! Video4Linux devices: one node each, asked and told with ioctl(2), and the buffers that go to it and come back.
//!
//! - [`Device`]: who it is, formats, rates, controls, events.
//! - [`Queue`] and [`Slot`]: buffers. The kernel holds a slot, or we do; only then its bytes can be read.
//! - [`Nodes`]: which there are.
//! - [`heap`]: memory that both a camera and an encoder can import.
//!
//! Nothing here panics on what a driver says, and nothing blocks except opening, stopping, freeing and closing: those are to be done
//! `aside`.
//!
//! # Why no crate
//!
//! Every candidate was read for what it does with a driver's answers. All convert first and check later:
//!
//! - `moq-v4l` 0.1.0 (`v4l` without libclang): `capability.rs:86` unwraps UTF-8 of the driver's, card's and bus' names;
//!   `format/mod.rs:130` to `136` expect a field order, colour space, quantization and transfer function that it knows
//!   (`G_FMT` of a camera with a newer one ends the process); `format/description.rs:64` unwraps while formats are listed;
//!   `control.rs:173` unwraps the type of every control, compound ones included; `device.rs:395` unwraps close(2) in `drop`.
//!   It opens without `O_CLOEXEC` (`v4l2/api.rs:10`) and knows no multi-planar buffer types.
//! - `linux-video` 0.1.1: `linux-video-core/src/types/fourcc.rs:5` is a `repr(u32)` enum, and `structs.rs:765` lets the kernel
//!   write any number into it: undefined behaviour for each format that the list lacks (NC12 of the Raspberry Pi).
//!   `structs.rs:1275` asks for `align(4)` and gets 8: its `ext_control` is 24 bytes where the kernel's is 20, and a bitrate
//!   that is set arrives as 0, reported as success.
//!
//! With panic = "abort" each of these would be the end of every camera's stream. What they would have saved is [`Format`] and
//! half of [`Device`]; buffers, DMA-BUFs, multi-planar queues, events and codec controls are in neither.

mod abi;
pub(crate) mod aside;
mod control;
mod device;
mod error;
mod format;
pub mod heap;
mod ioctl;
mod nodes;
mod queue;

use std::path::PathBuf;

pub use aside::left_behind;
pub use control::{Control, ControlId};
pub use device::Device;
pub use error::V4l2Error;
pub use format::{
    Colorimetry, Format, FormatRequest, FrameIntervals, FrameSizes, PlaneLayout, size_distance,
};
pub use nodes::Nodes;
pub use queue::{Dequeued, Import, Queue, Slot, Submission};

use crate::media::Size;

/// Who a device says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub path: PathBuf,
    pub driver: String,
    pub card: String,
    /// Where it is plugged in, such as `usb-0000:00:14.0-1`: the same after it was pulled out and put back.
    pub bus: String,
}

/// `device_caps`: what this node does, and not the whole device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u32);

/// What a queue's buffers are for. `enum v4l2_buf_type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum BufferType {
    VideoCapture = 1,
    /// What the device reads: the raw pictures of an encoder.
    VideoOutput = 2,
    VideoCaptureMplane = 9,
    VideoOutputMplane = 10,
}

/// Whose memory a queue's buffers have. `enum v4l2_memory`; there is no `USERPTR` here, which would be an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Memory {
    /// The device's own: can be mapped and exported.
    Mmap = 1,
    /// Imported with each submission.
    DmaBuf = 4,
}

/// What happened at a device besides pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    EndOfStream,
    /// The size or the signal at its input is not what it was.
    SourceChange,
    Other(u32),
}

/// Events that can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventKind {
    EndOfStream = 2,
    SourceChange = 5,
}

/// `V4L2_ENC_CMD_*`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EncoderCommand {
    Start = 0,
    /// Drains: what is queued is encoded, and the last buffer is marked.
    Stop = 1,
}

/// Part of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rectangle {
    pub left: i32,
    pub top: i32,
    pub size: Size,
}

impl Capabilities {
    /// Where a camera's pictures come from; `None` when the node is no camera but a codec, an output or a metadata node.
    pub fn camera(self) -> Option<BufferType> {
        let not_a_camera = OUTPUT | OUTPUT_MPLANE | M2M | M2M_MPLANE;
        if self.0 & not_a_camera != 0 || self.0 & STREAMING == 0 {
            return None;
        }
        if self.0 & CAPTURE != 0 {
            Some(BufferType::VideoCapture)
        } else if self.0 & CAPTURE_MPLANE != 0 {
            Some(BufferType::VideoCaptureMplane)
        } else {
            None
        }
    }

    /// Nothing flows until somebody has set up the links before it with the media controller.
    pub fn needs_media_controller(self) -> bool {
        self.0 & IO_MC != 0
    }

    /// A memory-to-memory device's queues: what it reads, and what it gives.
    pub fn memory_to_memory(self) -> Option<(BufferType, BufferType)> {
        if self.0 & STREAMING == 0 {
            return None;
        }
        let single = OUTPUT | CAPTURE;
        let multi = OUTPUT_MPLANE | CAPTURE_MPLANE;
        if self.0 & M2M_MPLANE != 0 || self.0 & multi == multi {
            Some((
                BufferType::VideoOutputMplane,
                BufferType::VideoCaptureMplane,
            ))
        } else if self.0 & M2M != 0 || self.0 & single == single {
            Some((BufferType::VideoOutput, BufferType::VideoCapture))
        } else {
            None
        }
    }
}

impl BufferType {
    pub const fn is_multi_planar(self) -> bool {
        match self {
            Self::VideoCapture | Self::VideoOutput => false,
            Self::VideoCaptureMplane | Self::VideoOutputMplane => true,
        }
    }

    /// True for what the device reads.
    pub const fn is_output(self) -> bool {
        match self {
            Self::VideoCapture | Self::VideoCaptureMplane => false,
            Self::VideoOutput | Self::VideoOutputMplane => true,
        }
    }
}

/// A driver's name for something: up to the first zero, and never trusted to be UTF-8.
fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

// `V4L2_CAP_*`
const CAPTURE: u32 = 0x1;
const OUTPUT: u32 = 0x2;
const CAPTURE_MPLANE: u32 = 0x1000;
const OUTPUT_MPLANE: u32 = 0x2000;
const M2M_MPLANE: u32 = 0x4000;
const M2M: u32 = 0x8000;
const STREAMING: u32 = 0x400_0000;
const IO_MC: u32 = 0x2000_0000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cameras_are_cameras() {
        let camera = |flags| Capabilities(flags).camera();
        assert_eq!(camera(CAPTURE | STREAMING), Some(BufferType::VideoCapture));
        assert_eq!(
            camera(CAPTURE_MPLANE | STREAMING),
            Some(BufferType::VideoCaptureMplane)
        );
        // bcm2835-codec, a camera that only read(2)s, uvcvideo's metadata node, v4l2loopback before anybody feeds it.
        assert_eq!(camera(M2M_MPLANE | STREAMING), None);
        assert_eq!(camera(CAPTURE), None);
        assert_eq!(camera(0x80_0000 | STREAMING), None);
        assert_eq!(camera(OUTPUT | CAPTURE | STREAMING), None);
    }

    #[test]
    fn a_codec_has_two_queues_of_one_planarity() {
        let queues = |flags| Capabilities(flags).memory_to_memory();
        assert_eq!(
            queues(M2M_MPLANE | STREAMING),
            Some((
                BufferType::VideoOutputMplane,
                BufferType::VideoCaptureMplane
            ))
        );
        assert_eq!(
            queues(M2M | STREAMING),
            Some((BufferType::VideoOutput, BufferType::VideoCapture))
        );
        assert_eq!(queues(CAPTURE | STREAMING), None);
        assert_eq!(queues(M2M), None);
    }

    #[test]
    fn a_name_that_is_no_utf8_or_has_no_end_is_still_a_name() {
        assert_eq!(text(b"uvcvideo\0\0\0"), "uvcvideo");
        assert_eq!(text(b"\xffcam\0"), "\u{fffd}cam");
        assert_eq!(text(&[b'x'; 16]), "xxxxxxxxxxxxxxxx");
    }
}
