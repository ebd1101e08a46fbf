//! Which failures are worth a line in the log: each once, and then a summary now and then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::status::{LinkEnd, Trouble};

/// What went wrong since the link last stood for long, and what was said of it.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    current: Option<Trouble>,
    /// When each kind of failure was last said.
    said: BTreeMap<String, Instant>,
    /// "Up again" was said too: a link that comes and goes is not to be announced each time.
    recovery: bool,
}

impl Troubles {
    pub(super) fn current(&self) -> Option<&Trouble> {
        self.current.as_ref()
    }

    /// True when it is to be said.
    pub(super) fn note(&mut self, end: LinkEnd, now: Instant) -> bool {
        let class = end.class;
        let (since, attempts) = match &self.current {
            Some(known) if known.class == class => (known.since, known.attempts.saturating_add(1)),
            Some(_) | None => (now, 1),
        };
        let kind = class.to_string();
        self.current = Some(Trouble {
            class,
            message: end.message,
            since,
            attempts,
        });
        self.said
            .retain(|_, at| now.saturating_duration_since(*at) < SUMMARY_INTERVAL);
        if self.said.contains_key(&kind) || self.said.len() >= MOST_KINDS {
            return false;
        }
        self.said.insert(kind, now);
        self.recovery = false;
        true
    }

    /// The link is up; true when that is to be said.
    pub(super) fn recovered(&mut self) -> bool {
        !std::mem::replace(&mut self.recovery, self.current.is_some())
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Kinds said in that time. A relay that closes with another code each time has thousands.
const MOST_KINDS: usize = 16;

/// The same trouble is said again after this long, so that the end of a log tells it without its beginning.
pub(super) const SUMMARY_INTERVAL: Duration = Duration::from_secs(300);
