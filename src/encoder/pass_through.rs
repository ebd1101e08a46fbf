//! The encoder for cameras that have their own: H.264 frames go through as they are.

use std::os::fd::{AsFd, BorrowedFd};

use bytes::BytesMut;
use tracing::warn;

use super::outbox::Outbox;
use super::{Encoder, EncoderError, Submitted};
use crate::media::h264::{Conditioner, H264Error};
use crate::media::rate::EncoderLimits;
use crate::media::{AccessUnit, Bitrate, Fourcc, Frame, PictureFormat};

/// Turns each H.264 frame into an access unit, on the thread of the caller. Only the coded bytes are copied.
///
/// Nobody here can ask the camera for a key frame or another bitrate: late viewers wait for its next key frame, and its
/// bitrate is what it is.
#[derive(Debug)]
pub struct PassThrough {
    format: PictureFormat,
    conditioner: Conditioner,
    outbox: Outbox,
    /// Its memory is used again when no viewer needs the units in it any more.
    memory: BytesMut,
    saw_key_frame: bool,
}

impl PassThrough {
    pub fn open(format: PictureFormat) -> Result<Self, EncoderError> {
        if format.fourcc != Fourcc::H264 {
            return Err(EncoderError::Unsupported {
                fourcc: format.fourcc,
                supported: "H264",
            });
        }
        let outbox = Outbox::new().map_err(|error| EncoderError::Start {
            encoder: NAME,
            found: error.to_string(),
        })?;
        Ok(Self {
            format,
            conditioner: Conditioner::new(),
            outbox,
            memory: BytesMut::new(),
            saw_key_frame: false,
        })
    }

    fn access_unit(&mut self, frame: &Frame) -> Result<Option<AccessUnit>, H264Error> {
        let conditioned = self
            .conditioner
            .condition(frame.bytes(), &mut self.memory)?;
        let data = self.memory.split().freeze();
        if let Some(surprise) = self.conditioner.take_surprise() {
            warn!(%surprise, size = %self.format.size, "camera's own h.264 is unusual");
        }
        // We may have come in the middle of its stream: what is in front of a key frame has nothing to build on.
        self.saw_key_frame |= conditioned.key_frame;
        let is_sent = conditioned.has_picture && self.saw_key_frame;
        Ok(is_sent.then(|| AccessUnit {
            data,
            key_frame: conditioned.key_frame,
            captured: frame.captured,
            sequence: frame.sequence,
        }))
    }
}

impl Encoder for PassThrough {
    fn submit(&mut self, frame: Frame, _key_frame: bool) -> Result<Submitted, EncoderError> {
        if self.outbox.is_full() {
            return Ok(Submitted::Full(frame));
        }
        match self.access_unit(&frame) {
            Ok(Some(unit)) => self.outbox.push(Ok(unit)),
            Ok(None) => {}
            Err(error) => {
                return Err(EncoderError::Frame {
                    sequence: frame.sequence,
                    found: error.to_string(),
                });
            }
        }
        Ok(Submitted::Taken)
    }

    fn try_access_unit(&mut self) -> Result<Option<AccessUnit>, EncoderError> {
        self.outbox.pop().transpose()
    }

    /// Always an error, and a passing one: taking any rate as ours would be a lie to whoever divides it among viewers.
    fn set_bitrate(&mut self, target: Bitrate) -> Result<Bitrate, EncoderError> {
        Err(EncoderError::Bitrate {
            target,
            found: "the camera's own encoder decides".into(),
        })
    }

    fn limits(&self) -> Option<EncoderLimits> {
        None
    }

    /// Coded bytes are copied, pictures are not.
    fn copied_bytes(&self) -> u64 {
        0
    }

    fn makes_key_frames_on_request(&self) -> bool {
        false
    }

    fn name(&self) -> &str {
        NAME
    }
}

impl AsFd for PassThrough {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outbox.as_fd()
    }
}

