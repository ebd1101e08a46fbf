//! What every H.264 encoder owes the pipeline, and the pipeline owes every encoder.

pub mod convert;
mod level;
pub mod m2m;
mod outbox;
pub mod pass_through;
#[cfg(feature = "software-encoder")]
pub mod software;
pub mod survey;

use std::os::fd::AsFd;
use std::sync::Arc;

use crate::board::PicturePath;
use crate::media::rate::EncoderLimits;
use crate::media::{AccessUnit, Bitrate, Fourcc, Frame};
use crate::v4l2::V4l2Error;

/// Turns frames into access units, in order, without B frames.
///
/// The encoder owes: its file descriptor is readable (`POLLIN`) when `try_access_unit` may have one; no call blocks;
/// a frame's lease is dropped as soon as its pixels are not needed any more; the first access unit is a key frame, and key
/// frames carry SPS and PPS.
///
/// The pipeline owes: it polls the descriptor; it drops a frame that comes back as `Full` and submits a newer one later.
pub trait Encoder: AsFd + Send {
    /// Never blocks. A full encoder hands the frame back: the caller drops it and takes a newer one.
    ///
    /// `key_frame` asks for an IDR picture from this frame on; it may come with a later frame, and a request that came
    /// back as `Full` must be made again.
    fn submit(&mut self, frame: Frame, key_frame: bool) -> Result<Submitted, EncoderError>;

    fn try_access_unit(&mut self) -> Result<Option<AccessUnit>, EncoderError>;

    /// `target` is within [`limits`](Self::limits), and worth its cost. Returns the rate the driver took, which may differ.
    fn set_bitrate(&mut self, target: Bitrate) -> Result<Bitrate, EncoderError>;

    /// Codes pictures of half the width and height, or the whole again, from one of the next frames on: a key frame with another
    /// SPS, of the same profile and no higher level. False: it cannot, and goes on as before.
    fn halve(&mut self, _halved: bool) -> bool {
        false
    }

    /// Whether [`halve`](Self::halve) can do anything.
    fn can_halve(&self) -> bool {
        false
    }

    /// What it can be asked for; `None` when it makes as many bits as it likes, and pictures that none may be left out of (a camera
    /// with its own encoder).
    fn limits(&self) -> Option<EncoderLimits>;

    /// How to open another one for the same pictures, as long as this one is open; `None` when there can be none.
    fn another(&self) -> Option<Another> {
        None
    }

    /// Bytes of raw pictures copied or converted since it was opened. Zero copy means zero.
    fn copied_bytes(&self) -> u64;

    /// False when a key frame comes when the source likes and requests change nothing.
    fn makes_key_frames_on_request(&self) -> bool;

    /// For people: `vh264enc (/dev/video2)`.
    fn name(&self) -> &str;

    /// How pictures get from the camera to it; `None` when it reads them where they are.
    fn handover(&self) -> Option<&Handover> {
        None
    }
}

/// How pictures get from a camera to an encoder, as it was settled when they were paired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    pub path: PicturePath,
    /// The dma-heap whose memory both use, on the path of that name.
    pub heap: Option<String>,
    /// Why each path before it was not taken, such as `camera-export: cannot queue a buffer: …`.
    pub refused: Vec<String>,
}

/// Opens an encoder, on whatever thread; may block.
pub type Another = Arc<dyn Fn(Bitrate) -> Result<Box<dyn Encoder>, EncoderError> + Send + Sync>;

/// What became of a frame.
#[derive(Debug)]
#[must_use]
pub enum Submitted {
    Taken,
    /// The encoder is busy with as many frames as it can hold.
    Full(Frame),
}

/// Why an encoder gives no access units.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    #[error("cannot start {encoder}: {found}")]
    Start {
        encoder: &'static str,
        found: String,
    },
    #[error("cannot encode {fourcc} frames: expecting one of {supported}")]
    Unsupported {
        fourcc: Fourcc,
        supported: &'static str,
    },
    /// One frame could not be coded; the next may.
    #[error("cannot encode frame {sequence}: {found}")]
    Frame { sequence: u32, found: String },
    #[error("cannot set the bitrate to {target}: {found}")]
    Bitrate { target: Bitrate, found: String },
    /// The device or its driver refuses.
    #[error("encoder {encoder}: {refusal}")]
    Refused { encoder: String, refusal: V4l2Error },
    /// It stood still or failed, and is being put right.
    #[error("encoder {encoder} {found}: trying {remedy}")]
    Recovering {
        encoder: String,
        found: String,
        remedy: &'static str,
    },
    /// Nothing helped. Opened again soon, another encoder takes its place.
    #[error("encoder {encoder} is given up: {found}")]
    GivenUp { encoder: String, found: String },
    /// The encoder is broken until it is opened again.
    #[error("{encoder} stopped: {found}")]
    Stopped {
        encoder: &'static str,
        found: String,
    },
}

impl EncoderError {
    /// True when the encoder can go on with the next frame as it is.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Frame { .. } | Self::Bitrate { .. } | Self::Recovering { .. } => true,
            Self::Start { .. }
            | Self::Unsupported { .. }
            | Self::Refused { .. }
            | Self::GivenUp { .. }
            | Self::Stopped { .. } => false,
        }
    }

    /// What kind of failure it is, to search the journal and to count by.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Start { .. } => "encoder does not start",
            Self::Unsupported { .. } => "encoder unsuitable",
            Self::Frame { .. } => "frame not encoded",
            Self::Bitrate { .. } => "bitrate refused",
            Self::Refused { .. } => "encoder refused",
            Self::Recovering { .. } => "encoder stalled",
            Self::GivenUp { .. } => "encoder given up",
            Self::Stopped { .. } => "encoder stopped",
        }
    }

    /// True when the encoder is worked at: units may take longer to come than they use to.
    pub fn is_recovery(&self) -> bool {
        matches!(self, Self::Recovering { .. })
    }

    /// False when opening it again for the same camera must fail the same way.
    pub fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Start { .. }
            | Self::Frame { .. }
            | Self::Bitrate { .. }
            | Self::Refused { .. }
            | Self::Recovering { .. }
            | Self::GivenUp { .. }
            | Self::Stopped { .. } => true,
            Self::Unsupported { .. } => false,
        }
    }
}
