//! Which encoder a camera gets, and how pictures go from one to the other: decided by trying.
//!
//! 1. `encoder-export`: the camera fills the encoder's buffers.
//! 2. `camera-export`: the encoder reads the camera's buffers.
//! 3. `heap`: both import memory of a dma-heap, the first that both can reach.
//! 4. `copy`: one copy, or one conversion that was needed anyway.
//!
//! The profile has the order. A path that camera, encoder or kernel refuses leads to the next one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info};

use super::agreement::{Agreed, Blueprint, Direct, RawMemory, agree, obstacle};
use super::candidate::Candidate;
use super::controls::Aim;
use super::session::Session;
use super::{M2mEncoder, Setup, Standing};
use crate::board::PicturePath;
use crate::camera::v4l2::{Negotiated, V4l2Camera};
use crate::camera::{Camera, CameraError, SharedBuffer};
use crate::encoder::convert::{Target, Writer};
use crate::encoder::{Another, EncoderError, Handover};
use crate::media::{Bitrate, Fourcc, PictureFormat};
use crate::pipeline::PipelineError;
use crate::v4l2::aside::within;
use crate::v4l2::heap::Heap;
use crate::v4l2::{Colorimetry, Device, V4l2Error};

/// What can be chosen about an encoder.
#[derive(Clone, Copy, Debug)]
pub struct M2mSettings {
    pub bitrate: Bitrate,
    /// What it may be raised to later.
    pub highest_bitrate: Bitrate,
}

impl Candidate {
    /// Starts the camera and opens the encoder for it, on the first path that works.
    pub fn pair(
        &self,
        camera: &mut Negotiated,
        settings: M2mSettings,
        standing: &Arc<Standing>,
    ) -> Result<(V4l2Camera, M2mEncoder), PipelineError> {
        self.check_size(camera.format())?;
        let mut refused = Vec::new();
        let direct = self.agree_directly(camera, settings);
        if let Err(why) = &direct {
            refused.push(format!("without a copy: {why}"));
        }
        for path in &self.profile.paths {
            let tried = match (path, &direct) {
                (PicturePath::Copy, _) => self.copy(camera, settings),
                (_, Err(_)) => continue,
                (PicturePath::EncoderExport, Ok(direct)) => Self::export_encoder(camera, direct),
                (PicturePath::CameraExport, Ok(direct)) => Self::export_camera(camera, direct),
                (PicturePath::Heap, Ok(direct)) => self.heap(camera, direct, &mut refused),
            };
            match tried {
                Ok(pair) => {
                    let format = pair.camera.format();
                    info!(
                        encoder = self.name,
                        %path,
                        heap = pair.heap,
                        format = %format.fourcc,
                        size = %format.size,
                        refused = refused.join("; "),
                        "pictures have a way from camera to encoder"
                    );
                    let handover = Handover {
                        path: *path,
                        heap: pair.heap,
                        refused,
                    };
                    let encoder = self.encoder(
                        pair.session,
                        pair.blueprint,
                        handover,
                        pair.writer,
                        standing,
                    )?;
                    return Ok((pair.camera, encoder));
                }
                Err(Refusal::Camera(error)) if error.is_unplugged() => return Err(error.into()),
                Err(refusal) => refused.push(format!("{path}: {refusal}")),
            }
        }
        Err(self.unusable(&refused).into())
    }

    /// Opens the encoder for pictures that are in this process's own memory.
    pub fn open_for(
        &self,
        format: PictureFormat,
        settings: M2mSettings,
        standing: &Arc<Standing>,
    ) -> Result<M2mEncoder, EncoderError> {
        self.check_size(format)?;
        let (session, blueprint, writer) = self
            .open_copying(format, None, settings)
            .map_err(|refusal| self.unusable(&[refusal.to_string()]))?;
        let path = PicturePath::Copy;
        info!(encoder = self.name, %path, format = %format.fourcc, size = %format.size, "pictures have a way to the encoder");
        let handover = Handover {
            path,
            heap: None,
            refused: Vec::new(),
        };
        self.encoder(session, blueprint, handover, Some(writer), standing)
    }

    fn encoder(
        &self,
        session: Box<Session>,
        blueprint: Blueprint,
        handover: Handover,
        writer: Option<Writer>,
        standing: &Arc<Standing>,
    ) -> Result<M2mEncoder, EncoderError> {
        let setup = Setup {
            name: self.name.clone(),
            handover,
            blueprint,
            writer,
            standing: Arc::clone(standing),
        };
        M2mEncoder::new(session, setup)
    }

    /// Some drivers take any size, and their hardware spoils the picture.
    fn check_size(&self, format: PictureFormat) -> Result<(), EncoderError> {
        let raw = &self.profile.raw;
        if raw.takes(format.size) {
            return Ok(());
        }
        let (size, least, most) = (format.size, raw.least, raw.most);
        Err(self.unusable(&[format!(
            "got pictures of {size} when expecting {least} to {most}"
        )]))
    }

