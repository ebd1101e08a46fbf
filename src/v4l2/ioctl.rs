//! All `unsafe` of the program: ioctl(2) with the right struct for each number, mmap(2), and descriptors that the kernel hands out.
//!
//! What comes out of here is safe to call with any argument. Nothing here judges the numbers that the kernel answers.
#![allow(unsafe_code)] // the one file

use std::ffi::c_void;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};

use rustix::io::{Errno, retry_on_intr};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::abi;
use super::{BufferType, Memory};

/// An ioctl's number, and the struct that goes with it.
struct Call<T>(Opcode, PhantomData<T>);

impl<T> Clone for Call<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Call<T> {}

impl<T> Call<T> {
    const fn read(number: u8) -> Self {
        Self(opcode::read::<T>(VIDEO, number), PhantomData)
    }

    const fn write(number: u8) -> Self {
        Self(opcode::write::<T>(VIDEO, number), PhantomData)
    }

    const fn read_write(number: u8) -> Self {
        Self(opcode::read_write::<T>(VIDEO, number), PhantomData)
    }
}

const VIDEO: u8 = b'V';

const QUERYCAP: Call<abi::Capability> = Call::read(0);
const ENUM_FMT: Call<abi::FormatDescription> = Call::read_write(2);
const REQBUFS: Call<abi::RequestBuffers> = Call::read_write(8);
const EXPBUF: Call<abi::ExportBuffer> = Call::read_write(16);
const STREAMON: Call<u32> = Call::write(18);
const STREAMOFF: Call<u32> = Call::write(19);
const G_PARM: Call<abi::StreamParameters> = Call::read_write(21);
const S_PARM: Call<abi::StreamParameters> = Call::read_write(22);
const QUERYMENU: Call<abi::QueryMenu> = Call::read_write(37);
const G_EXT_CTRLS: Call<abi::ExtControls> = Call::read_write(71);
const S_EXT_CTRLS: Call<abi::ExtControls> = Call::read_write(72);
const ENUM_FRAMESIZES: Call<abi::FrameSizeEntry> = Call::read_write(74);
const ENUM_FRAMEINTERVALS: Call<abi::FrameIntervalEntry> = Call::read_write(75);
const ENCODER_CMD: Call<abi::EncoderCommand> = Call::read_write(77);
const TRY_ENCODER_CMD: Call<abi::EncoderCommand> = Call::read_write(78);
const DQEVENT: Call<abi::Event> = Call::read(89);
const SUBSCRIBE_EVENT: Call<abi::EventSubscription> = Call::write(90);
const G_SELECTION: Call<abi::Selection> = Call::read_write(94);
const S_SELECTION: Call<abi::Selection> = Call::read_write(95);
const QUERY_EXT_CTRL: Call<abi::QueryExtControl> = Call::read_write(103);
const DMA_BUF_SYNC: Call<abi::DmaBufSync> =
    Call(opcode::write::<abi::DmaBufSync>(b'b', 0), PhantomData);
const DMA_HEAP_ALLOC: Call<abi::HeapAllocation> = Call(
    opcode::read_write::<abi::HeapAllocation>(b'H', 0),
    PhantomData,
);

/// The three that exist for single- and multi-planar structs alike.
#[derive(Clone, Copy, Debug)]
pub(super) enum FormatCall {
    Ask,
    Set,
    Try,
}

impl FormatCall {
    const fn call<T>(self) -> Call<T> {
        match self {
            Self::Ask => Call::read_write(4),
            Self::Set => Call::read_write(5),
            Self::Try => Call::read_write(64),
        }
    }
}

/// As [`FormatCall`], for buffers.
#[derive(Clone, Copy, Debug)]
pub(super) enum BufferCall {
    Query,
    Queue,
    Dequeue,
}

impl BufferCall {
    const fn call<T>(self) -> Call<T> {
        match self {
            Self::Query => Call::read_write(9),
            Self::Queue => Call::read_write(15),
            Self::Dequeue => Call::read_write(17),
        }
    }
}

/// Structs whose pointers the kernel does not follow, because they have none for the buffer types in [`BufferType`].
///
/// # Safety
///
/// Any bytes must be a value, and no number in it may be an address.
unsafe trait Plain {}

macro_rules! plain {
    ($($type:ty),*) => {
        // SAFETY: repr(C) structs of integers; the calls above take no address in any of them.
        $(unsafe impl Plain for $type {})*
    };
}

