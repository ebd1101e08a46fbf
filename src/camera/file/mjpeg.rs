//! Motion JPEG: whole JPEG images, one behind the other. ITU-T T.81, Annex B.

use super::clip::{self, Clip, DEFAULT_INTERVAL, Flaw, Span};
use crate::media::{Fourcc, PictureFormat, Size};

pub(super) const MAGIC: &[u8] = &[0xff, SOI, 0xff];

/// Finds the images in a file that comes in pieces.
///
/// ```text
///  Between ── SOI ──► Marker ── code ──► Length ──► Segment ──► Marker
///     ▲                │ EOI               (SOS) ──► Scan ── marker ──► as if after Marker
///     └────────────────┘
/// ```
///
/// An image that is damaged or cut short is left out, and the search goes on at the next one.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// How much of the file has been seen.
    at: u64,
    place: Place,
    /// Where the image began.
    start: u64,
    /// From the image's frame header.
    size: Option<Size>,
    first_size: Option<Size>,
    images: Vec<Span>,
    leftover: Option<String>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    Between,
    /// A 0xff that may begin an image.
    BetweenMark,
    /// Expecting the 0xff of a marker.
    Marker,
    MarkerCode,
    LengthHigh {
        code: u8,
    },
    LengthLow {
        code: u8,
        high: u8,
    },
    /// `seen` bytes of the segment after its length, `left` to come.
    Segment {
        code: u8,
        seen: u16,
        left: u16,
    },
    Scan,
    /// A 0xff in the coded data: a marker, or a stuffed or restart byte.
    ScanMark,
}

impl Scanner {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        for byte in bytes {
            self.at += 1;
            self.place = self.step(*byte)?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Clip, Flaw> {
        if !matches!(self.place, Place::Between | Place::BetweenMark) {
            self.leave_out("it ends inside an image");
        }
        let Some(size) = self.first_size.filter(|_| !self.images.is_empty()) else {
            let why = self
                .leftover
                .as_deref()
                .unwrap_or("nothing begins like one");
            return Err(format!("it has no whole JPEG image: {why}").into());
        };
        Ok(Clip {
            format: PictureFormat {
                fourcc: Fourcc::MJPG,
                size,
                stride: 0,
                interval: DEFAULT_INTERVAL,
            },
            pictures: self.images,
            leftover: self.leftover,
        })
    }

    fn step(&mut self, byte: u8) -> Result<Place, Flaw> {
        Ok(match self.place {
            Place::Between if byte == 0xff => Place::BetweenMark,
            Place::Between => Place::Between,
            Place::BetweenMark => match byte {
                SOI => self.begin(),
                0xff => Place::BetweenMark,
                _ => Place::Between,
            },
            Place::Marker if byte == 0xff => Place::MarkerCode,
            Place::Marker => {
                self.leave_out("a marker is missing");
                Place::Between
            }
            Place::MarkerCode | Place::ScanMark => match (byte, self.place) {
                // Any number of fill bytes may stand before a marker.
                (0xff, place) => place,
                (0 | RST0..=RST7, Place::ScanMark) => Place::Scan,
                (EOI, _) => {
                    self.end()?;
                    Place::Between
                }
                // The image before ended without saying so.
                (SOI, _) => {
                    self.leave_out("an image begins inside another");
                    self.begin()
                }
                (TEM | RST0..=RST7, _) => Place::Marker,
                (code, _) => Place::LengthHigh { code },
            },
            Place::LengthHigh { code } => Place::LengthLow { code, high: byte },
            Place::LengthLow { code, high } => {
                // The length counts itself.
                match u16::from_be_bytes([high, byte]).checked_sub(2) {
                    Some(0) => after_segment(code),
                    Some(left) => Place::Segment {
                        code,
                        seen: 0,
                        left,
                    },
                    None => {
                        self.leave_out("a segment has no length");
                        Place::Between
                    }
                }
            }
            Place::Segment { code, seen, left } => {
                if is_frame_header(code) {
                    self.read_frame_header(seen, byte);
                }
                match left - 1 {
                    0 => after_segment(code),
                    left => Place::Segment {
                        code,
                        seen: seen + 1,
                        left,
                    },
                }
            }
            Place::Scan if byte == 0xff => Place::ScanMark,
            Place::Scan => Place::Scan,
        })
    }

    fn begin(&mut self) -> Place {
        self.start = self.at - 2;
        self.size = None;
        Place::Marker
    }

    /// Sample precision, then lines, then samples per line. ITU-T T.81, B.2.2.
    fn read_frame_header(&mut self, at: u16, byte: u8) {
        let size = self.size.get_or_insert(Size {
            width: 0,
            height: 0,
        });
        match at {
            1 | 2 => size.height = size.height << 8 & 0xff00 | u32::from(byte),
            3 | 4 => size.width = size.width << 8 & 0xff00 | u32::from(byte),
            _ => {}
        }
    }

