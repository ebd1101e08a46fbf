//! Pictures of half the size, from a camera and an encoder that are opened again for them: what is asked for, and what is learned.
//!
//! The camera decides what half is: it has sizes of its own, or one only. What it cannot do is tried once.

use tracing::info;

use super::{Halving, PictureScale};
use crate::media::Size;

/// What is known of one camera from one opening to the next.
#[derive(Clone, Debug, Default)]
pub struct Sizes {
    whole: Option<Whole>,
    has_no_half: bool,
    /// How often in a row half was asked for and something else came.
    unmet: u32,
}

/// What came of it when the whole picture was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Whole {
    size: Size,
    encoder: String,
}

/// What is to be opened in place of the whole picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half(Whole);

/// What was opened.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// Of the camera's pictures.
    pub size: Size,
    pub encoder: &'a str,
    /// It is told what to do about its rate and its pictures; a camera's own is not.
    pub follows: bool,
    /// The encoder makes half of a picture by itself.
    pub can_halve: bool,
    /// It is the half that was asked for.
    pub is_half: bool,
}

impl Half {
    /// What to ask the camera for.
    pub fn size(&self) -> Size {
        HALF.size(self.0.size)
    }

    /// What is opened in any case.
    pub fn whole(&self) -> Size {
        self.0.size
    }

    /// Whether these pictures are as good: by the same encoder, for another may make a stream that viewers did not agree to; clearly
    /// smaller; and showing the same part of the world, as far as the sides tell.
    pub fn is_met_by(&self, size: Size, encoder: &str) -> bool {
        let area = |size: Size| u64::from(size.width) * u64::from(size.height);
        let shape = |size: Size| f64::from(size.width) / f64::from(size.height.max(1));
        let skew = shape(size) / shape(self.whole());
        encoder == self.0.encoder
            && area(size) * 2 <= area(self.whole())
            && (1.0 / SAME_SHAPE..=SAME_SHAPE).contains(&skew)
    }
}

impl Sizes {
    /// What to open when half of the picture is wanted. `None`: the whole.
    pub fn half(&self) -> Option<Half> {
        let whole = self.whole.as_ref().filter(|_| !self.has_no_half)?;
        Some(Half(whole.clone()))
    }

    /// `asked` is what was to be opened in place of the whole picture. Returns how half of it can be had from now on.
    pub fn opened(&mut self, asked: Option<&Half>, opened: Opened<'_>) -> Halving {
        if !opened.follows {
            return Halving::Never;
        }
        if opened.can_halve {
            return Halving::ByEncoder;
        }
        if opened.is_half {
            self.unmet = 0;
            return Halving::ByReopening;
        }
        let whole = Whole {
            size: opened.size,
            encoder: opened.encoder.to_owned(),
        };
        if self.whole.as_ref() != Some(&whole) {
            // Of another camera or encoder nothing is known.
            self.has_no_half = false;
            self.whole = Some(whole);
        }
        let is_same = asked.is_some_and(|half| Some(&half.0) == self.whole.as_ref());
        self.unmet += u32::from(asked.is_some());
        if (is_same || asked.is_some() && self.unmet >= ENOUGH) && !self.has_no_half {
            let Opened { size, encoder, .. } = opened;
            info!(%size, encoder, "there is no smaller picture of this camera: narrow links get fewer frames only");
            self.has_no_half = true;
        }
        match self.has_no_half {
            true => Halving::Never,
            false => Halving::ByReopening,
        }
    }

