//! What a camera says it can do.

use std::time::Duration;

use super::whereabouts::is_camera;
use crate::media::{Fourcc, Size};
use crate::v4l2::{Device, FrameSizes, Identity, V4l2Error};

/// A camera as it describes itself. Nothing was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraFound {
    pub identity: Identity,
    /// Somebody has to set up the links before it first.
    pub needs_media_controller: bool,
    pub formats: Vec<FormatFound>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatFound {
    pub fourcc: Fourcc,
    pub sizes: Vec<SizeFound>,
    /// The sizes are the least and the most, and there are others between them.
    pub is_range: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeFound {
    pub size: Size,
    /// At the highest rate; `None` when the driver does not tell.
    pub interval: Option<Duration>,
}

impl CameraFound {
    /// `None` when the device is no camera.
    pub fn ask(device: &Device) -> Result<Option<Self>, V4l2Error> {
        let capabilities = device.capabilities();
        let Some(buffer_type) = capabilities.camera().filter(|_| is_camera(device)) else {
            return Ok(None);
        };
        let mut formats = Vec::new();
        for fourcc in device.formats(buffer_type)? {
            formats.push(FormatFound::ask(device, fourcc)?);
        }
        Ok(Some(Self {
            identity: device.identity().clone(),
            needs_media_controller: capabilities.needs_media_controller(),
            formats,
        }))
    }
}

impl FormatFound {
    fn ask(device: &Device, fourcc: Fourcc) -> Result<Self, V4l2Error> {
        let (sizes, is_range) = match device.frame_sizes(fourcc)? {
            FrameSizes::Discrete(sizes) => (sizes, false),
            FrameSizes::Range { least, most, .. } => (vec![least, most], true),
            FrameSizes::Untold => (Vec::new(), false),
        };
        let mut found = Vec::with_capacity(sizes.len());
        for size in sizes {
            let interval = device.frame_intervals(fourcc, size)?.shortest();
            found.push(SizeFound { size, interval });
        }
        Ok(Self {
            fourcc,
            sizes: found,
            is_range,
        })
    }
}
