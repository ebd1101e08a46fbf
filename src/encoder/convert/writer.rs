//! One copy or one conversion of a picture, straight into an encoder's buffer.

use yuv::{
    BufferStoreMut, YuvBiPlanarImageMut, YuvConversionMode, YuvPackedImage, YuvPlanarImageMut,
    YuvRange, YuvStandardMatrix, rgb_to_yuv_nv12, rgb_to_yuv420, uyvy422_to_yuv420,
    yuyv422_to_yuv420,
};

use super::{Layout, SUPPORTED, jpeg};
use crate::encoder::EncoderError;
use crate::media::{Fourcc, Frame, PictureFormat, Size};

/// Writes the frames of one camera the way one encoder wants them.
#[derive(Debug)]
pub struct Writer {
    from: PictureFormat,
    layout: Layout,
    to: Target,
    rgb: Vec<u8>,
    /// A JPEG with tables that its camera left out.
    jpeg: Vec<u8>,
}

/// How an encoder's buffer is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub fourcc: Fourcc,
    /// Of the first plane.
    pub stride: u32,
    /// With those that pad it: the second plane is behind them.
    pub lines: u32,
}

impl Writer {
    pub fn new(from: PictureFormat, to: Target) -> Result<Self, EncoderError> {
        let unsupported = || EncoderError::Unsupported {
            fourcc: from.fourcc,
            supported: SUPPORTED,
        };
        let layout = Layout::of(from.fourcc).ok_or_else(unsupported)?;
        let is_known = matches!(to.fourcc, Fourcc::NV12 | Fourcc::YU12) || to.fourcc == from.fourcc;
        if !is_known {
            return Err(unsupported());
        }
        let Size { width, height } = from.size;
        let target = Layout::of(to.fourcc).ok_or_else(unsupported)?;
        let is_roomy = to.stride as usize >= target.line_bytes(from.size) && to.lines >= height;
        let is_whole = from.stride as usize >= layout.line_bytes(from.size);
        if !is_roomy || !is_whole || width % 2 != 0 || height % 2 != 0 {
            return Err(EncoderError::Start {
                encoder: "picture conversion",
                found: format!(
                    "got {} with lines of {} bytes to write to {} lines of {}",
                    from.size, from.stride, to.lines, to.stride
                ),
            });
        }
        let rgb = match layout {
            Layout::Jpeg => width as usize * height as usize * 3,
            Layout::Yu12 | Layout::Nv12 | Layout::Yuyv | Layout::Uyvy => 0,
        };
        Ok(Self {
            from,
            layout,
            to,
            rgb: vec![0; rgb],
            jpeg: Vec::new(),
        })
    }

    /// Returns how many bytes of picture were written. An error is about this frame alone.
    pub fn write(&mut self, frame: &Frame, room: &mut [u8]) -> Result<u64, EncoderError> {
        self.try_write(frame, room)
            .map_err(|found| EncoderError::Frame {
                sequence: frame.sequence,
                found,
            })
    }

    fn try_write(&mut self, frame: &Frame, room: &mut [u8]) -> Result<u64, String> {
        if frame.format != self.from {
            return Err("format changed without the camera being opened again".into());
        }
        let bytes = frame.bytes();
        let needed = self.layout.frame_bytes(&self.from);
        if bytes.len() < needed {
            return Err(format!("got {} bytes when expecting {needed}", bytes.len()));
        }
        let target = PictureFormat {
            fourcc: self.to.fourcc,
            stride: self.to.stride,
            size: Size {
                height: self.to.lines,
                ..self.from.size
            },
            ..self.from
        };
        let wanted = Layout::of(self.to.fourcc).map_or(0, |layout| layout.frame_bytes(&target));
        let Some(room) = room.get_mut(..wanted) else {
            return Err(format!("got room for less than {wanted} bytes"));
        };
        match (self.layout, self.to.fourcc) {
            (Layout::Jpeg, _) => self.write_jpeg(bytes, room)?,
            (Layout::Yuyv | Layout::Uyvy, Fourcc::NV12) => self.write_packed_as_nv12(bytes, room),
            (Layout::Yuyv | Layout::Uyvy, Fourcc::YU12) => {
                self.write_packed_as_yu12(bytes, room)?;
            }
            (Layout::Yuyv | Layout::Uyvy, _) => {
                let line = self.layout.line_bytes(self.from.size);
                copy_lines(bytes, self.from.stride, room, self.to.stride, line);
            }
            (Layout::Yu12 | Layout::Nv12, _) => self.write_planar(bytes, room),
        }
        let pixels = u64::from(self.from.size.width) * u64::from(self.from.size.height);
        Ok(match self.to.fourcc {
            Fourcc::NV12 | Fourcc::YU12 => pixels * 3 / 2,
            _ => pixels * 2,
        })
    }