plain!(
    u32,
    abi::Capability,
    abi::FormatDescription,
    abi::FrameSizeEntry,
    abi::FrameIntervalEntry,
    abi::Format,
    abi::FormatMplane,
    abi::StreamParameters,
    abi::RequestBuffers,
    abi::ExportBuffer,
    abi::QueryExtControl,
    abi::QueryMenu,
    abi::EncoderCommand,
    abi::EventSubscription,
    abi::Event,
    abi::Selection,
    abi::DmaBufSync,
    abi::HeapAllocation
);

/// One call under way.
struct Exchange<'a, T> {
    opcode: Opcode,
    value: &'a mut T,
}

// SAFETY: the pointer is an exclusive borrow that lasts as long as `self`, and the kernel copies as many bytes as the number
// says: `Call` takes them from `size_of::<T>()`. Nothing is made from the pointer afterwards.
unsafe impl<T> Ioctl for Exchange<'_, T> {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        ptr::from_mut(self.value).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> Result<(), Errno> {
        Ok(())
    }
}

/// # Safety
///
/// Every address in `value` that the kernel follows for this call must be good for what it reads and writes there.
unsafe fn perform<T>(fd: BorrowedFd<'_>, call: Call<T>, value: &mut T) -> Result<(), Errno> {
    retry_on_intr(|| {
        let opcode = call.0;
        let value = &mut *value;
        // SAFETY: `Exchange` is a faithful description of the call; the caller vouches for the addresses in `value`.
        unsafe { rustix::ioctl::ioctl(fd, Exchange { opcode, value }) }
    })
}

fn plainly<T: Plain>(fd: BorrowedFd<'_>, call: Call<T>, value: &mut T) -> Result<(), Errno> {
    // SAFETY: `Plain`: there are no addresses in `value`.
    unsafe { perform(fd, call, value) }
}

pub(super) fn capability(fd: BorrowedFd<'_>) -> Result<abi::Capability, Errno> {
    let mut value = abi::Capability::default();
    plainly(fd, QUERYCAP, &mut value)?;
    Ok(value)
}

pub(super) fn enumerate_format(
    fd: BorrowedFd<'_>,
    value: &mut abi::FormatDescription,
) -> Result<(), Errno> {
    plainly(fd, ENUM_FMT, value)
}

pub(super) fn enumerate_frame_size(
    fd: BorrowedFd<'_>,
    value: &mut abi::FrameSizeEntry,
) -> Result<(), Errno> {
    plainly(fd, ENUM_FRAMESIZES, value)
}

pub(super) fn enumerate_frame_interval(
    fd: BorrowedFd<'_>,
    value: &mut abi::FrameIntervalEntry,
) -> Result<(), Errno> {
    plainly(fd, ENUM_FRAMEINTERVALS, value)
}

/// What a format call exchanges, by planarity.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pix {
    Single(abi::PixFormat),
    Multi(abi::PixFormatMplane),
}

pub(super) fn format(
    fd: BorrowedFd<'_>,
    call: FormatCall,
    buffer_type: BufferType,
    pix: &mut Pix,
) -> Result<(), Errno> {
    let buffer_type = buffer_type as u32;
    match pix {
        Pix::Single(pix) => {
            let mut value = abi::Format {
                buffer_type,
                _align: [],
                pix: *pix,
                rest: [0; _],
            };
            plainly(fd, call.call(), &mut value)?;
            *pix = value.pix;
        }
        Pix::Multi(pix) => {
            let mut value = abi::FormatMplane {
                buffer_type,
                _align: [],
                pix: *pix,
                rest: [0; _],
            };
            plainly(fd, call.call(), &mut value)?;
            *pix = value.pix;
        }
    }
    Ok(())
}

pub(super) fn stream_parameters(
    fd: BorrowedFd<'_>,
    value: &mut abi::StreamParameters,
) -> Result<(), Errno> {
    plainly(fd, G_PARM, value)
}

pub(super) fn set_stream_parameters(
    fd: BorrowedFd<'_>,
    value: &mut abi::StreamParameters,
) -> Result<(), Errno> {
    plainly(fd, S_PARM, value)
}

pub(super) fn request_buffers(
    fd: BorrowedFd<'_>,
    buffer_type: BufferType,
    memory: Memory,
    count: u32,
) -> Result<abi::RequestBuffers, Errno> {
    let mut value = abi::RequestBuffers {
        count,
        buffer_type: buffer_type as u32,
        memory: memory as u32,
        ..Default::default()
    };
    plainly(fd, REQBUFS, &mut value)?;
    Ok(value)
}

