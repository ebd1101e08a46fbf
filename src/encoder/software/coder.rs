//! openh264 set up for one live picture after the other, and its bitrate changed while it runs.

use std::fmt;
use std::time::Duration;

use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, IntraFramePeriod, Level,
    MatrixCoefficients, Profile, QpRange, RateControlMode, UsageType, VuiConfig,
};
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};
use tracing::debug;

use super::allowance::Allowance;
use super::bucket::Bucket;
use super::{NAME, stopped};
use crate::board;
use crate::encoder::convert::I420;
use crate::encoder::{EncoderError, level};
use crate::media::rate::needed;
use crate::media::{Bitrate, MediaTime, PictureFormat, Size};

/// An openh264 encoder that makes each picture as large as its bitrate allows now.
///
/// The safe interface of the openh264 crate cannot change the bitrate of a running encoder, but [`Bucket`] says how large the next picture
/// becomes: from nothing to the mean picture of the bitrate that openh264 was opened for. For more it is opened anew, which costs a key
/// frame and some milliseconds: with room above, and only for what lasts, or is far more. When a key frame is due anyway, it is opened anew for
/// less, too, because it makes smaller ones then.
pub(super) struct Coder {
    format: PictureFormat,
    encoder: Encoder,
    opened_for: Bitrate,
    aim: Bitrate,
    bucket: Bucket,
    allowance: Allowance,
    /// What openh264 takes for the time.
    clock: Duration,
    last_captured: Option<MediaTime>,
    /// Since when more is aimed at than fits into the largest picture.
    short_since: Option<MediaTime>,
}

impl Coder {
    pub(super) fn open(format: PictureFormat, bitrate: Bitrate) -> Result<Self, EncoderError> {
        Ok(Self {
            format,
            encoder: open(&format, bitrate)?,
            opened_for: bitrate,
            aim: bitrate,
            bucket: Bucket::new(told_bitrate(&format, bitrate)),
            allowance: Allowance::default(),
            clock: CLOCK_START,
            last_captured: None,
            short_since: None,
        })
    }

    /// The pictures to come have this size; the next must be a key frame.
    pub(super) fn open_for_size(
        &mut self,
        size: Size,
        bitrate: Bitrate,
    ) -> Result<(), EncoderError> {
        let format = PictureFormat {
            size,
            ..self.format
        };
        self.aim_at(bitrate);
        self.open_anew(format, with_room(&format, bitrate))
    }

    /// Makes the pictures from `captured` on have this bitrate. `key_frame` says that the next one will be a key frame in any case.
    pub(super) fn aim(
        &mut self,
        bitrate: Bitrate,
        captured: MediaTime,
        key_frame: bool,
    ) -> Result<(), EncoderError> {
        self.aim_at(bitrate);
        let roomy = with_room(&self.format, bitrate);
        if self.wants_anew(captured, key_frame) && roomy != self.opened_for {
            debug!(from = %self.opened_for, to = %roomy, aim = %bitrate, "encoder opens anew for its bitrate");
            self.open_anew(self.format, roomy)?;
        }
        Ok(())
    }

    fn aim_at(&mut self, bitrate: Bitrate) {
        if bitrate > self.aim {
            self.allowance.rises(self.aim, bitrate);
        }
        self.aim = bitrate;
    }

    fn open_anew(&mut self, format: PictureFormat, bitrate: Bitrate) -> Result<(), EncoderError> {
        self.encoder = open(&format, bitrate)?;
        self.format = format;
        self.opened_for = bitrate;
        self.bucket = Bucket::new(told_bitrate(&self.format, bitrate));
        self.short_since = None;
        Ok(())
    }

    fn wants_anew(&mut self, captured: MediaTime, key_frame: bool) -> bool {
        let share = self.aim.as_bps() as f64 / self.opened_for.as_bps() as f64;
        if share <= REACHED {
            self.short_since = None;
        } else {
            let since = *self.short_since.get_or_insert(captured);
            if share > FAR_MORE || captured.since(since) >= LASTING {
                return true;
            }
        }
        share < LEAST || key_frame && !AT_KEY_FRAME.contains(&share)
    }

