//! From the configuration's choice to the drivers behind the traits.

use std::fs::File;
use std::sync::Arc;

use tracing::warn;

use crate::camera::file::FileCamera;
use crate::camera::test_card::{TestCard, TestCardSettings};
use crate::camera::v4l2::{CameraSettings, FORMATS, Whereabouts};
use crate::camera::{Camera, CameraError};
use crate::config::{CameraConfig, EncoderChoice, Source};
use crate::encoder::pass_through::PassThrough;
use crate::encoder::{Encoder, EncoderError};
use crate::media::{Fourcc, PictureFormat};
use crate::pipeline::{Parts, PipelineError};

/// Opens what `config` asks for, when called: on the pipeline's own thread.
pub(super) fn opener(
    config: &CameraConfig,
    whereabouts: &Arc<Whereabouts>,
) -> impl FnOnce() -> Result<Parts, PipelineError> + Send + 'static {
    let config = config.clone();
    let whereabouts = Arc::clone(whereabouts);
    move || {
        let camera = camera(&config, &whereabouts)?;
        if matches!(config.source, Source::Auto) && !whereabouts.is_known() {
            warn!("found no camera that could be used: showing the test card");
        }
        let encoder = encoder(&config, camera.format())?;
        Ok(Parts { camera, encoder })
    }
}

/// Where `config`'s camera is; to be kept, so that the same one is found when it comes back.
pub(super) fn whereabouts(config: &CameraConfig) -> Whereabouts {
    match &config.source {
        Source::Device(path) => Whereabouts::at(path),
        Source::Auto | Source::TestCard | Source::File(_) => Whereabouts::any(),
    }
}

pub(super) fn camera(
    config: &CameraConfig,
    whereabouts: &Whereabouts,
) -> Result<Box<dyn Camera>, CameraError> {
    match &config.source {
        Source::TestCard => test_card(config),
        Source::File(path) => Ok(Box::new(FileCamera::open(path)?)),
        Source::Auto | Source::Device(_) => {
            let settings = CameraSettings {
                size: config.size,
                interval: config.frame_interval,
                formats: FORMATS,
            };
            let Some(negotiated) = whereabouts.negotiate(&settings)? else {
                return test_card(config);
            };
            Ok(Box::new(negotiated.start()?))
        }
    }
}

fn test_card(config: &CameraConfig) -> Result<Box<dyn Camera>, CameraError> {
    let settings = TestCardSettings {
        size: config.size,
        interval: config.frame_interval,
    };
    Ok(Box::new(TestCard::open(&settings)?))
}

fn encoder(config: &CameraConfig, format: PictureFormat) -> Result<Box<dyn Encoder>, EncoderError> {
    if format.fourcc == Fourcc::H264 {
        return Ok(Box::new(PassThrough::open(format)?));
    }
    match &config.encoder {
        EncoderChoice::Auto | EncoderChoice::Software => software(config, format),
        EncoderChoice::Device(path) => Err(EncoderError::Start {
            encoder: "the hardware encoder",
            found: match File::open(path) {
                Ok(_) => format!("this version has no driver for {}", path.display()),
                Err(error) => format!("cannot open {}: {error}", path.display()),
            },
        }),
    }
}

#[cfg(feature = "software-encoder")]
fn software(
    config: &CameraConfig,
    format: PictureFormat,
) -> Result<Box<dyn Encoder>, EncoderError> {
    use crate::encoder::software::{EncoderSettings, SoftwareEncoder};
    let settings = EncoderSettings {
        bitrate: config.bitrate.start,
    };
    Ok(Box::new(SoftwareEncoder::open(format, settings)?))
}

#[cfg(not(feature = "software-encoder"))]
fn software(_: &CameraConfig, _: PictureFormat) -> Result<Box<dyn Encoder>, EncoderError> {
    Err(EncoderError::Start {
        encoder: "the software encoder",
        found: "this rovercast was built without it".into(),
    })
}
