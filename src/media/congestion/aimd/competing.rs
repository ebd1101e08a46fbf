//! Beside somebody else who fills the link.

use std::time::{Duration, Instant};

use super::super::Because;
use super::super::gaps::Whose;
use super::super::owner::Retreat;
use super::{DRAINED, NARROW, PACKET_BITS, Phase, RateControl, STANDING, Signs, UNPROVEN};

impl RateControl {
    /// Somebody else filled the link lately.
    pub(in super::super) fn is_shared(&self, now: Instant) -> bool {
        self.competed.is_some_and(|last| now < last + REMEMBERED)
    }

    /// Whose queue it is takes a moment to find out, and that moment is the neighbour's: not after each of TCP's cuts again.
    pub(super) fn is_theirs_still(&self, now: Instant) -> bool {
        self.proven.is_some_and(|last| now < last + PROVEN)
    }

    /// The queue is proven to be somebody else's. `carries` is what arrives now, `before` what arrived when the queue was found.
    pub(super) fn begin_competing(
        &mut self,
        carries: f64,
        before: f64,
        queue: Duration,
        now: Instant,
    ) {
        let fair = self.heights.fair(FAIR).max(before * FAIR);
        let rate = match self.is_shared(now) {
            true => before.max(carries),
            // Half of it at once: to find out took most of what was there.
            false => carries.max(fair * AT_ONCE),
        };
        self.retreat = Retreat::default();
        self.ours_since = None;
        self.competed = Some(now);
        self.proven = Some(now);
        self.phase = Phase::Competing { queue, fair };
        self.rate = rate.clamp(self.least, self.most);
        self.because = Because::Competing;
    }

    /// As a TCP flow with the same round trip would, with a cut of 0.7 and its fair increase (RFC 8312, section 4.2).
    pub(super) fn compete(
        &mut self,
        queue: Duration,
        fair: f64,
        signs: &Signs<'_>,
        elapsed: Duration,
        now: Instant,
    ) {
        if signs.standing <= DRAINED + self.packet_time() {
            self.phase = Phase::Growing;
            self.because = Because::QueueGone;
            return;
        }
        let queue = match signs.whose {
            Some(Whose::Theirs) => queue.max(signs.standing),
            Some(Whose::Ours) | None => queue,
        };
        // A neighbour takes a little of the link with each packet; a link that became narrow takes much at once.
        let is_narrow = signs
            .acknowledged
            .is_some_and(|acknowledged| acknowledged < self.rate * NARROW);
        let is_narrow = is_narrow && signs.standing > queue * 2 + STANDING;
        if is_narrow || self.has_left(signs, now) {
            (self.competed, self.proven) = (None, None);
            return self.start_draining(signs, now);
        }
        self.competed = Some(now);
        self.phase = Phase::Competing { queue, fair };
        if self.shares_loss(signs, now) {
            // Whoever has less than a fair share gives nothing of it away.
            let is_fair = self.rate > fair * ENOUGH;
            let fair = if is_fair { fair * COMPETING_CUT } else { fair };
            self.phase = Phase::Competing { queue, fair };
        } else if !signs.lost {
            let elapsed = elapsed.as_secs_f64();
            let limit = signs.acknowledged.map_or(self.rate, |it| it * UNPROVEN);
            let soon = (self.rate * CATCH_UP.powf(elapsed)).min(fair);
            let grown = (self.rate + competing_step(signs) * elapsed)
                .max(soon)
                .min(limit);
            self.rate = grown.max(self.rate).min(self.most);
        }
        self.because = Because::Competing;
    }

    /// The queue has been ours alone for so long that the neighbour must be gone.
    fn has_left(&mut self, signs: &Signs<'_>, now: Instant) -> bool {
        if signs.whose != Some(Whose::Ours) {
            self.ours_since = None;
            return false;
        }
        now >= *self.ours_since.get_or_insert(now) + LEFT
    }

    /// One cut for what is lost within a round trip: it is one queue that was full.
    pub(super) fn shares_loss(&mut self, signs: &Signs<'_>, now: Instant) -> bool {
        let is_same = self
            .decreased
            .is_some_and(|last| now < last + signs.round_trip + REPORT);
        if signs.lost && !is_same {
            self.rate = (self.rate * COMPETING_CUT).max(self.least);
            self.decreased = Some(now);
            self.because = Because::Competing;
        }
        signs.lost
    }
}

/// In bits per second, each second.
pub(super) fn competing_step(signs: &Signs<'_>) -> f64 {
    let round_trip = signs.round_trip.max(LEAST_ROUND_TRIP).as_secs_f64();
    COMPETING_STEP * PACKET_BITS / (round_trip * round_trip)
}

/// RFC 8312, section 4.1, and the additive increase that is fair to Reno with it: 3 (1 - 0.7) / (1 + 0.7).
pub(super) const COMPETING_CUT: f64 = 0.7;
const COMPETING_STEP: f64 = 0.53;

/// Two flows share what one of them had, and soon: TCP's own increase takes a minute where the queue is long.
const FAIR: f64 = 0.5;
const CATCH_UP: f64 = 2.0;

/// Of the fair share, left after a loss: who has less gives nothing of it away. With less, the many losses of TCP's start take a
/// third of our share for good; with all of it, ours is the larger.
const ENOUGH: f64 = 0.85;

/// Of the fair share. TCP fills the queue, so what is taken at once is lost in part, ours and theirs: all of it at once would be
/// a standstill; less, and the picture is poor for a second longer.
const AT_ONCE: f64 = 0.5;

/// Longer than reports are apart on a link that carries video.
const REPORT: Duration = Duration::from_millis(100);

/// A loss empties a short queue, and TCP fills it again within seconds. For so long after the neighbour left, a queue of our own
/// is left in part, and growing is as fast as TCP's.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Longer, and a neighbour that has left is waited for with a queue.
const PROVEN: Duration = Duration::from_secs(5);

/// After a loss TCP is silent for half a round trip, in which the queue is ours alone. Longer, and a queue that is ours stands for
/// longer.
const LEFT: Duration = Duration::from_secs(1);

const LEAST_ROUND_TRIP: Duration = Duration::from_millis(20);
