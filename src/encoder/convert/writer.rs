//! One copy or one conversion of a picture, straight into an encoder's buffer.

use yuv::{
    BufferStoreMut, YuvBiPlanarImageMut, YuvConversionMode, YuvPackedImage, YuvPlanarImageMut,
    YuvRange, YuvStandardMatrix, rgb_to_yuv_nv12, rgb_to_yuv420, uyvy422_to_yuv420,
    yuyv422_to_yuv420,
};

use super::jpeg;
use super::layout::{Layout, SUPPORTED};
use super::target::{Buffers, Planes, Target};
use crate::encoder::EncoderError;
use crate::media::{Frame, PictureFormat, Size};

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

impl Writer {
    pub fn new(from: PictureFormat, to: Target) -> Result<Self, EncoderError> {
        let unsupported = || EncoderError::Unsupported {
            fourcc: from.fourcc,
            supported: SUPPORTED,
        };
        let layout = Layout::of(from.fourcc).ok_or_else(unsupported)?;
        let is_known = to.has_planes() || to.fourcc == from.fourcc;
        if !is_known {
            return Err(unsupported());
        }
        let Size { width, height } = from.size;
        let target = Layout::of(to.fourcc.in_one_buffer()).ok_or_else(unsupported)?;
        let is_roomy = to.stride as usize >= target.line_bytes(from.size)
            && to.chroma_stride >= to.chroma_line(width)
            && to.lines >= height;
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

    /// Another that does the same.
    pub fn another(&self) -> Result<Self, EncoderError> {
        Self::new(self.from, self.to)
    }

    /// Returns how many bytes of picture were written. An error is about this frame alone.
    pub fn write(&mut self, frame: &Frame, room: Buffers<'_>) -> Result<u64, EncoderError> {
        self.try_write(frame, room)
            .map_err(|found| EncoderError::Frame {
                sequence: frame.sequence,
                found,
            })
    }

    fn try_write(&mut self, frame: &Frame, room: Buffers<'_>) -> Result<u64, String> {
        if frame.format != self.from {
            return Err("format changed without the camera being opened again".into());
        }
        let bytes = frame.bytes();
        let needed = self.layout.frame_bytes(&self.from);
        if bytes.len() < needed {
            return Err(format!("got {} bytes when expecting {needed}", bytes.len()));
        }
        let Some(planes) = self.to.planes(room) else {
            return Err("got room for less than a picture".into());
        };
        match self.layout {
            Layout::Jpeg => self.write_jpeg(bytes, planes)?,
            Layout::Yuyv | Layout::Uyvy if self.to.is_interleaved() => {
                self.write_packed_as_nv12(bytes, planes);
            }
            Layout::Yuyv | Layout::Uyvy if self.to.has_planes() => {
                self.write_packed_as_yu12(bytes, planes)?;
            }
            Layout::Yuyv | Layout::Uyvy => {
                let line = self.layout.line_bytes(self.from.size);
                let [packed, _, _] = planes;
                copy_lines(bytes, self.from.stride, packed, self.to.stride, line);
            }
            Layout::Yu12 | Layout::Nv12 => self.write_planar(bytes, planes),
        }
        let pixels = u64::from(self.from.size.width) * u64::from(self.from.size.height);
        Ok(if self.to.has_planes() {
            pixels * 3 / 2
        } else {
            pixels * 2
        })
    }

    fn write_planar(&self, bytes: &[u8], [y, to_u, to_v]: Planes<'_>) {
        let from = self.from.stride as usize;
        let to = self.to.chroma_stride as usize;
        let height = self.from.size.height as usize;
        let width = self.from.size.width as usize;
        let (luma, chroma) = bytes.split_at(from * height);
        copy_lines(luma, self.from.stride, y, self.to.stride, width);
        let is_nv12 = matches!(self.layout, Layout::Nv12);
        match (is_nv12, self.to.is_interleaved()) {
            (true, true) => {
                copy_lines(chroma, self.from.stride, to_u, self.to.chroma_stride, width);
            }
            (true, false) => {
                let planes = to_u.chunks_mut(to).zip(to_v.chunks_mut(to));
                for (line, (u, v)) in chroma.chunks(from).take(height / 2).zip(planes) {
                    let pairs = line.as_chunks::<2>().0.iter().take(width / 2);
                    for ((pair, u), v) in pairs.zip(u).zip(v) {
                        [*u, *v] = *pair;
                    }
                }
            }
            (false, true) => {
                let (u, v) = chroma.split_at(from / 2 * (height / 2));
                let planes = u.chunks(from / 2).zip(v.chunks(from / 2));
                for (line, (u, v)) in to_u.chunks_mut(to).zip(planes.take(height / 2)) {
                    let pairs = line.as_chunks_mut::<2>().0.iter_mut().take(width / 2);
                    for ((pair, u), v) in pairs.zip(u).zip(v) {
                        *pair = [*u, *v];
                    }
                }
            }
            (false, false) => {
                let (u, v) = chroma.split_at(from / 2 * (height / 2));
                let (from, to) = (self.from.stride / 2, self.to.chroma_stride);
                copy_lines(u, from, to_u, to, width / 2);
                copy_lines(v, from, to_v, to, width / 2);
            }
        }
    }

    fn write_packed_as_nv12(&self, bytes: &[u8], [y, uv, _]: Planes<'_>) {
        let (from, to) = (self.from.stride as usize, self.to.stride as usize);
        let width = self.from.size.width as usize;
        let pairs_of_lines = self.from.size.height as usize / 2;
        let is_yuyv = matches!(self.layout, Layout::Yuyv);
        let lines = bytes.chunks(from * 2).zip(y.chunks_mut(to * 2));
        let colours = uv.chunks_mut(self.to.chroma_stride as usize);
        for ((two, y), uv) in lines.zip(colours).take(pairs_of_lines) {
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

    fn write_packed_as_yu12(&self, bytes: &[u8], planes: Planes<'_>) -> Result<(), String> {
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
        unpack(&mut self.three_planes(planes), &packed).map_err(|error| error.to_string())
    }

    fn write_jpeg(&mut self, bytes: &[u8], planes: Planes<'_>) -> Result<(), String> {
        let size = self.from.size;
        jpeg::decode(bytes, size, &mut self.jpeg, &mut self.rgb)?;
        let (range, matrix) = (YuvRange::Limited, YuvStandardMatrix::Bt601);
        let (rgb, stride, mode) = (&self.rgb, size.width * 3, YuvConversionMode::Balanced);
        if self.to.is_interleaved() {
            let [y, uv, _] = planes;
            let height = size.height as usize;
            let (luma, chroma) = (self.to.stride, self.to.chroma_stride);
            let mut image = YuvBiPlanarImageMut {
                y_plane: BufferStoreMut::Borrowed(&mut y[..luma as usize * height]),
                y_stride: luma,
                uv_plane: BufferStoreMut::Borrowed(&mut uv[..chroma as usize * (height / 2)]),
                uv_stride: chroma,
                width: size.width,
                height: size.height,
            };
            rgb_to_yuv_nv12(&mut image, rgb, stride, range, matrix, mode)
        } else {
            let mut image = self.three_planes(planes);
            rgb_to_yuv420(&mut image, rgb, stride, range, matrix, mode)
        }
        .map_err(|error| error.to_string())
    }

    /// Without the lines that pad them.
    fn three_planes<'a>(&self, [y, u, v]: Planes<'a>) -> YuvPlanarImageMut<'a, u8> {
        let (luma, chroma) = (self.to.stride, self.to.chroma_stride);
        let height = self.from.size.height as usize;
        let half = chroma as usize * (height / 2);
        YuvPlanarImageMut {
            y_plane: BufferStoreMut::Borrowed(&mut y[..luma as usize * height]),
            y_stride: luma,
            u_plane: BufferStoreMut::Borrowed(&mut u[..half]),
            u_stride: chroma,
            v_plane: BufferStoreMut::Borrowed(&mut v[..half]),
            v_stride: chroma,
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
    use crate::media::Fourcc;

    const RAW: [Fourcc; 4] = [Fourcc::NV12, Fourcc::YU12, Fourcc::YUYV, Fourcc::UYVY];

    fn room(target: Target) -> Vec<u8> {
        let lines = target.stride as usize * target.lines as usize;
        vec![0xee; lines + lines / 2]
    }

    fn one(room: &mut [u8]) -> Buffers<'_> {
        [room, &mut [], &mut []]
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
        let to = Target::in_one_buffer(Fourcc::NV12, 8, 4);
        let picture = [1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0, 0, 9, 10, 11, 12, 0, 0];
        let mut room = room(to);
        let written = Writer::new(from, to)
            .unwrap()
            .write(&frame(from, &picture), one(&mut room))
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
            let to = Target::in_one_buffer(fourcc, 64, 32);
            let mut room = room(to);
            let mut writer = Writer::new(from, to).unwrap();
            let picture = frame(from, RED_JPEG);
            let written = writer.write(&picture, one(&mut room)).unwrap();
            assert_eq!(written, 32 * 16 * 3 / 2);
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
        let to = Target::in_one_buffer(Fourcc::NV12, 4, 2);
        let mut writer = Writer::new(from, to).unwrap();
        let picture = frame(from, &[0; 16]);
        let error = writer.write(&picture, one(&mut [0; 11])).unwrap_err();
        assert!(error.is_passing());
        assert!(writer.write(&picture, one(&mut [])).is_err());
        let short = frame(from, &[0; 15]);
        assert!(writer.write(&short, one(&mut [0; 12])).is_err());
        for (stride, chroma_stride) in [(2, 4), (4, 2)] {
            let narrow = Target {
                stride,
                chroma_stride,
                ..to
            };
            assert!(Writer::new(from, narrow).is_err());
        }
        let packed = Target {
            fourcc: Fourcc::UYVY,
            ..to
        };
        assert!(Writer::new(from, packed).is_err());

        for (fourcc, chroma_stride) in [(Fourcc::NM12, 4), (Fourcc::YM12, 2)] {
            let apart = Target {
                fourcc,
                chroma_stride,
                ..to
            };
            let mut writer = Writer::new(from, apart).unwrap();
            let (luma, colours) = (&mut [0; 8][..], &mut [0; 1][..]);
            assert!(writer.write(&picture, [luma, colours, &mut []]).is_err());
        }
    }

    proptest! {
        /// The encoder in hardware sees what the one in software would.
        #[test]
        fn every_conversion_shows_the_same_picture(
            from in 0_usize..4,
            to in 0_usize..4,
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
            let fourcc = [Fourcc::NV12, Fourcc::YU12, Fourcc::NM12, Fourcc::YM12][to];
            let whole = fourcc.in_one_buffer();
            let (stride, lines) = (width + wider * 2, height + longer * 2);
            let target = Target { fourcc, ..Target::in_one_buffer(whole, stride, lines) };
            let mut room = room(target);
            let mut writer = Writer::new(from, target).unwrap();
            // As many buffers as the format has planes; here they happen to be neighbours.
            let buffers = match fourcc.memory_planes() {
                1 => one(&mut room),
                planes => {
                    let (y, rest) = room.split_at_mut((stride * lines) as usize);
                    let (u, v) = rest.split_at_mut(rest.len() / (planes - 1));
                    [y, u, v]
                }
            };
            let written = writer.write(&frame(from, &picture), buffers).unwrap();
            prop_assert_eq!(written, u64::from(width * height * 3 / 2));
            let padded = format(whole, width, target.lines, target.stride);
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
