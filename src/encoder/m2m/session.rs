//! One opening of an encoder: formats agreed, buffers allocated, and from the first picture on both queues running.
//!
//! What can block says so; the encoder calls it aside.

use std::os::fd::AsFd;
use std::sync::Arc;

use tracing::{debug, warn};

use super::agreement::{Agreed, Blueprint, RawMemory, agree, queues};
use super::controls::Controls;
use crate::board::EncoderProfile;
use crate::camera::SharedBuffer;
use crate::encoder::convert::Buffers;
use crate::media::{Bitrate, Frame, MediaTime};
use crate::v4l2::heap::end_of_writing;
use crate::v4l2::{
    BufferType, Dequeued, Device, EncoderCommand, Event, EventKind, Import, Memory, Queue, Slot,
    Submission, V4l2Error,
};

/// An encoder that is set up.
#[derive(Debug)]
pub(super) struct Session {
    device: Arc<Device>,
    agreed: Agreed,
    controls: Controls,
    bitrate: Bitrate,
    memory: RawMemory,
    syncs: bool,
    profile: Arc<EncoderProfile>,
    raw: Queue,
    raw_slots: Vec<RawSlot>,
    coded: Queue,
    coded_slots: Vec<Slot>,
}

#[derive(Debug)]
struct RawSlot {
    slot: Slot,
    /// Until the kernel gives the buffer back: it is the camera's memory.
    frame: Option<Frame>,
}

/// What came out of the coded queue.
#[derive(Debug)]
pub(super) enum Coded {
    Nothing,
    /// It is in the memory that was given for it.
    Buffer {
        stamp: MediaTime,
        /// It may go on in the next buffer.
        is_full: bool,
        is_last: bool,
    },
    /// The encoder could not code the frame of this time.
    Failed {
        stamp: MediaTime,
        is_last: bool,
    },
    /// The drain is over.
    End,
}

impl Session {
    /// Opens the node and allocates. May block.
    pub(super) fn open(blueprint: &Blueprint) -> Result<Box<Self>, V4l2Error> {
        Self::on(Arc::new(Device::open(&blueprint.node)?), blueprint)
    }

    /// Sets up a device that has no buffers. May block.
    fn on(device: Arc<Device>, blueprint: &Blueprint) -> Result<Box<Self>, V4l2Error> {
        let (raw_type, coded_type) = queues(&device)?;
        let profile = &blueprint.profile;
        let agreed = agree(&device, blueprint)?;
        let (controls, bitrate) = Controls::apply(&device, profile, &blueprint.aim)?;
        if !device.subscribe(EventKind::EndOfStream)? {
            debug!("the encoder has no end-of-stream event");
        }
        let (memory, wish) = match &blueprint.memory {
            RawMemory::Own => (Memory::Mmap, profile.raw.buffers),
            RawMemory::Imported(buffers) => (Memory::DmaBuf, buffers.len() as u32),
        };
        let planes = agreed.raw.planes().len();
        let (raw, raw_slots) = allocate(&device, raw_type, memory, wish, planes)?;
        let (coded, coded_slots) =
            allocate(&device, coded_type, Memory::Mmap, profile.coded.buffers, 1)?;
        let raw_slots = raw_slots
            .into_iter()
            .map(|slot| RawSlot { slot, frame: None })
            .collect();
        let mut session = Box::new(Self {
            device,
            agreed,
            controls,
            bitrate,
            memory: blueprint.memory.clone(),
            syncs: blueprint.syncs,
            profile: Arc::clone(profile),
            raw,
            raw_slots,
            coded,
            coded_slots,
        });
        session.try_imports()?;
        session.queue_coded()?;
        debug!(
            raw = %session.agreed.raw.fourcc,
            stride = session.agreed.raw.planes()[0].stride,
            raw_buffers = session.raw_slots.len(),
            coded_buffers = session.coded_slots.len(),
            %bitrate,
            "encoder is set up"
        );
        Ok(session)
    }

    pub(super) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    pub(super) fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    pub(super) fn bitrate(&self) -> Bitrate {
        self.bitrate
    }

    pub(super) fn has_force_key_frame(&self) -> bool {
        self.controls.has_force_key_frame
    }

    pub(super) fn force_key_frame(&self) -> Result<(), V4l2Error> {
        self.controls.force_key_frame(&self.device)
    }

