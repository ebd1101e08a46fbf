//! What is known of an encoder's driver.

mod level;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

pub use level::{Level, LevelRules};

use super::{
    About, BitrateMethod, EncoderControl, FrameRate, H264Profile, KeyFrameMethod, PicturePath,
    Profile, RateMode, Rung, glob,
};
use crate::document::reader::Section;
use crate::media::rate::{EncoderLimits, RateMethod};
use crate::media::{Bitrate, Fourcc, Size};

/// What to ask of an encoder's driver, what to distrust, and how to recover. What the driver answers always wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderProfile {
    pub about: About,
    /// `VIDIOC_QUERYCAP`'s driver. Empty: chosen by its id alone.
    pub drivers: Vec<String>,
    /// `VIDIOC_QUERYCAP`'s card, `*` for anything. Empty: any card of these drivers.
    pub cards: Vec<String>,
    pub raw: RawQueue,
    pub coded: CodedQueue,
    /// Best first; each is tried until one works.
    pub paths: Vec<PicturePath>,
    /// There is no IOMMU: the device reaches contiguous memory only.
    pub contiguous: bool,
    pub rate: RateRules,
    pub level: LevelRules,
    /// Asked for in this order until the driver has one.
    pub profiles: Vec<H264Profile>,
    /// Set before buffers are requested; a driver without one of them goes without it.
    pub controls: BTreeMap<EncoderControl, u32>,
    pub key_frames: KeyFrameRules,
    /// Climbed from the first to the last when nothing comes out any more.
    pub ladder: Vec<Rung>,
    pub patience: Patience,
}

/// OUTPUT: what the driver reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawQueue {
    /// Best first.
    pub formats: Vec<Fourcc>,
    pub least: Size,
    pub most: Size,
    /// What to ask for; the driver may give more or less.
    pub buffers: u32,
    /// Frames that the driver holds at most: each is one frame time of delay.
    pub in_flight: u32,
    pub frame_rate: FrameRate,
}

/// CAPTURE: what the driver gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodedQueue {
    pub buffers: u32,
    pub bits_per_pixel: u32,
    pub least_bytes: u32,
    pub most_bytes: u32,
    /// An access unit that is longer than its buffer goes on in the next one.
    pub fragmented: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateRules {
    /// Asked for in this order until the driver has one.
    pub modes: Vec<RateMode>,
    pub step: Bitrate,
    pub least: Bitrate,
    pub most: Bitrate,
    /// From the smallest picture up; larger ones keep the last.
    pub floors: Vec<RateFloor>,
    pub method: BitrateMethod,
    /// Between two changes.
    pub spacing: Duration,
    /// A smaller change is not worth it.
    pub least_change_percent: u32,
}

/// Below this rate pictures up to this size are bad, or firmware wedges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateFloor {
    pub up_to: Size,
    pub bitrate: Bitrate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFrameRules {
    pub method: KeyFrameMethod,
    /// When the driver turns out not to have what `method` needs.
    pub otherwise: KeyFrameMethod,
    /// Between two requests.
    pub spacing: Duration,
    /// Ask again when none came: a rate control may have skipped it.
    pub again_after: Duration,
    /// A driver that can has no key frames but on request: the picture is refreshed piece by piece, whole in this time.
    pub refresh: Option<Duration>,
}

/// How long to wait before something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the first frame to the first access unit.
    pub first_unit: Duration,
    /// From a frame to its access unit, later on.
    pub unit: Duration,
    /// For the last access units, before the encoder is stopped on purpose.
    pub drain: Duration,
    /// For one call that may block: STREAMOFF, REQBUFS, close.
    pub call: Duration,
}

impl EncoderProfile {
    /// Whether it is about a device that says so of itself.
    pub fn fits(&self, driver: &str, card: &str) -> bool {
        let fits_card =
            self.cards.is_empty() || self.cards.iter().any(|pattern| glob(pattern, card));
        self.drivers.iter().any(|known| known == driver) && fits_card
    }
}

impl Profile for EncoderProfile {
    const GENERIC: &'static str = "generic-stateful";

