//! Which of a camera's formats, sizes and rates to ask for, and whether its answer can be worked with.

use std::time::Duration;

use crate::camera::{USABLE_SIDES, has_usable_sides};
use crate::media::{Fourcc, PictureFormat, Size};
use crate::v4l2::{Format, size_distance};

/// What the pictures should be like. A camera gives the nearest it has.
#[derive(Clone, Copy, Debug)]
pub struct CameraSettings<'a> {
    pub size: Size,
    /// The time between two pictures.
    pub interval: Duration,
    /// What the encoder takes, cheapest first.
    pub formats: &'a [Fourcc],
}

/// The nearest that a camera has in one format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) fourcc: Fourcc,
    pub(super) size: Size,
    pub(super) interval: Duration,
}

/// What nearly every encoder takes comes first, then what costs a conversion, then what costs a decoder. H.264 last of all: its
/// key frames come when the camera likes.
pub const FORMATS: &[Fourcc] = &[
    Fourcc::NV12,
    Fourcc::YU12,
    Fourcc::YUYV,
    Fourcc::UYVY,
    Fourcc::MJPG,
    Fourcc::H264,
];

/// Best first: the size counts more than the rate, and the rate more than what the format costs us. USB 2.0 has no room for
/// YUYV at 1280x720 and 30 frames a second, but for MJPEG.
pub(super) fn by_preference(mut offers: Vec<Offer>, asked: &CameraSettings<'_>) -> Vec<Offer> {
    offers.retain(|offer| asked.formats.contains(&offer.fourcc));
    offers.sort_by_key(|offer| {
        let is_fast_enough = offer.interval <= asked.interval + asked.interval / 10;
        let slowness = if is_fast_enough {
            Duration::ZERO
        } else {
            offer.interval
        };
        let cost = asked.formats.iter().position(|it| *it == offer.fourcc);
        (
            offer.fourcc == Fourcc::H264,
            size_distance(offer.size, asked.size),
            slowness,
            cost,
        )
    });
    offers
}

/// Every encoder works on 4:2:0, which has no odd sides.
pub(super) fn even(size: Size) -> Size {
    Size {
        width: size.width & !1,
        height: size.height & !1,
    }
}

/// Reads what the driver took. The error says what about it cannot be worked with.
pub(super) fn accept(
    asked: Fourcc,
    format: &Format,
    interval: Duration,
) -> Result<PictureFormat, String> {
    let Format { fourcc, size, .. } = *format;
    if fourcc != asked {
        return Err(format!("got {fourcc} when expecting {asked}"));
    }
    if !has_usable_sides(size) {
        return Err(format!(
            "got pictures of {size} when expecting {USABLE_SIDES}"
        ));
    }
    let [plane] = format.planes() else {
        let planes = format.planes().len();
        return Err(format!("got {planes} memory planes when expecting 1"));
    };
    let mut picture = PictureFormat {
        fourcc,
        size,
        stride: 0,
        interval,
    };
    let Some(line) = line_bytes(fourcc, size.width) else {
        return Ok(picture);
    };
    if plane.stride < line {
        let stride = plane.stride;
        return Err(format!(
            "got a stride of {stride} when expecting at least {line}"
        ));
    }
    picture.stride = plane.stride;
    let (room, needed) = (u64::from(plane.bytes), frame_bytes(&picture));
    if room < needed {
        return Err(format!(
            "got buffers of {room} bytes when expecting {needed}"
        ));
    }
    Ok(picture)
}

/// A buffer with less than this holds no whole picture.
pub(super) fn frame_bytes(format: &PictureFormat) -> u64 {
    let lines = u64::from(format.stride) * u64::from(format.size.height);
    match format.fourcc {
        Fourcc::NV12 | Fourcc::YU12 => lines + lines / 2,
        Fourcc::YUYV | Fourcc::UYVY => lines,
        // The least JPEG and the least coded picture are longer than this; shorter ones are what is left of a lost transfer.
        _ => 64,
    }
}

