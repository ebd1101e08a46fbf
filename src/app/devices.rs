//! From the configuration's choice to the drivers behind the traits.

use std::fs::File;

use crate::camera::file::FileCamera;
use crate::camera::test_card::{TestCard, TestCardSettings};
use crate::camera::{Camera, CameraError};
use crate::config::{CameraConfig, EncoderChoice, Source};
use crate::encoder::pass_through::PassThrough;
use crate::encoder::{Encoder, EncoderError};
use crate::media::{Fourcc, PictureFormat};
use crate::pipeline::{Parts, PipelineError};

/// Opens what `config` asks for, when called: on the pipeline's own thread.
pub(super) fn opener(
    config: &CameraConfig,
) -> impl FnOnce() -> Result<Parts, PipelineError> + Send + 'static {
    let config = config.clone();
    move || {
        let camera = camera(&config)?;
        let encoder = encoder(&config, camera.format())?;
        Ok(Parts { camera, encoder })
    }
}

pub(super) fn camera(config: &CameraConfig) -> Result<Box<dyn Camera>, CameraError> {
    match &config.source {
        Source::Auto | Source::TestCard => {
            let settings = TestCardSettings {
                size: config.size,
                interval: config.frame_interval,
            };
            Ok(Box::new(TestCard::open(&settings)?))
        }
        Source::File(path) => Ok(Box::new(FileCamera::open(path)?)),
        Source::Device(path) => Err(match File::open(path) {
            Ok(_) => CameraError::NotPlayable {
                path: path.clone(),
                found: "this version has no V4L2 driver, only test-card and file:PATH".into(),
            },
            Err(source) => CameraError::Unreadable {
                path: path.clone(),
                source,
            },
        }),
    }
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
