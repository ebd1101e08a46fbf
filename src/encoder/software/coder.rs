//! openh264 set up for one live picture after the other, and its bitrate changed while it runs.

use std::fmt;
use std::time::Duration;

use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, IntraFramePeriod, MatrixCoefficients,
    Profile, QpRange, RateControlMode, UsageType, VuiConfig,
};
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};
use tracing::debug;

use super::{NAME, stopped};
use crate::encoder::EncoderError;
use crate::encoder::convert::I420;
use crate::media::rate::needed;
use crate::media::{Bitrate, MediaTime, PictureFormat};

/// An openh264 encoder, and the clock that its rate control sees.
///
/// The safe interface of the openh264 crate cannot change the bitrate of a running encoder. But in timestamp mode openh264
/// puts the bits of each picture into a bucket that it drains by `bitrate × time since the picture before`: with a clock at
/// half the speed it makes half the bitrate. So a change turns the clock, at no cost, as far as that goes. Beyond it the encoder is
/// opened anew, which costs a key frame and some milliseconds: with room above, for what falls on a narrow link soon rises again, and
/// upwards only for what lasts, or is far more. When a key frame is due anyway, every large change is done like that.
pub(super) struct Coder {
    format: PictureFormat,
    encoder: Encoder,
    opened_for: Bitrate,
    aim: Bitrate,
    clock: Duration,
    last_captured: Option<MediaTime>,
    /// Since when more is aimed at than the clock makes.
    short_since: Option<MediaTime>,
}

impl Coder {
    pub(super) fn open(format: PictureFormat, bitrate: Bitrate) -> Result<Self, EncoderError> {
        let start = |found: String| EncoderError::Start {
            encoder: NAME,
            found,
        };
        let (width, height) = (format.size.width, format.size.height);
        if width.max(height) > LONGEST_SIDE || width.min(height) > LONGEST_SHORT_SIDE {
            return Err(start(format!(
                "got a picture of {} when expecting at most {LONGEST_SIDE}x{LONGEST_SHORT_SIDE}",
                format.size
            )));
        }
        let config = configuration(&format, bitrate);
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), config)
            .map_err(|error| start(error.to_string()))?;
        Ok(Self {
            format,
            encoder,
            opened_for: bitrate,
            aim: bitrate,
            clock: CLOCK_START,
            last_captured: None,
            short_since: None,
        })
    }

    /// For a bitrate that may rise.
    pub(super) fn open_with_room(
        format: PictureFormat,
        bitrate: Bitrate,
    ) -> Result<Self, EncoderError> {
        Ok(Self {
            aim: bitrate,
            ..Self::open(format, with_room(&format, bitrate))?
        })
    }

    /// Makes the pictures from `captured` on have this bitrate. `key_frame` says that the next one will be a key frame in any case.
    pub(super) fn aim(
        &mut self,
        bitrate: Bitrate,
        captured: MediaTime,
        key_frame: bool,
    ) -> Result<(), EncoderError> {
        self.aim = bitrate;
        if self.wants_anew(captured, key_frame)
            && with_room(&self.format, bitrate) != self.opened_for
        {
            let anew = Self::open_with_room(self.format, bitrate)?;
            debug!(from = %self.opened_for, to = %anew.opened_for, aim = %bitrate, "encoder opens anew for its bitrate");
            *self = anew;
        }
        Ok(())
    }

    fn wants_anew(&mut self, captured: MediaTime, key_frame: bool) -> bool {
        let speed = self.clock_speed();
        if speed <= FASTEST {
            self.short_since = None;
        } else {
            let since = *self.short_since.get_or_insert(captured);
            if speed > MUCH_FASTER || captured.since(since) >= LASTING {
                return true;
            }
        }
        speed < SLOWEST || key_frame && !AT_KEY_FRAME.contains(&speed)
    }

    /// Leaves the coded picture in `coded`, and nothing when the rate control skips it.
    pub(super) fn encode(
        &mut self,
        picture: &I420<'_>,
        captured: MediaTime,
        key_frame: bool,
        coded: &mut Vec<u8>,
    ) -> Result<(), EncoderError> {
        let passed = self
            .last_captured
            .map_or(self.format.interval, |last| captured.since(last));
        self.last_captured = Some(captured);
        let speed = self.clock_speed().min(FASTEST);
        self.clock += passed.min(LONGEST_PAUSE).mul_f64(speed);

        if key_frame {
            self.encoder.force_intra_frame();
        }
        coded.clear();
        let clock = Timestamp::from_millis(self.clock.as_millis() as u64);
        // The picture was checked when it was converted, so this is about the encoder itself.
        self.encoder
            .encode_at(&Source(picture), clock)
            .map_err(|error| stopped(&error.to_string()))?
            .write_vec(coded);
        Ok(())
    }

    fn clock_speed(&self) -> f64 {
        self.aim.as_bps() as f64 / self.opened_for.as_bps() as f64
    }
}