    fn end(&mut self) -> Result<(), Flaw> {
        let Some(size) = self.size else {
            self.leave_out("an image has no frame header");
            return Ok(());
        };
        clip::check_size(size)?;
        let first = *self.first_size.get_or_insert(size);
        if size != first {
            let number = self.images.len() + 1;
            return Err(
                format!("its image {number} is {size} and those before are {first}").into(),
            );
        }
        let image = clip::coded_span(self.start, self.at)?;
        clip::add(&mut self.images, image)
    }

    fn leave_out(&mut self, why: &str) {
        let start = self.start;
        self.leftover
            .get_or_insert_with(|| format!("{why} (image at byte {start})"));
    }
}

fn after_segment(code: u8) -> Place {
    if code == SOS {
        Place::Scan
    } else {
        Place::Marker
    }
}

/// SOF0 to SOF15 without DHT, JPG and DAC, which lie between them.
fn is_frame_header(code: u8) -> bool {
    matches!(code, 0xc0..=0xcf) && !matches!(code, 0xc4 | 0xc8 | 0xcc)
}

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const TEM: u8 = 0x01;
const RST0: u8 = 0xd0;
const RST7: u8 = 0xd7;

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An image in the right shape; no decoder would see more than its size.
    pub(in crate::camera::file) fn image(width: u16, height: u16, fill: u8) -> Vec<u8> {
        let mut bytes = vec![0xff, SOI];
        // A comment with another image in it, as cameras put thumbnails there.
        bytes.extend([0xff, 0xfe, 0, 6, 0xff, SOI, 0xff, EOI]);
        bytes.extend([0xff, 0xc0, 0, 8, 8]);
        bytes.extend(height.to_be_bytes());
        bytes.extend(width.to_be_bytes());
        bytes.push(0);
        bytes.extend([0xff, SOS, 0, 2]);
        bytes.extend([fill, 0xff, 0, 0xff, RST0, fill, 0xff, 0xff, EOI]);
        bytes
    }

    fn scan(bytes: &[u8], piece: usize) -> Result<Clip, Flaw> {
        let mut scanner = Scanner::default();
        for piece in bytes.chunks(piece) {
            scanner.push(piece)?;
        }
        scanner.finish()
    }

    fn found(bytes: &[u8]) -> String {
        match scan(bytes, 1000) {
            Err(Flaw::NotPlayable(found)) => found,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn images_are_told_apart_with_padding_between_them() {
        let image = image(640, 360, 7);
        let file = [&image[..], &[0, 0, 0], &image].concat();
        for piece in [1, 2, 7, 1000] {
            let clip = scan(&file, piece).unwrap();
            assert_eq!(clip.format.size.to_string(), "640x360");
            assert_eq!(clip.pictures.len(), 2);
            assert_eq!(clip.pictures[1].offset, image.len() as u64 + 3);
            assert_eq!(clip.pictures[1].length, image.len() as u32);
            assert_eq!(clip.leftover, None);
        }
    }

    #[test]
    fn an_image_cut_short_is_left_out() {
        let image = image(640, 360, 7);
        let cut = &image[..image.len() - 4];
        let clip = scan(&[&image[..], cut, &image, cut].concat(), 1000).unwrap();
        assert_eq!(clip.pictures.len(), 2);
        assert_eq!(
            clip.leftover.unwrap(),
            "an image begins inside another (image at byte 33)"
        );
        assert_eq!(
            found(cut),
            "it has no whole JPEG image: it ends inside an image (image at byte 0)"
        );
        assert_eq!(
            found(&image[..5]),
            "it has no whole JPEG image: it ends inside an image (image at byte 0)"
        );
    }

    #[test]
    fn images_that_cannot_be_played_say_why() {
        assert_eq!(
            found(&[image(640, 360, 0), image(320, 180, 0)].concat()),
            "its image 2 is 320x180 and those before are 640x360"
        );
        assert_eq!(
            found(&image(641, 360, 0)),
            "its pictures are 641x360 when expecting even sides of 16 to 8192 pixels"
        );
        assert_eq!(
            found(&[0xff, SOI, 0xff, EOI]),
            "it has no whole JPEG image: an image has no frame header (image at byte 0)"
        );
        assert_eq!(
            found(&[0xff, SOI, 0xff, 0xfe, 0, 1]),
            "it has no whole JPEG image: a segment has no length (image at byte 0)"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_harmless_in_any_pieces(
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(0xff), Just(SOI), Just(EOI), Just(SOS), Just(0xc0), Just(0)],
                0..300,
            ),
            piece in 1..50usize,
        ) {
            let spans = |clip: Result<Clip, Flaw>| clip.map(|clip| clip.pictures).ok();
            prop_assert_eq!(spans(scan(&bytes, piece)), spans(scan(&bytes, 1000)));
        }
    }
}
