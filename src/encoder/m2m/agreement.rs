//! What camera and driver agree on before there are buffers.
//!
//! The order is that of the kernel's stateful encoder interface (dev-encoder.rst): coded format, raw format, rate, crop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::controls::Aim;
use crate::board::{EncoderProfile, FrameRate};
use crate::camera::SharedBuffer;
use crate::media::{Fourcc, PictureFormat, Size};
use crate::v4l2::{BufferType, Colorimetry, Device, Format, FormatRequest, Rectangle, V4l2Error};

/// What it takes to set an encoder up, as often as it must be.
#[derive(Clone, Debug)]
pub(super) struct Blueprint {
    pub(super) node: PathBuf,
    pub(super) fourcc: Fourcc,
    /// The camera's; the driver may want more.
    pub(super) stride: u32,
    /// The camera's again; 0: no wish.
    pub(super) bytes: u32,
    pub(super) colorimetry: Option<Colorimetry>,
    pub(super) aim: Aim,
    pub(super) memory: RawMemory,
    /// The memory is cached, and a processor may have written to it.
    pub(super) syncs: bool,
    pub(super) profile: Arc<EncoderProfile>,
}

/// Whose memory the raw pictures are in.
#[derive(Clone, Debug)]
pub(super) enum RawMemory {
    Own,
    Imported(Arc<[SharedBuffer]>),
}

/// What the driver made of a format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed {
    pub(super) raw: Format,
    pub(super) coded: Format,
}

impl Agreed {
    /// How long a raw picture is in each of its memory planes.
    pub(super) fn raw_bytes(&self) -> [u32; 3] {
        let planes = self.raw.planes();
        std::array::from_fn(|plane| planes.get(plane).map_or(0, |it| it.bytes))
    }
}

/// Camera and encoder have the same idea of a picture.
pub(super) struct Direct {
    pub(super) blueprint: Blueprint,
    pub(super) agreed: Agreed,
}

impl Direct {
    pub(super) fn raw_bytes(&self) -> u32 {
        self.agreed.raw.planes()[0].bytes
    }
}

impl Blueprint {
    fn size(&self) -> Size {
        self.aim.size
    }
}

/// Which queues it has; an encoder of H.264 that is.
pub(super) fn queues(device: &Device) -> Result<(BufferType, BufferType), V4l2Error> {
    let queues = device.capabilities().memory_to_memory();
    let is_encoder = |coded| Ok(device.formats(coded)?.contains(&Fourcc::H264));
    match queues {
        Some((raw, coded)) if is_encoder(coded)? => Ok((raw, coded)),
        Some(_) | None => Err(V4l2Error::Nonsense {
            attempt: "use the device as an encoder",
            found: "no queue that gives H264".into(),
            expected: "a memory-to-memory encoder".into(),
        }),
    }
}

/// Formats, rate and crop. The coded format first, for it may change the raw one; the raw format resets the crop.
pub(super) fn agree(device: &Device, blueprint: &Blueprint) -> Result<Agreed, V4l2Error> {
    let (raw_type, coded_type) = queues(device)?;
    let size = blueprint.size();
    let mut request = FormatRequest::new(Fourcc::H264, size);
    request.layout.bytes = blueprint.profile.coded.buffer_bytes(size);
    device.set_format(coded_type, &request)?;

    let mut request = FormatRequest::new(blueprint.fourcc, size);
    request.layout.stride = blueprint.stride;
    request.layout.bytes = blueprint.bytes;
    request.colorimetry = blueprint.colorimetry;
    let raw = device.set_format(raw_type, &request)?;
    let nonsense = |found: String, expected: String| V4l2Error::Nonsense {
        attempt: "agree on a raw format",
        found,
        expected,
    };
    if raw.fourcc != blueprint.fourcc {
        return Err(nonsense(
            raw.fourcc.to_string(),
            blueprint.fourcc.to_string(),
        ));
    }
    let planes = blueprint.fourcc.memory_planes();
    if raw.planes().len() != planes {
        return Err(nonsense(
            format!("{} memory planes", raw.planes().len()),
            format!("{planes} for {}", blueprint.fourcc),
        ));
    }
    if let [_, u, v] = raw.planes()
        && u.stride != v.stride
    {
        return Err(nonsense(
            format!("lines of {} and of {} bytes of colour", u.stride, v.stride),
            "the same".into(),
        ));
    }
    if raw.size.width < size.width || raw.size.height < size.height {
        return Err(nonsense(raw.size.to_string(), format!("at least {size}")));
    }
    if let Err(error) = device.set_frame_interval(raw_type, declared(blueprint)) {
        warn!(%error, "the encoder counts on a frame rate of its own");
    }
    if raw.size != size {
        crop(device, raw_type, size)?;
    }
    Ok(Agreed {
        raw,
        coded: device.format(coded_type)?,
    })
}

