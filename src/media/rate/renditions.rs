//! A large rendition for those who can take it, and a small one for the others, of one camera.
//!
//! ```text
//!            somebody is better off with it           first unit
//!   Asleep ─────────────────────────────► Starting ──────────────► Running ◄──┐ somebody
//!     ▲  ▲                                   │                     │    │     │
//!     │  └───────── ended ◄── Stopping ◄─────┴── nobody, for 2 s ──┘    └─────┘
//!     │                                      │ it ended by itself  │
//!     │ the large one is opened again        ▼                     ▼
//!     └─────────────────────────────────── Refused          Asleep, for 10 s at least
//! ```
//!
//! One that gives nothing within its deadline is stopped too, and left alone as long. Nobody waits for its end: its viewers get the large
//! one meanwhile.
//!
//! Viewers are moved only to a rendition that gives pictures; the driver changes over at a key frame. Each rendition is steered by
//! those who watch it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::division::Division;
use super::steering::{self, Steering};
use super::{EncoderLimits, PictureLadder, PictureScale};
use crate::media::Bitrate;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rendition {
    /// What the configuration asks for; always there.
    #[default]
    Large,
    /// Fewer pixels or fewer frames, for slow links.
    Small,
}

impl fmt::Display for Rendition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Large => "large",
            Self::Small => "small",
        })
    }
}

/// What is heard besides the viewers' links.
#[derive(Clone, Debug)]
pub enum News {
    /// The camera and its encoder are open. `small` is what the pictures of a second encoder may become; `None`: there can be none.
    LargeOpened {
        limits: EncoderLimits,
        ladder: PictureLadder,
        small: Option<PictureLadder>,
    },
    /// They are closed, or about to be.
    LargeClosed,
    SmallOpened {
        limits: EncoderLimits,
    },
    /// The second encoder gave a unit.
    SmallMoved,
    /// It is being put right: until its next unit it has as long as one that starts.
    SmallRecovering,
    /// It ended; `Some` tells why, when it was not told to.
    SmallEnded(Option<String>),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<V> {
    Steer(Rendition, steering::Action),
    /// Open a second encoder for pictures of the same camera.
    StartSmall,
    StopSmall,
    /// From the next key frame of that rendition on.
    Move {
        viewer: V,
        to: Rendition,
    },
}

/// What the small rendition is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmallState {
    /// Nobody needs it.
    Asleep,
    Starting,
    Running,
    Stopping,
    /// There can be no second encoder, and why.
    Refused(String),
}

