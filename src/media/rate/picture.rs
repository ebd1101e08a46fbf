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

/// How pictures of half the width and height come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halving {
    /// Not at all: there are fewer frames only.
    Never,
    /// The encoder makes them, from one frame to the next.
    ByEncoder,
    /// Camera and encoder are opened again: nothing is seen meanwhile.
    ByReopening,
}

impl fmt::Display for Halving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "there is none, narrow links get fewer frames",
            Self::ByEncoder => "the encoder makes it",
            Self::ByReopening => "camera and encoder are opened again for it",
        })
    }
}

/// Moves between pictures, down soon and up late: each change of the size costs a key frame and some frames.
#[derive(Clone, Debug)]
pub struct PictureLadder {
    size: Size,
    interval: Duration,
    halving: Halving,
    rungs: &'static [PictureScale],
    rung: usize,
    /// Since when the rate asks for another rung, and which.
    leaning: Option<(usize, Instant)>,
    /// When the size was last changed.
    resized: Option<Instant>,
}

impl PictureLadder {
    /// `size` and `interval` are what the camera gives. Without halving there are fewer frames only, whatever is preferred.
    pub fn new(size: Size, interval: Duration, prefer: Prefer, halving: Halving) -> Self {
        let rungs = match (halving, prefer) {
            (Halving::Never, _) => WHOLE,
            (Halving::ByEncoder | Halving::ByReopening, Prefer::Smooth) => SMOOTH,
            (Halving::ByEncoder | Halving::ByReopening, Prefer::Sharp) => SHARP,
        };
        Self::of(size, interval, halving, rungs)
    }

    /// Half the size from the start where the encoder makes it; otherwise there are fewer frames only, for the camera is another's.
    pub fn small(size: Size, interval: Duration, halving: Halving) -> Self {
        match halving {
            Halving::ByEncoder => Self::of(size, interval, halving, HALF),
            Halving::Never | Halving::ByReopening => {
                Self::of(size, interval, Halving::Never, WHOLE)
            }
        }
    }

    fn of(
        size: Size,
        interval: Duration,
        halving: Halving,
        rungs: &'static [PictureScale],
    ) -> Self {
        Self {
            size,
            interval,
            halving,
            rungs,
            rung: 0,
            leaning: None,
            resized: None,
        }
    }

    pub fn scale(&self) -> PictureScale {
        self.rungs[self.rung]
    }

    /// Goes on where another one stands. If that has other rungs, `left` says where to begin; `None`: with the best.
    pub fn go_on_from(&mut self, other: &Self, left: Option<Bitrate>) {
        self.resized = other.resized;
        let is_like =
            (self.size, self.interval, self.rungs) == (other.size, other.interval, other.rungs);
        if is_like {
            (self.rung, self.leaning) = (other.rung, other.leaning);
        } else {
            self.rung = left.map_or(0, |left| self.wanted(left));
        }
    }

    /// Back to the best, for a viewer with another link.
    pub fn begin_anew(&mut self, now: Instant) {
        self.leaning = None;
        self.change_to(0, now);
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
        // A drained queue asks for next to nothing for a moment: what counts is the best that was asked for meanwhile.
        let (wanted, since) = *self.leaning.insert(match same_way {
            Some((rung, since)) if is_down => (wanted.min(rung), since),
            Some((_, since)) => (wanted, since),
            None => (wanted, now),
        });
        let patience = match (is_down, self.halving) {
            (false, _) => UP_AFTER,
            (true, Halving::Never | Halving::ByEncoder) => DOWN_AFTER,
            (true, Halving::ByReopening) => REOPENED_DOWN_AFTER,
        };
        if now < since + patience {
            return None;
        }
        let may_resize = self.may_resize(is_down, now);
        let is_open =
            |rung: &usize| may_resize || self.rungs[*rung].divisor == self.scale().divisor;
        let next = match is_down {
            true => (self.rung + 1..=wanted).rev().find(is_open),
            // One rung at a time upwards: the next shows whether the link carries it.
            false => Some(self.rung - 1).filter(is_open),
        };
        self.change_to(next?, now);
        self.leaning = None;
        Some(self.scale())
    }

    /// What takes camera and encoder away from everybody is not done again soon.
    fn may_resize(&self, is_down: bool, now: Instant) -> bool {
        let pause = match (self.halving, is_down) {
            (Halving::Never | Halving::ByEncoder, _) => return true,
            (Halving::ByReopening, true) => REOPENED_DOWN_AGAIN_AFTER,
            (Halving::ByReopening, false) => REOPENED_UP_AFTER,
        };
        self.resized.is_none_or(|at| now >= at + pause)
    }

    fn change_to(&mut self, rung: usize, now: Instant) {
        if self.rungs[rung].divisor != self.scale().divisor {
            self.resized = Some(now);
        }
        self.rung = rung;
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

    fn needs(&self, scale: PictureScale) -> Bitrate {
        needed(scale.size(self.size), self.interval * scale.every)
    }
}

/// The least rate at which pictures of this size, so far apart, do not fall into blocks when the robot drives.
pub fn needed(size: Size, interval: Duration) -> Bitrate {
    let pixels = f64::from(size.width) * f64::from(size.height);
    let frames = 1.0 / interval.as_secs_f64().max(1e-3);
    let share = (pixels / HD_PIXELS).powf(PIXELS_POWER) * (frames / 30.0).powf(FRAMES_POWER);
    Bitrate::bps((HD_NEEDS * share) as u64)
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

/// Longer than a queue of 600 ms takes to drain, which asks for less than the link carries: at the start on a link with a long one.
const DOWN_AFTER: Duration = Duration::from_millis(1500);

/// A dip is over before camera and encoder were opened twice.
const REOPENED_DOWN_AFTER: Duration = Duration::from_secs(2);

/// Up only for what will last.
const UP_AFTER: Duration = Duration::from_secs(8);
const ROOM: f64 = 1.4;

/// Opening a camera and an encoder again shows nothing for up to two seconds. A link that goes up and down all the time costs that twice in
/// forty seconds at most; meanwhile the larger picture has too few bits, or the smaller one more than it needs.
const REOPENED_DOWN_AGAIN_AFTER: Duration = Duration::from_secs(10);
const REOPENED_UP_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
