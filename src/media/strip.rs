//! The strip: a frame's number and capture time as black and white cells in the picture, for machines to read.
//!
//! It tells a browser test which frame is on the screen and how old it is, after H.264 and after the browser's colour
//! conversion. A reader in JavaScript needs nothing but this page:
//!
//! - **Where.** 40 columns by 3 rows of square cells at the top left corner of the picture. A cell's side is
//!   `min(width / 40, height / 6)` rounded down to a multiple of 8 pixels: 8 at 320x180, 16 at 640x360, 32 at 1280x720, 48 at
//!   1920x1080. If that is 0 there is no strip. Columns beyond the 40th belong to the picture. Draw the video to the canvas at
//!   `videoWidth` by `videoHeight`: a scaled picture has no strip to find.
//! - **Cells.** A white cell (luma 235) is a 1, a black cell (luma 16) is a 0, on neutral chroma (128), so a canvas has
//!   red = green = blue: 255 or 0, give or take what the encoder did to it. A cell's level is the mean over its inner half,
//!   from `side / 4` up to but not including `side * 3 / 4` across and down.
//! - **Order.** Bit `n` is in row `n / 40`, column `n % 40`, rows from the top, columns from the left. Every number has its
//!   most significant bit first:
//!
//! ```text
//!   bits     what
//!   0-11     sync, always 1011 0011 1000
//!   12-43    frame number, 32 bits, wrapping
//!   44-87    capture time, Unix time in milliseconds, 44 bits (good until the year 2527)
//!   88-119   CRC-32 of 10 bytes: frame number (4 bytes), capture time (6 bytes), both big endian
//! ```
//!
//! - **Threshold.** Halfway between the mean level of the six white sync cells and that of the six black ones; these are at
//!   least 64 apart, or there is no strip. A cell above the threshold is a 1. Sync and CRC must then be right.
//! - **CRC-32** is that of Ethernet and zlib: reflected polynomial 0xedb88320, initial value and final xor 0xffffffff.

use crate::media::Size;

/// Which frame this is, and when it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strip {
    pub frame: u32,
    /// The lower 44 bits are drawn.
    pub captured_unix_ms: u64,
}

impl Strip {
    /// The pixels that the strip covers at the top left of a picture; `None` when the picture is too small for it.
    pub fn area(size: Size) -> Option<Size> {
        let side = cell_side(size)? as u32;
        Some(Size {
            width: side * COLUMNS as u32,
            height: side * ROWS as u32,
        })
    }

    /// Draws the strip into a luma plane; a picture that is too small for it is left as it was.
    pub fn draw(&self, luma: &mut [u8], stride: usize, size: Size) {
        let Some(side) = cell_side(size).filter(|_| holds(luma, stride, size)) else {
            return;
        };
        let bits = self.bits();
        for row in 0..ROWS {
            let top = row * side * stride;
            for column in 0..COLUMNS {
                let level = match bits >> (BITS - 1 - row * COLUMNS - column) & 1 {
                    0 => BLACK,
                    _ => WHITE,
                };
                luma[top + column * side..][..side].fill(level);
            }
            for line in 1..side {
                luma.copy_within(top..top + COLUMNS * side, top + line * stride);
            }
        }
    }

    /// Reads the strip from a luma plane; `None` when there is none or it is damaged.
    pub fn read(luma: &[u8], stride: usize, size: Size) -> Option<Self> {
        let side = cell_side(size).filter(|_| holds(luma, stride, size))?;
        let mut levels = [0u32; BITS];
        for (bit, level) in levels.iter_mut().enumerate() {
            *level = cell_level(luma, stride, side, bit);
        }

        let (mut white, mut black) = (0, 0);
        for (bit, level) in levels[..SYNC_BITS].iter().enumerate() {
            match SYNC >> (SYNC_BITS - 1 - bit) & 1 {
                0 => black += level,
                _ => white += level,
            }
        }
        if white < black + MIN_CONTRAST * SYNC_CELLS_OF_A_COLOUR {
            return None;
        }
        let threshold = (white + black) / (2 * SYNC_CELLS_OF_A_COLOUR);

        let bits = levels.iter().fold(0u128, |bits, level| {
            bits << 1 | u128::from(*level > threshold)
        });
        let strip = Self {
            frame: (bits >> (TIME_BITS + CRC_BITS)) as u32,
            captured_unix_ms: (bits >> CRC_BITS) as u64 & TIME_MASK,
        };
        (strip.bits() == bits).then_some(strip)
    }

