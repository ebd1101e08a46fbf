//! Each camera with each encoder, for about a second, opened as the service opens them.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::refused::busy_advice;
use super::{Camera, Encoder, Inventory, TrialSettings};
use crate::app::devices::{self, Devices};
use crate::app::profiles::FoundProfiles;
use crate::app::with_sources;
use crate::board::{Measured, PicturePath};
use crate::camera::CameraError;
use crate::config::{CameraConfig, EncoderChoice, Source};
use crate::media::{Fourcc, PictureFormat};
use crate::pipeline::PipelineError;
use crate::pipeline::trial::Trial;

/// What came of one camera with one encoder.
#[derive(Debug, Serialize)]
pub struct Tried {
    /// The camera's node, or `test-card`.
    pub camera: String,
    /// The encoder's node, or `software`.
    pub encoder: String,
    #[serde(flatten)]
    pub outcome: Outcome,
    #[serde(skip)]
    camera_driver: Option<String>,
    #[serde(skip)]
    encoder_profile: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    Works(Works),
    Fails { failure: String },
}

#[derive(Debug, Serialize)]
pub struct Works {
    /// Absent when the encoder reads the camera's bytes where they are.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "super::some_word"
    )]
    pub path: Option<PicturePath>,
    /// The dma-heap whose memory both share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dma_heap: Option<String>,
    /// Why each path that would have been better was not taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused_paths: Vec<String>,
    #[serde(serialize_with = "super::word")]
    pub fourcc: Fourcc,
    pub size: String,
    pub fps: f64,
    pub copied_bytes_per_frame: u64,
    pub first_unit_after_ms: u64,
    pub kbps: u64,
    #[serde(skip)]
    format: PictureFormat,
}

/// Every camera with every encoder, one after the other: no two at once, so that each is seen alone.
pub(super) fn try_all(
    inventory: &Inventory,
    found: &Arc<FoundProfiles>,
    settings: TrialSettings,
) -> Vec<Tried> {
    let mut cameras: Vec<_> = inventory.cameras.iter().map(Some).collect();
    if cameras.is_empty() {
        cameras.push(None);
    }
    let pairs = cameras.iter().flat_map(|camera| {
        let encoders = inventory.encoders.iter();
        encoders.map(|encoder| try_pair(*camera, encoder, found, settings))
    });
    pairs.collect()
}

impl Tried {
    /// As a line of a board's profile; `None` when it failed, or when no camera was there.
    pub(super) fn measured(&self, kernel: &str) -> Option<Measured> {
        let Outcome::Works(works) = &self.outcome else {
            return None;
        };
        Some(Measured {
            camera: self.camera_driver.clone()?,
            encoder: self.encoder_profile.clone(),
            path: works.path?,
            fourcc: works.format.fourcc,
            size: works.format.size,
            fps: works.fps.round() as u32,
            copied_bytes_per_frame: u32::try_from(works.copied_bytes_per_frame).unwrap_or(u32::MAX),
            kernel: kernel.to_owned(),
        })
    }
}

fn try_pair(
    camera: Option<&Camera>,
    encoder: &Encoder,
    found: &Arc<FoundProfiles>,
    settings: TrialSettings,
) -> Tried {
    let config = CameraConfig {
        source: camera.map_or(Source::TestCard, |it| Source::Device(it.path.clone())),
        encoder: match &encoder.path {
            Some(path) => EncoderChoice::Device(path.clone()),
            None => EncoderChoice::Software,
        },
        size: settings.size,
        frame_interval: settings.interval,
        ..CameraConfig::default()
    };
    Tried {
        camera: config.source.to_string(),
        encoder: config.encoder.to_string(),
        outcome: run(&config, found).unwrap_or_else(|error| Outcome::Fails {
            failure: failure(&error, camera),
        }),
        camera_driver: camera.map(|it| it.driver.clone()),
        encoder_profile: encoder.profile.id.clone(),
    }
}

fn run(config: &CameraConfig, found: &Arc<FoundProfiles>) -> Result<Outcome, PipelineError> {
    let devices = Arc::new(Devices::of(config, found));
    let parts = devices::opener(config.clone(), None, &devices)()?;
    let format = parts.camera.format();
    let handover = parts.encoder.handover().cloned();
    let trial = Trial::run(parts, MEASURED, PATIENCE)?;
    let kbit = trial.bytes as f64 * 8.0 / 1000.0;
    let path = handover.as_ref().map(|it| it.path);
    let (dma_heap, refused_paths) = handover.map_or((None, Vec::new()), |it| (it.heap, it.refused));
    Ok(Outcome::Works(Works {
        path,
        dma_heap,
        refused_paths,
        fourcc: format.fourcc,
        size: format.size.to_string(),
        fps: (trial.frames_per_second() * 10.0).round() / 10.0,
        copied_bytes_per_frame: trial.copied_bytes_per_frame(),
        first_unit_after_ms: trial.first_unit_after.as_millis() as u64,
        kbps: (kbit / trial.took.as_secs_f64()) as u64,
        format,
    }))
}

fn failure(error: &PipelineError, camera: Option<&Camera>) -> String {
    let told = with_sources(error);
    let is_busy = matches!(error, PipelineError::Camera(CameraError::Refused { refusal, .. }) if refusal.is_busy());
    match camera
        .filter(|_| is_busy)
        .and_then(|it| busy_advice(&it.path))
    {
        Some(advice) => format!("{told}: {advice}"),
        None => told,
    }
}

/// Long enough to see a rate, short enough for a person who waits.
const MEASURED: Duration = Duration::from_secs(1);

/// Webcams take up to three seconds to their first picture, and firmware of encoders as long again.
const PATIENCE: Duration = Duration::from_secs(10);