    /// Leaves the coded picture in `coded`, and nothing when the bitrate has nothing left for it.
    pub(super) fn encode(
        &mut self,
        picture: &I420<'_>,
        captured: MediaTime,
        key_frame: bool,
        coded: &mut Vec<u8>,
    ) -> Result<(), EncoderError> {
        coded.clear();
        let passed = self
            .last_captured
            .map_or(self.format.interval, |last| captured.since(last));
        self.last_captured = Some(captured);
        // Some cameras stamp two pictures alike.
        let passed = passed.max(self.format.interval / 8).min(LONGEST_PAUSE);
        let Some(wanted) = self.allowance.next(self.aim, passed, key_frame) else {
            return Ok(());
        };
        self.clock += self.bucket.leak_for(wanted);
        if key_frame {
            self.encoder.force_intra_frame();
        }
        let clock = Timestamp::from_millis(self.clock.as_millis() as u64);
        // The picture was checked when it was converted, so this is about the encoder itself.
        let stream = self
            .encoder
            .encode_at(&Source(picture), clock)
            .map_err(|error| stopped(&error.to_string()))?;
        let mut picture_bytes = 0;
        for layer in (0..stream.num_layers()).filter_map(|index| stream.layer(index)) {
            for unit in (0..layer.nal_count()).filter_map(|index| layer.nal_unit(index)) {
                coded.extend_from_slice(unit);
                picture_bytes += if layer.is_video() { unit.len() } else { 0 };
            }
        }
        // openh264 does not count parameter sets.
        self.bucket.add(picture_bytes * 8);
        self.allowance.spend(coded.len() * 8, self.aim);
        Ok(())
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

fn open(format: &PictureFormat, bitrate: Bitrate) -> Result<Encoder, EncoderError> {
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
    let config = configuration(format, bitrate);
    Encoder::with_api_config(OpenH264API::from_source(), config)
        .map_err(|error| start(error.to_string()))
}

fn frames_per_second(format: &PictureFormat) -> f64 {
    match format.interval.as_secs_f64() {
        interval if interval > 0.0 => (1.0 / interval).clamp(1.0, 60.0),
        _ => 30.0,
    }
}

/// The bitrate of pictures of the same size at the rate that openh264 is told.
fn told_bitrate(format: &PictureFormat, bitrate: Bitrate) -> f64 {
    let rate = frames_per_second(format);
    (bitrate.as_bps() as f64 * rate.min(TOLD_RATE) / rate).round()
}

fn configuration(format: &PictureFormat, bitrate: Bitrate) -> EncoderConfig {
    let rate = frames_per_second(format).min(TOLD_RATE);
    let level = level::needed(format.size, format.interval, bitrate);
    EncoderConfig::new()
        // By itself openh264 would say what the told rate needs.
        .level(level.map_or(Level::Level_5_2, openh264_level))
        .usage_type(UsageType::CameraVideoRealTime)
        // What every browser must decode (RFC 7742, section 5); openh264 sets the constraint flags.
        .profile(Profile::Baseline)
        .bitrate(BitRate::from_bps(told_bitrate(format, bitrate) as u32))
        .max_frame_rate(FrameRate::from_hz(rate as f32))
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

fn openh264_level(level: board::Level) -> Level {
    match level.0 {
        ..=10 => Level::Level_1_0,
        11 => Level::Level_1_1,
        12 => Level::Level_1_2,
        13 => Level::Level_1_3,
        20 => Level::Level_2_0,
        21 => Level::Level_2_1,
        22 => Level::Level_2_2,
        30 => Level::Level_3_0,
        31 => Level::Level_3_1,
        32 => Level::Level_3_2,
        40 => Level::Level_4_0,
        41 => Level::Level_4_1,
        42 => Level::Level_4_2,
        50 => Level::Level_5_0,
        51 => Level::Level_5_1,
        _ => Level::Level_5_2,
    }
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

/// What a picture after a pause may have does not grow for ever.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Pictures a second, as openh264 is told: its bucket has room for half a second's, and four are soon filled. With fewer it would aim key
/// frames at one picture's bits instead of four's.
const TOLD_RATE: f64 = 8.0;

/// Of what it was opened for: pictures come out a little larger than they are aimed at, and what is missing then is not worth a key frame.
const REACHED: f64 = 1.2;

/// A rate that rises further is waited for, because a key frame costs a third of a second of standstill on a narrow link, and what an
/// estimate tries for a moment is often taken back. Far more is worth it at once.
const FAR_MORE: f64 = 2.5;
const LASTING: Duration = Duration::from_secs(1);

/// A millisecond of openh264's clock, the least that passes, is half of a picture then.
const LEAST: f64 = 0.016;

/// A key frame is made for what the encoder was opened for: close above is small enough, and leaves nothing to win. Far down it is what
/// a queue is drained with, at 0.4 of what comes before and after it, and at less while much is repaired: a key frame for so little costs
/// a second one when the rate returns, and its queue. The price is a third more for that one, 10 kB in place of 8 at 360p.
const AT_KEY_FRAME: std::ops::RangeInclusive<f64> = 0.2..=1.0;

/// The rate may nearly double (1.2 times this) before it costs a key frame, which is a third of a second of standstill on a narrow link.
/// Opened for more, the encoder makes larger ones.
const ROOM: f64 = 1.6;