/// What the encoder is opened for when this is aimed at.
fn with_room(format: &PictureFormat, bitrate: Bitrate) -> Bitrate {
    let roomy = Bitrate::bps((bitrate.as_bps() as f64 * ROOM) as u64);
    // For less, key frames get hardly smaller: the coarsest there is has its size.
    roomy.max(needed(format.size, format.interval))
}

impl fmt::Debug for Coder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coder")
            .field("opened_for", &self.opened_for)
            .field("aim", &self.aim)
            .finish_non_exhaustive()
    }
}

fn configuration(format: &PictureFormat, bitrate: Bitrate) -> EncoderConfig {
    let frames_per_second = match format.interval.as_secs_f32() {
        interval if interval > 0.0 => (1.0 / interval).clamp(1.0, 60.0),
        _ => 30.0,
    };
    let bitrate = u32::try_from(bitrate.as_bps()).unwrap_or(u32::MAX);
    EncoderConfig::new()
        .usage_type(UsageType::CameraVideoRealTime)
        // What every browser must decode (RFC 7742, section 5); openh264 sets the constraint flags.
        .profile(Profile::Baseline)
        .bitrate(BitRate::from_bps(bitrate))
        .max_frame_rate(FrameRate::from_hz(frames_per_second))
        .rate_control_mode(RateControlMode::Timestamp)
        // openh264 says on stderr that it cannot hold a bitrate without, and would be right on hard pictures.
        .skip_frames(true)
        // From the finest that it allows to the coarsest there is: by itself it stops at 42, too fine for a weak link.
        .qp(QpRange::new(12, 51))
        // A robot's CPU has other work, and medium was measured to gain 0.6 dB at most, often nothing.
        .complexity(Complexity::Low)
        // Key frames only when a viewer asks: between them they are the largest thing on a weak link.
        .intra_frame_period(IntraFramePeriod::from_num_frames(0))
        .scene_change_detect(false)
        // More threads need more slices, which the crate makes only by size.
        .num_threads(1)
        // What `convert` promises. Said in every size: for 720p and up, browsers would guess BT.709.
        .vui(VuiConfig::bt709().matrix_coefficients(MatrixCoefficients::Smpte170M))
}

struct Source<'a>(&'a I420<'a>);

impl YUVSource for Source<'_> {
    fn dimensions(&self) -> (usize, usize) {
        let size = self.0.size();
        (size.width as usize, size.height as usize)
    }

    fn strides(&self) -> (usize, usize, usize) {
        let (luma, chroma) = self.0.strides();
        (luma, chroma, chroma)
    }

    fn y(&self) -> &[u8] {
        self.0.y()
    }

    fn u(&self) -> &[u8] {
        self.0.u()
    }

    fn v(&self) -> &[u8] {
        self.0.v()
    }
}

// openh264 refuses larger pictures (its README, limitations).
const LONGEST_SIDE: u32 = 3840;
const LONGEST_SHORT_SIDE: u32 = 2160;

/// openh264 takes zero for "no time known".
const CLOCK_START: Duration = Duration::from_secs(1);

/// openh264 takes a longer one for a broken clock, and counts it as one frame.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// An empty bucket makes pictures at most half as large again as the bitrate says; 1.25 was measured to be reached.
const FASTEST: f64 = 1.25;

/// A rate that rises further is waited for, because a key frame costs a third of a second of standstill on a narrow link, and what an
/// estimate tries for a moment is often taken back. Far more is worth it at once.
const MUCH_FASTER: f64 = 2.5;
const LASTING: Duration = Duration::from_secs(1);

/// Slower, the pictures that the encoder aims at are much too large for the bucket, and most are skipped.
const SLOWEST: f64 = 0.18;

/// A key frame is made for what the encoder was opened for: close above is small enough, and leaves nothing to win. Far down it is what
/// a queue is drained with, at 0.4 of what comes before and after it, and at less while much is repaired: a key frame for so little costs
/// a second one when the rate returns, and its queue. The price is a third more for that one, 10 kB in place of 8 at 360p.
const AT_KEY_FRAME: std::ops::RangeInclusive<f64> = 0.2..=1.0;

/// The rate may rise by three quarters (1.25 times this) before it costs a key frame, which is a third of a second of standstill on a narrow
/// link. Opened for more, the encoder makes larger ones.
const ROOM: f64 = 1.4;
