//! openh264 from a camera's frame to an access unit, on the thread that asks.

use bytes::BytesMut;
use tracing::{debug, warn};

use super::coder::Coder;
use crate::encoder::EncoderError;
use crate::encoder::convert::Converter;
use crate::encoder::convert::halved::{Halver, halved};
use crate::media::h264::Conditioner;
use crate::media::{AccessUnit, Bitrate, Frame, PictureFormat};

/// The software encoder in step: what its thread does, and what a simulation of time does without one.
#[derive(Debug)]
pub struct FrameCoder {
    format: PictureFormat,
    converter: Converter,
    halver: Halver,
    is_halved: bool,
    coder: Coder,
    conditioner: Conditioner,
    /// Asked for, and not come out yet.
    owes_key_frame: bool,
    /// What openh264 wrote of the newest frame.
    coded: Vec<u8>,
    /// Its memory is used again when no viewer needs the units in it any more.
    memory: BytesMut,
}

/// What is to be made of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub bitrate: Bitrate,
    pub key_frame: bool,
    /// Of half the width and height.
    pub is_halved: bool,
}

impl FrameCoder {
    pub fn open(format: PictureFormat, bitrate: Bitrate) -> Result<Self, EncoderError> {
        Ok(Self {
            format,
            converter: Converter::new(format)?,
            halver: Halver::default(),
            is_halved: false,
            coder: Coder::open(format, bitrate)?,
            conditioner: Conditioner::new(),
            owes_key_frame: true,
            coded: Vec::new(),
            memory: BytesMut::new(),
        })
    }

    /// `None`: the frame was left out, because the bitrate has nothing left for it. A key frame that could not be made is made later.
    pub fn encode(
        &mut self,
        frame: Frame,
        order: Order,
    ) -> Result<Option<AccessUnit>, EncoderError> {
        let Order {
            bitrate,
            key_frame,
            is_halved,
        } = order;
        self.owes_key_frame |= key_frame;
        self.resize(is_halved, bitrate)?;
        let (captured, sequence) = (frame.captured, frame.sequence);
        self.coder.aim(bitrate, captured, self.owes_key_frame)?;
        let whole = self.converter.convert(&frame)?;
        let picture = match self.is_halved {
            true => self.halver.halve(&whole),
            false => whole,
        };
        self.coder
            .encode(&picture, captured, self.owes_key_frame, &mut self.coded)?;
        drop(frame);
        if self.coded.is_empty() {
            debug!(sequence, %bitrate, "encoder skips a frame to hold its bitrate");
            return Ok(None);
        }
        let conditioned = self
            .conditioner
            .condition(&self.coded, &mut self.memory)
            .map_err(|error| EncoderError::Frame {
                sequence,
                found: error.to_string(),
            })?;
        if let Some(surprise) = self.conditioner.take_surprise() {
            warn!(%surprise, "openh264's stream is unusual");
        }
        self.owes_key_frame &= !conditioned.key_frame;
        let data = self.memory.split().freeze();
        Ok(conditioned.has_picture.then_some(AccessUnit {
            data,
            key_frame: conditioned.key_frame,
            captured,
            sequence,
        }))
    }

    /// Bytes of pictures written on their way to openh264.
    pub fn copied_bytes(&self) -> u64 {
        self.converter.converted_bytes() + self.halver.written_bytes()
    }

    fn resize(&mut self, is_halved: bool, bitrate: Bitrate) -> Result<(), EncoderError> {
        if is_halved == self.is_halved {
            return Ok(());
        }
        let size = match is_halved {
            true => halved(self.format.size),
            false => self.format.size,
        };
        debug!(%size, "encoder opens anew for its size");
        self.coder.open_for_size(size, bitrate)?;
        self.is_halved = is_halved;
        self.owes_key_frame = true;
        Ok(())
    }
}
