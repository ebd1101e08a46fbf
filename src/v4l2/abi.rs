//! The kernel's structs and numbers, as `linux/videodev2.h`, `linux/dma-buf.h` and `linux/dma-heap.h` have them.
//!
//! Written by hand, because a binding generator wants libclang and the headers of the kernel that will run. Sizes and offsets
//! are asserted below for 64-bit machines and for 32-bit ones with 64-bit time (armv7 since Linux 5.6): the numbers are what
//! gcc says of the headers of Linux 6.1 on x86_64, aarch64 and armhf with `_TIME_BITS=64`.
//!
//! Every field is an integer, so that whatever the kernel writes is a value. A kernel union is the one member that we use,
//! padded; where the kernel's union holds a pointer somewhere, `_align` gives ours a pointer's alignment too.

use std::mem::{offset_of, size_of};

/// `struct v4l2_capability`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Capability {
    pub(super) driver: [u8; 16],
    pub(super) card: [u8; 32],
    pub(super) bus_info: [u8; 32],
    pub(super) version: u32,
    pub(super) capabilities: u32,
    pub(super) device_caps: u32,
    pub(super) reserved: [u32; 3],
}

/// `struct v4l2_fmtdesc`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FormatDescription {
    pub(super) index: u32,
    pub(super) buffer_type: u32,
    pub(super) flags: u32,
    pub(super) description: [u8; 32],
    pub(super) pixelformat: [u8; 4],
    pub(super) mbus_code: u32,
    pub(super) reserved: [u32; 3],
}

/// `struct v4l2_frmsizeenum`; `sizes` begins with width and height when they are discrete.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrameSizeEntry {
    pub(super) index: u32,
    pub(super) pixelformat: [u8; 4],
    pub(super) kind: u32,
    /// Discrete: width, height. Else: width's least, most and step, then height's.
    pub(super) sizes: [u32; 6],
    pub(super) reserved: [u32; 2],
}

/// `struct v4l2_fract`, a time in seconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fraction {
    pub(super) numerator: u32,
    pub(super) denominator: u32,
}

/// `struct v4l2_frmivalenum`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrameIntervalEntry {
    pub(super) index: u32,
    pub(super) pixelformat: [u8; 4],
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) kind: u32,
    /// Discrete: the first alone. Else: least, most, step.
    pub(super) intervals: [Fraction; 3],
    pub(super) reserved: [u32; 2],
}

/// `V4L2_FRMSIZE_TYPE_DISCRETE` and `V4L2_FRMIVAL_TYPE_DISCRETE`; 2 and 3 are ranges.
pub(super) const DISCRETE: u32 = 1;

/// `struct v4l2_pix_format`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PixFormat {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixelformat: [u8; 4],
    pub(super) field: u32,
    pub(super) bytesperline: u32,
    pub(super) sizeimage: u32,
    pub(super) colorspace: u32,
    pub(super) private: u32,
    pub(super) flags: u32,
    pub(super) ycbcr_enc: u32,
    pub(super) quantization: u32,
    pub(super) xfer_func: u32,
}

/// `struct v4l2_plane_pix_format`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PlanePixFormat {
    pub(super) sizeimage: u32,
    pub(super) bytesperline: u32,
    pub(super) reserved: [u16; 6],
}

/// `struct v4l2_pix_format_mplane`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PixFormatMplane {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixelformat: [u8; 4],
    pub(super) field: u32,
    pub(super) colorspace: u32,
    pub(super) plane_fmt: [PlanePixFormat; MAX_PLANES],
    pub(super) num_planes: u8,
    pub(super) flags: u8,
    pub(super) ycbcr_enc: u8,
    pub(super) quantization: u8,
    pub(super) xfer_func: u8,
    pub(super) reserved: [u8; 7],
}

/// `VIDEO_MAX_PLANES`
pub(super) const MAX_PLANES: usize = 8;

/// `struct v4l2_format` of a single-planar buffer type.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    pub(super) buffer_type: u32,
    /// `struct v4l2_window` in the kernel's union has pointers.
    pub(super) _align: [usize; 0],
    pub(super) pix: PixFormat,
    pub(super) rest: [u8; 200 - size_of::<PixFormat>()],
}

/// `struct v4l2_format` of a multi-planar buffer type.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct FormatMplane {
    pub(super) buffer_type: u32,
    pub(super) _align: [usize; 0],
    pub(super) pix: PixFormatMplane,
    pub(super) rest: [u8; 200 - size_of::<PixFormatMplane>()],
}

