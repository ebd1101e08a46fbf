//! What moves through rovercast: frames on loan, access units for everyone, and the units to measure them in.

pub mod congestion;
pub mod h264;
pub mod pacer;
pub mod rate;
pub mod repair;
pub mod strip;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;

/// When a picture was captured, on the kernel's monotonic clock (`CLOCK_MONOTONIC`, as V4L2 stamps buffers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(Duration);

impl MediaTime {
    /// `since_boot` is the reading of `CLOCK_MONOTONIC`.
    pub const fn from_monotonic(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// How long after `earlier` this was; zero when it was not.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The RTP timestamp at H.264's 90 kHz clock, wrapping. RFC 6184, section 8.2.1.
    pub fn rtp_timestamp(self) -> u32 {
        const RTP_CLOCK_HZ: u128 = 90_000;
        // Wrapping at 2^32 is what RTP timestamps do (RFC 3550, section 5.1).
        (self.0.as_nanos() * RTP_CLOCK_HZ / 1_000_000_000) as u32
    }
}

/// A data rate in bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bitrate(u64);

impl Bitrate {
    pub const fn bps(bits_per_second: u64) -> Self {
        Self(bits_per_second)
    }

    pub const fn kbps(kilobits_per_second: u64) -> Self {
        Self(kilobits_per_second * 1000)
    }

    pub const fn as_bps(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bps if bps >= 1_000_000 && bps % 10_000 == 0 => write!(f, "{} Mbps", bps as f64 / 1e6),
            bps if bps >= 1000 && bps % 1000 == 0 => write!(f, "{} kbps", bps / 1000),
            bps => write!(f, "{bps} bps"),
        }
    }
}

/// Reads `"300 kbps"`, `"1.5 Mbps"`, `"64000 bps"`.
impl FromStr for Bitrate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!("got \"{text}\" when expecting a bitrate such as \"300 kbps\" or \"1.5 Mbps\"")
        };
        let text = text.trim();
        let split = text
            .find(|c: char| c.is_ascii_alphabetic())
            .ok_or_else(refuse)?;
        let (number, unit) = text.split_at(split);
        let number: f64 = number.trim().parse().map_err(|_| refuse())?;
        let scale = match unit.trim().to_ascii_lowercase().as_str() {
            "bps" | "bit/s" => 1.0,
            "kbps" | "kbit/s" => 1e3,
            "mbps" | "mbit/s" => 1e6,
            _ => return Err(refuse()),
        };
        let bps = number * scale;
        // 1 Tbit/s is beyond any encoder and any link of a robot; above it an f64 would soon lose bits.
        if !(1.0..=1e12).contains(&bps) {
            return Err(refuse());
        }
        Ok(Self(bps.round() as u64))
    }
}

/// A V4L2 pixel format code, four ASCII characters (`v4l2_fourcc`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fourcc(pub [u8; 4]);

impl Fourcc {
    /// Planar 4:2:0: Y, then U, then V, each plane directly behind the one before (`V4L2_PIX_FMT_YUV420`).
    pub const YU12: Self = Self(*b"YU12");
    /// Y, then interleaved UV at half size (`V4L2_PIX_FMT_NV12`).
    pub const NV12: Self = Self(*b"NV12");
    /// [`NV12`](Self::NV12) with each plane in a buffer of its own (`V4L2_PIX_FMT_NV12M`).
    pub const NM12: Self = Self(*b"NM12");
    /// [`YU12`](Self::YU12) with each plane in a buffer of its own (`V4L2_PIX_FMT_YUV420M`).
    pub const YM12: Self = Self(*b"YM12");
    /// Packed 4:2:2 (`V4L2_PIX_FMT_YUYV`).
    pub const YUYV: Self = Self(*b"YUYV");
    /// Packed 4:2:2 (`V4L2_PIX_FMT_UYVY`).
    pub const UYVY: Self = Self(*b"UYVY");
    /// One JPEG image a frame (`V4L2_PIX_FMT_MJPEG`).
    pub const MJPG: Self = Self(*b"MJPG");
    /// One H.264 access unit in Annex B byte stream format a frame (`V4L2_PIX_FMT_H264`).
    pub const H264: Self = Self(*b"H264");

    /// In how many buffers a picture is (`num_planes`), as far as we know the format.
    pub fn memory_planes(self) -> usize {
        match self {
            Self::YM12 => 3,
            Self::NM12 => 2,
            _ => 1,
        }
    }

    /// The format of the same planes one behind the other in one buffer.
    #[must_use]
    pub fn in_one_buffer(self) -> Self {
        match self {
            Self::YM12 => Self::YU12,
            Self::NM12 => Self::NV12,
            one => one,
        }
    }
}

impl fmt::Display for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Reads `"1280x720"`.
impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse =
            || format!("got \"{text}\" when expecting a picture size such as \"1280x720\"");
        let (width, height) = text.split_once('x').ok_or_else(refuse)?;
        let size = Self {
            width: width.trim().parse().map_err(|_| refuse())?,
            height: height.trim().parse().map_err(|_| refuse())?,
        };
        // 8192 is the largest side of any encoder that boards have (wave5).
        if !(16..=8192).contains(&size.width) || !(16..=8192).contains(&size.height) {
            return Err(format!(
                "got a picture size of {size} when expecting sides of 16 to 8192 pixels"
            ));
        }
        Ok(size)
    }
}

/// What a camera's frames look like. The same for every frame until the camera is opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureFormat {
    pub fourcc: Fourcc,
    pub size: Size,
    /// Bytes from one line of the first plane to the next (`bytesperline`); 0 for compressed formats.
    pub stride: u32,
    /// The time between two frames.
    pub interval: Duration,
}