    pub(super) fn set_bitrate(&mut self, target: Bitrate) -> Result<Bitrate, V4l2Error> {
        self.bitrate = self.controls.set_bitrate(&self.device, target)?;
        Ok(self.bitrate)
    }

    /// Its own raw buffers, for a camera to fill.
    pub(super) fn export(&self) -> Result<Vec<SharedBuffer>, V4l2Error> {
        let share = |raw: &RawSlot| {
            Ok(SharedBuffer {
                dma_buf: raw.slot.export(0)?,
                length: raw.slot.room(0),
            })
        };
        self.raw_slots.iter().map(share).collect()
    }

    /// How many pictures the encoder holds.
    pub(super) fn in_flight(&self) -> usize {
        self.raw_slots
            .iter()
            .filter(|raw| raw.slot.is_with_kernel())
            .count()
    }

    /// A raw buffer that the CPU may write to.
    pub(super) fn free_slot(&self) -> Option<usize> {
        self.raw_slots
            .iter()
            .position(|raw| !raw.slot.is_with_kernel())
    }

    pub(super) fn room_mut(&mut self, slot: usize) -> Buffers<'_> {
        self.raw_slots
            .get_mut(slot)
            .map(|raw| raw.slot.room_mut())
            .unwrap_or_default()
    }

    /// Queues a picture that is in the memory of this slot; `frame` is its lease, if it has one.
    pub(super) fn submit(
        &mut self,
        index: usize,
        frame: Option<Frame>,
        stamp: MediaTime,
    ) -> Result<(), V4l2Error> {
        let count = self.raw_slots.len();
        let Some(raw) = self.raw_slots.get_mut(index) else {
            return Err(V4l2Error::Nonsense {
                attempt: "encode a picture",
                found: format!("one in slot {index}"),
                expected: format!("less than {count}"),
            });
        };
        let begin = frame
            .as_ref()
            .and_then(|frame| frame.loan())
            .map_or(0, |loan| loan.range().start);
        if begin != 0 {
            return Err(V4l2Error::Nonsense {
                attempt: "encode a picture",
                found: format!("one that begins at byte {begin}"),
                expected: "the start of its buffer, for few encoders look anywhere else".into(),
            });
        }
        let imports = match &self.memory {
            RawMemory::Own => None,
            RawMemory::Imported(buffers) => buffers.get(index),
        };
        if let Some(buffer) = imports.filter(|_| self.syncs) {
            end_of_writing(buffer.dma_buf.as_fd())?;
        }
        let import = imports.map(import);
        let submission = Submission {
            used: &self.agreed.raw_bytes(),
            captured: Some(stamp),
            imports: import.as_slice(),
        };
        self.raw.submit(&mut raw.slot, &submission)?;
        raw.frame = frame;
        Ok(())
    }

    /// Takes back what the encoder has read, and so sends the camera's memory home.
    pub(super) fn collect_raw(&mut self) -> Result<(), V4l2Error> {
        while let Some(dequeued) = self.raw.try_dequeue()? {
            let Some(raw) = self.raw_slots.get_mut(dequeued.index) else {
                continue;
            };
            raw.frame = None;
            raw.slot.take_back(&dequeued)?;
        }
        Ok(())
    }

    /// The next coded buffer, its bytes in `bytes`; the buffer goes back at once.
    pub(super) fn take_coded(&mut self, bytes: &mut Vec<u8>) -> Result<Coded, V4l2Error> {
        let dequeued = match self.coded.try_dequeue() {
            Ok(Some(dequeued)) => dequeued,
            Ok(None) => return Ok(Coded::Nothing),
            Err(error) if error.is_end_of_stream() => return Ok(Coded::End),
            Err(error) => return Err(error),
        };
        let Some(slot) = self.coded_slots.get_mut(dequeued.index) else {
            return Ok(Coded::Nothing);
        };
        slot.take_back(&dequeued)?;
        let coded = read(slot, &dequeued, bytes);
        // The end of a drain says no to further buffers until the queue is started again.
        if !dequeued.is_last() {
            self.coded.submit(slot, &Submission::default())?;
        }
        Ok(coded)
    }

    /// Whether the drain's end was announced.
    pub(super) fn hear_events(&self) -> Result<bool, V4l2Error> {
        let mut has_ended = false;
        while let Some(event) = self.device.try_event()? {
            has_ended |= event == Event::EndOfStream;
        }
        Ok(has_ended)
    }

    /// Asks for everything that is still inside. False when the driver has no such command (venus before Linux 6.4).
    pub(super) fn drain(&self) -> Result<bool, V4l2Error> {
        match self.device.command_encoder(EncoderCommand::Stop) {
            Ok(()) => Ok(true),
            Err(error) if error.is_unsupported() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Starts both queues; a first picture is queued, without which some refuse. May block.
    pub(super) fn start(&mut self) -> Result<(), V4l2Error> {
        self.start_raw()?;
        self.coded.start()
    }

    /// The next picture will be a key frame with headers. What is inside and not taken is lost. May block.
    pub(super) fn restart_capture(&mut self) -> Result<(), V4l2Error> {
        self.coded.stop()?;
        self.queue_coded()?;
        self.coded.start()
    }

    /// Everything anew but the descriptor. May block.
    pub(super) fn reinitialise(self, blueprint: &Blueprint) -> Result<Box<Self>, V4l2Error> {
        self.raw.stop()?;
        self.coded.stop()?;
        self.raw.free()?;
        self.coded.free()?;
        let device = Arc::clone(&self.device);
        // Mappings and leases go, so that nothing keeps the old memory.
        drop(self);
        Self::on(device, blueprint)
    }

    /// A firmware that refuses the level, or a bitrate that is beyond it, is asked again with others.
    fn start_raw(&mut self) -> Result<(), V4l2Error> {
        loop {
            let refusal = match self.raw.start() {
                Err(error) if error.is_beyond_level() => error,
                result => return result,
            };
            let remedies = &self.profile.level.when_refused;
            if !self.controls.ease(&self.device, remedies)? {
                return Err(refusal);
            }
        }
    }

    /// Memory that the encoder cannot reach is refused here and not at the first picture: the kernel maps it when it is queued.
    fn try_imports(&mut self) -> Result<(), V4l2Error> {
        let RawMemory::Imported(buffers) = &self.memory else {
            return Ok(());
        };
        let used = self.agreed.raw_bytes();
        if self.raw_slots.len() < buffers.len() {
            return Err(V4l2Error::Nonsense {
                attempt: "import the camera's buffers",
                found: format!("room for {}", self.raw_slots.len()),
                expected: format!("{}", buffers.len()),
            });
        }
        for (raw, buffer) in self.raw_slots.iter_mut().zip(buffers.iter()) {
            let import = import(buffer);
            let submission = Submission {
                used: &used,
                captured: None,
                imports: std::slice::from_ref(&import),
            };
            self.raw.submit(&mut raw.slot, &submission)?;
        }
        self.raw.stop()
    }

    fn queue_coded(&mut self) -> Result<(), V4l2Error> {
        for slot in &mut self.coded_slots {
            if !slot.is_with_kernel() {
                self.coded.submit(slot, &Submission::default())?;
            }
        }
        Ok(())
    }
}

fn import(buffer: &SharedBuffer) -> Import<'_> {
    Import {
        dma_buf: buffer.dma_buf.as_fd(),
        length: buffer.length,
        data_offset: 0,
    }
}

fn read(slot: &Slot, dequeued: &Dequeued, bytes: &mut Vec<u8>) -> Coded {
    let (stamp, is_last) = (dequeued.timestamp(), dequeued.is_last());
    if dequeued.is_error() {
        return Coded::Failed { stamp, is_last };
    }
    // Device memory is slow to read: once, and in one go.
    bytes.clear();
    bytes.extend_from_slice(slot.filled(0));
    Coded::Buffer {
        stamp,
        is_full: slot.filled_range(0).end >= slot.room(0),
        is_last,
    }
}

/// With fewer buffers when contiguous memory is short: two of a kind still make a picture.
fn allocate(
    device: &Device,
    buffer_type: BufferType,
    memory: Memory,
    wish: u32,
    planes: usize,
) -> Result<(Queue, Vec<Slot>), V4l2Error> {
    let mut count = wish;
    loop {
        match Queue::request(device, buffer_type, memory, count, planes) {
            Err(error) if error.is_out_of_memory() && memory == Memory::Mmap && count > 2 => {
                count -= 1;
                warn!(%error, "asking the encoder for {count} buffers");
            }
            result => return result,
        }
    }
}