/// `struct v4l2_streamparm`; captureparm and outputparm are laid out alike.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamParameters {
    pub(super) buffer_type: u32,
    pub(super) capability: u32,
    pub(super) mode: u32,
    pub(super) time_per_frame: Fraction,
    pub(super) extended_mode: u32,
    pub(super) buffers: u32,
    pub(super) reserved: [u32; 4],
    pub(super) rest: [u8; 200 - 40],
}

/// `V4L2_CAP_TIMEPERFRAME`
pub(super) const TIME_PER_FRAME: u32 = 0x1000;

/// `struct v4l2_requestbuffers`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestBuffers {
    pub(super) count: u32,
    pub(super) buffer_type: u32,
    pub(super) memory: u32,
    pub(super) capabilities: u32,
    pub(super) flags: u8,
    pub(super) reserved: [u8; 3],
}

/// A union of `unsigned long`, a pointer and what we use: a 32-bit offset for `mmap` or a dma-buf's descriptor.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Handle {
    pub(super) _align: [usize; 0],
    pub(super) value: u32,
    pub(super) rest: [u32; size_of::<usize>() / 4 - 1],
}

/// `struct v4l2_buffer`; `M` is [`Handle`], or a pointer to `length` [`Plane`]s for multi-planar buffer types.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer<M> {
    pub(super) index: u32,
    pub(super) buffer_type: u32,
    pub(super) bytesused: u32,
    pub(super) flags: u32,
    pub(super) field: u32,
    /// `__kernel_v4l2_timeval`: 64 bits each on every architecture that we build for.
    pub(super) seconds: i64,
    pub(super) microseconds: i64,
    pub(super) timecode: [u32; 4],
    pub(super) sequence: u32,
    pub(super) memory: u32,
    pub(super) m: M,
    pub(super) length: u32,
    pub(super) reserved: u32,
    pub(super) request_fd: i32,
}

/// `struct v4l2_plane`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plane {
    pub(super) bytesused: u32,
    pub(super) length: u32,
    pub(super) m: Handle,
    pub(super) data_offset: u32,
    pub(super) reserved: [u32; 11],
}

/// `struct v4l2_exportbuffer`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ExportBuffer {
    pub(super) buffer_type: u32,
    pub(super) index: u32,
    pub(super) plane: u32,
    pub(super) flags: u32,
    pub(super) fd: i32,
    pub(super) reserved: [u32; 11],
}

/// `struct v4l2_ext_control`. The kernel packs it: as eight bytes, `value` needs no packing to stand at 12.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ExtControl {
    pub(super) id: u32,
    pub(super) size: u32,
    pub(super) reserved: u32,
    pub(super) value: [u8; 8],
}

/// `struct v4l2_ext_controls`; `controls` points to `count` [`ExtControl`]s.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct ExtControls {
    pub(super) which: u32,
    pub(super) count: u32,
    pub(super) error_idx: u32,
    pub(super) request_fd: i32,
    pub(super) reserved: u32,
    pub(super) controls: *mut ExtControl,
}

/// `struct v4l2_query_ext_ctrl`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryExtControl {
    pub(super) id: u32,
    pub(super) kind: u32,
    pub(super) name: [u8; 32],
    pub(super) minimum: i64,
    pub(super) maximum: i64,
    pub(super) step: u64,
    pub(super) default_value: i64,
    pub(super) flags: u32,
    pub(super) element_bytes: u32,
    pub(super) elements: u32,
    pub(super) dimensions: u32,
    pub(super) extents: [u32; 4],
    pub(super) reserved: [u32; 32],
}

/// `struct v4l2_querymenu`; the name's first eight bytes are the value in an integer menu.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryMenu {
    pub(super) id: u32,
    pub(super) index: u32,
    pub(super) name: [u8; 32],
    pub(super) reserved: u32,
}

/// `struct v4l2_encoder_cmd`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EncoderCommand {
    pub(super) command: u32,
    pub(super) flags: u32,
    pub(super) raw: [u32; 8],
}

/// `struct v4l2_event_subscription`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EventSubscription {
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) flags: u32,
    pub(super) reserved: [u32; 5],
}