    /// All 120 cells, the first one in the highest bit.
    fn bits(&self) -> u128 {
        let captured = self.captured_unix_ms & TIME_MASK;
        let mut bytes = [0; 10];
        bytes[..4].copy_from_slice(&self.frame.to_be_bytes());
        bytes[4..].copy_from_slice(&captured.to_be_bytes()[2..]);
        let bits = u128::from(SYNC) << FRAME_BITS | u128::from(self.frame);
        let bits = bits << TIME_BITS | u128::from(captured);
        bits << CRC_BITS | u128::from(crc32(&bytes))
    }
}

/// The side of a cell in pixels.
fn cell_side(size: Size) -> Option<usize> {
    let side = (size.width / COLUMNS as u32).min(size.height / 6) / CELL_UNIT * CELL_UNIT;
    (side > 0).then_some(side as usize)
}

/// True when the plane has all lines of the picture.
fn holds(luma: &[u8], stride: usize, size: Size) -> bool {
    let (width, height) = (size.width as usize, size.height as usize);
    let needed = stride
        .checked_mul(height - 1)
        .and_then(|bytes| bytes.checked_add(width));
    stride >= width && needed.is_some_and(|needed| luma.len() >= needed)
}

/// The mean of a cell's inner half: its edges are where deblocking and scaling blur.
fn cell_level(luma: &[u8], stride: usize, side: usize, bit: usize) -> u32 {
    let left = bit % COLUMNS * side + side / 4;
    let top = bit / COLUMNS * side + side / 4;
    let inner = side / 2;
    let sum: u32 = (top..top + inner)
        .flat_map(|line| &luma[line * stride + left..][..inner])
        .map(|pixel| u32::from(*pixel))
        .sum();
    sum / (inner * inner) as u32
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

const COLUMNS: usize = 40;
const ROWS: usize = 3;
const BITS: usize = COLUMNS * ROWS;
const SYNC_BITS: usize = 12;
const FRAME_BITS: usize = 32;
const TIME_BITS: usize = 44;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const CRC_BITS: usize = 32;

/// As many ones as zeros, so that both levels are measured equally well.
const SYNC: u16 = 0b1011_0011_1000;
const SYNC_CELLS_OF_A_COLOUR: u32 = 6;

/// H.264 transforms blocks of 4 or 8 pixels: cells on that grid are flat blocks, which cost next to nothing to code.
const CELL_UNIT: u32 = 8;

/// The ends of the limited range (ITU-R BT.601): full range values would be clipped on the way to the screen.
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// A third of the full contrast: less is a picture without a strip, not a strip that an encoder has spoiled.
const MIN_CONTRAST: u32 = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZES: [Size; 6] = [
        size(320, 180),
        size(640, 360),
        size(854, 480),
        size(1280, 720),
        size(1920, 1080),
        size(360, 640),
    ];

    const fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    fn picture(strip: Strip, stride: usize, size: Size) -> Vec<u8> {
        let mut luma = vec![99; stride * size.height as usize];
        strip.draw(&mut luma, stride, size);
        luma
    }

    #[test]
    fn crc_is_the_one_of_ethernet() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn cells_are_whole_macroblocks_at_the_usual_sizes() {
        let sides: Vec<_> = SIZES.iter().filter_map(|size| cell_side(*size)).collect();
        assert_eq!(sides, [8, 16, 16, 32, 48, 8]);
        assert_eq!(Strip::area(size(640, 360)), Some(size(640, 48)));
    }

    #[test]
    fn a_picture_that_is_too_small_is_left_alone() {
        let small = size(312, 180);
        let strip = Strip {
            frame: 1,
            captured_unix_ms: 2,
        };
        let luma = picture(strip, 312, small);
        assert!(luma.iter().all(|pixel| *pixel == 99));
        assert_eq!(Strip::read(&luma, 312, small), None);
        assert_eq!(Strip::area(small), None);
    }

    #[test]
    fn a_picture_without_a_strip_reads_as_none() {
        let size = size(640, 360);
        let plain = vec![128; 640 * 360];
        let ramp: Vec<u8> = (0..640 * 360).map(|at| (at % 640 / 3) as u8).collect();
        assert_eq!(Strip::read(&plain, 640, size), None);
        assert_eq!(Strip::read(&ramp, 640, size), None);
    }

    #[test]
    fn one_wrong_cell_is_noticed() {
        let size = size(320, 180);
        let strip = Strip {
            frame: 77,
            captured_unix_ms: 1_790_000_000_000,
        };
        for bit in 0..BITS {
            let mut luma = picture(strip, 320, size);
            for line in 0..8 {
                for pixel in &mut luma[(bit / 40 * 8 + line) * 320 + bit % 40 * 8..][..8] {
                    *pixel = WHITE + BLACK - *pixel;
                }
            }
            assert_eq!(Strip::read(&luma, 320, size), None, "bit {bit}");
        }
    }

    #[test]
    fn a_plane_shorter_than_its_size_is_not_touched() {
        let size = size(320, 180);
        let strip = Strip {
            frame: 1,
            captured_unix_ms: 2,
        };
        let mut short = vec![99; 320 * 180 - 1];
        strip.draw(&mut short, 320, size);
        assert!(short.iter().all(|pixel| *pixel == 99));
        assert_eq!(Strip::read(&short, 320, size), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_drawn_is_read(
            frame: u32,
            captured_unix_ms in 0..1u64 << 44,
            which in 0..SIZES.len(),
            padding in 0..64usize,
        ) {
            let size = SIZES[which];
            let stride = size.width as usize + padding;
            let strip = Strip { frame, captured_unix_ms };
            let luma = picture(strip, stride, size);
            prop_assert_eq!(Strip::read(&luma, stride, size), Some(strip));
        }

        #[test]
        fn a_noisy_blurred_coarse_picture_is_read(frame: u32, captured_unix_ms in 0..1u64 << 44, seed: u32) {
            let size = size(320, 180);
            let strip = Strip { frame, captured_unix_ms };
            let mut luma = picture(strip, 320, size);
            // A 5x5 box blur, a picture of half the contrast in steps of 24, and noise of ±40.
            let sharp = luma.clone();
            let mut noise = seed;
            for y in 2..178 {
                for x in 2..318 {
                    let sum: u32 = (0..25)
                        .map(|at| u32::from(sharp[(y + at / 5 - 2) * 320 + x + at % 5 - 2]))
                        .sum();
                    let level = (sum / 25 / 2 + 60) / 24 * 24;
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    luma[y * 320 + x] = (level + (noise >> 16) % 81).saturating_sub(40).min(255) as u8;
                }
            }
            prop_assert_eq!(Strip::read(&luma, 320, size), Some(strip));
        }

        #[test]
        fn any_bytes_in_any_shape_are_harmless(
            pattern in proptest::collection::vec(any::<u8>(), 1..200),
            bytes in 0..20_000usize,
            stride in 0..400usize,
            width in 0..400u32,
            height in 0..60u32,
        ) {
            let size = size(width, height);
            let mut luma: Vec<u8> = pattern.iter().copied().cycle().take(bytes).collect();
            prop_assert_eq!(Strip::read(&luma, stride, size), None);
            Strip { frame: 3, captured_unix_ms: 4 }.draw(&mut luma, stride, size);
        }
    }
}