    /// The camera was pulled out: what comes back may be another one.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

const HALF: PictureScale = PictureScale {
    every: 1,
    divisor: 2,
};

/// Devices that take turns in place of the half would be opened again and again, each as one that nothing is known of.
const ENOUGH: u32 = 2;

/// 352x288 is half of 640x480, nearly. Of 4:3 and 16:9 one is a part of the other, and a driver would lose sight of what is beside.
const SAME_SHAPE: f64 = 1.1;

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(size: &str, encoder: &'static str, is_half: bool) -> Opened<'static> {
        Opened {
            size: size.parse().unwrap(),
            encoder,
            follows: true,
            can_halve: false,
            is_half,
        }
    }

    fn seen_whole() -> Sizes {
        let mut sizes = Sizes::default();
        let halving = sizes.opened(None, opened("1280x720", "hardware", false));
        assert_eq!(halving, Halving::ByReopening, "as far as is known");
        sizes
    }

    #[test]
    fn half_of_what_the_camera_gave_is_asked_for() {
        assert_eq!(Sizes::default().half(), None, "nothing was opened yet");
        let half = seen_whole().half().unwrap();
        assert_eq!(half.size().to_string(), "640x360");
    }

    #[test]
    fn camera_that_has_it_gives_it_again_and_again() {
        let mut sizes = seen_whole();
        for _ in 0..3 {
            let half = sizes.half();
            assert!(
                half.as_ref()
                    .unwrap()
                    .is_met_by("640x360".parse().unwrap(), "hardware")
            );
            let halving = sizes.opened(half.as_ref(), opened("640x360", "hardware", true));
            assert_eq!(halving, Halving::ByReopening);
            let halving = sizes.opened(None, opened("1280x720", "hardware", false));
            assert_eq!(halving, Halving::ByReopening);
        }
    }

    #[test]
    fn camera_of_one_size_is_asked_once() {
        let mut sizes = seen_whole();
        let half = sizes.half();
        let halving = sizes.opened(half.as_ref(), opened("1280x720", "hardware", false));
        assert_eq!(halving, Halving::Never);
        assert_eq!(sizes.half(), None);
        let halving = sizes.opened(None, opened("1280x720", "hardware", false));
        assert_eq!(halving, Halving::Never, "nor later");
    }

    #[test]
    fn another_camera_may_have_what_the_one_before_had_not() {
        let mut sizes = seen_whole();
        let half = sizes.half();
        sizes.opened(half.as_ref(), opened("1280x720", "hardware", false));
        sizes.forget();
        sizes.opened(None, opened("1280x720", "hardware", false));
        assert!(sizes.half().is_some());
    }

    #[test]
    fn encoder_that_was_replaced_meanwhile_says_nothing_of_the_camera() {
        let mut sizes = seen_whole();
        let half = sizes.half();
        let software = Opened {
            can_halve: true,
            ..opened("1280x720", "software", false)
        };
        assert_eq!(
            sizes.opened(half.as_ref(), software),
            Halving::ByEncoder,
            "while it lasts"
        );
        let halving = sizes.opened(half.as_ref(), opened("1280x720", "other", false));
        assert_eq!(halving, Halving::ByReopening);
    }

    #[test]
    fn encoders_that_take_turns_are_not_opened_without_end() {
        let mut sizes = seen_whole();
        let openings = ["other", "hardware", "other", "hardware"].map(|encoder| {
            let half = sizes.half()?;
            Some(sizes.opened(Some(&half), opened("1280x720", encoder, false)))
        });
        let (first, second) = (Halving::ByReopening, Halving::Never);
        assert_eq!(openings, [Some(first), Some(second), None, None]);
    }

    #[test]
    fn cameras_with_an_encoder_of_their_own_are_left_alone() {
        let own = Opened {
            follows: false,
            ..opened("1280x720", "camera", false)
        };
        assert_eq!(Sizes::default().opened(None, own), Halving::Never);
    }

    #[test]
    fn what_is_hardly_smaller_or_another_part_of_the_world_is_no_half() {
        let is_met = |whole: &str, size: &str, encoder: &str| {
            let mut sizes = Sizes::default();
            let whole = Opened {
                size: whole.parse().unwrap(),
                ..opened("16x16", "hardware", false)
            };
            sizes.opened(None, whole);
            let half = sizes.half().unwrap();
            half.is_met_by(size.parse().unwrap(), encoder)
        };
        assert!(is_met("1280x720", "640x360", "hardware"));
        assert!(is_met("1920x1080", "1024x576", "hardware"));
        assert!(is_met("640x480", "352x288", "hardware"));
        assert!(!is_met("640x480", "320x180", "hardware"), "another shape");
        assert!(!is_met("1280x720", "1024x576", "hardware"), "hardly less");
        assert!(!is_met("1280x720", "1920x1080", "hardware"));
        assert!(!is_met("1280x720", "640x360", "software"));
    }
}