const NAME: &str = "pass-through";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::{MediaTime, Size, SlotPool};

    const FORMAT: PictureFormat = PictureFormat {
        fourcc: Fourcc::H264,
        size: Size {
            width: 640,
            height: 360,
        },
        stride: 0,
        interval: Duration::from_millis(33),
    };

    // x264, constrained baseline, 640x360: SPS, PPS.
    const HEADERS: &[u8] = &[
        0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00,
        0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x8f, 0x16, 0x2e, 0x48, 0, 0, 0, 1, 0x68,
        0xcb, 0x83, 0xcb, 0x20,
    ];
    const IDR: &[u8] = &[0, 0, 1, 0x65, 0x88, 0x84, 0x21];
    const P: &[u8] = &[0, 0, 1, 0x41, 0x9a, 0x24, 0x6c];

    fn frame(sequence: u32, parts: &[&[u8]]) -> Frame {
        let bytes = parts.concat();
        let lease = SlotPool::new(1, bytes.len())
            .lend(|memory| memory.extend_from_slice(&bytes))
            .unwrap();
        let captured = MediaTime::from_monotonic(Duration::from_millis(sequence.into()));
        Frame::new(FORMAT, captured, sequence, lease)
    }

    /// The sequence number and kind of what came out, if anything did.
    fn pass(encoder: &mut PassThrough, sequence: u32, parts: &[&[u8]]) -> Option<(u32, bool)> {
        let submitted = encoder.submit(frame(sequence, parts), true).unwrap();
        assert!(matches!(submitted, Submitted::Taken));
        let unit = encoder.try_access_unit().unwrap()?;
        assert_eq!(
            unit.captured.since_boot().as_millis(),
            u128::from(unit.sequence)
        );
        Some((unit.sequence, unit.key_frame))
    }

    #[test]
    fn stream_that_is_already_running_starts_at_its_next_key_frame() {
        let mut encoder = PassThrough::open(FORMAT).unwrap();
        assert_eq!(pass(&mut encoder, 1, &[P]), None);
        assert_eq!(pass(&mut encoder, 2, &[HEADERS]), None);
        assert_eq!(pass(&mut encoder, 3, &[P]), None);
        assert_eq!(pass(&mut encoder, 4, &[IDR]), Some((4, true)));
        assert_eq!(pass(&mut encoder, 5, &[P]), Some((5, false)));
    }

    #[test]
    fn pipeline_that_does_not_fetch_gets_its_frames_back() {
        let mut encoder = PassThrough::open(FORMAT).unwrap();
        let _ = encoder.submit(frame(1, &[HEADERS, IDR]), false).unwrap();
        let _ = encoder.submit(frame(2, &[P]), false).unwrap();
        let Submitted::Full(frame) = encoder.submit(frame(3, &[P]), false).unwrap() else {
            panic!("a third unit was taken");
        };
        assert_eq!(frame.sequence, 3);
    }

    #[test]
    fn damaged_frame_is_an_error_and_the_next_is_fine() {
        let mut encoder = PassThrough::open(FORMAT).unwrap();
        let error = encoder.submit(frame(7, &[&[1, 2, 3]]), false).unwrap_err();
        assert!(error.is_passing());
        assert_eq!(
            error.to_string(),
            "cannot encode frame 7: cannot read an access unit of 3 bytes: \
             found no start code when expecting the byte stream format of annex b"
        );
        assert_eq!(pass(&mut encoder, 8, &[HEADERS, IDR]), Some((8, true)));
    }

    #[test]
    fn camera_keeps_its_own_bitrate() {
        let mut encoder = PassThrough::open(FORMAT).unwrap();
        let error = encoder.set_bitrate(Bitrate::kbps(300)).unwrap_err();
        assert!(error.is_passing());
        assert_eq!(
            error.to_string(),
            "cannot set the bitrate to 300 kbps: the camera's own encoder decides"
        );
        assert!(!encoder.makes_key_frames_on_request());
        assert_eq!(encoder.limits(), None);
    }

    #[test]
    fn other_formats_are_refused() {
        let format = PictureFormat {
            fourcc: Fourcc::MJPG,
            ..FORMAT
        };
        assert_eq!(
            PassThrough::open(format).unwrap_err().to_string(),
            "cannot encode MJPG frames: expecting one of H264"
        );
    }
}
