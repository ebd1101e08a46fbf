//! A camera that was asked what it can do and has agreed: whose memory it streams into is still open.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::epoll;
use rustix::io::Errno;
use tracing::{debug, info};

use super::negotiation::{self, CameraSettings, Offer};
use super::returns::{LentSlot, Returns};
use super::stamps::Stamps;
use super::{CLOSE_AT_MOST, Damaged, Streaming, V4l2Camera, refused};
use crate::camera::metronome::INTERVALS;
use crate::camera::{CameraError, SharedBuffer};
use crate::media::PictureFormat;
use crate::v4l2::aside::ClosedAside;
use crate::v4l2::{
    BufferType, Colorimetry, Device, EventKind, FormatRequest, Memory, PlaneLayout, Queue, Slot,
    V4l2Error,
};

/// A camera that has agreed to a format and does not stream yet.
#[derive(Debug)]
pub struct Negotiated {
    name: String,
    device: Arc<Device>,
    buffer_type: BufferType,
    format: PictureFormat,
    layout: PlaneLayout,
    colorimetry: Colorimetry,
}

impl Negotiated {
    /// Asks an open device for what comes nearest to `settings`.
    pub fn with(device: Device, settings: &CameraSettings<'_>) -> Result<Self, CameraError> {
        let identity = device.identity();
        let name = format!("{} ({})", identity.path.display(), identity.card);
        let refused = |refusal| refused(&name, refusal);
        let unsupported = |asked, expected| CameraError::Unsupported {
            camera: name.clone(),
            asked,
            expected,
        };
        let Some(buffer_type) = device.capabilities().camera() else {
            return Err(unsupported("pictures".into(), "a node that captures video"));
        };
        let offers = offers(&device, buffer_type, settings).map_err(refused)?;
        for offer in negotiation::by_preference(offers, settings) {
            match agree(&device, buffer_type, &offer).map_err(refused)? {
                Ok((format, layout, colorimetry)) => {
                    debug!(camera = name, fourcc = %format.fourcc, size = %format.size, stride = format.stride,
                        interval = ?format.interval, "agreed");
                    return Ok(Self {
                        name,
                        device: Arc::new(device),
                        buffer_type,
                        format,
                        layout,
                        colorimetry,
                    });
                }
                Err(found) => debug!(camera = name, fourcc = %offer.fourcc, %found, "no use"),
            }
        }
        Err(unsupported(
            format!("pictures of {}", settings.size),
            "a format of NV12, YU12, YUYV, UYVY, MJPG or H264 in one plane",
        ))
    }

    /// The driver's name.
    pub fn driver(&self) -> &str {
        &self.device.identity().driver
    }

    /// Read back from the driver.
    pub fn format(&self) -> PictureFormat {
        self.format
    }

    /// How much memory a picture needs, and its stride.
    pub fn layout(&self) -> PlaneLayout {
        self.layout
    }

    pub fn colorimetry(&self) -> Colorimetry {
        self.colorimetry
    }

    /// Asks for lines of so many bytes, as an encoder wants them; the driver may do nothing of the kind.
    pub fn widen(&mut self, stride: u32) -> Result<PictureFormat, CameraError> {
        let refused = |refusal| refused(&self.name, refusal);
        let mut request = FormatRequest::new(self.format.fourcc, self.format.size);
        request.layout.stride = stride;
        let told = self
            .device
            .set_format(self.buffer_type, &request)
            .map_err(refused)?;
        let accepted = negotiation::accept(self.format.fourcc, &told, self.format.interval);
        self.format = accepted.map_err(|found| CameraError::Unsupported {
            camera: self.name.clone(),
            asked: format!("lines of {stride} bytes: {found}"),
            expected: "what it made before, with wider lines",
        })?;
        self.layout = told.planes()[0];
        Ok(self.format)
    }

    /// Streams into the camera's own memory, which is shared where the driver can export it.
    pub fn start(&self) -> Result<V4l2Camera, CameraError> {
        self.stream(Memory::Mmap, Vec::new())
    }

    /// Streams into memory of somebody else: one buffer a slot, each with room for `layout().bytes`. It may be tried again with
    /// other memory after an error.
    pub fn start_importing(&self, buffers: Vec<SharedBuffer>) -> Result<V4l2Camera, CameraError> {
        self.stream(Memory::DmaBuf, buffers)
    }