/// A dma-buf that shares one plane of an MMAP buffer.
pub(super) fn export_buffer(
    fd: BorrowedFd<'_>,
    buffer_type: BufferType,
    index: u32,
    plane: u32,
) -> Result<OwnedFd, Errno> {
    let mut value = abi::ExportBuffer {
        buffer_type: buffer_type as u32,
        index,
        plane,
        flags: CLOSE_ON_EXEC | READ_WRITE,
        fd: -1,
        ..Default::default()
    };
    plainly(fd, EXPBUF, &mut value)?;
    own(value.fd)
}

/// One buffer as it goes to the kernel or comes back, whatever its planarity.
#[derive(Clone, Copy, Debug)]
pub(super) struct BufferRecord {
    pub(super) index: u32,
    pub(super) flags: u32,
    pub(super) field: u32,
    pub(super) seconds: i64,
    pub(super) microseconds: i64,
    pub(super) sequence: u32,
    /// As many as the buffer has; the kernel's answer, so it may lie.
    pub(super) plane_count: u32,
    pub(super) planes: [abi::Plane; abi::MAX_PLANES],
}

pub(super) fn buffer(
    fd: BorrowedFd<'_>,
    call: BufferCall,
    buffer_type: BufferType,
    memory: Memory,
    record: &mut BufferRecord,
) -> Result<(), Errno> {
    if buffer_type.is_multi_planar() {
        let planes: *mut abi::Plane = record.planes.as_mut_ptr();
        let mut value = to_kernel(record, buffer_type, memory, planes);
        value.length = record.plane_count.min(abi::MAX_PLANES as u32);
        // SAFETY: `planes` points to MAX_PLANES planes that outlive the call, and `length` is no more. `Memory` has no user
        // pointers, so the kernel takes no address from the planes.
        unsafe { perform(fd, call.call(), &mut value) }?;
        from_kernel(record, &value);
        record.plane_count = value.length;
    } else {
        let plane = record.planes[0];
        let mut value = to_kernel(record, buffer_type, memory, plane.m);
        value.bytesused = plane.bytesused;
        value.length = plane.length;
        // SAFETY: the buffer type is single-planar and `Memory` has no user pointers: `m` is an offset or a descriptor.
        unsafe { perform(fd, call.call(), &mut value) }?;
        from_kernel(record, &value);
        record.plane_count = 1;
        record.planes[0] = abi::Plane {
            bytesused: value.bytesused,
            length: value.length,
            m: value.m,
            ..Default::default()
        };
    }
    Ok(())
}

fn to_kernel<M>(
    record: &BufferRecord,
    buffer_type: BufferType,
    memory: Memory,
    m: M,
) -> abi::Buffer<M> {
    abi::Buffer {
        index: record.index,
        buffer_type: buffer_type as u32,
        bytesused: 0,
        flags: record.flags,
        field: record.field,
        seconds: record.seconds,
        microseconds: record.microseconds,
        timecode: [0; 4],
        sequence: 0,
        memory: memory as u32,
        m,
        length: 0,
        reserved: 0,
        request_fd: 0,
    }
}

fn from_kernel<M>(record: &mut BufferRecord, value: &abi::Buffer<M>) {
    record.index = value.index;
    record.flags = value.flags;
    record.field = value.field;
    record.seconds = value.seconds;
    record.microseconds = value.microseconds;
    record.sequence = value.sequence;
}

pub(super) fn stream_on(fd: BorrowedFd<'_>, buffer_type: BufferType) -> Result<(), Errno> {
    plainly(fd, STREAMON, &mut (buffer_type as u32))
}

pub(super) fn stream_off(fd: BorrowedFd<'_>, buffer_type: BufferType) -> Result<(), Errno> {
    plainly(fd, STREAMOFF, &mut (buffer_type as u32))
}

/// The second of the error is which control it was about; their number when it was about none.
pub(super) fn set_controls(
    fd: BorrowedFd<'_>,
    controls: &mut [abi::ExtControl],
) -> Result<(), (Errno, u32)> {
    controls_call(fd, S_EXT_CTRLS, controls)
}

pub(super) fn controls(
    fd: BorrowedFd<'_>,
    controls: &mut [abi::ExtControl],
) -> Result<(), (Errno, u32)> {
    controls_call(fd, G_EXT_CTRLS, controls)
}

fn controls_call(
    fd: BorrowedFd<'_>,
    call: Call<abi::ExtControls>,
    controls: &mut [abi::ExtControl],
) -> Result<(), (Errno, u32)> {
    // A size would make a compound control, whose value is an address.
    if controls.iter().any(|control| control.size != 0) {
        return Err((Errno::INVAL, controls.len() as u32));
    }
    let mut value = abi::ExtControls {
        which: 0,
        count: controls.len() as u32,
        error_idx: controls.len() as u32,
        request_fd: 0,
        reserved: 0,
        controls: controls.as_mut_ptr(),
    };
    // SAFETY: `controls` points to `count` controls that outlive the call. All have size 0: the kernel refuses that for a control
    // with a payload (ENOSPC) and follows no address.
    unsafe { perform(fd, call, &mut value) }.map_err(|errno| (errno, value.error_idx))
}

