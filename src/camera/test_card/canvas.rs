//! A `YU12` picture to draw on. Whatever is outside of it is not drawn.

use super::lettering::Sprite;
use crate::media::Size;

/// The three planes of a picture with even sides, tightly packed.
pub(super) struct Canvas<'a> {
    pub(super) luma: &'a mut [u8],
    blue: &'a mut [u8],
    red: &'a mut [u8],
    width: usize,
    height: usize,
}

impl<'a> Canvas<'a> {
    /// `picture` holds all three planes of `size`.
    pub(super) fn over(picture: &'a mut [u8], size: Size) -> Self {
        let (width, height) = (size.width as usize, size.height as usize);
        let (luma, chroma) = picture.split_at_mut(width * height);
        let (blue, red) = chroma.split_at_mut(width * height / 4);
        Self {
            luma,
            blue,
            red,
            width,
            height,
        }
    }

    pub(super) fn fill(&mut self, area: Area, ink: Ink) {
        for y in area.top..area.bottom() {
            self.line(area.left, y, area.width).fill(ink.luma);
        }
        let (width, height) = (self.width / 2, self.height / 2);
        for y in area.top / 2..area.bottom() / 2 {
            let (left, length) = (area.left / 2, area.width / 2);
            clipped(self.blue, width, height, left, y, length).fill(ink.blue);
            clipped(self.red, width, height, left, y, length).fill(ink.red);
        }
    }

    pub(super) fn blit(&mut self, sprite: &Sprite, left: usize, top: usize, luma: u8) {
        blit_plane(self.luma, self.width, self.height, sprite, left, top, luma);
    }

    /// `left` and `top` count chroma samples, which are half as many.
    pub(super) fn blit_chroma(&mut self, sprite: &Sprite, left: usize, top: usize, ink: Ink) {
        let (width, height) = (self.width / 2, self.height / 2);
        blit_plane(self.blue, width, height, sprite, left, top, ink.blue);
        blit_plane(self.red, width, height, sprite, left, top, ink.red);
    }

    pub(super) fn copy_line(&mut self, left: usize, y: usize, levels: &[u8]) {
        let pixels = self.line(left, y, levels.len());
        pixels.copy_from_slice(&levels[..pixels.len()]);
    }

    /// A piece of a line of luma: shorter, or empty, where it reaches over the edge.
    pub(super) fn line(&mut self, left: usize, y: usize, length: usize) -> &mut [u8] {
        clipped(self.luma, self.width, self.height, left, y, length)
    }
}

/// A rectangle whose corners and sides are even, so that chroma follows luma.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Area {
    /// Odd numbers are rounded down.
    pub(super) fn new(left: usize, top: usize, width: usize, height: usize) -> Self {
        Self {
            left: even(left),
            top: even(top),
            width: even(width),
            height: even(height),
        }
    }

    pub(super) fn right(&self) -> usize {
        self.left + self.width
    }

    pub(super) fn bottom(&self) -> usize {
        self.top + self.height
    }

    /// What is left when `by` pixels, or one more, are taken off all around.
    pub(super) fn inset(&self, by: usize) -> Self {
        let by = by.next_multiple_of(2);
        Self::new(
            self.left + by,
            self.top + by,
            self.width.saturating_sub(2 * by),
            self.height.saturating_sub(2 * by),
        )
    }
}

pub(super) const fn even(number: usize) -> usize {
    number & !1
}

/// A colour in BT.601 limited range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ink {
    pub(super) luma: u8,
    blue: u8,
    red: u8,
}

impl Ink {
    pub(super) const fn new(luma: u8, blue: u8, red: u8) -> Self {
        Self { luma, blue, red }
    }
}

fn clipped(
    plane: &mut [u8],
    width: usize,
    height: usize,
    left: usize,
    y: usize,
    length: usize,
) -> &mut [u8] {
    if y >= height || left >= width {
        return &mut [];
    }
    let length = length.min(width - left);
    &mut plane[y * width + left..][..length]
}

fn blit_plane(
    plane: &mut [u8],
    width: usize,
    height: usize,
    sprite: &Sprite,
    left: usize,
    top: usize,
    level: u8,
) {
    for (line, coverage) in sprite.coverage.chunks(sprite.width.max(1)).enumerate() {
        let pixels = clipped(plane, width, height, left, top + line, sprite.width);
        for (pixel, coverage) in pixels.iter_mut().zip(coverage) {
            let (below, above) = (u32::from(*pixel), u32::from(level));
            let coverage = u32::from(*coverage);
            *pixel = ((below * (255 - coverage) + above * coverage) / 255) as u8;
        }
    }
}