impl fmt::Display for SmallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asleep => f.write_str("asleep"),
            Self::Starting => f.write_str("starting"),
            Self::Running => f.write_str("running"),
            Self::Stopping => f.write_str("stopping"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

/// One camera's renditions. `V` names a viewer.
#[derive(Debug)]
pub struct Renditions<V> {
    large: Steering<V>,
    small: Steering<V>,
    division: Division<V>,
    /// What every viewer's link leaves; `None`: silent.
    links: BTreeMap<V, Option<Bitrate>>,
    /// Who watches the small one.
    moved: BTreeSet<V>,
    state: SmallState,
    /// There can be a second encoder, as far as is known.
    may_divide: bool,
    /// Nobody has needed it since.
    idle: Option<Instant>,
    /// When the small one must have given a unit.
    due: Option<Instant>,
    not_before: Option<Instant>,
    /// How often it failed since the large one was opened.
    failures: u32,
    look_again: Option<Instant>,
    actions: VecDeque<Action<V>>,
}

impl<V: Ord + Clone + fmt::Display> Renditions<V> {
    pub fn new(large: Steering<V>, small: Steering<V>) -> Self {
        Self {
            large,
            small,
            division: Division::new(),
            links: BTreeMap::new(),
            moved: BTreeSet::new(),
            state: SmallState::Asleep,
            may_divide: false,
            idle: None,
            due: None,
            not_before: None,
            failures: 0,
            look_again: None,
            actions: VecDeque::new(),
        }
    }

    /// What is heard of a viewer.
    pub fn handle(&mut self, input: steering::Input<V>, now: Instant) {
        let rendition = match &input {
            steering::Input::Estimate { viewer, rate } => {
                self.links.insert(viewer.clone(), Some(*rate));
                self.rendition(viewer)
            }
            steering::Input::Silent { viewer } => {
                self.links.insert(viewer.clone(), None);
                self.rendition(viewer)
            }
            steering::Input::Left { viewer } => {
                let rendition = self.rendition(viewer);
                self.links.remove(viewer);
                self.division.left(viewer);
                self.moved.remove(viewer);
                rendition
            }
            steering::Input::Timeout => {
                self.small.handle(steering::Input::Timeout, now);
                Rendition::Large
            }
        };
        self.steering_mut(rendition).handle(input, now);
        self.settle(now);
    }

    pub fn hear(&mut self, news: News, now: Instant) {
        match news {
            News::LargeOpened {
                limits,
                ladder,
                small,
            } => {
                self.large.encoder_opened(limits, Some(ladder));
                self.may_divide = small.is_some();
                self.not_before = None;
                self.failures = 0;
                if let SmallState::Refused(_) = self.state {
                    self.state = SmallState::Asleep;
                }
                if small.is_some() {
                    self.small.encoder_opened(self.small.limits(), small);
                }
            }
            News::LargeClosed => self.may_divide = false,
            News::SmallOpened { limits } => {
                self.small.encoder_opened(limits, None);
            }
            News::SmallMoved => {
                if self.state == SmallState::Starting {
                    self.state = SmallState::Running;
                }
                self.due = Some(now + STALL_LIMIT);
            }
            News::SmallRecovering => self.due = Some(now + START_DEADLINE),
            News::SmallEnded(why) => self.ended(why, now),
        }
        self.settle(now);
    }

    pub fn poll_action(&mut self) -> Option<Action<V>> {
        let steer = |rendition, action| Action::Steer(rendition, action);
        if let Some(action) = self.large.poll_action() {
            return Some(steer(Rendition::Large, action));
        }
        if let Some(action) = self.small.poll_action() {
            return Some(steer(Rendition::Small, action));
        }
        self.actions.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let again = self
            .look_again
            .map(|at| (at, "looks at the renditions again"));
        let steered = [self.large.poll_timeout(), self.small.poll_timeout()];
        steered.into_iter().chain([again]).flatten().min()
    }

    pub fn of(&self, rendition: Rendition) -> &Steering<V> {
        match rendition {
            Rendition::Large => &self.large,
            Rendition::Small => &self.small,
        }
    }

    /// What an encoder of this one begins with that is opened now.
    pub fn opening(&mut self, rendition: Rendition) -> (Bitrate, PictureScale) {
        self.steering_mut(rendition).opening()
    }

    /// Which one this viewer gets.
    pub fn rendition(&self, viewer: &V) -> Rendition {
        match self.moved.contains(viewer) {
            true => Rendition::Small,
            false => Rendition::Large,
        }
    }

    /// What the small one is doing.
    pub fn small(&self) -> &SmallState {
        &self.state
    }

    fn steering_mut(&mut self, rendition: Rendition) -> &mut Steering<V> {
        match rendition {
            Rendition::Large => &mut self.large,
            Rendition::Small => &mut self.small,
        }
    }

    fn settle(&mut self, now: Instant) {
        let is_possible = self.may_divide && !matches!(self.state, SmallState::Refused(_));
        if is_possible {
            let rates: BTreeMap<V, Bitrate> = self
                .links
                .iter()
                .filter_map(|(viewer, rate)| Some((viewer.clone(), (*rate)?)))
                .collect();
            self.division.update(&rates, self.large.limits().most, now);
        } else {
            self.division.forget();
        }
        self.watch(now);
        self.run(now);
        self.move_viewers(now);
        let is_of_use = is_possible && self.links.len() > 1 || self.is_up();
        self.look_again = is_of_use.then_some(now + LOOK_AGAIN);
    }

    /// Stops one that stands still. Its end may take long, or never come: in the kernel nothing can be done about that.
    fn watch(&mut self, now: Instant) {
        let is_silent = self.due.is_some_and(|due| now >= due);
        if self.is_up() && is_silent {
            warn!("the smaller rendition stands still, slow viewers get the large one");
            self.failed(now);
            self.state = SmallState::Stopping;
            self.actions.push_back(Action::StopSmall);
        }
    }

    /// It is left alone for a while, and for longer each time.
    fn failed(&mut self, now: Instant) {
        let pause = AGAIN_AFTER * 2_u32.saturating_pow(self.failures);
        self.failures += 1;
        self.not_before = Some(now + pause.min(AGAIN_AFTER_AT_MOST));
    }

    /// Starts and stops the small one.
    fn run(&mut self, now: Instant) {
        let is_needed = !self.division.small().is_empty() || !self.moved.is_empty();
        if is_needed {
            self.idle = None;
        }
        match self.state {
            SmallState::Asleep if is_needed && self.not_before.is_none_or(|at| now >= at) => {
                info!("a second, smaller rendition starts for slow viewers");
                self.state = SmallState::Starting;
                self.due = Some(now + START_DEADLINE);
                self.actions.push_back(Action::StartSmall);
            }
            SmallState::Starting | SmallState::Running if !is_needed => {
                let idle = *self.idle.get_or_insert(now);
                if now >= idle + LINGER || !self.may_divide {
                    info!("nobody needs the smaller rendition any more");
                    self.state = SmallState::Stopping;
                    self.actions.push_back(Action::StopSmall);
                }
            }
            SmallState::Asleep
            | SmallState::Starting
            | SmallState::Running
            | SmallState::Stopping
            | SmallState::Refused(_) => {}
        }
    }

    fn move_viewers(&mut self, now: Instant) {
        let wanted = match self.state {
            SmallState::Running => self.division.small().clone(),
            SmallState::Asleep
            | SmallState::Starting
            | SmallState::Stopping
            | SmallState::Refused(_) => BTreeSet::new(),
        };
        let others: Vec<V> = wanted.symmetric_difference(&self.moved).cloned().collect();
        self.moved = wanted;
        for viewer in others {
            let to = self.rendition(&viewer);
            let from = match to {
                Rendition::Large => Rendition::Small,
                Rendition::Small => Rendition::Large,
            };
            let link = match self.links.get(&viewer) {
                Some(Some(rate)) => steering::Input::Estimate {
                    viewer: viewer.clone(),
                    rate: *rate,
                },
                Some(None) | None => steering::Input::Silent {
                    viewer: viewer.clone(),
                },
            };
            info!(%viewer, rendition = %to, "viewer changes to another rendition");
            let left = steering::Input::Left {
                viewer: viewer.clone(),
            };
            self.steering_mut(from).handle(left, now);
            self.steering_mut(to).handle(link, now);
            self.actions.push_back(Action::Move { viewer, to });
        }
        // Who comes back asks for the large picture's next key frame; until then the small one must go on.
        self.run(now);
    }

    fn ended(&mut self, why: Option<String>, now: Instant) {
        let has_run = self.state == SmallState::Running;
        self.idle = None;
        self.state = match why {
            None => SmallState::Asleep,
            // It was on its end anyway.
            Some(_) if self.state == SmallState::Stopping => SmallState::Asleep,
            Some(why) if has_run => {
                warn!(
                    why,
                    "the smaller rendition ended, slow viewers get the large one"
                );
                self.failed(now);
                SmallState::Asleep
            }
            Some(why) => {
                warn!(why, "there can be no second rendition, all viewers get one");
                SmallState::Refused(why)
            }
        };
    }

    fn is_up(&self) -> bool {
        match self.state {
            SmallState::Starting | SmallState::Running => true,
            SmallState::Asleep | SmallState::Stopping | SmallState::Refused(_) => false,
        }
    }
}

/// Viewers who go back to the large picture see the small one until the large one's key frame; and who returns soon finds it
/// running.
const LINGER: Duration = Duration::from_secs(2);

/// An encoder that failed is given the time to be one again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Each try moves its viewers to and fro.
const AGAIN_AFTER_AT_MOST: Duration = Duration::from_secs(300);

/// As the supervisor has it for the large one.
const START_DEADLINE: Duration = Duration::from_secs(8);
const STALL_LIMIT: Duration = Duration::from_secs(2);

/// Half of the shortest patience that a division has.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
