//! Which failures are worth a line in the log: each once, and then a summary now and then.

use std::time::{Duration, Instant};

use super::status::{LinkEnd, Trouble};

/// What went wrong lately, and what was said of it.
#[derive(Debug, Default)]
pub(super) struct Troubles(Option<Reported>);

#[derive(Debug)]
struct Reported {
    trouble: Trouble,
    at: Instant,
    /// "Up again" was said too: a link that comes and goes is not to be announced each time.
    recovery: bool,
}

impl Troubles {
    pub(super) fn current(&self) -> Option<&Trouble> {
        self.0.as_ref().map(|known| &known.trouble)
    }

    /// True when it is to be said.
    pub(super) fn note(&mut self, end: LinkEnd, now: Instant) -> bool {
        let repeated = self
            .0
            .as_mut()
            .filter(|known| known.trouble.class == end.class);
        let Some(known) = repeated else {
            self.0 = Some(Reported {
                trouble: Trouble {
                    class: end.class,
                    message: end.message,
                    since: now,
                    attempts: 1,
                },
                at: now,
                recovery: false,
            });
            return true;
        };
        known.trouble.attempts = known.trouble.attempts.saturating_add(1);
        known.trouble.message = end.message;
        let due = now.saturating_duration_since(known.at) >= SUMMARY_INTERVAL;
        if due {
            known.at = now;
            known.recovery = false;
        }
        due
    }

    /// The link is up; true when that is to be said.
    pub(super) fn recovered(&mut self) -> bool {
        match &mut self.0 {
            Some(known) => !std::mem::replace(&mut known.recovery, true),
            None => true,
        }
    }

    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

/// The same trouble is said again after this long, so that the end of a log tells it without its beginning.
pub(super) const SUMMARY_INTERVAL: Duration = Duration::from_secs(300);
