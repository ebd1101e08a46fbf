//! Which picture the rate is enough for: fewer frames and smaller ones when it is not.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::media::{Bitrate, Size};

/// What to give up first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// Keep the frames, show them smaller: for driving.
    #[default]
    Smooth,
    /// Keep the size, show fewer: for reading a sign.
    Sharp,
}

impl FromStr for Prefer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "smooth" => Ok(Self::Smooth),
            "sharp" => Ok(Self::Sharp),
            _ => Err(format!(
                "got \"{}\" when expecting one of smooth, sharp",
                text.escape_debug()
            )),
        }
    }
}

impl fmt::Display for Prefer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smooth => "smooth",
            Self::Sharp => "sharp",
        })
    }
}

/// What is made of the picture that the camera was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureScale {
    /// Every so many frames one is coded.
    pub every: u32,
    /// Width and height are divided by this.
    pub divisor: u32,
}

impl PictureScale {
    pub const FULL: Self = Self {
        every: 1,
        divisor: 1,
    };

    pub fn size(self, full: Size) -> Size {
        // 4:2:0 has chroma for pairs of pixels.
        let side = |side: u32| (side / self.divisor) & !1;
        Size {
            width: side(full.width),
            height: side(full.height),
        }
    }
}

impl fmt::Display for PictureScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames = match self.every {
            1 => "all frames",
            2 => "every second frame",
            _ => "every third frame",
        };
        match self.divisor {
            1 => write!(f, "{frames} at full size"),
            divisor => write!(f, "{frames} at 1/{divisor} of the width and height"),
        }
    }
}

/// Moves between pictures, down soon and up late: each change of the size costs a key frame and some frames.
#[derive(Clone, Debug)]
pub struct PictureLadder {
    size: Size,
    interval: Duration,
    rungs: &'static [PictureScale],
    rung: usize,
    /// Since when the rate asks for another rung, and which.
    leaning: Option<(usize, Instant)>,
}

impl PictureLadder {
    /// `size` and `interval` are what the camera gives. Without `can_halve` there are fewer frames only, whatever is preferred.
    pub fn new(size: Size, interval: Duration, prefer: Prefer, can_halve: bool) -> Self {
        Self {
            size,
            interval,
            rungs: match prefer {
                _ if !can_halve => WHOLE,
                Prefer::Smooth => SMOOTH,
                Prefer::Sharp => SHARP,
            },
            rung: 0,
            leaning: None,
        }
    }

    /// Half the size from the start where the encoder can; otherwise there are fewer frames only.
    pub fn small(size: Size, interval: Duration, can_halve: bool) -> Self {
        Self {
            size,
            interval,
            rungs: if can_halve { HALF } else { WHOLE },
            rung: 0,
            leaning: None,
        }
    }

    pub fn scale(&self) -> PictureScale {
        self.rungs[self.rung]
    }

    /// Whether it climbs the same rungs.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.size, self.interval, self.rungs) == (other.size, other.interval, other.rungs)
    }

    /// With the target whenever it moves, and from time to time. Returns the picture to change to.
    pub fn update(&mut self, target: Bitrate, now: Instant) -> Option<PictureScale> {
        let wanted = self.wanted(target);
        if wanted == self.rung {
            self.leaning = None;
            return None;
        }
        let is_down = wanted > self.rung;
        let same_way = self
            .leaning
            .filter(|(rung, _)| (*rung > self.rung) == is_down);
        let (_, since) = *self
            .leaning
            .insert((wanted, same_way.map_or(now, |(_, since)| since)));
        let patience = if is_down { DOWN_AFTER } else { UP_AFTER };
        if now < since + patience {
            return None;
        }
        self.leaning = None;
        // One rung at a time upwards: the next shows whether the link carries it.
        self.rung = if is_down { wanted } else { self.rung - 1 };
        Some(self.scale())
    }

    fn wanted(&self, target: Bitrate) -> usize {
        let fits = |rung: &PictureScale| target >= self.needs(*rung);
        let lowest = self.rungs.len() - 1;
        let best = self.rungs.iter().position(fits).unwrap_or(lowest);
        if best >= self.rung {
            return best;
        }
        // Upwards with room to spare.
        let room = self.needs(self.rungs[self.rung - 1]).as_bps() as f64 * ROOM;
        if target.as_bps() as f64 >= room {
            self.rung - 1
        } else {
            self.rung
        }
    }

    /// The least rate at which such a picture does not fall into blocks when the robot drives.
    fn needs(&self, scale: PictureScale) -> Bitrate {
        let size = scale.size(self.size);
        let pixels = f64::from(size.width) * f64::from(size.height);
        let frames = 1.0 / (self.interval.as_secs_f64().max(1e-3) * f64::from(scale.every));
        let share = (pixels / HD_PIXELS).powf(PIXELS_POWER) * (frames / 30.0).powf(FRAMES_POWER);
        Bitrate::bps((HD_NEEDS * share) as u64)
    }
}

