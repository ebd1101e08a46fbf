//! Pictures as cameras give them to pictures as encoders take them: I420.
//!
//! Colour: the encoder is told BT.601 in limited range, whatever the size, because that is what USB cameras send
//! (`V4L2_COLORSPACE_SRGB` implies `V4L2_YCBCR_ENC_601`) and what JPEG's full range BT.601 (JFIF) is converted to here.

pub mod halved;
mod jpeg;
mod layout;
mod target;
mod writer;

use yuv::{
    BufferStoreMut, YuvConversionMode, YuvError, YuvPackedImage, YuvPlanarImageMut, YuvRange,
    YuvStandardMatrix, rgb_to_yuv420, uyvy422_to_yuv420, yuyv422_to_yuv420,
};

pub use target::{Buffers, Target};
pub use writer::Writer;

use layout::{Layout, SUPPORTED};

use super::EncoderError;
use crate::media::{Frame, PictureFormat, Size};

/// Converts the frames of one camera. Its memory is allocated once, except what the JPEG decoder needs for itself.
#[derive(Debug)]
pub struct Converter {
    format: PictureFormat,
    layout: Layout,
    /// The planes that are not in the frame as they are needed.
    planes: Vec<u8>,
    rgb: Vec<u8>,
    /// A JPEG with tables that its camera left out.
    jpeg: Vec<u8>,
    converted_bytes: u64,
}

/// A picture of three planes, one after the other in the order Y, U, V; U and V have half the width and height.
#[derive(Clone, Copy, Debug)]
pub struct I420<'a> {
    size: Size,
    stride: usize,
    chroma_stride: usize,
    y: &'a [u8],
    u: &'a [u8],
    v: &'a [u8],
}

impl Converter {
    /// `format` is what the camera reads back; sides must be even.
    pub fn new(format: PictureFormat) -> Result<Self, EncoderError> {
        let layout = Layout::of(format.fourcc).ok_or(EncoderError::Unsupported {
            fourcc: format.fourcc,
            supported: SUPPORTED,
        })?;
        let Size { width, height } = format.size;
        let refuse = |found| {
            Err(EncoderError::Start {
                encoder: "picture conversion",
                found,
            })
        };
        if width == 0 || height == 0 || width % 2 != 0 || height % 2 != 0 {
            return refuse(format!(
                "got a picture of {} when expecting even sides",
                format.size
            ));
        }
        let line = layout.line_bytes(format.size);
        if (format.stride as usize) < line {
            return refuse(format!(
                "got a stride of {} when expecting at least {line}",
                format.stride
            ));
        }
        let pixels = width as usize * height as usize;
        let (planes, rgb) = match layout {
            Layout::Yu12 => (0, 0),
            Layout::Nv12 => (pixels / 2, 0),
            Layout::Yuyv | Layout::Uyvy => (pixels * 3 / 2, 0),
            Layout::Jpeg => (pixels * 3 / 2, pixels * 3),
        };
        Ok(Self {
            format,
            layout,
            planes: vec![0; planes],
            rgb: vec![0; rgb],
            jpeg: Vec::new(),
            converted_bytes: 0,
        })
    }

    /// The frame's picture, where it is if it already is I420. An error is about this frame alone.
    pub fn convert<'a>(&'a mut self, frame: &'a Frame) -> Result<I420<'a>, EncoderError> {
        self.planes(frame).map_err(|found| EncoderError::Frame {
            sequence: frame.sequence,
            found,
        })
    }

    /// How many bytes of I420 were written since the start, and not just lent.
    pub fn converted_bytes(&self) -> u64 {
        self.converted_bytes
    }

    fn planes<'a>(&'a mut self, frame: &'a Frame) -> Result<I420<'a>, String> {
        if frame.format != self.format {
            return Err("format changed without the camera being opened again".into());
        }
        let bytes = frame.bytes();
        let needed = self.layout.frame_bytes(&self.format);
        if bytes.len() < needed {
            return Err(format!("got {} bytes when expecting {needed}", bytes.len()));
        }
        self.converted_bytes += self.planes.len() as u64;

        let (size, stride) = (self.format.size, self.format.stride as usize);
        let (width, height) = (size.width as usize, size.height as usize);
        let (luma, chroma) = (width * height, width * height / 4);
        match self.layout {
            Layout::Yu12 => {
                let (y, rest) = bytes.split_at(stride * height);
                let (u, v) = rest.split_at(stride / 2 * (height / 2));
                return Ok(I420 {
                    size,
                    stride,
                    chroma_stride: stride / 2,
                    y,
                    u,
                    v,
                });
            }
            Layout::Nv12 => {
                let (y, uv) = bytes.split_at(stride * height);
                let (u, v) = self.planes.split_at_mut(chroma);
                for ((uv, u), v) in uv
                    .chunks(stride)
                    .zip(u.chunks_exact_mut(width / 2))
                    .zip(v.chunks_exact_mut(width / 2))
                {
                    for ((uv, u), v) in uv.as_chunks::<2>().0.iter().zip(u).zip(v) {
                        [*u, *v] = *uv;
                    }
                }
                return Ok(I420 {
                    size,
                    stride,
                    chroma_stride: width / 2,
                    y,
                    u,
                    v,
                });
            }
            Layout::Yuyv => self.unpack(bytes, yuyv422_to_yuv420)?,
            Layout::Uyvy => self.unpack(bytes, uyvy422_to_yuv420)?,
            Layout::Jpeg => {
                jpeg::decode(bytes, size, &mut self.jpeg, &mut self.rgb)?;
                rgb_to_yuv420(
                    &mut planar(&mut self.planes, size),
                    &self.rgb,
                    size.width * 3,
                    YuvRange::Limited,
                    YuvStandardMatrix::Bt601,
                    YuvConversionMode::Balanced,
                )
                .map_err(|error| error.to_string())?;
            }
        }
        let (y, rest) = self.planes.split_at(luma);
        let (u, v) = rest.split_at(chroma);
        Ok(I420 {
            size,
            stride: width,
            chroma_stride: width / 2,
            y,
            u,
            v,
        })
    }