    fn unusable(&self, refused: &[String]) -> EncoderError {
        EncoderError::Start {
            encoder: "the hardware encoder",
            found: format!("{}: {}", self.name, refused.join("; ")),
        }
    }

    /// Makes both see the same picture in the same bytes. The error says why they cannot.
    fn agree_directly(
        &self,
        camera: &mut Negotiated,
        settings: M2mSettings,
    ) -> Result<Direct, String> {
        let format = camera.format();
        if !self.raw.contains(&format.fourcc) {
            return Err(format!("the encoder does not read {}", format.fourcc));
        }
        let mut blueprint = self.blueprint(format, format.fourcc, settings);
        blueprint.stride = format.stride;
        blueprint.bytes = camera.layout().bytes;
        blueprint.colorimetry = Some(camera.colorimetry());
        let agreed = self.try_agree(&blueprint)?;
        let stride = agreed.raw.planes()[0].stride;
        if stride != format.stride {
            let widened = camera.widen(stride).map_err(|error| error.to_string())?;
            debug!(
                from = format.stride,
                to = widened.stride,
                wanted = stride,
                "camera widens its lines"
            );
            blueprint.stride = widened.stride;
            blueprint.bytes = camera.layout().bytes;
        }
        let agreed = self.try_agree(&blueprint)?;
        obstacle(&camera.format(), &agreed).map_or(Ok(Direct { blueprint, agreed }), Err)
    }

    fn try_agree(&self, blueprint: &Blueprint) -> Result<Agreed, String> {
        let theirs = blueprint.clone();
        let agreed = guarded("agree with the encoder", blueprint, move || {
            agree(&Device::open(&theirs.node)?, &theirs)
        });
        agreed.map_err(|refusal| refusal.to_string())
    }

    fn export_encoder(camera: &Negotiated, direct: &Direct) -> Result<Pair, Refusal> {
        let mut blueprint = direct.blueprint.clone();
        blueprint.memory = RawMemory::Own;
        let (room, needed) = (direct.raw_bytes(), camera.layout().bytes);
        if room < needed {
            return Err(format!("the encoder's buffers have {room} of {needed} bytes").into());
        }
        let session = open(&blueprint)?;
        let buffers = session.export()?;
        // Set up anew, the encoder would have other buffers than the camera: from then on it imports these.
        blueprint.memory = RawMemory::Imported(share(&buffers)?.into());
        let camera = camera.start_importing(buffers)?;
        Ok(Pair {
            camera,
            session,
            blueprint,
            writer: None,
            heap: None,
        })
    }

    fn export_camera(camera: &Negotiated, direct: &Direct) -> Result<Pair, Refusal> {
        let (room, needed) = (camera.layout().bytes, direct.raw_bytes());
        if room < needed {
            return Err(format!("the camera's buffers have {room} of {needed} bytes").into());
        }
        let camera = camera.start()?;
        if camera.shared_buffers().is_empty() {
            return Err("the camera does not share its memory".to_owned().into());
        }
        let mut blueprint = direct.blueprint.clone();
        blueprint.memory = RawMemory::Imported(share(camera.shared_buffers())?.into());
        Ok(Pair {
            session: open(&blueprint)?,
            camera,
            blueprint,
            writer: None,
            heap: None,
        })
    }

    fn heap(
        &self,
        camera: &Negotiated,
        direct: &Direct,
        refused: &mut Vec<String>,
    ) -> Result<Pair, Refusal> {
        for heap in Heap::usable(self.profile.contiguous) {
            match self.share_heap(&heap, camera, direct) {
                Err(Refusal::Camera(error)) if error.is_unplugged() => return Err(error.into()),
                Err(refusal) => refused.push(format!("heap {}: {refusal}", heap.name())),
                taken => return taken,
            }
        }
        Err("there is no dma-heap that both can use".to_owned().into())
    }

    fn share_heap(
        &self,
        heap: &Heap,
        camera: &Negotiated,
        direct: &Direct,
    ) -> Result<Pair, Refusal> {
        let bytes = camera.layout().bytes.max(direct.raw_bytes());
        let buffers = (0..self.profile.raw.buffers)
            .map(|_| heap.allocate(bytes))
            .collect::<Result<Vec<_>, V4l2Error>>()?;
        let mut blueprint = direct.blueprint.clone();
        blueprint.memory = RawMemory::Imported(share(&buffers)?.into());
        blueprint.syncs = true;
        let session = open(&blueprint)?;
        Ok(Pair {
            camera: camera.start_importing(buffers)?,
            session,
            blueprint,
            writer: None,
            heap: Some(heap.name().to_owned()),
        })
    }

    fn copy(&self, camera: &Negotiated, settings: M2mSettings) -> Result<Pair, Refusal> {
        let colorimetry = (camera.format().fourcc != Fourcc::MJPG).then(|| camera.colorimetry());
        let (session, blueprint, writer) =
            self.open_copying(camera.format(), colorimetry, settings)?;
        Ok(Pair {
            camera: camera.start()?,
            session,
            blueprint,
            writer: Some(writer),
            heap: None,
        })
    }

