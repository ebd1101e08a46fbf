//! A fall of the estimate that may not have been the link's doing.
//!
//! What arrives is what the link carries only while the link is full. A receiver that stood still for a moment looks like a queue, and
//! takes the estimate down to what a source happened to send: it is asked at once whether more arrives.

use std::time::{Duration, Instant};

/// What was there before the estimate fell while little was sent.
#[derive(Debug, Default)]
pub(super) struct Regain(Option<Fall>);

#[derive(Clone, Copy, Debug)]
struct Fall {
    since: Instant,
    /// In bits per second.
    from: f64,
}

impl Regain {
    /// The estimate went down from `from`. Of several falls in a row the first counts.
    pub(super) fn fell(&mut self, from: f64, now: Instant) {
        if self.0.is_none_or(|fall| now > fall.since + LASTS) {
            self.0 = Some(Fall { since: now, from });
        }
    }

    /// The rate to ask for, once, when the way is calm again and the estimate is still far down.
    pub(super) fn take(&mut self, rate: f64, now: Instant) -> Option<f64> {
        let fall = self
            .0
            .take_if(|fall| now <= fall.since + LASTS && rate < fall.from * FAR)?;
        Some(fall.from * SHARE)
    }
}

/// As Chromium asks again after a large drop: one that leaves less than two thirds, within five seconds, at 0.85 of what it was.
/// Where the link did become narrow the price is one queue of 20 ms of the former rate.
const FAR: f64 = 0.66;
const LASTS: Duration = Duration::from_secs(5);
const SHARE: f64 = 0.85;
