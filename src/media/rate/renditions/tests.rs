#![allow(clippy::disallowed_methods)] // tests need some instant to count from

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::media::Size;
use crate::media::rate::steering::Input;
use crate::media::rate::{Halving, PictureScale, Prefer};

const HD: Size = Size {
    width: 1280,
    height: 720,
};
const INTERVAL: Duration = Duration::from_micros(33_333);

fn limits(least: u64) -> EncoderLimits {
    EncoderLimits {
        least: Bitrate::kbps(least),
        most: Bitrate::kbps(4000),
        ..EncoderLimits::ANY
    }
}

/// A camera with its renditions, and its clock.
struct Scene {
    renditions: Renditions<&'static str>,
    now: Instant,
    done: Vec<Action<&'static str>>,
}

impl Scene {
    fn asleep() -> Self {
        let whole = PictureLadder::new(HD, INTERVAL, Prefer::Smooth, Halving::ByEncoder);
        let half = PictureLadder::small(HD, INTERVAL, Halving::ByEncoder);
        let large = Steering::new(limits(300), Bitrate::kbps(1500), whole);
        let small = Steering::new(limits(100), Bitrate::kbps(500), half);
        Self {
            renditions: Renditions::new(large, small),
            now: Instant::now(),
            done: Vec::new(),
        }
    }

    fn open() -> Self {
        let mut scene = Self::asleep();
        scene.open_large(true);
        scene
    }

    fn open_large(&mut self, may_divide: bool) {
        self.hear(News::LargeOpened {
            limits: limits(300),
            ladder: PictureLadder::new(HD, INTERVAL, Prefer::Smooth, Halving::ByEncoder),
            small: may_divide.then(|| PictureLadder::small(HD, INTERVAL, Halving::ByEncoder)),
        });
    }

    fn hear(&mut self, news: News) {
        self.renditions.hear(news, self.now);
        self.collect();
    }

    fn link(&mut self, viewer: &'static str, kbps: u64) {
        let rate = Bitrate::kbps(kbps);
        self.renditions
            .handle(Input::Estimate { viewer, rate }, self.now);
        self.collect();
    }

    fn collect(&mut self) {
        let actions = std::iter::from_fn(|| self.renditions.poll_action());
        self.done.extend(actions);
    }

    /// Lets time pass, and the small rendition come up when it is started.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, _)) = self.renditions.poll_timeout()
            && at <= end
        {
            self.now = self.now.max(at);
            self.renditions.handle(Input::Timeout, self.now);
            self.collect();
            match self.renditions.small() {
                SmallState::Starting => {
                    self.hear(News::SmallOpened {
                        limits: limits(100),
                    });
                    self.hear(News::SmallMoved);
                }
                SmallState::Running => self.hear(News::SmallMoved),
                SmallState::Asleep | SmallState::Stopping | SmallState::Refused(_) => {}
            }
        }
        self.now = end;
    }

    /// Lets time pass, and nothing is heard of the small rendition.
    fn silence(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(500);
            self.renditions.handle(Input::Timeout, self.now);
            self.collect();
        }
    }

    fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    fn target(&self, rendition: Rendition) -> Bitrate {
        self.renditions.of(rendition).target()
    }

    fn moves(&mut self) -> Vec<(&'static str, Rendition)> {
        let done = std::mem::take(&mut self.done);
        let moves = done.into_iter().filter_map(|action| match action {
            Action::Move { viewer, to } => Some((viewer, to)),
            Action::Steer(..) | Action::StartSmall | Action::StopSmall => None,
        });
        moves.collect()
    }
}

use Rendition::{Large, Small};

#[test]
fn slow_viewer_gets_the_small_picture_and_the_other_keeps_its_rate() {
    let mut scene = Scene::open();
    scene.link("fast", 4000);
    scene.link("slow", 1500);
    scene.seconds(3);
    scene.link("slow", 250);
    scene.seconds(3);

    assert_eq!(scene.moves(), [("slow", Small)]);
    assert_eq!(scene.target(Large), Bitrate::kbps(4000));
    assert_eq!(scene.target(Small), Bitrate::kbps(250));
    let half = PictureScale {
        every: 1,
        divisor: 2,
    };
    assert_eq!(scene.renditions.of(Small).scale(), half);
}

