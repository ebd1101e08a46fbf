//! Formats, sizes and rates as drivers tell them, made into values that are checked once.

use std::time::Duration;

use super::abi::{self, Fraction, MAX_PLANES, PixFormat, PixFormatMplane, PlanePixFormat};
use super::error::V4l2Error;
use super::ioctl::Pix;
use crate::media::{Fourcc, Size};

/// What a queue's buffers hold: read back from the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub fourcc: Fourcc,
    pub size: Size,
    pub colorimetry: Colorimetry,
    planes: [PlaneLayout; MAX_PLANES],
    plane_count: usize,
}

/// One memory plane: a buffer of its own, which may hold several colour planes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaneLayout {
    /// Bytes from one line to the next (`bytesperline`); 0 for compressed formats.
    pub stride: u32,
    /// `sizeimage`
    pub bytes: u32,
}

/// `enum v4l2_colorspace` and its companions: numbers that go from camera to encoder as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Colorimetry {
    pub colorspace: u32,
    pub ycbcr_encoding: u32,
    pub quantization: u32,
    pub transfer_function: u32,
}

/// What a driver is asked for; it answers with a [`Format`] that may differ in everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatRequest {
    pub fourcc: Fourcc,
    pub size: Size,
    /// Of the first plane; 0 leaves both to the driver.
    pub layout: PlaneLayout,
    /// `None` leaves it to the driver.
    pub colorimetry: Option<Colorimetry>,
}

impl Format {
    /// The memory planes, 1 to 8.
    pub fn planes(&self) -> &[PlaneLayout] {
        &self.planes[..self.plane_count]
    }

    pub(super) fn from_kernel(attempt: &'static str, pix: &Pix) -> Result<Self, V4l2Error> {
        let mut planes = [PlaneLayout::default(); MAX_PLANES];
        let (fourcc, width, height, plane_count, colorimetry) = match pix {
            Pix::Single(pix) => {
                planes[0] = PlaneLayout {
                    stride: pix.bytesperline,
                    bytes: pix.sizeimage,
                };
                let colorimetry = Colorimetry {
                    colorspace: pix.colorspace,
                    ycbcr_encoding: pix.ycbcr_enc,
                    quantization: pix.quantization,
                    transfer_function: pix.xfer_func,
                };
                (pix.pixelformat, pix.width, pix.height, 1, colorimetry)
            }
            Pix::Multi(pix) => {
                for (plane, told) in planes.iter_mut().zip(&pix.plane_fmt) {
                    *plane = PlaneLayout {
                        stride: told.bytesperline,
                        bytes: told.sizeimage,
                    };
                }
                let colorimetry = Colorimetry {
                    colorspace: pix.colorspace,
                    ycbcr_encoding: pix.ycbcr_enc.into(),
                    quantization: pix.quantization.into(),
                    transfer_function: pix.xfer_func.into(),
                };
                let plane_count = usize::from(pix.num_planes);
                (
                    pix.pixelformat,
                    pix.width,
                    pix.height,
                    plane_count,
                    colorimetry,
                )
            }
        };
        let nonsense = |found: String, expected: &str| V4l2Error::Nonsense {
            attempt,
            found,
            expected: expected.into(),
        };
        if !(1..=MAX_PLANES).contains(&plane_count) {
            return Err(nonsense(format!("{plane_count} planes"), "1 to 8"));
        }
        let size = Size { width, height };
        if !SIDES.contains(&width) || !SIDES.contains(&height) {
            return Err(nonsense(
                format!("pictures of {size}"),
                "sides of 1 to 16384",
            ));
        }
        Ok(Self {
            fourcc: Fourcc(fourcc),
            size,
            colorimetry,
            planes,
            plane_count,
        })
    }
}

impl FormatRequest {
    pub fn new(fourcc: Fourcc, size: Size) -> Self {
        Self {
            fourcc,
            size,
            layout: PlaneLayout::default(),
            colorimetry: None,
        }
    }

