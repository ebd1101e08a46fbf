//! Which reports of the browser never came: what those were about may be lost, and so may the NACK that would have told.

use std::time::{Duration, Instant};

use crate::media::congestion::Arrival;

/// The browser's reports, by their times and by what they are about.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// The newest, and how far apart they come.
    heard: Option<(Instant, Duration)>,
    /// The first transport-wide number that none was about.
    up_to: Option<u16>,
    /// What none told of was sent again since the newest.
    is_guessed: bool,
}

impl Reports {
    /// One came. Yields the transport-wide numbers between it and the one before: they were in another, which is lost.
    pub(super) fn hear(
        &mut self,
        arrivals: &[Arrival],
        now: Instant,
    ) -> impl Iterator<Item = u16> + use<> {
        let usual = match self.heard {
            Some((last, usual)) => (usual * 7 + (now - last).min(LONGEST_BETWEEN)) / 8,
            None => LONGEST_BETWEEN,
        };
        self.heard = Some((now, usual));
        self.is_guessed = false;
        let (first, count) = self.left_out(arrivals).unwrap_or_default();
        (0..count).map(move |ahead| first.wrapping_add(ahead))
    }

    /// When one must be lost, if the next does not come before.
    pub(super) fn overdue(&self) -> Option<Instant> {
        let (last, usual) = self.heard.filter(|_| !self.is_guessed)?;
        Some(last + usual.mul_f64(OVERDUE))
    }

    /// What could be guessed of the one that is overdue is done.
    pub(super) fn guessed(&mut self) {
        self.is_guessed = true;
    }

    fn left_out(&mut self, arrivals: &[Arrival]) -> Option<(u16, u16)> {
        let (first, last) = (arrivals.first()?, arrivals.last()?);
        let next = last.sequence.wrapping_add(1);
        let expected = *self.up_to.get_or_insert(first.sequence);
        if next.wrapping_sub(expected) > u16::MAX / 2 {
            // Older than the one before: late, not lost.
            return None;
        }
        self.up_to = Some(next);
        let count = first.sequence.wrapping_sub(expected);
        (count <= MOST_LEFT_OUT).then_some((expected, count))
    }
}

/// A quarter of a second at 4 Mbit/s, two reports. What comes after more than that comes after an outage, not after a lost report.
const MOST_LEFT_OUT: u16 = 100;

/// Of the usual distance between reports. Sooner, and jitter is taken for a loss; the price is as much of the rate as reports are lost.
const OVERDUE: f64 = 1.3;

/// Chromium's reports are 50 to 250 ms apart.
const LONGEST_BETWEEN: Duration = Duration::from_millis(250);