/// `struct v4l2_event`; `payload` begins with `changes` for `V4L2_EVENT_SOURCE_CHANGE`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) kind: u32,
    /// `struct v4l2_event_ctrl` in the kernel's union has a 64-bit value.
    pub(super) _align: [u64; 0],
    pub(super) payload: [u32; 16],
    pub(super) pending: u32,
    pub(super) sequence: u32,
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
    pub(super) id: u32,
    pub(super) reserved: [u32; 8],
}

/// `struct v4l2_selection`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Selection {
    pub(super) buffer_type: u32,
    pub(super) target: u32,
    pub(super) flags: u32,
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) reserved: [u32; 9],
}

/// `struct dma_buf_sync`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DmaBufSync {
    pub(super) flags: u64,
}

/// `struct dma_heap_allocation_data`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeapAllocation {
    pub(super) len: u64,
    pub(super) fd: u32,
    pub(super) fd_flags: u32,
    pub(super) heap_flags: u64,
}

/// `enum v4l2_field`: interlaced pictures are not asked for.
pub(super) const FIELD_NONE: u32 = 1;

// `V4L2_BUF_FLAG_*`
pub(super) const BUF_FLAG_KEYFRAME: u32 = 0x8;
pub(super) const BUF_FLAG_ERROR: u32 = 0x40;
pub(super) const BUF_FLAG_TIMESTAMP_MASK: u32 = 0xe000;
pub(super) const BUF_FLAG_TIMESTAMP_MONOTONIC: u32 = 0x2000;
pub(super) const BUF_FLAG_LAST: u32 = 0x10_0000;

/// A layout as the kernel's C compiler has it: the size, then offsets of fields behind every possible gap.
macro_rules! assert_layout {
    ($type:ty: $size:expr $(, $field:ident at $offset:expr)*) => {
        const _: () = assert!(size_of::<$type>() == $size);
        $(const _: () = assert!(offset_of!($type, $field) == $offset);)*
    };
}

assert_layout!(Capability: 104, device_caps at 88);
assert_layout!(FormatDescription: 64, pixelformat at 44);
assert_layout!(FrameSizeEntry: 44, sizes at 12);
assert_layout!(FrameIntervalEntry: 52, intervals at 20);
assert_layout!(PixFormat: 48, xfer_func at 44);
assert_layout!(PlanePixFormat: 20);
assert_layout!(PixFormatMplane: 192, plane_fmt at 20, num_planes at 180);
assert_layout!(StreamParameters: 204, time_per_frame at 12);
assert_layout!(RequestBuffers: 20, capabilities at 12);
assert_layout!(ExportBuffer: 64, fd at 16);
assert_layout!(ExtControl: 20, value at 12);
assert_layout!(QueryExtControl: 232, minimum at 40, flags at 72, extents at 88);
assert_layout!(QueryMenu: 44, name at 8);
assert_layout!(EncoderCommand: 40);
assert_layout!(EventSubscription: 32);
assert_layout!(Event: 136, payload at 8, pending at 72, seconds at 80, id at 96);
assert_layout!(Selection: 64, left at 12);
assert_layout!(DmaBufSync: 8);
assert_layout!(HeapAllocation: 24, heap_flags at 16);

#[cfg(target_pointer_width = "64")]
mod layout {
    use super::*;

    assert_layout!(Format: 208, pix at 8);
    assert_layout!(FormatMplane: 208, pix at 8);
    assert_layout!(Buffer<Handle>: 88, seconds at 24, sequence at 56, m at 64, length at 72, request_fd at 80);
    assert_layout!(Buffer<*mut Plane>: 88, seconds at 24, sequence at 56, m at 64, length at 72, request_fd at 80);
    assert_layout!(Plane: 64, m at 8, data_offset at 16);
    assert_layout!(ExtControls: 32, error_idx at 8, controls at 24);
}

#[cfg(target_pointer_width = "32")]
mod layout {
    use super::*;

    assert_layout!(Format: 204, pix at 4);
    assert_layout!(FormatMplane: 204, pix at 4);
    assert_layout!(Buffer<Handle>: 80, seconds at 24, sequence at 56, m at 64, length at 68, request_fd at 76);
    assert_layout!(Buffer<*mut Plane>: 80, seconds at 24, sequence at 56, m at 64, length at 68, request_fd at 76);
    assert_layout!(Plane: 60, m at 8, data_offset at 12);
    assert_layout!(ExtControls: 24, error_idx at 8, controls at 20);
}
