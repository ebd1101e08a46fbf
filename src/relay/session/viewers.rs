//! The viewers of a session, and what they said that the relay may not have heard.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

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
    /// The newest offer and what followed.
    words: VecDeque<Word>,
    /// When it last heard of its link.
    link_told: Option<Instant>,
}

#[derive(Debug)]
struct Word {
    message: ToRelay,
    /// When it was last put on a link; `None` while there is none.
    sent: Option<Instant>,
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
            words: VecDeque::new(),
            link_told: None,
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
                // Who answers has heard the offer, however soon the link ends after it.
                let is_offer = |word: &Word| matches!(word.message, ToRelay::Offer { .. });
                watching.words.retain(|word| !is_offer(word));
                Ok(())
            }
            Stage::Opening { .. } | Stage::Answered => Err(UNEXPECTED_ANSWER),
        }
    }

    /// True when it is here and was not told just now.
    pub(super) fn may_hear_of_link(&mut self, viewer: &ViewerId, now: Instant) -> bool {
        let Some(watching) = self.watching.get_mut(viewer) else {
            return false;
        };
        let is_due = |told: Instant| now.saturating_duration_since(told) >= LINK_SPACING;
        if !watching.link_told.is_none_or(is_due) {
            return false;
        }
        watching.link_told = Some(now);
        true
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

    /// Remembers what a viewer's peer says, now put on a link (`sent`) or not. False when the viewer is gone, or when what
    /// could not be sent is forgotten.
    ///
    /// A new offer makes what was said before worthless. When there is no more room the newest candidate is forgotten: the
    /// first ones are the addresses of the robot itself, the last ones the detours.
    pub(super) fn note(&mut self, message: &ToRelay, sent: Option<Instant>) -> bool {
        let Some(watching) = message
            .viewer()
            .and_then(|viewer| self.watching.get_mut(viewer))
        else {
            return false;
        };
        if matches!(message, ToRelay::Offer { .. }) {
            watching.words.clear();
        }
        if watching.words.len() >= MOST_WORDS {
            return sent.is_some();
        }
        watching.words.push_back(Word {
            message: message.clone(),
            sent,
        });
        true
    }

    pub(super) fn hold_bye(&mut self, bye: ToRelay) {
        self.farewells.push(bye);
    }

    /// What is to be sent now that the relay is there: who left, then what the others have to say.
    ///
    /// That is also what went into the link before and may have died with it: all that was said after `heard`, when the relay
    /// was last known to listen, and an offer without an answer with all that belongs to it. Browsers take both twice.
    pub(super) fn take_unheard(&mut self, heard: Option<Instant>, now: Instant) -> Vec<ToRelay> {
        let mut unheard = std::mem::take(&mut self.farewells);
        for watching in self.watching.values_mut() {
            let waits = watching.stage.waits_for_answer();
            for word in &mut watching.words {
                let was_heard = |sent| heard.is_some_and(|heard| sent + ON_ITS_WAY < heard);
                if waits || !word.sent.is_some_and(was_heard) {
                    word.sent = Some(now);
                    unheard.push(word.message.clone());
                }
            }
        }
        unheard
    }
}

impl Stage {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Opening { until } | Self::Offered { until } => Some(until),
            Self::Answered | Self::OfferedAgain => None,
        }
    }

    fn waits_for_answer(self) -> bool {
        match self {
            Self::Offered { .. } | Self::OfferedAgain => true,
            Self::Opening { .. } | Self::Answered => false,
        }
    }
}

/// A report has half a KB and its numbers change once a second: asked for all the time it costs 16 kbit/s.
const LINK_SPACING: Duration = Duration::from_millis(250);

/// What is heard so soon after a word was sent may have crossed it on its way, and proves nothing.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// Messages remembered for one viewer, some 20 KB: an offer, and the candidates of a robot with a dozen addresses and a few
/// STUN and TURN servers.
const MOST_WORDS: usize = 64;
