//! From the configuration's choice to the drivers behind the traits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::board::{BoardProfile, SoftwareLimits};
use crate::camera::file::FileCamera;
use crate::camera::test_card::{TestCard, TestCardSettings};
use crate::camera::v4l2::{CameraSettings, FORMATS, Negotiated, Whereabouts};
use crate::camera::{Camera, CameraError};
use crate::config::{CameraConfig, EncoderChoice, Renditions, Source, frame_interval};
use crate::encoder::m2m::{Candidate, M2mSettings, Standing, candidates};
use crate::encoder::pass_through::PassThrough;
use crate::encoder::{Encoder, EncoderError};
use crate::media::rate::Half;
use crate::media::{Fourcc, PictureFormat, Size};
use crate::pipeline::{Parts, PipelineError};

use super::profiles::FoundProfiles;

/// What is known of a camera's devices from one pipeline to the next.
#[derive(Debug)]
pub(super) struct Devices {
    /// Where the camera is, so that the same one is found when it comes back.
    pub(super) whereabouts: Whereabouts,
    standing: Arc<Standing>,
    known: Arc<FoundProfiles>,
}

impl Devices {
    pub(super) fn of(config: &CameraConfig, known: &Arc<FoundProfiles>) -> Self {
        Self {
            whereabouts: whereabouts(config),
            standing: Arc::default(),
            known: Arc::clone(known),
        }
    }
}

/// Opens what `config` asks for, or half of it, when called: on the pipeline's own thread.
pub(super) fn opener(
    config: CameraConfig,
    half: Option<Half>,
    devices: &Arc<Devices>,
) -> impl FnOnce() -> Result<Parts, PipelineError> + Send + 'static {
    let devices = Arc::clone(devices);
    move || {
        let parts = match half {
            Some(half) => open_half(&config, &half, &devices)?,
            None => open(&config, &devices)?,
        };
        Ok(match config.renditions {
            Renditions::One => parts,
            Renditions::Two => parts.shared(),
        })
    }
}

/// The whole where there is no half of it: somebody waits for a picture.
fn open_half(
    config: &CameraConfig,
    half: &Half,
    devices: &Devices,
) -> Result<Parts, PipelineError> {
    let smaller = CameraConfig {
        size: half.size(),
        ..config.clone()
    };
    match open(&smaller, devices) {
        Ok(mut parts) => {
            let size = parts.camera.format().size;
            parts.is_half = half.is_met_by(size, parts.encoder.name());
            if parts.is_half || size == half.whole() {
                return Ok(parts);
            }
            let encoder = parts.encoder.name();
            info!(asked = %smaller.size, got = %size, encoder, "this is no half of the picture, opening the whole");
        }
        Err(PipelineError::Camera(error)) if error.is_unplugged() => return Err(error.into()),
        Err(error) => {
            info!(class = error.class(), %error, asked = %smaller.size, "no half of the picture can be had, opening the whole");
        }
    }
    open(config, devices)
}

fn open(config: &CameraConfig, devices: &Devices) -> Result<Parts, PipelineError> {
    match &config.encoder {
        EncoderChoice::Software => {}
        EncoderChoice::Device(node) => {
            let candidate = Candidate::at(node, &devices.known.profiles)?;
            return with_candidate(&candidate, config, devices);
        }
        EncoderChoice::Auto => {
            for candidate in candidates(&devices.known.profiles) {
                if devices.is_suspended(candidate.node()) {
                    info!(
                        encoder = candidate.name(),
                        "it was given up lately, and is left alone"
                    );
                    continue;
                }
                match with_candidate(&candidate, config, devices) {
                    Err(PipelineError::Encoder(error)) => {
                        warn!(class = error.class(), %error, "trying the next encoder");
                    }
                    result => return result,
                }
            }
        }
    }
    let camera = camera(config, &devices.whereabouts)?;
    tell_when_there_is_none(config, devices);
    tell_when_too_much(camera.format(), devices.known.board());
    let encoder = encoder_without_device(config, camera.format())?;
    Ok(Parts::new(camera, encoder))
}