    fn write_planar(&self, bytes: &[u8], room: &mut [u8]) {
        let (from, to) = (self.from.stride as usize, self.to.stride as usize);
        let (height, lines) = (self.from.size.height as usize, self.to.lines as usize);
        let width = self.from.size.width as usize;
        let (luma, chroma) = bytes.split_at(from * height);
        let (y, uv) = room.split_at_mut(to * lines);
        copy_lines(luma, self.from.stride, y, self.to.stride, width);
        let is_nv12 = matches!(self.layout, Layout::Nv12);
        match (is_nv12, self.to.fourcc) {
            (true, Fourcc::NV12) => {
                copy_lines(chroma, self.from.stride, uv, self.to.stride, width);
            }
            (true, _) => {
                let (u, v) = uv.split_at_mut(to / 2 * (lines / 2));
                let planes = u.chunks_mut(to / 2).zip(v.chunks_mut(to / 2));
                for (line, (u, v)) in chroma.chunks(from).take(height / 2).zip(planes) {
                    let pairs = line.as_chunks::<2>().0.iter().take(width / 2);
                    for ((pair, u), v) in pairs.zip(u).zip(v) {
                        [*u, *v] = *pair;
                    }
                }
            }
            (false, Fourcc::NV12) => {
                let (u, v) = chroma.split_at(from / 2 * (height / 2));
                let planes = u.chunks(from / 2).zip(v.chunks(from / 2));
                for (line, (u, v)) in uv.chunks_mut(to).zip(planes.take(height / 2)) {
                    let pairs = line.as_chunks_mut::<2>().0.iter_mut().take(width / 2);
                    for ((pair, u), v) in pairs.zip(u).zip(v) {
                        *pair = [*u, *v];
                    }
                }
            }
            (false, _) => {
                let (u, v) = chroma.split_at(from / 2 * (height / 2));
                let (to_u, to_v) = uv.split_at_mut(to / 2 * (lines / 2));
                let (from, to) = (self.from.stride / 2, self.to.stride / 2);
                copy_lines(u, from, to_u, to, width / 2);
                copy_lines(v, from, to_v, to, width / 2);
            }
        }
    }

    fn write_packed_as_nv12(&self, bytes: &[u8], room: &mut [u8]) {
        let (from, to) = (self.from.stride as usize, self.to.stride as usize);
        let width = self.from.size.width as usize;
        let pairs_of_lines = self.from.size.height as usize / 2;
        let (y, uv) = room.split_at_mut(to * self.to.lines as usize);
        let is_yuyv = matches!(self.layout, Layout::Yuyv);
        let lines = bytes.chunks(from * 2).zip(y.chunks_mut(to * 2));
        for ((two, y), uv) in lines.zip(uv.chunks_mut(to)).take(pairs_of_lines) {
            let (upper, lower) = two.split_at(from);
            let (y_upper, y_lower) = y.split_at_mut(to);
            let pixels = (upper.as_chunks::<4>().0.iter()).zip(lower.as_chunks::<4>().0);
            let luma =
                (y_upper.as_chunks_mut::<2>().0.iter_mut()).zip(y_lower.as_chunks_mut::<2>().0);
            let chroma = uv.as_chunks_mut::<2>().0;
            for (((upper, lower), (y_upper, y_lower)), uv) in
                pixels.zip(luma).zip(chroma).take(width / 2)
            {
                let ([y0, u0, y1, v0], [y2, u1, y3, v1]) = if is_yuyv {
                    (*upper, *lower)
                } else {
                    let swapped = |[u, y0, v, y1]: [u8; 4]| [y0, u, y1, v];
                    (swapped(*upper), swapped(*lower))
                };
                *y_upper = [y0, y1];
                *y_lower = [y2, y3];
                *uv = [u0.midpoint(u1), v0.midpoint(v1)];
            }
        }
    }

