//! Levels: how much a decoder must be able to do. ITU-T H.264, table A-1.

use std::time::Duration;

use crate::media::{Bitrate, Size};

/// One entry of `V4L2_CID_MPEG_VIDEO_H264_LEVEL`'s menu; the order is that of what they allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level(u8);

impl Level {
    /// The lowest that allows such a stream; `None` when none does.
    pub(super) fn needed(size: Size, interval: Duration, bitrate: Bitrate) -> Option<Self> {
        let macroblocks =
            u128::from(size.width.div_ceil(16)) * u128::from(size.height.div_ceil(16));
        let nanos = interval.as_nanos().max(1);
        let limits = LIMITS.iter().position(|limits| {
            macroblocks <= u128::from(limits.macroblocks)
                && macroblocks * 1_000_000_000
                    <= u128::from(limits.macroblocks_per_second) * nanos + ROUNDING * macroblocks
                && bitrate.as_bps() <= limits.kbps * 1000
        })?;
        Some(Self(limits as u8))
    }

    /// From `level_idc`: 31 is level 3.1. Level 1b has none of its own.
    pub(super) fn from_idc(idc: u8) -> Option<Self> {
        let known = LIMITS.iter().rposition(|limits| limits.idc == idc)?;
        Some(Self(known as u8))
    }

    pub(super) fn next(self) -> Option<Self> {
        let next = self.0 + 1;
        (usize::from(next) < LIMITS.len()).then_some(Self(next))
    }

    /// The menu's entry.
    pub(super) fn entry(self) -> u32 {
        self.0.into()
    }

    /// The highest bitrate that it allows in the Baseline and Main profiles.
    pub(super) fn bitrate(self) -> Bitrate {
        Bitrate::kbps(LIMITS[usize::from(self.0)].kbps)
    }
}

struct Limits {
    idc: u8,
    macroblocks_per_second: u64,
    macroblocks: u64,
    kbps: u64,
}

const fn limits(idc: u8, macroblocks_per_second: u64, macroblocks: u64, kbps: u64) -> Limits {
    Limits {
        idc,
        macroblocks_per_second,
        macroblocks,
        kbps,
    }
}

/// In the menu's order, `V4L2_MPEG_VIDEO_H264_LEVEL_1_0` to `_5_2`; the second is 1b.
const LIMITS: [Limits; 17] = [
    limits(10, 1485, 99, 64),
    limits(9, 1485, 99, 128),
    limits(11, 3000, 396, 192),
    limits(12, 6000, 396, 384),
    limits(13, 11_880, 396, 768),
    limits(20, 11_880, 396, 2000),
    limits(21, 19_800, 792, 4000),
    limits(22, 20_250, 1620, 4000),
    limits(30, 40_500, 1620, 10_000),
    limits(31, 108_000, 3600, 14_000),
    limits(32, 216_000, 5120, 20_000),
    limits(40, 245_760, 8192, 20_000),
    limits(41, 245_760, 8192, 50_000),
    limits(42, 522_240, 8704, 50_000),
    limits(50, 589_824, 22_080, 135_000),
    limits(51, 983_040, 36_864, 240_000),
    limits(52, 2_073_600, 36_864, 240_000),
];

/// 1/30 s is no whole number of nanoseconds: so many may be missing from an interval.
const ROUNDING: u128 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(size: &str, fps: u32, bitrate: Bitrate) -> Option<u8> {
        let interval = Duration::from_secs(1) / fps;
        Level::needed(size.parse().unwrap(), interval, bitrate)
            .map(|level| LIMITS[usize::from(level.0)].idc)
    }

    #[test]
    fn common_cameras_get_the_level_that_the_table_says() {
        assert_eq!(needed("320x240", 30, Bitrate::kbps(300)), Some(13));
        assert_eq!(needed("640x480", 30, Bitrate::kbps(1000)), Some(30));
        assert_eq!(needed("640x480", 60, Bitrate::kbps(1000)), Some(31));
        assert_eq!(needed("1280x720", 30, Bitrate::kbps(2000)), Some(31));
        assert_eq!(needed("1280x720", 60, Bitrate::kbps(2000)), Some(32));
        assert_eq!(needed("1920x1080", 30, Bitrate::kbps(4000)), Some(40));
        assert_eq!(needed("1920x1080", 60, Bitrate::kbps(4000)), Some(42));
    }

    #[test]
    fn the_bitrate_counts_too() {
        assert_eq!(needed("320x240", 30, Bitrate::kbps(5000)), Some(30));
        assert_eq!(needed("640x480", 30, Bitrate::kbps(25_000)), Some(41));
        assert_eq!(needed("640x480", 30, Bitrate::kbps(300_000)), None);
    }

    #[test]
    fn levels_are_the_menu_s_entries_and_grow() {
        let level = Level::from_idc(31).unwrap();
        assert_eq!(level.entry(), 9);
        assert_eq!(level.bitrate(), Bitrate::kbps(14_000));
        assert!(level.next() > Some(level));
        assert_eq!(Level::from_idc(52).unwrap().next(), None);
        assert_eq!(Level::from_idc(33), None);
    }
}
