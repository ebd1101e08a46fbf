//! Levels: how much a decoder must be able to do. ITU-T H.264, table A-1.

use std::time::Duration;

use crate::board::Level;
use crate::media::{Bitrate, Size};

/// The lowest that allows such a stream; `None` when none does.
pub(super) fn needed(size: Size, interval: Duration, bitrate: Bitrate) -> Option<Level> {
    let macroblocks = u128::from(size.width.div_ceil(16)) * u128::from(size.height.div_ceil(16));
    let nanos = interval.as_nanos().max(1);
    let limits = LIMITS.iter().find(|limits| {
        let rate = u128::from(limits.macroblocks_per_second) * nanos;
        macroblocks <= u128::from(limits.macroblocks)
            && macroblocks * 1_000_000_000 <= rate + ROUNDING * macroblocks
            && bitrate.as_bps() <= limits.kbps * 1000
    })?;
    Some(limits.level)
}

pub(super) fn next(level: Level) -> Option<Level> {
    let above = LIMITS.iter().map(|limits| limits.level);
    above.filter(|it| *it > level).min()
}

/// The entry of `V4L2_CID_MPEG_VIDEO_H264_LEVEL`'s menu.
pub(super) fn menu_entry(level: Level) -> Option<u32> {
    let limits = LIMITS.iter().find(|limits| limits.level == level)?;
    Some(limits.entry)
}

/// The highest bitrate that it allows in the Baseline and Main profiles.
pub(super) fn highest_bitrate(level: Level) -> Option<Bitrate> {
    let limits = LIMITS.iter().find(|limits| limits.level == level)?;
    Some(Bitrate::kbps(limits.kbps))
}

struct Limits {
    level: Level,
    entry: u32,
    macroblocks_per_second: u64,
    macroblocks: u64,
    kbps: u64,
}

const fn limits(
    idc: u8,
    entry: u32,
    macroblocks_per_second: u64,
    macroblocks: u64,
    kbps: u64,
) -> Limits {
    Limits {
        level: Level(idc),
        entry,
        macroblocks_per_second,
        macroblocks,
        kbps,
    }
}

/// Without level 1b, the menu's entry 1.
const LIMITS: [Limits; 16] = [
    limits(10, 0, 1485, 99, 64),
    limits(11, 2, 3000, 396, 192),
    limits(12, 3, 6000, 396, 384),
    limits(13, 4, 11_880, 396, 768),
    limits(20, 5, 11_880, 396, 2000),
    limits(21, 6, 19_800, 792, 4000),
    limits(22, 7, 20_250, 1620, 4000),
    limits(30, 8, 40_500, 1620, 10_000),
    limits(31, 9, 108_000, 3600, 14_000),
    limits(32, 10, 216_000, 5120, 20_000),
    limits(40, 11, 245_760, 8192, 20_000),
    limits(41, 12, 245_760, 8192, 50_000),
    limits(42, 13, 522_240, 8704, 50_000),
    limits(50, 14, 589_824, 22_080, 135_000),
    limits(51, 15, 983_040, 36_864, 240_000),
    limits(52, 16, 2_073_600, 36_864, 240_000),
];

/// 1/30 s is no whole number of nanoseconds: so many may be missing from an interval.
const ROUNDING: u128 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn lowest(size: &str, fps: u32, bitrate: Bitrate) -> Option<u8> {
        let interval = Duration::from_secs(1) / fps;
        needed(size.parse().unwrap(), interval, bitrate).map(|level| level.0)
    }

    #[test]
    fn common_cameras_get_the_level_that_the_table_says() {
        assert_eq!(lowest("320x240", 30, Bitrate::kbps(300)), Some(13));
        assert_eq!(lowest("640x480", 30, Bitrate::kbps(1000)), Some(30));
        assert_eq!(lowest("640x480", 60, Bitrate::kbps(1000)), Some(31));
        assert_eq!(lowest("1280x720", 30, Bitrate::kbps(2000)), Some(31));
        assert_eq!(lowest("1280x720", 60, Bitrate::kbps(2000)), Some(32));
        assert_eq!(lowest("1920x1080", 30, Bitrate::kbps(4000)), Some(40));
        assert_eq!(lowest("1920x1080", 60, Bitrate::kbps(4000)), Some(42));
    }

    #[test]
    fn the_bitrate_counts_too() {
        assert_eq!(lowest("320x240", 30, Bitrate::kbps(5000)), Some(30));
        assert_eq!(lowest("640x480", 30, Bitrate::kbps(25_000)), Some(41));
        assert_eq!(lowest("640x480", 30, Bitrate::kbps(300_000)), None);
    }

    #[test]
    fn every_level_has_its_entry_and_the_next_one_allows_more() {
        assert_eq!(menu_entry(Level(10)), Some(0));
        assert_eq!(menu_entry(Level(31)), Some(9));
        assert_eq!(menu_entry(Level(33)), None);
        assert_eq!(highest_bitrate(Level(31)), Some(Bitrate::kbps(14_000)));
        assert_eq!(next(Level(31)), Some(Level(32)));
        assert_eq!(next(Level(52)), None);
        for level in Level::ALL {
            assert!(menu_entry(level).is_some(), "{level}");
        }
    }
}