const SMOOTH: &[PictureScale] = &[
    PictureScale::FULL,
    PictureScale {
        every: 1,
        divisor: 2,
    },
    PictureScale {
        every: 2,
        divisor: 2,
    },
    PictureScale {
        every: 3,
        divisor: 2,
    },
];

const SHARP: &[PictureScale] = &[
    PictureScale::FULL,
    PictureScale {
        every: 2,
        divisor: 1,
    },
    PictureScale {
        every: 3,
        divisor: 1,
    },
    PictureScale {
        every: 3,
        divisor: 2,
    },
];

const HALF: &[PictureScale] = &[
    PictureScale {
        every: 1,
        divisor: 2,
    },
    PictureScale {
        every: 2,
        divisor: 2,
    },
    PictureScale {
        every: 3,
        divisor: 2,
    },
];

const WHOLE: &[PictureScale] = &[
    PictureScale::FULL,
    PictureScale {
        every: 2,
        divisor: 1,
    },
    PictureScale {
        every: 3,
        divisor: 1,
    },
];

/// 1280x720 at 30 fps needs this in constrained baseline, with hardware's rate control: 0.02 bits a pixel.
const HD_NEEDS: f64 = 550_000.0;
const HD_PIXELS: f64 = 1280.0 * 720.0;

/// Neighbouring pixels are alike, neighbouring frames more so: half of them need more than half of the bits.
const PIXELS_POWER: f64 = 0.75;
const FRAMES_POWER: f64 = 0.6;

/// A dip is over before the picture changed twice.
const DOWN_AFTER: Duration = Duration::from_secs(2);

/// Up only for what will last.
const UP_AFTER: Duration = Duration::from_secs(8);
const ROOM: f64 = 1.4;

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests need some instant to count from
mod tests {
    use super::*;

    const HD: Size = Size {
        width: 1280,
        height: 720,
    };
    const SECOND: Duration = Duration::from_secs(1);

    fn ladder(prefer: Prefer) -> (PictureLadder, Instant) {
        let interval = Duration::from_micros(33_333);
        (
            PictureLadder::new(HD, interval, prefer, true),
            Instant::now(),
        )
    }

    #[test]
    fn dip_of_a_second_changes_nothing() {
        let (mut ladder, start) = ladder(Prefer::Smooth);
        assert_eq!(ladder.update(Bitrate::kbps(200), start), None);
        assert_eq!(ladder.update(Bitrate::kbps(2000), start + SECOND), None);
        assert_eq!(ladder.update(Bitrate::kbps(200), start + SECOND * 2), None);
        assert_eq!(ladder.scale(), PictureScale::FULL);
    }

    #[test]
    fn smooth_gives_up_size_and_sharp_gives_up_frames() {
        for (prefer, words) in [
            (Prefer::Smooth, "all frames at 1/2 of the width and height"),
            (Prefer::Sharp, "every second frame at full size"),
        ] {
            let (mut ladder, start) = ladder(prefer);
            ladder.update(Bitrate::kbps(400), start);
            let scale = ladder
                .update(Bitrate::kbps(400), start + SECOND * 2)
                .unwrap();
            assert_eq!(scale.to_string(), words);
        }
    }

    #[test]
    fn encoder_that_cannot_make_it_smaller_gives_up_frames() {
        let interval = Duration::from_micros(33_333);
        let mut ladder = PictureLadder::new(HD, interval, Prefer::Smooth, false);
        let start = Instant::now();
        ladder.update(Bitrate::kbps(100), start);
        let lowest = ladder.update(Bitrate::kbps(100), start + SECOND * 2);
        assert_eq!(
            lowest.unwrap().to_string(),
            "every third frame at full size"
        );
    }

    #[test]
    fn picture_returns_rung_by_rung_when_the_link_stays_wide() {
        let (mut ladder, start) = ladder(Prefer::Sharp);
        ladder.update(Bitrate::kbps(100), start);
        let lowest = ladder.update(Bitrate::kbps(100), start + SECOND * 2);
        assert_eq!(
            lowest,
            Some(PictureScale {
                every: 3,
                divisor: 2
            })
        );

        let changes: Vec<u64> = (3..60)
            .filter(|second| {
                let now = start + SECOND * *second as u32;
                ladder.update(Bitrate::kbps(3000), now).is_some()
            })
            .collect();
        assert_eq!(changes, [11, 20, 29]);
        assert_eq!(ladder.scale(), PictureScale::FULL);
    }

    #[test]
    fn rate_at_the_border_does_not_move_the_picture_to_and_fro() {
        let (mut ladder, start) = ladder(Prefer::Smooth);
        let changes = (0..600)
            .filter(|second| {
                let target = Bitrate::kbps(if second % 20 < 10 { 500 } else { 600 });
                ladder.update(target, start + SECOND * *second).is_some()
            })
            .count();
        assert_eq!(changes, 1);
    }
}