/// Else the padding of 1088 lines would be seen.
fn crop(device: &Device, raw_type: BufferType, size: Size) -> Result<(), V4l2Error> {
    let part = Rectangle {
        left: 0,
        top: 0,
        size,
    };
    let took = device.set_crop(raw_type, part)?;
    if took == part {
        return Ok(());
    }
    Err(V4l2Error::Nonsense {
        attempt: "crop the padded picture",
        found: took.size.to_string(),
        expected: size.to_string(),
    })
}

/// What the driver is told; the timestamps say how it is.
fn declared(blueprint: &Blueprint) -> Duration {
    let interval = blueprint.aim.interval;
    match blueprint.profile.raw.frame_rate {
        FrameRate::AsItIs => interval,
        FrameRate::Class30Or60 if interval < Duration::from_micros(33_000) => {
            Duration::from_secs(1) / 60
        }
        FrameRate::Class30Or60 => Duration::from_secs(1) / 30,
    }
}

/// What differs between their pictures, if anything.
pub(super) fn obstacle(camera: &PictureFormat, agreed: &Agreed) -> Option<String> {
    let raw = &agreed.raw;
    let stride = raw.planes()[0].stride;
    if stride != camera.stride {
        return Some(format!(
            "the camera's lines have {} bytes, the encoder's {stride}",
            camera.stride
        ));
    }
    let has_planes = matches!(camera.fourcc, Fourcc::NV12 | Fourcc::YU12);
    if has_planes && raw.size.height != camera.size.height {
        return Some(format!(
            "the camera's colours begin at line {}, the encoder's at {}",
            camera.size.height, raw.size.height
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v4l2::PlaneLayout;

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    fn obstacle_of(
        fourcc: Fourcc,
        camera_stride: u32,
        raw: Size,
        raw_stride: u32,
    ) -> Option<String> {
        let camera = PictureFormat {
            fourcc,
            size: size(1920, 1080),
            stride: camera_stride,
            interval: Duration::from_millis(33),
        };
        let layout = PlaneLayout {
            stride: raw_stride,
            bytes: 0,
        };
        let raw = Format::told(fourcc, raw, &[layout]);
        obstacle(&camera, &Agreed { raw, coded: raw })
    }

    #[test]
    fn the_same_bytes_need_no_copy() {
        assert_eq!(
            obstacle_of(Fourcc::NV12, 1920, size(1920, 1080), 1920),
            None
        );
    }

    #[test]
    fn another_stride_would_skew_the_picture() {
        let told = obstacle_of(Fourcc::NV12, 1920, size(1920, 1080), 2048).unwrap();
        assert_eq!(
            told,
            "the camera's lines have 1920 bytes, the encoder's 2048"
        );
    }

    #[test]
    fn lines_that_pad_the_picture_shift_its_colours_unless_they_are_packed() {
        let told = obstacle_of(Fourcc::NV12, 1920, size(1920, 1088), 1920).unwrap();
        assert_eq!(
            told,
            "the camera's colours begin at line 1080, the encoder's at 1088"
        );
        assert_eq!(
            obstacle_of(Fourcc::YUYV, 3840, size(1920, 1088), 3840),
            None
        );
    }
}