    fn write_packed_as_yu12(&self, bytes: &[u8], room: &mut [u8]) -> Result<(), String> {
        let packed = YuvPackedImage {
            // What stands behind the picture would be refused.
            yuy: &bytes[..self.layout.frame_bytes(&self.from)],
            yuy_stride: self.from.stride,
            width: self.from.size.width,
            height: self.from.size.height,
        };
        let unpack = match self.layout {
            Layout::Yuyv => yuyv422_to_yuv420,
            Layout::Uyvy | Layout::Yu12 | Layout::Nv12 | Layout::Jpeg => uyvy422_to_yuv420,
        };
        unpack(&mut self.planes(room), &packed).map_err(|error| error.to_string())
    }

    fn write_jpeg(&mut self, bytes: &[u8], room: &mut [u8]) -> Result<(), String> {
        let size = self.from.size;
        jpeg::decode(bytes, size, &mut self.jpeg, &mut self.rgb)?;
        let (range, matrix) = (YuvRange::Limited, YuvStandardMatrix::Bt601);
        let (rgb, stride, mode) = (&self.rgb, size.width * 3, YuvConversionMode::Balanced);
        if self.to.fourcc == Fourcc::NV12 {
            let (line, height) = (self.to.stride as usize, size.height as usize);
            let (y, uv) = room.split_at_mut(line * self.to.lines as usize);
            let mut image = YuvBiPlanarImageMut {
                y_plane: BufferStoreMut::Borrowed(&mut y[..line * height]),
                y_stride: self.to.stride,
                uv_plane: BufferStoreMut::Borrowed(&mut uv[..line * height / 2]),
                uv_stride: self.to.stride,
                width: size.width,
                height: size.height,
            };
            rgb_to_yuv_nv12(&mut image, rgb, stride, range, matrix, mode)
        } else {
            rgb_to_yuv420(&mut self.planes(room), rgb, stride, range, matrix, mode)
        }
        .map_err(|error| error.to_string())
    }

    fn planes<'a>(&self, room: &'a mut [u8]) -> YuvPlanarImageMut<'a, u8> {
        let (stride, lines) = (self.to.stride as usize, self.to.lines as usize);
        let (y, rest) = room.split_at_mut(stride * lines);
        let (u, v) = rest.split_at_mut(stride / 2 * (lines / 2));
        let height = self.from.size.height as usize;
        let chroma = stride / 2 * (height / 2);
        YuvPlanarImageMut {
            y_plane: BufferStoreMut::Borrowed(&mut y[..stride * height]),
            y_stride: self.to.stride,
            u_plane: BufferStoreMut::Borrowed(&mut u[..chroma]),
            u_stride: self.to.stride / 2,
            v_plane: BufferStoreMut::Borrowed(&mut v[..chroma]),
            v_stride: self.to.stride / 2,
            width: self.from.size.width,
            height: self.from.size.height,
        }
    }
}