/// The least bytes from one line to the next; `None` for compressed formats.
fn line_bytes(fourcc: Fourcc, width: u32) -> Option<u32> {
    match fourcc {
        Fourcc::NV12 | Fourcc::YU12 => Some(width),
        Fourcc::YUYV | Fourcc::UYVY => Some(width * 2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::v4l2::PlaneLayout;

    fn fps(fps: u32) -> Duration {
        Duration::from_secs(1) / fps
    }

    fn offer(fourcc: Fourcc, size: &str, rate: u32) -> Offer {
        Offer {
            fourcc,
            size: size.parse().unwrap(),
            interval: fps(rate),
        }
    }

    fn best(offers: &[Offer], size: &str, rate: u32) -> Fourcc {
        let asked = CameraSettings {
            size: size.parse().unwrap(),
            interval: fps(rate),
            formats: FORMATS,
        };
        by_preference(offers.to_vec(), &asked)[0].fourcc
    }

    #[test]
    fn a_webcam_sends_jpeg_only_where_usb_has_no_room_for_pixels() {
        let vga = [
            offer(Fourcc::MJPG, "640x480", 30),
            offer(Fourcc::YUYV, "640x480", 30),
        ];
        assert_eq!(best(&vga, "640x480", 30), Fourcc::YUYV);
        let hd = [
            offer(Fourcc::YUYV, "1280x720", 10),
            offer(Fourcc::MJPG, "1280x720", 30),
        ];
        assert_eq!(best(&hd, "1280x720", 30), Fourcc::MJPG);
        assert_eq!(best(&hd, "1280x720", 10), Fourcc::YUYV);
    }

    #[test]
    fn the_camera_s_own_h264_is_the_last_resort() {
        let offers = [
            offer(Fourcc::H264, "1920x1080", 30),
            offer(Fourcc::MJPG, "640x480", 15),
        ];
        assert_eq!(best(&offers, "1920x1080", 30), Fourcc::MJPG);
        assert_eq!(best(&offers[..1], "640x480", 30), Fourcc::H264);
    }

    #[test]
    fn formats_that_nobody_takes_are_no_offer() {
        let asked = CameraSettings {
            size: "640x480".parse().unwrap(),
            interval: fps(30),
            formats: FORMATS,
        };
        let bayer = offer(Fourcc(*b"BG10"), "640x480", 30);
        assert_eq!(by_preference(vec![bayer], &asked), []);
    }

    #[test]
    fn a_rate_that_is_nearly_right_is_right() {
        // 29.97 for 30.
        let ntsc = Offer {
            interval: Duration::from_nanos(33_366_667),
            ..offer(Fourcc::NV12, "640x480", 30)
        };
        let offers = [offer(Fourcc::MJPG, "640x480", 30), ntsc];
        assert_eq!(best(&offers, "640x480", 30), Fourcc::NV12);
    }

    #[test]
    fn a_whole_picture_has_all_its_lines_and_their_padding() {
        let format = |fourcc, stride| PictureFormat {
            fourcc,
            size: "322x240".parse().unwrap(),
            stride,
            interval: fps(30),
        };
        assert_eq!(frame_bytes(&format(Fourcc::NV12, 384)), 384 * 360);
        assert_eq!(frame_bytes(&format(Fourcc::YUYV, 704)), 704 * 240);
        assert_eq!(frame_bytes(&format(Fourcc::MJPG, 0)), 64);
    }
    fn accepted(
        fourcc: Fourcc,
        size: &str,
        planes: &[(u32, u32)],
    ) -> Result<PictureFormat, String> {
        let planes: Vec<_> = planes
            .iter()
            .map(|&(stride, bytes)| PlaneLayout { stride, bytes })
            .collect();
        let told = Format::told(fourcc, size.parse().unwrap(), &planes);
        accept(Fourcc::NV12, &told, fps(30))
    }

    #[test]
    fn the_driver_s_stride_is_taken_as_it_is() {
        let picture = accepted(Fourcc::NV12, "324x240", &[(384, 384 * 360)]).unwrap();
        assert_eq!((picture.size.width, picture.stride), (324, 384));
    }

    #[test]
    fn an_answer_that_cannot_be_worked_with_says_why() {
        let refusal = |fourcc, size, planes| accepted(fourcc, size, planes).unwrap_err();
        assert_eq!(
            refusal(Fourcc::YUYV, "320x240", &[(640, 153_600)]),
            "got YUYV when expecting NV12"
        );
        assert_eq!(
            refusal(Fourcc::NV12, "320x240", &[(320, 76_800), (320, 38_400)]),
            "got 2 memory planes when expecting 1"
        );
        assert_eq!(
            refusal(Fourcc::NV12, "321x240", &[(384, 138_240)]),
            "got pictures of 321x240 when expecting even sides of 16 to 8192 pixels"
        );
        assert_eq!(
            refusal(Fourcc::NV12, "320x240", &[(0, 115_200)]),
            "got a stride of 0 when expecting at least 320"
        );
        assert_eq!(
            refusal(Fourcc::NV12, "320x240", &[(320, 115_199)]),
            "got buffers of 115199 bytes when expecting 115200"
        );
    }

    proptest! {
        #[test]
        fn no_answer_of_a_driver_panics(width: u32, height: u32, stride: u32, bytes: u32, fourcc: [u8; 4]) {
            let told = Format::told(Fourcc(fourcc), Size { width, height }, &[PlaneLayout { stride, bytes }]);
            for asked in FORMATS.iter().copied().chain([Fourcc(fourcc)]) {
                if let Ok(picture) = accept(asked, &told, fps(30)) {
                    prop_assert!(u64::from(bytes) >= frame_bytes(&picture) || picture.stride == 0);
                }
            }
        }
    }
}
