//! What the relay said before it ended the link.

use std::time::{Duration, Instant};

use super::status::{LinkEnd, LinkFailure};
use crate::relay::message::code;

#[derive(Debug)]
pub(super) struct LastWords {
    at: Instant,
    text: String,
    unauthorized: bool,
    retry_after: Option<Duration>,
}

impl LastWords {
    pub(super) fn new(
        message: &str,
        code: Option<&str>,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Self {
        Self {
            at: now,
            text: one_line(message),
            unauthorized: code == Some(code::UNAUTHORIZED),
            retry_after,
        }
    }

    /// One short line.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Adds what was said to how the link ended, when it was said shortly before.
    pub(super) fn explain(self, end: &mut LinkEnd, now: Instant) {
        if now > self.at + LAST_WORDS_LIMIT {
            return;
        }
        end.retry_after = end.retry_after.or(self.retry_after);
        end.message = format!("{}; the relay said \"{}\"", end.message, self.text);
        if self.unauthorized {
            end.class = LinkFailure::Unauthorized;
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars()
        .take(LONGEST_TEXT)
        .flat_map(char::escape_debug)
        .collect()
}

/// An error of the relay explains the link's end when it comes this shortly before.
pub(super) const LAST_WORDS_LIMIT: Duration = Duration::from_secs(10);

/// Characters of a peer's text that go into a log line and `/status`.
const LONGEST_TEXT: usize = 200;