    fn read(about: Option<About>, section: &mut Section<'_, '_>) -> Option<Self> {
        let drivers = section.each_parsed("drivers", super::word);
        let cards = section.each_parsed("cards", super::word);
        let raw = section.table("raw", RawQueue::read);
        let coded = section.table("coded", CodedQueue::read);
        let paths = section.some_parsed("paths", PicturePath::from_str);
        let contiguous = section.required_flag("contiguous");
        let rate = section.table("rate", RateRules::read);
        let level = section.table("level", LevelRules::read);
        let profiles = section.some_parsed("profiles", H264Profile::from_str);
        let controls = section.table("controls", read_controls);
        let key_frames = section.table("key_frames", KeyFrameRules::read);
        let ladder = section.some_parsed("ladder", Rung::from_str);
        let patience = section.table("patience", Patience::read);
        Some(Self {
            about: about?,
            drivers: drivers.unwrap_or_default(),
            cards: cards.unwrap_or_default(),
            raw: raw?,
            coded: coded?,
            paths: paths?,
            contiguous: contiguous?,
            rate: rate?,
            level: level?,
            profiles: profiles?,
            controls,
            key_frames: key_frames?,
            ladder: ladder?,
            patience: patience?,
        })
    }
}

impl RawQueue {
    fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let formats = section.some_parsed("formats", super::fourcc);
        let least = section.required("least", Size::from_str, "a size such as \"32x32\"");
        let most = section.required("most", Size::from_str, "a size such as \"1920x1920\"");
        let buffers = section.required_whole("buffers", 1..=MOST_BUFFERS);
        let in_flight = section.required_whole("in_flight", 1..=MOST_BUFFERS);
        let frame_rate = section.required("frame_rate", FrameRate::from_str, "what to declare");
        if let (Some(in_flight), Some(buffers)) = (in_flight, buffers)
            && in_flight > buffers
        {
            let what = format!("got {in_flight} when expecting no more than buffers, {buffers}");
            section.report("in_flight", what);
        }
        Some(Self {
            formats: formats?,
            least: least?,
            most: most?,
            buffers: buffers?,
            in_flight: in_flight?,
            frame_rate: frame_rate?,
        })
    }

    /// Whether the driver takes pictures of this size.
    pub fn takes(&self, size: Size) -> bool {
        (self.least.width..=self.most.width).contains(&size.width)
            && (self.least.height..=self.most.height).contains(&size.height)
    }
}

impl CodedQueue {
    fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let buffers = section.required_whole("buffers", 1..=MOST_BUFFERS);
        let bits_per_pixel = section.required_whole("bits_per_pixel", 1..=24);
        let least_bytes = section.required_whole("least_bytes", 1..=MOST_CODED_BYTES);
        let most_bytes = section.required_whole("most_bytes", 1..=MOST_CODED_BYTES);
        let fragmented = section.required_flag("fragmented");
        let coded = Self {
            buffers: buffers?,
            bits_per_pixel: bits_per_pixel?,
            least_bytes: least_bytes?,
            most_bytes: most_bytes?,
            fragmented: fragmented?,
        };
        if coded.least_bytes > coded.most_bytes {
            let (least, most) = (coded.least_bytes, coded.most_bytes);
            let what = format!("got {least} when expecting no more than most_bytes, {most}");
            section.report("least_bytes", what);
            return None;
        }
        Some(coded)
    }

    /// How long to ask a buffer to be (`sizeimage`).
    pub fn buffer_bytes(&self, size: Size) -> u32 {
        let bits = u64::from(size.width) * u64::from(size.height) * u64::from(self.bits_per_pixel);
        let (least, most) = (u64::from(self.least_bytes), u64::from(self.most_bytes));
        // No more than `most_bytes`, so it fits.
        (bits / 8).clamp(least, most) as u32
    }
}