fn with_candidate(
    candidate: &Candidate,
    config: &CameraConfig,
    devices: &Devices,
) -> Result<Parts, PipelineError> {
    let settings = M2mSettings {
        bitrate: config.bitrate.start,
        highest_bitrate: config.bitrate.max,
    };
    let standing = &devices.standing;
    let formats = candidate.camera_formats();
    let negotiated = negotiate(config, &devices.whereabouts, &formats)?;
    tell_when_there_is_none(config, devices);
    let camera = match negotiated {
        Some(camera) if camera.format().fourcc == Fourcc::H264 => Box::new(camera.start()?),
        Some(mut camera) => {
            let profile = candidate.profile();
            let known = &devices.known;
            let paths = known
                .profiles
                .paths(known.board(), camera.driver(), profile);
            let candidate = candidate.clone().over(paths);
            let (camera, encoder) = candidate.pair(&mut camera, settings, standing)?;
            return Ok(Parts::new(Box::new(camera), Box::new(encoder)));
        }
        None => own_pictures(config)?,
    };
    let encoder: Box<dyn Encoder> = if camera.format().fourcc == Fourcc::H264 {
        Box::new(PassThrough::open(camera.format())?)
    } else {
        Box::new(candidate.open_for(camera.format(), settings, standing)?)
    };
    Ok(Parts::new(camera, encoder))
}

fn tell_when_there_is_none(config: &CameraConfig, devices: &Devices) {
    if matches!(config.source, Source::Auto) && !devices.whereabouts.is_known() {
        warn!("found no camera that could be used: showing the test card");
    }
}

/// On the processor pictures come late before they come seldom. Of an unknown board nothing is expected.
fn tell_when_too_much(format: PictureFormat, board: &BoardProfile) {
    let SoftwareLimits { size, fps } = board.software;
    let pixels = |size: Size, interval: Duration| {
        f64::from(size.width) * f64::from(size.height) / interval.as_secs_f64()
    };
    let asked = pixels(format.size, format.interval);
    let is_encoded = format.fourcc != Fourcc::H264 && !board.is_generic();
    if is_encoded && asked > pixels(size, frame_interval(fps)) {
        let board = &board.about.title;
        warn!(
            asked = %format.size,
            "there is no encoder but the processor, and of {board} no more than {size} at {fps} frames a second can be expected"
        );
    }
}

impl Devices {
    #[allow(clippy::disallowed_methods)] // one reading when devices are opened
    fn is_suspended(&self, node: &Path) -> bool {
        self.standing.is_suspended(node, std::time::Instant::now())
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
    match negotiate(config, whereabouts, FORMATS)? {
        Some(negotiated) => Ok(Box::new(negotiated.start()?)),
        None => own_pictures(config),
    }
}

/// `None` when the pictures are no device's.
fn negotiate(
    config: &CameraConfig,
    whereabouts: &Whereabouts,
    formats: &[Fourcc],
) -> Result<Option<Negotiated>, CameraError> {
    match &config.source {
        Source::TestCard | Source::File(_) => Ok(None),
        Source::Auto | Source::Device(_) => whereabouts.negotiate(&CameraSettings {
            size: config.size,
            interval: config.frame_interval,
            formats,
        }),
    }
}

fn own_pictures(config: &CameraConfig) -> Result<Box<dyn Camera>, CameraError> {
    match &config.source {
        Source::File(path) => Ok(Box::new(FileCamera::open(path)?)),
        Source::TestCard | Source::Auto | Source::Device(_) => test_card(config),
    }
}

fn test_card(config: &CameraConfig) -> Result<Box<dyn Camera>, CameraError> {
    let settings = TestCardSettings {
        size: config.size,
        interval: config.frame_interval,
    };
    Ok(Box::new(TestCard::open(&settings)?))
}

fn encoder_without_device(
    config: &CameraConfig,
    format: PictureFormat,
) -> Result<Box<dyn Encoder>, EncoderError> {
    if format.fourcc == Fourcc::H264 {
        return Ok(Box::new(PassThrough::open(format)?));
    }
    software(config, format)
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
