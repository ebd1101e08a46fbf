//! What every H.264 encoder owes the pipeline, and the pipeline owes every encoder.

pub mod convert;
mod outbox;
pub mod pass_through;
#[cfg(feature = "software-encoder")]
pub mod software;

use std::os::fd::AsFd;

use crate::media::{AccessUnit, Bitrate, Fourcc, Frame};

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

    /// Returns the rate the driver took, which may differ from `target`.
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

    /// Bytes of raw pictures copied or converted since it was opened. Zero copy means zero.
    fn copied_bytes(&self) -> u64;

    /// False when a key frame comes when the source likes and requests change nothing (a camera with its own encoder).
    fn makes_key_frames_on_request(&self) -> bool;
}

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
            Self::Frame { .. } | Self::Bitrate { .. } => true,
            Self::Start { .. } | Self::Unsupported { .. } | Self::Stopped { .. } => false,
        }
    }

    /// False when opening it again for the same camera must fail the same way.
    pub fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Start { .. }
            | Self::Frame { .. }
            | Self::Bitrate { .. }
            | Self::Stopped { .. } => true,
            Self::Unsupported { .. } => false,
        }
    }
}