#[test]
fn viewer_whose_link_widens_comes_back_and_the_small_one_goes_to_sleep_when_it_is_there() {
    let mut scene = Scene::open();
    scene.link("fast", 4000);
    scene.link("slow", 250);
    scene.seconds(3);
    scene.moves();

    scene.link("slow", 3500);
    scene.seconds(5);

    assert_eq!(scene.target(Large), Bitrate::kbps(3500));
    assert!(matches!(scene.done.last(), Some(Action::Move { .. })));
    assert_eq!(
        *scene.renditions.small(),
        SmallState::Running,
        "until the key frame"
    );
    scene.seconds(3);
    assert_eq!(scene.done.last(), Some(&Action::StopSmall));
    scene.hear(News::SmallEnded(None));
    assert_eq!(*scene.renditions.small(), SmallState::Asleep);
    assert_eq!(scene.moves(), [("slow", Large)]);
}

#[test]
fn slow_viewer_whom_the_others_leave_gets_the_large_picture_at_its_own_rate() {
    let mut scene = Scene::open();
    scene.link("fast", 4000);
    scene.link("slow", 400);
    scene.seconds(3);
    scene
        .renditions
        .handle(Input::Left { viewer: "fast" }, scene.now);
    scene.seconds(2);

    assert_eq!(scene.moves(), [("slow", Small), ("slow", Large)]);
    assert_eq!(scene.target(Large), Bitrate::kbps(400));
}

#[test]
fn encoder_that_allows_no_second_is_asked_once() {
    let mut scene = Scene::open();
    scene.link("fast", 4000);
    scene.link("slow", 250);
    while *scene.renditions.small() != SmallState::Starting {
        scene.now += Duration::from_millis(500);
        scene.renditions.handle(Input::Timeout, scene.now);
    }
    scene.hear(News::SmallEnded(Some("device busy".into())));
    scene.seconds(60);

    let starts = scene.done.iter().filter(|it| **it == Action::StartSmall);
    assert_eq!(starts.count(), 1);
    assert_eq!(scene.renditions.small().to_string(), "refused: device busy");
    assert_eq!(
        scene.target(Large),
        Bitrate::kbps(4000),
        "a floor still counts"
    );

    scene.hear(News::LargeClosed);
    scene.open_large(true);
    assert_eq!(*scene.renditions.small(), SmallState::Asleep);
}

#[test]
fn small_one_that_fails_gives_its_viewers_back_and_is_tried_again_later() {
    let mut scene = Scene::open();
    scene.link("fast", 4000);
    scene.link("slow", 250);
    scene.seconds(3);
    scene.hear(News::SmallEnded(Some("given up".into())));

    assert_eq!(scene.moves(), [("slow", Small), ("slow", Large)]);
    scene.seconds(9);
    assert_eq!(scene.moves(), []);
    scene.seconds(3);
    assert_eq!(scene.moves(), [("slow", Small)]);
}

#[test]
fn small_one_that_stands_still_gives_its_viewers_back_although_it_does_not_end() {
    let mut scene = Scene::open();
    scene.link("fast", 4000);
    scene.link("slow", 250);
    scene.seconds(3);
    assert_eq!(scene.moves(), [("slow", Small)]);

    scene.hear(News::SmallRecovering);
    scene.silence(Duration::from_secs(7));
    assert_eq!(scene.moves(), [], "it is being put right");
    scene.silence(Duration::from_secs(2));
    assert!(scene.done.contains(&Action::StopSmall));
    assert_eq!(scene.moves(), [("slow", Large)]);
    scene.silence(Duration::from_secs(60));
    assert_eq!(scene.done, [], "its thread is in the kernel");

    scene.hear(News::SmallEnded(None));
    scene.seconds(2);
    assert_eq!(scene.moves(), [("slow", Small)], "tried once more");
    scene.silence(Duration::from_secs(3));
    scene.hear(News::SmallEnded(None));
    scene.seconds(15);
    assert_eq!(scene.moves(), [("slow", Large)], "later each time");
    scene.seconds(6);
    assert_eq!(scene.moves(), [("slow", Small)]);
}

#[test]
fn small_one_that_never_gives_a_picture_is_stopped() {
    let mut scene = Scene::open();
    scene.link("fast", 4000);
    scene.link("slow", 250);
    scene.silence(Duration::from_secs(12));
    let small: Vec<_> = (scene.done.iter())
        .filter(|it| matches!(it, Action::StartSmall | Action::StopSmall))
        .collect();
    assert_eq!(small, [&Action::StartSmall, &Action::StopSmall]);
    assert_eq!(scene.moves(), []);
}