    /// Changes what the driver has now into what is asked for. bcm2835-codec is said to refuse a struct that was not read from
    /// it first; stale strides and sizes would be kept, so they go.
    pub(super) fn apply(&self, pix: &mut Pix) {
        match pix {
            Pix::Single(pix) => {
                *pix = PixFormat {
                    width: self.size.width,
                    height: self.size.height,
                    pixelformat: self.fourcc.0,
                    field: abi::FIELD_NONE,
                    bytesperline: self.layout.stride,
                    sizeimage: self.layout.bytes,
                    ..*pix
                };
                if let Some(colorimetry) = self.colorimetry {
                    pix.colorspace = colorimetry.colorspace;
                    pix.ycbcr_enc = colorimetry.ycbcr_encoding;
                    pix.quantization = colorimetry.quantization;
                    pix.xfer_func = colorimetry.transfer_function;
                }
            }
            Pix::Multi(pix) => {
                let mut plane_fmt = [PlanePixFormat::default(); MAX_PLANES];
                plane_fmt[0].bytesperline = self.layout.stride;
                plane_fmt[0].sizeimage = self.layout.bytes;
                *pix = PixFormatMplane {
                    width: self.size.width,
                    height: self.size.height,
                    pixelformat: self.fourcc.0,
                    field: abi::FIELD_NONE,
                    plane_fmt,
                    num_planes: pix.num_planes.max(1),
                    ..*pix
                };
                if let Some(colorimetry) = self.colorimetry {
                    pix.colorspace = colorimetry.colorspace;
                    // The kernel has eight bits of room here, and no value beyond.
                    pix.ycbcr_enc = colorimetry.ycbcr_encoding as u8;
                    pix.quantization = colorimetry.quantization as u8;
                    pix.xfer_func = colorimetry.transfer_function as u8;
                }
            }
        }
    }
}

/// The sizes that a driver has for one format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameSizes {
    /// The driver does not tell. Asking for any gives the nearest.
    Untold,
    Discrete(Vec<Size>),
    Range {
        least: Size,
        most: Size,
        step: Size,
    },
}

impl FrameSizes {
    /// The one that is least off in both sides together. The smaller of two that are equally far.
    pub fn nearest(&self, asked: Size) -> Size {
        match self {
            Self::Untold => asked,
            Self::Discrete(sizes) => sizes
                .iter()
                .copied()
                .min_by_key(|size| (size_distance(*size, asked), size.width, size.height))
                .unwrap_or(asked),
            Self::Range { least, most, step } => Size {
                width: nearest_step(asked.width, least.width, most.width, step.width),
                height: nearest_step(asked.height, least.height, most.height, step.height),
            },
        }
    }
}

/// How far two sizes are apart.
pub fn size_distance(one: Size, other: Size) -> u64 {
    u64::from(one.width.abs_diff(other.width)) + u64::from(one.height.abs_diff(other.height))
}

fn nearest_step(asked: u32, least: u32, most: u32, step: u32) -> u32 {
    let inside = u64::from(asked.clamp(least, most.max(least)) - least);
    let room = u64::from(most.saturating_sub(least));
    let step = u64::from(step.max(1));
    let steps = ((inside + step / 2) / step).min(room / step);
    // No more than `most`, which is 32 bits wide.
    least + (steps * step) as u32
}

/// The times between two frames that a driver has for one format and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameIntervals {
    Untold,
    Discrete(Vec<Duration>),
    Range { least: Duration, most: Duration },
}

impl FrameIntervals {
    /// At the highest rate.
    pub fn shortest(&self) -> Option<Duration> {
        match self {
            Self::Discrete(intervals) => intervals.iter().min().copied(),
            Self::Range { least, .. } => Some(*least),
            Self::Untold => None,
        }
    }

    /// The one whose rate is nearest; the faster of two that are equally far.
    pub fn nearest(&self, asked: Duration) -> Duration {
        match self {
            Self::Untold => asked,
            Self::Discrete(intervals) => intervals
                .iter()
                .copied()
                .min_by_key(|interval| (interval.abs_diff(asked), *interval))
                .unwrap_or(asked),
            Self::Range { least, most } => asked.clamp(*least, *most.max(least)),
        }
    }
}

/// Zero denominators and zero times are no interval.
pub(super) fn interval(fraction: Fraction) -> Option<Duration> {
    let Fraction {
        numerator,
        denominator,
    } = fraction;
    if numerator == 0 || denominator == 0 {
        return None;
    }
    Some(Duration::from_nanos(
        u64::from(numerator) * 1_000_000_000 / u64::from(denominator),
    ))
}

/// As drivers and standards write rates: 1/30, 1001/30000; microseconds where it is neither.
pub(super) fn fraction(interval: Duration) -> Fraction {
    let nanos = interval.as_nanos().max(1);
    for numerator in [1, 1001] {
        let seconds = numerator * 1_000_000_000;
        let denominator = (seconds + nanos / 2) / nanos;
        let error = (denominator * nanos).abs_diff(seconds);
        if let Ok(denominator) = u32::try_from(denominator)
            && denominator > 0
            && error * 100_000 <= seconds
        {
            return Fraction {
                numerator: numerator as u32,
                denominator,
            };
        }
    }
    Fraction {
        numerator: u32::try_from(interval.as_micros()).unwrap_or(u32::MAX),
        denominator: 1_000_000,
    }
}