fn copy_lines(from: &[u8], from_stride: u32, to: &mut [u8], to_stride: u32, line: usize) {
    let lines = from.chunks(from_stride as usize);
    for (from, to) in lines.zip(to.chunks_mut(to_stride as usize)) {
        if let (Some(from), Some(to)) = (from.get(..line), to.get_mut(..line)) {
            to.copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Converter;
    use super::super::tests::{format, frame};
    use super::*;

    const RAW: [Fourcc; 4] = [Fourcc::NV12, Fourcc::YU12, Fourcc::YUYV, Fourcc::UYVY];

    fn room(target: Target) -> Vec<u8> {
        let lines = target.stride as usize * target.lines as usize;
        vec![0xee; lines + lines / 2]
    }

    /// What a frame shows, tightly packed, as the software encoder would see it.
    fn planes(format: PictureFormat, bytes: &[u8]) -> Vec<u8> {
        let frame = frame(format, bytes);
        let mut converter = Converter::new(format).unwrap();
        let picture = converter.convert(&frame).unwrap();
        let (luma, chroma) = picture.strides();
        let Size { width, height } = format.size;
        let mut planes = Vec::new();
        for (plane, stride, side, lines) in [
            (picture.y(), luma, width, height),
            (picture.u(), chroma, width / 2, height / 2),
            (picture.v(), chroma, width / 2, height / 2),
        ] {
            for line in plane.chunks(stride).take(lines as usize) {
                planes.extend_from_slice(&line[..side as usize]);
            }
        }
        planes
    }

    #[test]
    fn padding_is_left_alone() {
        let from = format(Fourcc::NV12, 4, 2, 6);
        let to = Target {
            fourcc: Fourcc::NV12,
            stride: 8,
            lines: 4,
        };
        let picture = [1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0, 0, 9, 10, 11, 12, 0, 0];
        let mut room = room(to);
        let written = Writer::new(from, to)
            .unwrap()
            .write(&frame(from, &picture), &mut room)
            .unwrap();
        assert_eq!(written, 12);
        assert_eq!(room[..8], [1, 2, 3, 4, 0xee, 0xee, 0xee, 0xee]);
        assert_eq!(room[8..12], [5, 6, 7, 8]);
        assert_eq!(room[16..32], [0xee; 16], "the padded lines");
        assert_eq!(room[32..36], [9, 10, 11, 12]);
    }

    #[test]
    fn a_jpeg_goes_straight_into_the_encoder_s_layout() {
        use super::super::tests::RED_JPEG;
        let from = format(Fourcc::MJPG, 32, 16, 0);
        for fourcc in [Fourcc::NV12, Fourcc::YU12] {
            let to = Target {
                fourcc,
                stride: 64,
                lines: 32,
            };
            let mut room = room(to);
            let mut writer = Writer::new(from, to).unwrap();
            let picture = frame(from, RED_JPEG);
            assert_eq!(writer.write(&picture, &mut room).unwrap(), 32 * 16 * 3 / 2);
            let seen = planes(format(fourcc, 32, 32, 64), &room);
            // Red in BT.601, limited range: 81, 90, 240.
            for (at, red) in [(0, 81_u8), (32 * 32, 90), (32 * 32 * 5 / 4, 240)] {
                assert!(seen[at].abs_diff(red) <= 3, "{fourcc}: {}", seen[at]);
            }
            assert_eq!(room[32], 0xee, "beside the picture");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_never_a_panic() {
        let from = format(Fourcc::YUYV, 4, 2, 8);
        let to = Target {
            fourcc: Fourcc::NV12,
            stride: 4,
            lines: 2,
        };
        let mut writer = Writer::new(from, to).unwrap();
        let picture = frame(from, &[0; 16]);
        let error = writer.write(&picture, &mut [0; 11]).unwrap_err();
        assert!(error.is_passing());
        assert!(writer.write(&picture, &mut []).is_err());
        assert!(writer.write(&frame(from, &[0; 15]), &mut [0; 12]).is_err());
        let narrow = Target { stride: 2, ..to };
        assert!(Writer::new(from, narrow).is_err());
        let packed = Target {
            fourcc: Fourcc::UYVY,
            ..to
        };
        assert!(Writer::new(from, packed).is_err());
    }

    proptest! {
        /// The encoder in hardware sees what the one in software would.
        #[test]
        fn every_conversion_shows_the_same_picture(
            from in 0_usize..4,
            to in 0_usize..2,
            (columns, rows) in (4_u32..24, 4_u32..16),
            (more, wider, longer) in (0_u32..8, 0_u32..8, 0_u32..4),
            darkest in 0_u8..160,
        ) {
            let (width, height) = (columns * 2, rows * 2);
            let bytes_a_pixel = if from < 2 { 1 } else { 2 };
            let from = format(RAW[from], width, height, (width + more * 2) * bytes_a_pixel);
            let lines = from.stride as usize * height as usize;
            // Smooth, so that rounding is the only difference between one way of halving the colours and another.
            let picture: Vec<u8> = (0..lines * 3 / 2).map(|at| (at / 64) as u8 + darkest).collect();
            let target = Target {
                fourcc: RAW[to],
                stride: width + wider * 2,
                lines: height + longer * 2,
            };
            let mut room = room(target);
            let mut writer = Writer::new(from, target).unwrap();
            let written = writer.write(&frame(from, &picture), &mut room).unwrap();
            prop_assert_eq!(written, u64::from(width * height * 3 / 2));
            let padded = format(target.fourcc, width, target.lines, target.stride);
            let seen = planes(padded, &room);
            let wanted = planes(from, &picture);
            let luma = (width * height) as usize;
            prop_assert_eq!(&seen[..luma], &wanted[..luma]);
            let chroma = (width * height / 4) as usize;
            let seen_u = &seen[(width * target.lines) as usize..][..chroma];
            for (one, other) in seen_u.iter().zip(&wanted[luma..]) {
                prop_assert!(one.abs_diff(*other) <= 1, "{} and {}", one, other);
            }
        }
    }
}