    fn unpack(
        &mut self,
        bytes: &[u8],
        unpack: fn(&mut YuvPlanarImageMut<u8>, &YuvPackedImage<u8>) -> Result<(), YuvError>,
    ) -> Result<(), String> {
        let packed = YuvPackedImage {
            // What stands behind the picture would be refused.
            yuy: &bytes[..self.layout.frame_bytes(&self.format)],
            yuy_stride: self.format.stride,
            width: self.format.size.width,
            height: self.format.size.height,
        };
        unpack(&mut planar(&mut self.planes, self.format.size), &packed)
            .map_err(|error| error.to_string())
    }
}

impl I420<'_> {
    pub fn size(&self) -> Size {
        self.size
    }

    /// Bytes from one line to the next, of Y and of the other two.
    pub fn strides(&self) -> (usize, usize) {
        (self.stride, self.chroma_stride)
    }

    /// At least as many lines as the picture has, each a stride long.
    pub fn y(&self) -> &[u8] {
        self.y
    }

    pub fn u(&self) -> &[u8] {
        self.u
    }

    pub fn v(&self) -> &[u8] {
        self.v
    }
}

fn planar(planes: &mut [u8], size: Size) -> YuvPlanarImageMut<'_, u8> {
    let luma = size.width as usize * size.height as usize;
    let (y, rest) = planes.split_at_mut(luma);
    let (u, v) = rest.split_at_mut(luma / 4);
    YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: size.width,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: size.width / 2,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: size.width / 2,
        width: size.width,
        height: size.height,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::{Fourcc, MediaTime, SlotPool};

    /// 32x16 pixels of red, 4:2:2, without Huffman tables, as USB cameras send it.
    pub(super) const RED_JPEG: &[u8] = &[
        0xff, 0xd8, 0xff, 0xdb, 0x00, 0x43, 0x00, 0x08, 0x04, 0x04, 0x04, 0x04, 0x04, 0x05, 0x05,
        0x05, 0x05, 0x05, 0x05, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06,
        0x06, 0x06, 0x07, 0x07, 0x07, 0x08, 0x08, 0x08, 0x07, 0x07, 0x07, 0x06, 0x06, 0x07, 0x07,
        0x08, 0x08, 0x08, 0x08, 0x09, 0x09, 0x09, 0x08, 0x08, 0x08, 0x08, 0x09, 0x09, 0x0a, 0x0a,
        0x0a, 0x0c, 0x0c, 0x0b, 0x0b, 0x0e, 0x0e, 0x0e, 0x11, 0x11, 0x14, 0xff, 0xc0, 0x00, 0x11,
        0x08, 0x00, 0x10, 0x00, 0x20, 0x03, 0x01, 0x22, 0x00, 0x02, 0x12, 0x00, 0x03, 0x12, 0x00,
        0xff, 0xda, 0x00, 0x0c, 0x03, 0x01, 0x00, 0x02, 0x11, 0x03, 0x11, 0x00, 0x3f, 0x00, 0xe2,
        0xe8, 0xa2, 0x8a, 0xf9, 0x40, 0x3f, 0x7f, 0x00, 0xa2, 0x8a, 0x28, 0x00, 0x03, 0xff, 0xd9,
    ];

    pub(super) fn format(fourcc: Fourcc, width: u32, height: u32, stride: u32) -> PictureFormat {
        PictureFormat {
            fourcc,
            size: Size { width, height },
            stride,
            interval: Duration::from_millis(33),
        }
    }

    pub(super) fn frame(format: PictureFormat, bytes: &[u8]) -> Frame {
        let lease = SlotPool::new(1, bytes.len())
            .lend(|memory| memory.extend_from_slice(bytes))
            .unwrap();
        Frame::new(format, MediaTime::from_monotonic(Duration::ZERO), 9, lease)
    }

    #[test]
    fn yu12_is_lent_with_the_cameras_stride_and_not_copied() {
        let format = format(Fourcc::YU12, 4, 2, 6);
        let frame = frame(
            format,
            &[1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 2, 2, 0, 3, 3, 0],
        );
        let mut converter = Converter::new(format).unwrap();
        let picture = converter.convert(&frame).unwrap();
        assert_eq!(picture.y().as_ptr(), frame.bytes().as_ptr());
        assert_eq!(picture.strides(), (6, 3));
        assert_eq!((picture.u(), picture.v()), (&[2, 2, 0][..], &[3, 3, 0][..]));
        assert_eq!(converter.converted_bytes(), 0);
    }

    #[test]
    fn nv12_gets_its_chroma_apart() {
        let format = format(Fourcc::NV12, 4, 2, 6);
        let frame = frame(
            format,
            &[1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 2, 3, 4, 5, 0, 0],
        );
        let mut converter = Converter::new(format).unwrap();
        let picture = converter.convert(&frame).unwrap();
        assert_eq!(picture.strides(), (6, 2));
        assert_eq!((picture.u(), picture.v()), (&[2, 4][..], &[3, 5][..]));
        assert_eq!(converter.converted_bytes(), 4);
    }

    #[test]
    fn packed_formats_become_planes() {
        let pixels = [10, 100, 20, 200].repeat(4);
        let yuyv = format(Fourcc::YUYV, 4, 2, 8);
        let mut converter = Converter::new(yuyv).unwrap();
        let yuyv = frame(yuyv, &pixels);
        let picture = converter.convert(&yuyv).unwrap();
        assert_eq!(picture.y(), [10, 20].repeat(4));
        assert_eq!(
            (picture.u(), picture.v()),
            (&[100, 100][..], &[200, 200][..])
        );

        let uyvy = format(Fourcc::UYVY, 4, 2, 8);
        let mut converter = Converter::new(uyvy).unwrap();
        let uyvy = frame(uyvy, &pixels);
        let picture = converter.convert(&uyvy).unwrap();
        assert_eq!(picture.y(), [100, 200].repeat(4));
        assert_eq!((picture.u(), picture.v()), (&[10, 10][..], &[20, 20][..]));
        assert_eq!(converter.converted_bytes(), 12);
    }

    #[test]
    fn jpeg_without_huffman_tables_becomes_limited_range_bt601() {
        let format = format(Fourcc::MJPG, 32, 16, 0);
        let mut converter = Converter::new(format).unwrap();
        let frame = frame(format, RED_JPEG);
        let picture = converter.convert(&frame).unwrap();
        // Red in BT.601, limited range: 81, 90, 240.
        for (plane, expected) in [(picture.y(), 81u8), (picture.u(), 90), (picture.v(), 240)] {
            assert!(
                plane.iter().all(|&it| it.abs_diff(expected) <= 3),
                "{plane:?}"
            );
        }
    }

    #[test]
    fn jpeg_of_another_size_is_an_error_of_this_frame() {
        let format = format(Fourcc::MJPG, 64, 16, 0);
        let error = Converter::new(format)
            .unwrap()
            .convert(&frame(format, RED_JPEG))
            .unwrap_err();
        assert!(error.is_passing());
        assert_eq!(
            error.to_string(),
            "cannot encode frame 9: got a jpeg of 32x16 when expecting 64x16"
        );
    }

    #[test]
    fn cut_and_foreign_jpegs_are_errors_and_never_a_panic() {
        let format = format(Fourcc::MJPG, 32, 16, 0);
        let mut converter = Converter::new(format).unwrap();
        for length in 0..RED_JPEG.len() - 40 {
            let _ = converter.convert(&frame(format, &RED_JPEG[..length]));
        }
        assert!(converter.convert(&frame(format, b"GIF89a")).is_err());
        assert!(converter.convert(&frame(format, b"")).is_err());
    }

    #[test]
    fn short_frame_is_an_error_of_this_frame() {
        let format = format(Fourcc::NV12, 4, 2, 4);
        let error = Converter::new(format)
            .unwrap()
            .convert(&frame(format, &[0; 11]))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot encode frame 9: got 11 bytes when expecting 12"
        );
    }

    #[test]
    fn formats_that_cannot_be_converted_are_refused_at_the_start() {
        let refused = |fourcc, width, stride| {
            Converter::new(format(fourcc, width, 2, stride))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused(Fourcc::H264, 4, 0),
            "cannot encode H264 frames: expecting one of YU12, NV12, YUYV, UYVY, MJPG"
        );
        assert_eq!(
            refused(Fourcc::YU12, 5, 5),
            "cannot start picture conversion: got a picture of 5x2 when expecting even sides"
        );
        assert_eq!(
            refused(Fourcc::YUYV, 4, 6),
            "cannot start picture conversion: got a stride of 6 when expecting at least 8"
        );
    }
}
