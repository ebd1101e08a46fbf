//! What the viewers' links leave for their one encoder, and what is made of it: a rate, and a picture that the rate is enough for.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tracing::{debug, info};

use super::{EncoderLimits, PictureLadder, PictureScale, SharedRate, Why};
use crate::media::Bitrate;

/// What is heard of a viewer. `V` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<V> {
    /// Its link leaves this much for the encoder.
    Estimate {
        viewer: V,
        rate: Bitrate,
    },
    /// It answers nothing at the moment; its link decides nothing until it does.
    Silent {
        viewer: V,
    },
    Left {
        viewer: V,
    },
    Timeout,
}

/// What the encoder is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    SetBitrate(Bitrate),
    SetScale(PictureScale),
}

/// Steers one encoder by its viewers' links.
#[derive(Debug)]
pub struct Steering<V> {
    limits: EncoderLimits,
    start: Bitrate,
    /// What the encoder was opened with.
    opened_with: Bitrate,
    shared: SharedRate<V>,
    ladder: PictureLadder,
    /// `None`: silent.
    links: BTreeMap<V, Option<Bitrate>>,
    look_again: Option<Instant>,
    actions: VecDeque<Action>,
}

impl<V: Ord + Clone + std::fmt::Display> Steering<V> {
    pub fn new(limits: EncoderLimits, start: Bitrate, ladder: PictureLadder) -> Self {
        Self {
            limits,
            start,
            opened_with: start,
            shared: SharedRate::new(limits, start),
            ladder,
            links: BTreeMap::new(),
            look_again: None,
            actions: VecDeque::new(),
        }
    }

    pub fn handle(&mut self, input: Input<V>, now: Instant) {
        match input {
            Input::Estimate { viewer, rate } => {
                self.links.insert(viewer, Some(rate));
            }
            Input::Silent { viewer } => {
                self.links.insert(viewer, None);
            }
            Input::Left { viewer } => {
                if self.links.remove(&viewer).is_some() && self.links.is_empty() {
                    return self.begin_anew(now);
                }
            }
            Input::Timeout => {}
        }
        if self.links.is_empty() {
            return;
        }
        self.steer(now);
        self.look_again = Some(now + LOOK_AGAIN);
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Some decisions wait for a link to stay as it is.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.look_again
            .map(|at| (at, "looks at the viewers' links again"))
    }

    /// What an encoder that is opened now begins with.
    pub fn opening(&mut self) -> (Bitrate, PictureScale) {
        self.opened_with = self.target();
        (self.opened_with, self.scale())
    }

    /// A new encoder is to be told where this is: that may have moved since [`opening`](Self::opening). `limits` are what it can be asked
    /// for, and `ladder` what its pictures may become; `None`: the same as before.
    pub fn encoder_opened(&mut self, limits: EncoderLimits, ladder: Option<PictureLadder>) {
        self.actions.clear();
        self.limits = limits;
        self.shared.set_limits(limits);
        if let Some(mut ladder) = ladder {
            let left = (!self.links.is_empty()).then(|| self.shared.left());
            ladder.go_on_from(&self.ladder, left);
            self.ladder = ladder;
        }
        if self.shared.target() != self.opened_with {
            self.actions
                .push_back(Action::SetBitrate(self.shared.target()));
        }
        if self.ladder.scale() != PictureScale::FULL {
            self.actions
                .push_back(Action::SetScale(self.ladder.scale()));
        }
    }

    pub fn limits(&self) -> EncoderLimits {
        self.limits
    }

    pub fn target(&self) -> Bitrate {
        self.shared.target()
    }

    pub fn scale(&self) -> PictureScale {
        self.ladder.scale()
    }

    /// Why the target last moved.
    pub fn why(&self) -> &Why<V> {
        self.shared.why()
    }

    /// True when no picture of use fits into this viewer's link.
    pub fn is_behind(&self, viewer: &V) -> bool {
        self.shared.is_behind(viewer)
    }

    fn steer(&mut self, now: Instant) {
        let rates: BTreeMap<V, Bitrate> = self
            .links
            .iter()
            .filter_map(|(viewer, rate)| Some((viewer.clone(), (*rate)?)))
            .collect();
        let was = self.shared.target();
        if let Some(target) = self.shared.update(&rates, now) {
            debug!(%was, %target, why = %self.shared.why(), "bitrate follows the network");
            self.actions.push_back(Action::SetBitrate(target));
        }
        if let Some(scale) = self.ladder.update(self.shared.left(), now) {
            info!(%scale, target = %self.shared.target(), "picture follows the network");
            self.actions.push_back(Action::SetScale(scale));
        }
    }