pub(super) fn query_control(
    fd: BorrowedFd<'_>,
    value: &mut abi::QueryExtControl,
) -> Result<(), Errno> {
    plainly(fd, QUERY_EXT_CTRL, value)
}

pub(super) fn query_menu(fd: BorrowedFd<'_>, value: &mut abi::QueryMenu) -> Result<(), Errno> {
    plainly(fd, QUERYMENU, value)
}

pub(super) fn encoder_command(fd: BorrowedFd<'_>, command: u32) -> Result<(), Errno> {
    let mut value = abi::EncoderCommand {
        command,
        ..Default::default()
    };
    plainly(fd, ENCODER_CMD, &mut value)
}

pub(super) fn try_encoder_command(fd: BorrowedFd<'_>, command: u32) -> Result<(), Errno> {
    let mut value = abi::EncoderCommand {
        command,
        ..Default::default()
    };
    plainly(fd, TRY_ENCODER_CMD, &mut value)
}

pub(super) fn subscribe(fd: BorrowedFd<'_>, kind: u32) -> Result<(), Errno> {
    let mut value = abi::EventSubscription {
        kind,
        ..Default::default()
    };
    plainly(fd, SUBSCRIBE_EVENT, &mut value)
}

/// ENOENT: there is no event.
pub(super) fn dequeue_event(fd: BorrowedFd<'_>) -> Result<abi::Event, Errno> {
    let mut value = abi::Event {
        kind: 0,
        _align: [],
        payload: [0; 16],
        pending: 0,
        sequence: 0,
        seconds: 0,
        nanoseconds: 0,
        id: 0,
        reserved: [0; 8],
    };
    plainly(fd, DQEVENT, &mut value)?;
    Ok(value)
}

pub(super) fn selection(fd: BorrowedFd<'_>, value: &mut abi::Selection) -> Result<(), Errno> {
    plainly(fd, G_SELECTION, value)
}

pub(super) fn set_selection(fd: BorrowedFd<'_>, value: &mut abi::Selection) -> Result<(), Errno> {
    plainly(fd, S_SELECTION, value)
}

/// Tells the exporter of a dma-buf that the CPU begins or ends to touch it: `flags` are `DMA_BUF_SYNC_*`.
pub(super) fn sync_dma_buf(fd: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    plainly(fd, DMA_BUF_SYNC, &mut abi::DmaBufSync { flags })
}

/// A dma-buf of `bytes` from the heap behind `fd`.
pub(super) fn allocate_from_heap(fd: BorrowedFd<'_>, bytes: u64) -> Result<OwnedFd, Errno> {
    let mut value = abi::HeapAllocation {
        len: bytes,
        fd_flags: CLOSE_ON_EXEC | READ_WRITE,
        ..Default::default()
    };
    plainly(fd, DMA_HEAP_ALLOC, &mut value)?;
    own(value.fd as i32)
}

/// A descriptor that the kernel has just put into our table for us.
fn own(fd: i32) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: only the two calls above come here, with what the kernel installed for this call: it is open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The number of a descriptor for a struct that goes to the kernel.
pub(super) fn descriptor(fd: BorrowedFd<'_>) -> abi::Handle {
    abi::Handle {
        value: fd.as_raw_fd() as u32,
        ..Default::default()
    }
}

/// Memory that is shared with a device, in our address space until this is dropped.
///
/// A device knows nothing of borrows. Whoever lends these bytes (`Slot` of a queue) does so only while the buffer is not with a
/// device that writes to it.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    length: usize,
    access: Access,
}

