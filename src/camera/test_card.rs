//! A camera that needs no hardware: a moving test card, with the frame number and the capture time in the picture.

mod canvas;
mod card;
mod lettering;
mod motion;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::camera::metronome::{INTERVALS, Metronome, monotonic_now, unix_now};
use crate::camera::{Camera, CameraError, USABLE_SIDES, has_usable_sides};
use crate::media::strip::Strip;
use crate::media::{Fourcc, Frame, MediaTime, PictureFormat, Size, SlotPool};

use card::Card;

/// Frames are `YU12`, and `media::strip` reads what is in them.
#[derive(Debug)]
pub struct TestCard {
    format: PictureFormat,
    card: Card,
    metronome: Metronome,
    slots: SlotPool,
    /// The number of the next tick's picture.
    sequence: u32,
}

#[derive(Clone, Copy, Debug)]
pub struct TestCardSettings {
    /// Both sides even.
    pub size: Size,
    /// The time between two pictures.
    pub interval: Duration,
}

impl TestCard {
    pub fn open(settings: &TestCardSettings) -> Result<Self, CameraError> {
        let TestCardSettings { size, interval } = *settings;
        let refuse = |asked, expected| CameraError::Unsupported {
            camera: NAME.into(),
            asked,
            expected,
        };
        if !has_usable_sides(size) {
            return Err(refuse(format!("pictures of {size}"), USABLE_SIDES));
        }
        if !INTERVALS.contains(&interval) {
            let expected = "1 ms to 10 s";
            return Err(refuse(format!("a picture every {interval:?}"), expected));
        }
        Ok(Self {
            format: PictureFormat {
                fourcc: Fourcc::YU12,
                size,
                stride: size.width,
                interval,
            },
            card: Card::new(size, interval),
            metronome: Metronome::start(NAME.into(), interval)?,
            slots: SlotPool::new(SLOTS, card::bytes(size)),
            sequence: 0,
        })
    }

    /// The picture of any moment, be it simulated, with what the wall clock shows then; `None` while every slot is lent.
    pub fn picture(
        &self,
        sequence: u32,
        captured: MediaTime,
        since_epoch: Duration,
    ) -> Option<Frame> {
        let strip = Strip {
            frame: sequence,
            captured_unix_ms: since_epoch.as_millis() as u64,
        };
        let lease = self.slots.lend(|memory| self.card.draw(memory, strip))?;
        Some(Frame::new(self.format, captured, sequence, lease))
    }
}

impl Camera for TestCard {
    fn format(&self) -> PictureFormat {
        self.format
    }

    fn try_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        let Some(ticks) = self.metronome.try_ticks()? else {
            return Ok(None);
        };
        let sequence = self.sequence.wrapping_add(ticks.count - 1);
        self.sequence = sequence.wrapping_add(1);

        Ok(self.picture(sequence, ticks.last, unix_time(ticks.last)))
    }
}

impl AsFd for TestCard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.metronome.as_fd()
    }
}

/// What the wall clock showed at `captured`, a moment ago.
fn unix_time(captured: MediaTime) -> Duration {
    let age = monotonic_now().saturating_sub(captured.since_boot());
    unix_now().saturating_sub(age)
}

const NAME: &str = "test-card";

