//! Pictures of half the width and height, for links that are too narrow for the whole.

use super::I420;
use crate::media::Size;

/// Makes pictures smaller. Its memory is allocated with the first.
#[derive(Debug, Default)]
pub struct Halver {
    planes: Vec<u8>,
    written_bytes: u64,
}

impl Halver {
    /// Each pixel is the mean of four. Sides are rounded down to even ones, and what is over is left out.
    pub fn halve(&mut self, picture: &I420<'_>) -> I420<'_> {
        let size = halved(picture.size);
        let (width, height) = (size.width as usize, size.height as usize);
        let (luma, chroma) = (width * height, width * height / 4);
        self.planes.resize(luma + chroma * 2, 0);
        self.written_bytes += self.planes.len() as u64;
        let (y, rest) = self.planes.split_at_mut(luma);
        let (u, v) = rest.split_at_mut(chroma);
        halve_plane(picture.y, picture.stride, y, width);
        halve_plane(picture.u, picture.chroma_stride, u, width / 2);
        halve_plane(picture.v, picture.chroma_stride, v, width / 2);
        I420 {
            size,
            stride: width,
            chroma_stride: width / 2,
            y,
            u,
            v,
        }
    }

    /// How many bytes were written since the start.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }
}

/// 4:2:0 has chroma for pairs of pixels.
pub fn halved(size: Size) -> Size {
    Size {
        width: size.width / 2 & !1,
        height: size.height / 2 & !1,
    }
}

fn halve_plane(from: &[u8], stride: usize, to: &mut [u8], width: usize) {
    let pairs = from.chunks(stride * 2);
    for (line, pair) in to.chunks_exact_mut(width).zip(pairs) {
        let (upper, lower) = pair.split_at(stride.min(pair.len()));
        let upper = upper.chunks_exact(2);
        let lower = lower.chunks_exact(2);
        for (pixel, (above, below)) in line.iter_mut().zip(upper.zip(lower)) {
            let sum = u16::from(above[0])
                + u16::from(above[1])
                + u16::from(below[0])
                + u16::from(below[1]);
            *pixel = ((sum + 2) / 4) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_pixels_become_their_mean_and_strides_are_left_out() {
        // 8x4 with two bytes behind each line.
        let stride = 10;
        let y: Vec<u8> = (0..4 * stride).map(|at| (at % stride * 10) as u8).collect();
        let u = vec![100; 2 * 5];
        let v: Vec<u8> = vec![1, 3, 5, 7, 99, 1, 3, 5, 7, 99];
        let picture = I420 {
            size: Size {
                width: 8,
                height: 4,
            },
            stride,
            chroma_stride: 5,
            y: &y,
            u: &u,
            v: &v,
        };
        let mut halver = Halver::default();
        let half = halver.halve(&picture);
        assert_eq!((half.size.width, half.size.height), (4, 2));
        assert_eq!(half.y, [5, 25, 45, 65, 5, 25, 45, 65]);
        assert_eq!(half.u, [100, 100]);
        assert_eq!(half.v, [2, 6]);
        assert_eq!(halver.written_bytes(), 12);
    }

    #[test]
    fn side_that_has_no_even_half_loses_its_edge() {
        let size = halved(Size {
            width: 854,
            height: 480,
        });
        assert_eq!((size.width, size.height), (426, 240));
    }
}
