//! The viewers of a session, and what they have to say while there is no relay.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::ANSWER_LIMIT;
use super::refusal::{Refusal, TOO_MANY_VIEWERS, UNEXPECTED_ANSWER, UNKNOWN_VIEWER};
use crate::relay::message::ToRelay;
use crate::viewer::ViewerId;

#[derive(Debug)]
pub(super) struct Viewers {
    max: usize,
    watching: BTreeMap<ViewerId, Watching>,
    /// Viewers that ended while the link was down. Nobody can join then, so there are never more than `max`.
    farewells: Vec<ToRelay>,
}

#[derive(Debug)]
struct Watching {
    stage: Stage,
    held: VecDeque<ToRelay>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Has no offer yet.
    Opening {
        until: Instant,
    },
    Offered {
        until: Instant,
    },
    Answered,
    /// Has a picture, and an offer for another way to get it: no reason to take the picture away.
    OfferedAgain,
}

impl Viewers {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            watching: BTreeMap::new(),
            farewells: Vec::new(),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &ViewerId> {
        self.watching.keys()
    }

    pub(super) fn contains(&self, viewer: &ViewerId) -> bool {
        self.watching.contains_key(viewer)
    }

    /// The caller has removed a viewer of the same name.
    pub(super) fn open(&mut self, viewer: &ViewerId, now: Instant) -> Result<(), Refusal> {
        if self.watching.len() >= self.max {
            return Err(TOO_MANY_VIEWERS);
        }
        let watching = Watching {
            stage: Stage::Opening {
                until: now + ANSWER_LIMIT,
            },
            held: VecDeque::new(),
        };
        self.watching.insert(viewer.clone(), watching);
        Ok(())
    }

    pub(super) fn offer(&mut self, viewer: &ViewerId, now: Instant) {
        let Some(watching) = self.watching.get_mut(viewer) else {
            return;
        };
        watching.stage = match watching.stage {
            Stage::Opening { .. } | Stage::Offered { .. } => Stage::Offered {
                until: now + ANSWER_LIMIT,
            },
            Stage::Answered | Stage::OfferedAgain => Stage::OfferedAgain,
        };
    }

    pub(super) fn answer(&mut self, viewer: &ViewerId) -> Result<(), Refusal> {
        let watching = self.watching.get_mut(viewer).ok_or(UNKNOWN_VIEWER)?;
        match watching.stage {
            Stage::Offered { .. } | Stage::OfferedAgain => {
                watching.stage = Stage::Answered;
                Ok(())
            }
            Stage::Opening { .. } | Stage::Answered => Err(UNEXPECTED_ANSWER),
        }
    }

    pub(super) fn remove(&mut self, viewer: &ViewerId) -> bool {
        self.watching.remove(viewer).is_some()
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = ViewerId> + use<> {
        std::mem::take(&mut self.watching).into_keys()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.watching
            .values()
            .filter_map(|watching| watching.stage.deadline())
            .min()
    }

    pub(super) fn take_unanswered(
        &mut self,
        now: Instant,
    ) -> impl Iterator<Item = ViewerId> + use<> {
        self.watching
            .extract_if(.., |_, watching| {
                watching.stage.deadline().is_some_and(|until| until <= now)
            })
            .map(|(viewer, _)| viewer)
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Keeps a viewer's message for when the relay is back; false when it is dropped.
    ///
    /// A new offer makes what was held before worthless. When the queue is full the newest candidate is dropped: the first
    /// ones are the addresses of the robot itself, the last ones the detours.
    pub(super) fn hold(&mut self, message: ToRelay) -> bool {
        let Some(watching) = message
            .viewer()
            .and_then(|viewer| self.watching.get_mut(viewer))
        else {
            return false;
        };
        if matches!(message, ToRelay::Offer { .. }) {
            watching.held.clear();
        }
        if watching.held.len() >= MOST_HELD {
            return false;
        }
        watching.held.push_back(message);
        true
    }

    pub(super) fn hold_bye(&mut self, bye: ToRelay) {
        self.farewells.push(bye);
    }

    /// What is to be sent now that the relay is there: who left, then what the others have to say.
    pub(super) fn take_held(&mut self) -> Vec<ToRelay> {
        let mut held = std::mem::take(&mut self.farewells);
        for watching in self.watching.values_mut() {
            held.extend(watching.held.drain(..));
        }
        held
    }
}

impl Stage {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Opening { until } | Self::Offered { until } => Some(until),
            Self::Answered | Self::OfferedAgain => None,
        }
    }
}

/// Messages held for one viewer while the link is down: an offer, and the candidates of a robot with a dozen addresses and
/// a few STUN and TURN servers.
const MOST_HELD: usize = 64;