/// Larger than any sensor, and small enough that no product of sides and bytes leaves 32 bits by much.
const SIDES: std::ops::RangeInclusive<u32> = 1..=16384;

#[cfg(test)]
impl Format {
    /// What a driver might say.
    pub(crate) fn told(fourcc: Fourcc, size: Size, told: &[PlaneLayout]) -> Self {
        let mut planes = [PlaneLayout::default(); MAX_PLANES];
        planes[..told.len()].copy_from_slice(told);
        Self {
            fourcc,
            size,
            colorimetry: Colorimetry::default(),
            planes,
            plane_count: told.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(text: &str) -> Size {
        text.parse().unwrap()
    }

    #[test]
    fn a_webcam_gives_its_nearest_size() {
        let webcam = FrameSizes::Discrete(
            ["640x360", "640x480", "1280x720", "1920x1080"]
                .map(size)
                .into(),
        );
        assert_eq!(webcam.nearest(size("1280x720")), size("1280x720"));
        assert_eq!(webcam.nearest(size("800x600")), size("640x480"));
        assert_eq!(webcam.nearest(size("16x16")), size("640x360"));
        assert_eq!(webcam.nearest(size("8000x8000")), size("1920x1080"));
    }

    #[test]
    fn a_scaler_gives_steps() {
        let scaler = FrameSizes::Range {
            least: size("32x32"),
            most: size("1920x1080"),
            step: Size {
                width: 16,
                height: 4,
            },
        };
        assert_eq!(scaler.nearest(size("1280x720")), size("1280x720"));
        assert_eq!(scaler.nearest(size("645x481")), size("640x480"));
        assert_eq!(scaler.nearest(size("4000x4000")), size("1920x1080"));
    }

    #[test]
    fn rates_are_written_as_standards_write_them() {
        let written = |nanos| {
            let Fraction {
                numerator,
                denominator,
            } = fraction(Duration::from_nanos(nanos));
            (numerator, denominator)
        };
        assert_eq!(written(33_333_333), (1, 30));
        assert_eq!(written(33_366_667), (1001, 30_000));
        assert_eq!(written(100_000_000), (1, 10));
        assert_eq!(written(133_000_000), (133_000, 1_000_000));
        assert_eq!(written(10_000_000_000), (10_000_000, 1_000_000));
    }

    #[test]
    fn a_driver_that_says_zero_planes_or_no_picture_is_not_believed() {
        let mut pix = PixFormatMplane {
            width: 640,
            height: 480,
            ..Default::default()
        };
        let error = Format::from_kernel("set the format", &Pix::Multi(pix)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot set the format: got 0 planes when expecting 1 to 8"
        );
        pix.num_planes = 9;
        assert!(Format::from_kernel("set the format", &Pix::Multi(pix)).is_err());
        pix.num_planes = 1;
        assert!(Format::from_kernel("set the format", &Pix::Multi(pix)).is_ok());
        pix.height = 0;
        assert!(Format::from_kernel("set the format", &Pix::Multi(pix)).is_err());
    }

    proptest! {
        #[test]
        fn nearest_never_leaves_the_range(
            asked in (any::<u32>(), any::<u32>()),
            least in any::<u32>(),
            most in any::<u32>(),
            step in any::<u32>(),
        ) {
            let range = FrameSizes::Range {
                least: Size { width: least, height: least },
                most: Size { width: most, height: most },
                step: Size { width: step, height: step },
            };
            let nearest = range.nearest(Size { width: asked.0, height: asked.1 });
            prop_assert!((least..=most.max(least)).contains(&nearest.width));
            prop_assert!((least..=most.max(least)).contains(&nearest.height));
        }

        #[test]
        fn an_interval_survives_being_written(nanos in 1_000_000_u64..10_000_000_000) {
            let asked = Duration::from_nanos(nanos);
            let written = interval(fraction(asked)).unwrap();
            prop_assert!(written.abs_diff(asked) <= asked / 900, "{asked:?} became {written:?}");
        }

        #[test]
        fn no_fraction_panics(numerator: u32, denominator: u32) {
            let _ = interval(Fraction { numerator, denominator });
        }
    }
}
