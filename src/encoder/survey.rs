//! What an encoder says it can do.

use crate::media::Fourcc;
use crate::v4l2::{ControlId, Device, Identity, V4l2Error};

/// A stateful H.264 encoder as it describes itself. Nothing was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderFound {
    pub identity: Identity,
    /// What it reads.
    pub formats: Vec<Fourcc>,
    /// Which of the controls that matter it has, by their V4L2 names.
    pub controls: Vec<&'static str>,
}

impl EncoderFound {
    /// `None` when the device is no H.264 encoder.
    pub fn ask(device: &Device) -> Result<Option<Self>, V4l2Error> {
        let Some((raw, coded)) = device.capabilities().memory_to_memory() else {
            return Ok(None);
        };
        if !device.formats(coded)?.contains(&Fourcc::H264) {
            return Ok(None);
        }
        let formats = device.formats(raw)?;
        // A decoder reads H.264, and on some drivers gives it, too.
        if formats.contains(&Fourcc::H264) {
            return Ok(None);
        }
        let mut controls = Vec::new();
        for (name, id) in CONTROLS {
            if device.query_control(id)?.is_some() {
                controls.push(name);
            }
        }
        Ok(Some(Self {
            identity: device.identity().clone(),
            formats,
            controls,
        }))
    }
}

/// What decides how well viewers are served, the most important first.
const CONTROLS: [(&str, ControlId); 9] = [
    ("FORCE_KEY_FRAME", ControlId::FORCE_KEY_FRAME),
    ("BITRATE", ControlId::BITRATE),
    ("BITRATE_MODE", ControlId::BITRATE_MODE),
    ("H264_LEVEL", ControlId::H264_LEVEL),
    ("H264_PROFILE", ControlId::H264_PROFILE),
    ("GOP_SIZE", ControlId::GOP_SIZE),
    ("HEADER_MODE", ControlId::HEADER_MODE),
    ("REPEAT_SEQ_HEADER", ControlId::REPEAT_SEQ_HEADER),
    ("FRAME_RC_ENABLE", ControlId::FRAME_RC_ENABLE),
];