/// One to draw, one on its way to the encoder, two that the encoder may hold.
const SLOTS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::metronome::tests::wait_readable;

    const SMALL: Size = Size {
        width: 640,
        height: 360,
    };

    fn open(size: Size, interval: Duration) -> Result<TestCard, CameraError> {
        TestCard::open(&TestCardSettings { size, interval })
    }

    fn next_frame(camera: &mut TestCard) -> Option<Frame> {
        wait_readable(camera);
        camera.try_frame().unwrap()
    }

    fn read(frame: &Frame) -> Strip {
        let size = frame.format.size;
        Strip::read(frame.bytes(), size.width as usize, size).unwrap()
    }

    #[test]
    fn the_picture_says_which_it_is_and_when_it_was_captured() {
        let mut camera = open(SMALL, Duration::from_millis(5)).unwrap();
        let before = unix_now().as_millis() as u64;
        let first = next_frame(&mut camera).unwrap();
        let second = next_frame(&mut camera).unwrap();
        let after = unix_now().as_millis() as u64;

        assert_eq!(first.bytes().len(), 640 * 360 * 3 / 2);
        assert_eq!(first.sequence, 0);
        assert_eq!(read(&first).frame, first.sequence);
        assert_eq!(read(&second).frame, second.sequence);
        // The first tick is the moment of opening, which may be a moment before.
        assert!(before - 1000 <= read(&first).captured_unix_ms);
        assert!(read(&first).captured_unix_ms < read(&second).captured_unix_ms);
        assert!(read(&second).captured_unix_ms <= after);
        assert_eq!(
            second.captured.since(first.captured),
            Duration::from_millis(5) * (second.sequence - first.sequence)
        );
    }

    #[test]
    fn pictures_are_dropped_while_every_slot_is_lent() {
        let mut camera = open(SMALL, Duration::from_millis(1)).unwrap();
        let lent: Vec<_> = (0..SLOTS).map(|_| next_frame(&mut camera)).collect();
        assert!(lent.iter().all(Option::is_some));
        assert!(next_frame(&mut camera).is_none());

        let last = lent.iter().flatten().map(|frame| frame.sequence).max();
        drop(lent);
        let next = next_frame(&mut camera).unwrap();
        assert!(next.sequence > last.unwrap() + 1, "the gap shows");
    }

    #[test]
    fn no_frame_before_its_time() {
        let mut camera = open(SMALL, Duration::from_secs(10)).unwrap();
        assert!(next_frame(&mut camera).is_some());
        assert!(camera.try_frame().unwrap().is_none());
    }

    #[test]
    fn odd_sides_and_impossible_rates_are_refused() {
        let text = |size: &str, interval| {
            let error = match size.parse() {
                Ok(size) => open(size, interval).unwrap_err(),
                Err(found) => panic!("{found}"),
            };
            assert!(!error.is_worth_retrying());
            error.to_string()
        };
        assert_eq!(
            text("641x360", Duration::from_millis(33)),
            "camera test-card cannot make pictures of 641x360: expecting even sides of 16 to 8192 pixels"
        );
        assert_eq!(
            text("640x360", Duration::ZERO),
            "camera test-card cannot make a picture every 0ns: expecting 1 ms to 10 s"
        );
    }

    #[test]
    fn the_card_can_be_drawn_at_any_size() {
        let strip = Strip {
            frame: 4_294_967_295,
            captured_unix_ms: 1_790_000_000_999,
        };
        let sides = [16, 18, 34, 62, 100, 240, 360, 1024];
        for size in sides.iter().flat_map(|width| {
            sides.map(|height| Size {
                width: *width,
                height,
            })
        }) {
            let mut memory = Vec::with_capacity(card::bytes(size));
            Card::new(size, Duration::from_millis(40)).draw(&mut memory, strip);
            assert_eq!(memory.len(), card::bytes(size), "{size}");
            assert_eq!(memory.capacity(), card::bytes(size), "{size}");
        }
    }

    #[cfg(feature = "software-encoder")]
    #[test]
    fn every_strip_survives_h264_at_300_kbps() {
        use openh264::OpenH264API;
        use openh264::decoder::Decoder;
        use openh264::encoder::{BitRate, Encoder, EncoderConfig, FrameRate, RateControlMode};
        use openh264::formats::{YUVBuffer, YUVSource};

        let settings = EncoderConfig::new()
            .bitrate(BitRate::from_bps(300_000))
            .max_frame_rate(FrameRate::from_hz(30.0))
            .rate_control_mode(RateControlMode::Bitrate)
            .skip_frames(false);
        let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), settings).unwrap();
        let mut decoder = Decoder::new().unwrap();
        let card = Card::new(SMALL, Duration::from_nanos(33_333_333));
        let mut memory = Vec::new();
        let mut bits = 0;
        for frame in 0..60 {
            let sent = Strip {
                frame: 1_000_000 + frame,
                captured_unix_ms: 1_790_000_000_000 + u64::from(frame) * 1000 / 30,
            };
            card.draw(&mut memory, sent);
            let picture = YUVBuffer::from_vec(memory.clone(), 640, 360);
            let unit = encoder.encode(&picture).unwrap().to_vec();
            bits += unit.len() * 8;
            let seen = decoder.decode(&unit).unwrap().unwrap();
            assert_eq!(
                Strip::read(seen.y(), seen.strides().0, SMALL),
                Some(sent),
                "frame {frame}"
            );
        }
        // Two seconds: the encoder was really held to its rate, with some room for the first key frame.
        assert!(bits < 2 * 400_000, "{bits} bits in two seconds");
    }
}