impl RateRules {
    fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let modes = section.some_parsed("modes", RateMode::from_str);
        let bitrate = "a bitrate such as \"300 kbps\"";
        let step = section.required("step", Bitrate::from_str, bitrate);
        let least = section.required("least", Bitrate::from_str, bitrate);
        let most = section.required("most", Bitrate::from_str, bitrate);
        let floors = section.each_table("floors", RateFloor::read);
        let method = section.required("method", BitrateMethod::from_str, "how it changes");
        let spacing = section.required_duration("spacing", Duration::ZERO..=MINUTE);
        let least_change_percent = section.required_whole("least_change_percent", 0..=100);
        if let (Some(least), Some(most)) = (least, most)
            && least > most
        {
            let what = format!("got {least} when expecting no more than most, {most}");
            section.report("least", what);
        }
        let mut floors: Vec<_> = floors.into_iter().collect::<Option<_>>()?;
        floors.sort_by_key(|floor: &RateFloor| pixels(floor.up_to));
        Some(Self {
            modes: modes?,
            step: step?,
            least: least?,
            most: most?,
            floors,
            method: method?,
            spacing: spacing?,
            least_change_percent: least_change_percent?,
        })
    }

    /// The rate to ask for when `target` is wanted for pictures of this size: on a step, and within what the driver stands.
    pub fn fit(&self, target: Bitrate, size: Size) -> Bitrate {
        let floor = self
            .floors
            .iter()
            .find(|it| pixels(size) <= pixels(it.up_to));
        let floor = floor
            .or(self.floors.last())
            .map_or(self.least, |it| it.bitrate);
        let (least, most) = (floor.max(self.least).min(self.most), self.most);
        let step = self.step.as_bps();
        let up = least.as_bps().div_ceil(step) * step;
        let down = target.min(most).as_bps() / step * step;
        Bitrate::bps(down.max(up).min(most.as_bps()))
    }

    /// The same for every rate of pictures of this size, and what a change takes.
    pub fn limits(&self, size: Size) -> EncoderLimits {
        EncoderLimits {
            least: self.fit(Bitrate::default(), size),
            most: self.fit(self.most, size),
            step: self.step,
            interval: self.spacing,
            least_change_percent: self.least_change_percent,
            method: match self.method {
                BitrateMethod::Live | BitrateMethod::NextFrame => RateMethod::Control,
                BitrateMethod::Reopen => RateMethod::Reopen,
            },
        }
    }
}

impl RateFloor {
    fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let up_to = section.required("up_to", Size::from_str, "a size such as \"640x480\"");
        let bitrate = section.required("bitrate", Bitrate::from_str, "a bitrate");
        Some(Self {
            up_to: up_to?,
            bitrate: bitrate?,
        })
    }
}

impl KeyFrameRules {
    fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let how = "how a key frame comes about";
        let method = section.required("method", KeyFrameMethod::from_str, how);
        let otherwise = section.required("otherwise", KeyFrameMethod::from_str, how);
        let spacing = section.required_duration("spacing", Duration::ZERO..=MINUTE);
        let again_after = section.required_duration("again_after", Duration::ZERO..=MINUTE);
        let refresh = section.duration("refresh", Duration::from_millis(100)..=MINUTE);
        if refresh.is_some() && method == Some(KeyFrameMethod::Wait) {
            let what = "comes with method \"wait\": viewers would wait for a key frame for ever";
            section.report("refresh", what.to_owned());
        }
        Some(Self {
            method: method?,
            otherwise: otherwise?,
            spacing: spacing?,
            again_after: again_after?,
            refresh,
        })
    }
}

impl Patience {
    fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let range = Duration::from_millis(10)..=2 * MINUTE;
        let first_unit = section.required_duration("first_unit", range.clone());
        let unit = section.required_duration("unit", range.clone());
        let drain = section.required_duration("drain", range.clone());
        let call = section.required_duration("call", range);
        Some(Self {
            first_unit: first_unit?,
            unit: unit?,
            drain: drain?,
            call: call?,
        })
    }
}

fn read_controls(section: &mut Section<'_, '_>) -> BTreeMap<EncoderControl, u32> {
    let mut controls = BTreeMap::new();
    for control in EncoderControl::ALL {
        if let Some(value) = section.whole(control.word(), 0..=u32::MAX) {
            controls.insert(*control, value);
        }
    }
    controls
}

fn pixels(size: Size) -> u64 {
    u64::from(size.width) * u64::from(size.height)
}

/// VIDEO_MAX_FRAME of the kernel.
const MOST_BUFFERS: u32 = 32;

/// A key frame at 8192x8192 is smaller.
const MOST_CODED_BYTES: u32 = 64 << 20;

const MINUTE: Duration = Duration::from_secs(60);