    /// The next viewer has another link.
    fn begin_anew(&mut self, now: Instant) {
        let (target, scale) = (self.shared.target(), self.ladder.scale());
        self.shared = SharedRate::new(self.limits, self.start);
        self.ladder.begin_anew(now);
        self.look_again = None;
        self.actions.clear();
        if target != self.shared.target() {
            self.actions
                .push_back(Action::SetBitrate(self.shared.target()));
        }
        if scale != self.ladder.scale() {
            self.actions
                .push_back(Action::SetScale(self.ladder.scale()));
        }
    }
}

/// A quarter of the shortest patience that a decision has.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests need some instant to count from
mod tests {
    use super::*;
    use crate::media::Size;
    use crate::media::rate::{Halving, Prefer, RateMethod};

    const LIMITS: EncoderLimits = EncoderLimits {
        least: Bitrate::kbps(300),
        most: Bitrate::kbps(4000),
        ..EncoderLimits::ANY
    };
    const START: Bitrate = Bitrate::kbps(1500);

    fn steering() -> (Steering<&'static str>, Instant) {
        let ladder = ladder(Prefer::Sharp, Halving::ByEncoder);
        (Steering::new(LIMITS, START, ladder), Instant::now())
    }

    fn ladder(prefer: Prefer, halving: Halving) -> PictureLadder {
        let hd = Size {
            width: 1280,
            height: 720,
        };
        PictureLadder::new(hd, Duration::from_micros(33_333), prefer, halving)
    }