#[test]
fn camera_that_closes_takes_the_small_one_along() {
    let mut scene = Scene::open();
    scene.link("fast", 4000);
    scene.link("slow", 250);
    scene.seconds(3);
    scene.hear(News::LargeClosed);

    assert_eq!(*scene.renditions.small(), SmallState::Stopping);
    assert_eq!(scene.moves(), [("slow", Small), ("slow", Large)]);
}

#[test]
fn without_a_second_rendition_nothing_is_ever_divided() {
    let mut scene = Scene::asleep();
    scene.open_large(false);
    scene.link("fast", 4000);
    scene.link("slow", 250);
    scene.seconds(60);
    assert_eq!(scene.moves(), []);
    assert_eq!(*scene.renditions.small(), SmallState::Asleep);
}

#[derive(Clone, Debug)]
enum Step {
    Link(usize, u64),
    Silent(usize),
    Left(usize),
    Opened(bool),
    Closed,
    Moved,
    Recovering,
    Ended(bool),
    Nothing,
}

const VIEWERS: [&str; 4] = ["a", "b", "c", "d"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4usize, 50u64..6000).prop_map(|(viewer, kbps)| Step::Link(viewer, kbps)),
        1 => (0..4usize).prop_map(Step::Silent),
        1 => (0..4usize).prop_map(Step::Left),
        1 => any::<bool>().prop_map(Step::Opened),
        1 => Just(Step::Closed),
        4 => Just(Step::Moved),
        1 => Just(Step::Recovering),
        1 => any::<bool>().prop_map(Step::Ended),
        4 => Just(Step::Nothing),
    ]
}

proptest! {
    /// A second encoder is started only when none runs; viewers watch what gives pictures; nothing of it stays for nobody.
    #[test]
    fn any_news_in_any_order_keep_the_policy(steps in vec((step(), 0u64..3000), 1..150)) {
        let mut scene = Scene::open();
        let mut is_up = false;
        let mut has_moved = false;
        let mut on_small: BTreeSet<&str> = BTreeSet::new();
        for (step, elapsed) in steps {
            scene.now += Duration::from_millis(elapsed);
            match step {
                Step::Link(viewer, kbps) => scene.link(VIEWERS[viewer], kbps),
                Step::Silent(viewer) => {
                    scene.renditions.handle(Input::Silent { viewer: VIEWERS[viewer] }, scene.now);
                }
                Step::Left(viewer) => {
                    on_small.remove(VIEWERS[viewer]);
                    scene.renditions.handle(Input::Left { viewer: VIEWERS[viewer] }, scene.now);
                }
                Step::Opened(may_divide) => scene.open_large(may_divide),
                Step::Closed => scene.hear(News::LargeClosed),
                Step::Moved if is_up => {
                    has_moved = true;
                    scene.hear(News::SmallMoved);
                }
                Step::Recovering if is_up => scene.hear(News::SmallRecovering),
                Step::Ended(by_itself) if is_up => {
                    is_up = false;
                    has_moved = false;
                    scene.hear(News::SmallEnded(by_itself.then(|| "x".into())));
                }
                Step::Moved | Step::Recovering | Step::Ended(_) | Step::Nothing => {
                    scene.renditions.handle(Input::Timeout, scene.now);
                }
            }
            scene.collect();
            for action in std::mem::take(&mut scene.done) {
                match action {
                    Action::StartSmall => {
                        prop_assert!(!is_up, "started twice");
                        is_up = true;
                    }
                    Action::StopSmall => prop_assert!(is_up, "stopped what does not run"),
                    Action::Move { viewer, to: Small } => {
                        prop_assert!(is_up && has_moved, "it gives no pictures");
                        prop_assert!(on_small.insert(viewer), "it was there already");
                    }
                    Action::Move { viewer, to: Large } => {
                        prop_assert!(on_small.remove(viewer), "it was there already");
                    }
                    Action::Steer(..) => {}
                }
            }
            for viewer in VIEWERS {
                let is_small = on_small.contains(viewer);
                prop_assert_eq!(scene.renditions.rendition(&viewer) == Small, is_small);
            }
            prop_assert!(is_up || on_small.is_empty());
        }
        // Everybody leaves: what runs is stopped.
        for viewer in VIEWERS {
            scene.renditions.handle(Input::Left { viewer }, scene.now);
        }
        scene.now += LINGER;
        scene.renditions.handle(Input::Timeout, scene.now);
        scene.collect();
        let is_up = matches!(
            scene.renditions.small(),
            SmallState::Starting | SmallState::Running
        );
        prop_assert!(!is_up, "it runs for nobody");
    }
}