/// A picture on loan from a camera. Dropping it sends its memory home.
#[derive(Debug)]
pub struct Frame {
    pub format: PictureFormat,
    pub captured: MediaTime,
    /// Counts what the camera produced, lent or not: a gap is a picture nobody took.
    pub sequence: u32,
    lease: Lease,
}

impl Frame {
    pub fn new(format: PictureFormat, captured: MediaTime, sequence: u32, lease: Lease) -> Self {
        Self {
            format,
            captured,
            sequence,
            lease,
        }
    }

    /// The picture's bytes, in the layout of its format. A device's memory is mapped on the first look.
    pub fn bytes(&self) -> &[u8] {
        self.lease.bytes()
    }

    /// The device's buffer that the picture is in, for an encoder that shares its memory; `None` when there are only bytes.
    pub fn loan(&self) -> Option<&dyn Loan> {
        self.lease.loan()
    }

    /// The same picture twice, in the same memory, which goes home when both are dropped; and what tells of the second.
    pub fn share(self) -> (Self, Self, Share) {
        let lease = Arc::new(self.lease);
        let borrower = Arc::new(());
        let share = Share(Arc::downgrade(&borrower));
        let frame = |borrower| Self {
            format: self.format,
            captured: self.captured,
            sequence: self.sequence,
            lease: Lease {
                held: Held::Shared {
                    lease: Arc::clone(&lease),
                    _borrower: borrower,
                },
            },
        };
        (frame(None), frame(Some(borrower)), share)
    }
}

/// Tells whether a shared picture is still in use where it was lent to.
#[derive(Debug)]
pub struct Share(Weak<()>);

impl Share {
    pub fn is_lent(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// One buffer of a device, on loan with a frame.
///
/// Whoever lends it keeps no other reference: while a lease has it nobody gives it back to the device.
pub trait Loan: fmt::Debug + Send + Sync {
    /// Which of the device's buffers it is: what was shared for this index at the start is this memory.
    fn index(&self) -> usize;

    /// Where in the buffer the picture is.
    fn range(&self) -> Range<u32>;

    fn bytes(&self) -> &[u8];

    /// The lease has ended. On whatever thread it ended: must not block.
    fn come_home(self: Arc<Self>);
}

/// The right to use one slot of a camera's memory until it is dropped.
#[derive(Debug)]
pub struct Lease {
    held: Held,
}

#[derive(Debug)]
enum Held {
    Memory {
        memory: Vec<u8>,
        home: Arc<Mutex<Vec<Vec<u8>>>>,
    },
    /// Always there, until it goes home.
    Device(Option<Arc<dyn Loan>>),
    /// The last to have it sends it home.
    Shared {
        lease: Arc<Lease>,
        _borrower: Option<Arc<()>>,
    },
}

impl Lease {
    fn bytes(&self) -> &[u8] {
        match &self.held {
            Held::Memory { memory, .. } => memory,
            Held::Device(loan) => loan.as_deref().map_or(&[], Loan::bytes),
            Held::Shared { lease, .. } => lease.bytes(),
        }
    }

    fn loan(&self) -> Option<&dyn Loan> {
        match &self.held {
            Held::Memory { .. } => None,
            Held::Device(loan) => loan.as_deref(),
            Held::Shared { lease, .. } => lease.loan(),
        }
    }

    pub fn of_device(loan: Arc<dyn Loan>) -> Self {
        Self {
            held: Held::Device(Some(loan)),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match &mut self.held {
            Held::Memory { memory, home } => {
                let memory = std::mem::take(memory);
                // A poisoned lock still holds a valid list: pushing cannot have been half done.
                home.lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner())
                    .push(memory);
            }
            Held::Device(loan) => {
                if let Some(loan) = loan.take() {
                    loan.come_home();
                }
            }
            Held::Shared { .. } => {}
        }
    }
}

/// A fixed number of picture buffers. When all are lent there is none: the camera drops the picture, and no queue grows.
#[derive(Debug)]
pub struct SlotPool {
    home: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl SlotPool {
    /// `slots` buffers with room for `bytes` each; all memory is allocated here and none later.
    pub fn new(slots: usize, bytes: usize) -> Self {
        Self {
            home: Arc::new(Mutex::new(
                (0..slots).map(|_| Vec::with_capacity(bytes)).collect(),
            )),
        }
    }

    /// Fills a free slot, or returns `None` when every slot is lent.
    ///
    /// `fill` gets the slot's memory as it was left and must leave exactly the picture in it.
    pub fn lend(&self, fill: impl FnOnce(&mut Vec<u8>)) -> Option<Lease> {
        let mut memory = self
            .home
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .pop()?;
        fill(&mut memory);
        Some(Lease {
            held: Held::Memory {
                memory,
                home: Arc::clone(&self.home),
            },
        })
    }
}

/// One coded picture with everything that a decoder needs for it: in a key frame SPS and PPS come first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// H.264 byte stream format (ITU-T H.264, Annex B).
    pub data: Bytes,
    /// An IDR picture: a decoder can start here.
    pub key_frame: bool,
    pub captured: MediaTime,
    /// The sequence number of the frame it was made from.
    pub sequence: u32,
}

/// What a viewer says back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// The viewer lost the picture (PLI or FIR) and cannot go on without a key frame.
    KeyFrame,
    /// The viewer's link can take this much from the encoder.
    Estimate(Bitrate),
    /// The viewer answers nothing at the moment: what its link can take is not known.
    Silent,
}