// SAFETY: a mapping belongs to the process, not to a thread; `&Mapping` only reads.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(super) fn new(
        fd: BorrowedFd<'_>,
        offset: u64,
        length: usize,
        access: Access,
    ) -> Result<Self, Errno> {
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        if length == 0 || isize::try_from(length).is_err() {
            return Err(Errno::INVAL);
        }
        // SAFETY: the kernel chooses the place (the address is null and MAP_FIXED is not set), so nothing of ours is replaced.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                protection,
                MapFlags::SHARED,
                fd,
                offset,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or(Errno::FAULT)?;
        Ok(Self {
            start,
            length,
            access,
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` has `length` readable bytes until `drop`; see the type for who may be writing.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// Empty unless it was mapped with [`Access::ReadWrite`].
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let length = match self.access {
            Access::Read => 0,
            Access::ReadWrite => self.length,
        };
        // SAFETY: `start` has `length` writable bytes until `drop`, and `&mut self` is the only borrow.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` made, and every slice of it borrowed `self`.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
        // munmap(2) refuses only what is no mapping.
        let _ = unmapped;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    ReadWrite,
}

/// `O_CLOEXEC` and `O_RDWR`, in a `u32` as the kernel has them here.
const CLOSE_ON_EXEC: u32 = rustix::fs::OFlags::CLOEXEC.bits();
const READ_WRITE: u32 = rustix::fs::OFlags::RDWR.bits();

#[cfg(test)]
mod tests {
    use super::*;

    /// As gcc makes them of the kernel's headers, on x86_64 and aarch64, and on armhf with 64-bit time.
    #[test]
    fn the_numbers_are_the_kernels() {
        let is_64_bit = cfg!(target_pointer_width = "64");
        let either = |wide: Opcode, narrow: Opcode| if is_64_bit { wide } else { narrow };
        let format = FormatCall::Set.call::<abi::Format>().0;
        let format_mplane = FormatCall::Set.call::<abi::FormatMplane>().0;
        let queue = BufferCall::Queue.call::<abi::Buffer<abi::Handle>>().0;
        let queue_mplane = BufferCall::Queue.call::<abi::Buffer<*mut abi::Plane>>().0;

        assert_eq!(QUERYCAP.0, 0x8068_5600);
        assert_eq!(ENUM_FMT.0, 0xc040_5602);
        assert_eq!(format, either(0xc0d0_5605, 0xc0cc_5605));
        assert_eq!(format_mplane, format);
        assert_eq!(REQBUFS.0, 0xc014_5608);
        assert_eq!(queue, either(0xc058_560f, 0xc050_560f));
        assert_eq!(queue_mplane, queue);
        assert_eq!(EXPBUF.0, 0xc040_5610);
        assert_eq!((STREAMON.0, STREAMOFF.0), (0x4004_5612, 0x4004_5613));
        assert_eq!((G_PARM.0, S_PARM.0), (0xc0cc_5615, 0xc0cc_5616));
        assert_eq!(QUERYMENU.0, 0xc02c_5625);
        assert_eq!(G_EXT_CTRLS.0, either(0xc020_5647, 0xc018_5647));
        assert_eq!(S_EXT_CTRLS.0, either(0xc020_5648, 0xc018_5648));
        assert_eq!(ENUM_FRAMESIZES.0, 0xc02c_564a);
        assert_eq!(ENUM_FRAMEINTERVALS.0, 0xc034_564b);
        assert_eq!(
            (ENCODER_CMD.0, TRY_ENCODER_CMD.0),
            (0xc028_564d, 0xc028_564e)
        );
        assert_eq!((DQEVENT.0, SUBSCRIBE_EVENT.0), (0x8088_5659, 0x4020_565a));
        assert_eq!((G_SELECTION.0, S_SELECTION.0), (0xc040_565e, 0xc040_565f));
        assert_eq!(QUERY_EXT_CTRL.0, 0xc0e8_5667);
        assert_eq!(
            (DMA_BUF_SYNC.0, DMA_HEAP_ALLOC.0),
            (0x4008_6200, 0xc018_4800)
        );
    }

    #[test]
    fn a_mapping_shows_the_file_and_may_be_written_only_when_asked_for() {
        let file = rustix::fs::memfd_create("frame", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let fd = std::os::fd::AsFd::as_fd(&file);
        rustix::fs::ftruncate(fd, 4096).unwrap();

        let mut writable = Mapping::new(fd, 0, 4096, Access::ReadWrite).unwrap();
        writable.bytes_mut()[7] = 42;
        let mut readable = Mapping::new(fd, 0, 4096, Access::Read).unwrap();

        assert_eq!(readable.bytes()[7], 42);
        assert!(readable.bytes_mut().is_empty());
        assert!(Mapping::new(fd, 0, 0, Access::Read).is_err());
    }

    #[test]
    fn compound_controls_are_not_passed_on() {
        let file = rustix::fs::memfd_create("no device", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut control = [abi::ExtControl {
            id: 1,
            size: 8,
            ..Default::default()
        }];
        let refused = set_controls(std::os::fd::AsFd::as_fd(&file), &mut control);
        assert_eq!(refused, Err((Errno::INVAL, 1)));
    }
}