    fn estimate(viewer: &'static str, kbps: u64) -> Input<&'static str> {
        Input::Estimate {
            viewer,
            rate: Bitrate::kbps(kbps),
        }
    }

    fn actions(steering: &mut Steering<&'static str>) -> Vec<Action> {
        std::iter::from_fn(|| steering.poll_action()).collect()
    }

    #[test]
    fn bitrate_goes_where_the_only_viewers_link_goes() {
        let (mut steering, start) = steering();
        steering.handle(estimate("a", 800), start);
        steering.handle(estimate("a", 2500), start + Duration::from_secs(1));
        assert_eq!(
            actions(&mut steering),
            [
                Action::SetBitrate(Bitrate::kbps(800)),
                Action::SetBitrate(Bitrate::kbps(2500)),
            ]
        );
    }

    #[test]
    fn silent_viewer_decides_nothing() {
        let (mut steering, start) = steering();
        steering.handle(estimate("a", 2000), start);
        steering.handle(estimate("b", 700), start + Duration::from_secs(1));
        steering.handle(
            Input::Silent { viewer: "b" },
            start + Duration::from_secs(2),
        );
        assert_eq!(steering.target(), Bitrate::kbps(2000));
        steering.handle(
            Input::Silent { viewer: "a" },
            start + Duration::from_secs(3),
        );
        assert_eq!(steering.target(), Bitrate::kbps(2000));
    }

    #[test]
    fn frames_are_left_out_on_a_link_that_stays_narrow_without_another_word_of_it() {
        let (mut steering, start) = steering();
        steering.handle(estimate("a", 400), start);
        assert_eq!(
            actions(&mut steering),
            [Action::SetBitrate(Bitrate::kbps(400))]
        );
        let mut now = start;
        while steering.scale() == PictureScale::FULL {
            let (at, _) = steering.poll_timeout().unwrap();
            now = at;
            steering.handle(Input::Timeout, now);
        }
        assert!(now < start + Duration::from_secs(4));
        assert_eq!(
            actions(&mut steering),
            [Action::SetScale(PictureScale {
                every: 2,
                divisor: 1
            })]
        );
    }

    #[test]
    fn next_viewer_begins_as_the_first_did() {
        let (mut steering, start) = steering();
        steering.handle(estimate("a", 400), start);
        steering.handle(Input::Timeout, start + Duration::from_secs(3));
        actions(&mut steering);
        steering.handle(Input::Left { viewer: "a" }, start + Duration::from_secs(4));
        assert_eq!(
            actions(&mut steering),
            [
                Action::SetBitrate(START),
                Action::SetScale(PictureScale::FULL)
            ]
        );
        assert_eq!(steering.poll_timeout(), None);
    }

    #[test]
    fn encoder_that_was_opened_again_is_told_where_the_others_are() {
        let (mut steering, start) = steering();
        steering.handle(estimate("a", 900), start);
        actions(&mut steering);
        steering.encoder_opened(LIMITS, None);
        assert_eq!(
            actions(&mut steering),
            [Action::SetBitrate(Bitrate::kbps(900))]
        );
    }

    #[test]
    fn encoder_that_must_be_opened_again_for_it_changes_seldom_and_by_much() {
        let (mut steering, start) = steering();
        let wave5 = EncoderLimits {
            interval: Duration::from_secs(5),
            least_change_percent: 30,
            method: RateMethod::Reopen,
            ..LIMITS
        };
        steering.encoder_opened(wave5, None);
        let after = |seconds| start + Duration::from_secs(seconds);

        steering.handle(estimate("a", 1000), start);
        let first = actions(&mut steering);
        assert_eq!(first, [Action::SetBitrate(Bitrate::kbps(1000))]);
        steering.handle(estimate("a", 800), after(3));
        assert_eq!(actions(&mut steering), [], "too soon");
        steering.handle(Input::Timeout, after(5));
        let second = actions(&mut steering);
        assert_eq!(second, [Action::SetBitrate(Bitrate::kbps(800))]);
        steering.handle(estimate("a", 1000), after(60));
        assert_eq!(actions(&mut steering), [], "25 % are not worth it");
    }

    #[test]
    fn frames_are_left_out_where_the_encoder_makes_no_less_than_the_link_can_take() {
        let (mut steering, start) = steering();
        let firmware = EncoderLimits {
            least: Bitrate::kbps(600),
            ..LIMITS
        };
        steering.encoder_opened(firmware, None);
        steering.handle(estimate("a", 400), start);
        steering.handle(Input::Timeout, start + Duration::from_secs(3));
        assert_eq!(steering.target(), Bitrate::kbps(600));
        assert_eq!(
            steering.scale().to_string(),
            "every second frame at full size"
        );
    }

    #[test]
    fn smaller_picture_and_its_rate_outlive_the_opening_that_makes_them() {
        let start = Instant::now();
        let smooth = ladder(Prefer::Smooth, Halving::ByReopening);
        let mut steering = Steering::new(LIMITS, START, smooth.clone());
        steering.handle(estimate("a", 400), start);
        steering.handle(Input::Timeout, start + Duration::from_secs(3));
        let half = PictureScale {
            every: 1,
            divisor: 2,
        };
        assert_eq!(actions(&mut steering).last(), Some(&Action::SetScale(half)));

        assert_eq!(steering.opening(), (Bitrate::kbps(400), half));
        steering.handle(estimate("a", 350), start + Duration::from_secs(4));
        steering.encoder_opened(LIMITS, Some(smooth));

        let told = [
            Action::SetBitrate(Bitrate::kbps(350)),
            Action::SetScale(half),
        ];
        assert_eq!(actions(&mut steering), told);
        assert_eq!(steering.why().to_string(), "viewer a has the slowest link");
    }

    #[test]
    fn camera_that_turns_out_to_have_no_smaller_picture_gets_fewer_frames_at_once() {
        let start = Instant::now();
        let smooth = ladder(Prefer::Smooth, Halving::ByReopening);
        let mut steering = Steering::new(LIMITS, START, smooth);
        steering.handle(estimate("a", 400), start);
        steering.handle(Input::Timeout, start + Duration::from_secs(3));
        actions(&mut steering);

        steering.encoder_opened(LIMITS, Some(ladder(Prefer::Smooth, Halving::Never)));
        assert_eq!(
            steering.scale().to_string(),
            "every second frame at full size"
        );
        steering.handle(Input::Timeout, start + Duration::from_secs(600));
        assert_eq!(steering.scale().divisor, 1);
    }

    #[test]
    fn viewers_who_come_and_go_have_the_camera_opened_no_more_often_than_a_link_does() {
        let start = Instant::now();
        let smooth = ladder(Prefer::Smooth, Halving::ByReopening);
        let mut steering = Steering::new(LIMITS, START, smooth);
        let mut divisor = 1;
        let mut changes = 0;
        for second in 0..400 {
            let now = start + Duration::from_secs(second);
            match second % 5 {
                4 => steering.handle(Input::Left { viewer: "a" }, now),
                _ => steering.handle(estimate("a", 200), now),
            }
            let before = std::mem::replace(&mut divisor, steering.scale().divisor);
            changes += u64::from(before != divisor);
        }
        assert!(changes > 2, "each begins with the whole picture");
        assert!(changes <= 400 / 10 * 2 + 1, "{changes} in 400 s");
    }
}