    fn open_copying(
        &self,
        format: PictureFormat,
        colorimetry: Option<Colorimetry>,
        settings: M2mSettings,
    ) -> Result<(Box<Session>, Blueprint, Writer), Refusal> {
        let Some(fourcc) = self.conversion_of(format.fourcc) else {
            return Err(format!("{} cannot be converted for it", format.fourcc).into());
        };
        let mut blueprint = self.blueprint(format, fourcc, settings);
        blueprint.colorimetry = Some(colorimetry.unwrap_or(CONVERTED));
        let session = open(&blueprint)?;
        let raw = session.agreed().raw;
        let one = Target::in_one_buffer(fourcc, raw.planes()[0].stride, raw.size.height);
        let target = match raw.planes().get(1) {
            Some(colours) => Target {
                chroma_stride: colours.stride,
                ..one
            },
            None => one,
        };
        let writer = Writer::new(format, target).map_err(|error| error.to_string())?;
        Ok((session, blueprint, writer))
    }

    fn blueprint(&self, format: PictureFormat, fourcc: Fourcc, settings: M2mSettings) -> Blueprint {
        let rate = &self.profile.rate;
        Blueprint {
            node: self.node.clone(),
            fourcc,
            stride: 0,
            bytes: 0,
            colorimetry: None,
            aim: Aim {
                size: format.size,
                interval: format.interval,
                bitrate: rate.fit(settings.bitrate, format.size),
                ceiling: rate.fit(settings.highest_bitrate, format.size),
            },
            memory: RawMemory::Own,
            syncs: false,
            profile: Arc::clone(&self.profile),
        }
    }
}

/// A second instance for the same pictures: it reads the memory that they are in already, or has its own copies.
///
/// How many instances a driver has is found by opening one.
pub(super) fn another(setup: &Setup) -> Option<Another> {
    let (name, handover) = (setup.name.clone(), setup.handover.clone());
    let blueprint = setup.blueprint.clone();
    let writer = match &setup.writer {
        Some(writer) => Some(writer.another().ok()?),
        None => None,
    };
    Some(Arc::new(move |bitrate| {
        let mut blueprint = blueprint.clone();
        let size = blueprint.aim.size;
        blueprint.aim.bitrate = blueprint.profile.rate.fit(bitrate, size);
        let session = open(&blueprint).map_err(|refusal| EncoderError::Refused {
            encoder: name.clone(),
            refusal,
        })?;
        let setup = Setup {
            name: name.clone(),
            handover: handover.clone(),
            blueprint,
            writer: writer.as_ref().map(Writer::another).transpose()?,
            // That the second is given up says nothing of the first.
            standing: Arc::default(),
        };
        Ok(Box::new(M2mEncoder::new(session, setup)?))
    }))
}

struct Pair {
    camera: V4l2Camera,
    session: Box<Session>,
    blueprint: Blueprint,
    writer: Option<Writer>,
    heap: Option<String>,
}

/// Why a path cannot be taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Camera(#[from] CameraError),
    #[error("{0}")]
    Encoder(#[from] V4l2Error),
    #[error("{0}")]
    Unfit(String),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Unfit(why)
    }
}

fn open(blueprint: &Blueprint) -> Result<Box<Session>, V4l2Error> {
    let theirs = blueprint.clone();
    guarded("open the encoder", blueprint, move || {
        Session::open(&theirs)
    })
}

/// A driver that does not come back must not take the camera along.
#[allow(clippy::disallowed_methods)] // a driver: one reading when it is opened
fn guarded<T: Send + 'static>(
    what: &'static str,
    blueprint: &Blueprint,
    act: impl FnOnce() -> Result<T, V4l2Error> + Send + 'static,
) -> Result<T, V4l2Error> {
    let limit = blueprint.profile.patience.call.min(OPEN_AT_MOST);
    let lost = |found: String| V4l2Error::Nonsense {
        attempt: what,
        found,
        expected: format!("an answer within {limit:?}"),
    };
    match within(what, limit, Instant::now(), act) {
        Ok(Some(result)) => result,
        Ok(None) => Err(lost("nothing".into())),
        Err(error) => Err(lost(error.to_string())),
    }
}

/// More descriptors of the same memory.
fn share(buffers: &[SharedBuffer]) -> Result<Vec<SharedBuffer>, String> {
    buffers
        .iter()
        .map(|buffer| {
            Ok(SharedBuffer {
                dma_buf: buffer.dma_buf.try_clone()?,
                length: buffer.length,
            })
        })
        .collect::<std::io::Result<_>>()
        .map_err(|error| format!("cannot share a buffer: {error}"))
}

/// What `convert` makes of JPEG: `V4L2_COLORSPACE_SMPTE170M`, BT.601 in limited range, with the transfer function of BT.709.
const CONVERTED: Colorimetry = Colorimetry {
    colorspace: 1,
    ycbcr_encoding: 1,
    quantization: 2,
    transfer_function: 1,
};

/// The supervisor gives a pipeline eight seconds to its first unit.
const OPEN_AT_MOST: Duration = Duration::from_secs(5);