    fn stream(
        &self,
        memory: Memory,
        imports: Vec<SharedBuffer>,
    ) -> Result<V4l2Camera, CameraError> {
        let refused = |refusal| refused(&self.name, refusal);
        let wish = match memory {
            Memory::Mmap => SLOTS,
            Memory::DmaBuf => imports.len() as u32,
        };
        let (queue, slots) =
            Queue::request(&self.device, self.buffer_type, memory, wish, 1).map_err(refused)?;
        // The driver may want more buffers than there is memory to import: those stay unused.
        let unused = match memory {
            Memory::Mmap => 0,
            Memory::DmaBuf => slots.len().saturating_sub(imports.len()),
        };
        let shared = match memory {
            Memory::Mmap => export(&self.name, &slots),
            Memory::DmaBuf => Vec::new(),
        };
        let returns =
            Arc::new(Returns::new(slots.len()).map_err(|errno| self.os("make an eventfd", errno))?);
        let slots: Vec<_> = slots
            .into_iter()
            .map(|slot| Arc::new(LentSlot::new(slot, &returns)))
            .collect();
        let used = slots.len() - unused;
        let streaming = Streaming {
            name: self.name.clone(),
            device: Arc::clone(&self.device),
            ready: self.watch(&returns)?,
            queue,
            format: self.format,
            whole_frame: negotiation::frame_bytes(&self.format),
            slots: slots.iter().map(|_| None).collect(),
            returns,
            shared,
            imports,
            stamps: Stamps::default(),
            damaged: Damaged::default(),
        };
        let mut camera = V4l2Camera(ClosedAside::new(
            "close the camera",
            CLOSE_AT_MOST,
            streaming,
        ));
        for slot in slots.into_iter().take(used) {
            camera.0.give_to_kernel(slot)?;
        }
        camera.0.queue.start().map_err(refused)?;
        info!(camera = self.name, slots = used, ?memory, "camera streams");
        Ok(camera)
    }

    fn watch(&self, returns: &Returns) -> Result<OwnedFd, CameraError> {
        let watch = || {
            let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let device = epoll::EventFlags::IN | epoll::EventFlags::PRI;
            let unused = epoll::EventData::new_u64(0);
            epoll::add(&ready, &*self.device, unused, device)?;
            let home = epoll::EventFlags::IN;
            epoll::add(&ready, returns, unused, home)?;
            Ok(ready)
        };
        // HDMI receivers have these events; webcams do not.
        self.device
            .subscribe(EventKind::SourceChange)
            .map_err(|refusal| refused(&self.name, refusal))?;
        watch().map_err(|errno| self.os("wait for pictures", errno))
    }

    fn os(&self, what: &'static str, errno: Errno) -> CameraError {
        CameraError::Device {
            camera: self.name.clone(),
            what,
            source: errno.into(),
        }
    }
}

fn offers(
    device: &Device,
    buffer_type: BufferType,
    settings: &CameraSettings<'_>,
) -> Result<Vec<Offer>, V4l2Error> {
    let asked = negotiation::even(settings.size);
    let mut offers = Vec::new();
    for fourcc in device.formats(buffer_type)? {
        let size = device.frame_sizes(fourcc)?.nearest(asked);
        let interval = device
            .frame_intervals(fourcc, size)?
            .nearest(settings.interval);
        offers.push(Offer {
            fourcc,
            size,
            interval,
        });
    }
    Ok(offers)
}

type Agreed = (PictureFormat, PlaneLayout, Colorimetry);

/// The inner error: the driver has another opinion, and another offer may do.
fn agree(
    device: &Device,
    buffer_type: BufferType,
    offer: &Offer,
) -> Result<Result<Agreed, String>, V4l2Error> {
    let request = FormatRequest::new(offer.fourcc, offer.size);
    let format = match device.set_format(buffer_type, &request) {
        Ok(format) => format,
        Err(error) if error.is_busy() || error.is_unplugged() => return Err(error),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let interval = device
        .set_frame_interval(buffer_type, offer.interval)
        .or_else(|error| {
            if error.is_unplugged() {
                Err(error)
            } else {
                Ok(None)
            }
        })?
        .filter(|interval| INTERVALS.contains(interval))
        .unwrap_or(offer.interval);
    Ok(negotiation::accept(offer.fourcc, &format, interval)
        .map(|picture| (picture, format.planes()[0], format.colorimetry)))
}

/// All or none: a camera whose driver cannot export is read by the CPU.
fn export(camera: &str, slots: &[Slot]) -> Vec<SharedBuffer> {
    let exported: Result<Vec<_>, V4l2Error> = slots
        .iter()
        .map(|slot| {
            Ok(SharedBuffer {
                dma_buf: slot.export(0)?,
                length: slot.room(0),
            })
        })
        .collect();
    exported.unwrap_or_else(|error| {
        debug!(camera, %error, "camera does not share its memory");
        Vec::new()
    })
}

/// One that the device fills, one that waits, two that the encoder may hold.
const SLOTS: u32 = 4;
