//! The rate: up while nothing speaks against it, down to what arrives when a queue grows.
//!
//! ```text
//!              a queue grows or stands            it is gone
//!   Growing ──────────────────────────► Draining ────────────► Growing, a little below what arrived
//!      ▲                                 ▲ │ it keeps our gaps, or stays although less is sent (see gaps.rs, owner.rs)
//!      │   it is gone     it is ours alone │ ▼
//!      └────────────────────────────── Competing: somebody else fills it; share by loss as TCP does
//! ```
//!
//! Growing and the factor of the decrease are draft-ietf-rmcat-gcc-02, section 5.5. Draining is ours: the draft's one cut of 15 %
//! needs two seconds for a queue of 300 ms. Competing follows Copa (Arun and Balakrishnan, NSDI 2018, section 2.2), with a memory:
//! where the queue is short, each cut of TCP's empties it, and a new one is theirs at once or after a short trial. Giving way anew
//! each time would leave a tenth of the link.

mod competing;

use std::time::{Duration, Instant};

use self::competing::{COMPETING_CUT, competing_step};

use super::Because;
use super::acknowledged::AcknowledgedRate;
use super::capacity::Capacity;
use super::delay::Usage;
use super::gaps::Whose;
use super::owner::{Heights, Owner, Retreat};

#[derive(Debug)]
pub(super) struct RateControl {
    /// In bits per second, all of them.
    rate: f64,
    least: f64,
    most: f64,
    phase: Phase,
    capacity: Capacity,
    standing_since: Option<Instant>,
    /// When somebody else was last seen to fill the link.
    competed: Option<Instant>,
    /// When a queue was last proven to be somebody else's.
    proven: Option<Instant>,
    heights: Heights,
    retreat: Retreat,
    /// The queue that we compete for looks like ours alone.
    ours_since: Option<Instant>,
    updated: Instant,
    decreased: Option<Instant>,
    because: Because,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Growing,
    Draining(Drain),
    Competing {
        /// The longest queue that was known to be theirs.
        queue: Duration,
        /// Up to here the rate may grow soon.
        fair: f64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Drain {
    since: Instant,
    /// The queue at the beginning.
    queue: Duration,
    /// What arrives while the queue is never empty is what the link carries.
    carries: f64,
    /// What arrived before it.
    before: f64,
    /// What the rate was before it.
    from: f64,
    owner: Owner,
}

/// What one report says about the way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs<'a> {
    pub(super) arrivals: &'a AcknowledgedRate,
    pub(super) usage: Usage,
    pub(super) standing: Duration,
    /// Over half a second, and over the last moments.
    pub(super) acknowledged: Option<f64>,
    pub(super) recent: Option<f64>,
    pub(super) round_trip: Duration,
    /// Something was lost beyond what the way always loses.
    pub(super) lost: bool,
    /// The queue, as the gaps between our frames tell.
    pub(super) whose: Option<Whose>,
}

impl RateControl {
    pub(super) fn new(start: f64, least: f64, most: f64, now: Instant) -> Self {
        Self {
            rate: start.clamp(least, most),
            least,
            most,
            phase: Phase::Growing,
            capacity: Capacity::default(),
            standing_since: None,
            competed: None,
            proven: None,
            heights: Heights::default(),
            retreat: Retreat::default(),
            ours_since: None,
            updated: now,
            decreased: None,
            because: Because::Start,
        }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    pub(super) fn because(&self) -> Because {
        self.because
    }

    pub(super) fn is_growing(&self) -> bool {
        matches!(self.phase, Phase::Growing)
    }

    pub(super) fn is_competing(&self) -> bool {
        matches!(self.phase, Phase::Competing { .. })
    }

    /// Moves to `rate`, within the range, for a reason from outside.
    pub(super) fn set(&mut self, rate: f64, because: Because, now: Instant) {
        let rate = rate.clamp(self.least, self.most);
        if rate < self.rate {
            self.decreased = Some(now);
        }
        self.rate = rate;
        self.because = because;
    }

    /// What was taken for a queue is gone, or was none.
    pub(super) fn start_anew(&mut self) {
        self.phase = Phase::Growing;
        self.standing_since = None;
        (self.competed, self.proven, self.ours_since) = (None, None, None);
    }

    pub(super) fn update(&mut self, signs: &Signs<'_>, now: Instant) {
        let elapsed = now
            .saturating_duration_since(std::mem::replace(&mut self.updated, now))
            .min(Duration::from_secs(1));
        match self.phase {
            Phase::Growing => {
                if self.has_queue(signs, now) {
                    self.meet_queue(signs, now);
                } else {
                    self.grow(signs, elapsed, now);
                }
            }
            Phase::Draining(drain) => self.drain(drain, signs, now),
            Phase::Competing { queue, fair } => self.compete(queue, fair, signs, elapsed, now),
        }
    }

    fn has_queue(&mut self, signs: &Signs<'_>, now: Instant) -> bool {
        let packet = self.packet_time();
        if signs.standing < STANDING + packet {
            self.standing_since = None;
        }
        let is_long = signs.standing >= STANDING + packet;
        let since = *self.standing_since.get_or_insert(now);
        // Less arrives than is sent: nothing to wait for.
        let is_narrow = signs
            .recent
            .is_some_and(|recent| recent < self.rate * NARROW);
        let stands = is_long && (is_narrow || now >= since + STANDING_TIME);
        // Jitter makes gradients, not queues.
        let grows = signs.usage == Usage::Over && signs.standing >= GROWN + packet;
        stands || grows
    }

    /// On a narrow link one packet takes longer than where the shortest way was measured, queue or not.
    fn packet_time(&self) -> Duration {
        Duration::from_secs_f64(PACKET_BITS / self.rate.max(1.0))
    }

    fn meet_queue(&mut self, signs: &Signs<'_>, now: Instant) {
        if self.is_theirs_still(now) && signs.whose != Some(Whose::Ours) {
            self.phase = Phase::Competing {
                queue: signs.standing,
                fair: 0.0,
            };
            self.competed = Some(now);
            return;
        }
        self.start_draining(signs, now);
    }

    fn start_draining(&mut self, signs: &Signs<'_>, now: Instant) {
        let Some(recent) = signs.recent else {
            return;
        };
        let carries = signs
            .acknowledged
            .map_or(recent, |longer| recent.min(longer));
        let before = signs.acknowledged.unwrap_or(recent).min(self.rate);
        self.standing_since = None;
        self.heights.met_queue(self.rate, before, now);
        let is_theirs = match signs.whose {
            Some(Whose::Theirs) => true,
            Some(Whose::Ours) => false,
            None => self.retreat.is_somebody_else(),
        };
        if is_theirs {
            self.begin_competing(carries, before, signs.standing, now);
            return;
        }
        self.phase = Phase::Draining(Drain {
            since: now,
            queue: signs.standing,
            carries,
            before,
            from: self.rate,
            owner: Owner::asked(carries, now),
        });
        self.drain_at(carries.min(self.rate), before, signs.standing, now);
    }

    fn drain(&mut self, drain: Drain, signs: &Signs<'_>, now: Instant) {
        let Drain {
            since,
            queue,
            carries,
            before,
            from,
            mut owner,
        } = drain;
        let packet = Duration::from_secs_f64(PACKET_BITS / carries.max(1.0));
        let is_shared = self.is_shared(now);
        if signs.standing <= DRAINED + packet {
            // A link takes the time of its queue to empty it, even when nothing more is sent. One that is gone sooner was a pause: of
            // a radio, of the receiver, or our own. What arrived meanwhile says nothing of the link.
            if now < since + queue {
                self.phase = Phase::Growing;
                self.rate = from;
                self.because = Because::QueueGone;
                return;
            }
            self.capacity.learn(carries);
            self.retreat.drained(carries, now);
            self.phase = Phase::Growing;
            let least = if is_shared {
                before * COMPETING_CUT
            } else {
                0.0
            };
            self.rate = (carries * REGAIN).max(least).clamp(self.least, self.most);
            self.because = Because::QueueGone;
            return;
        }
        // Our own queue of this length is gone twice by then. One that was somebody else's a moment ago need only not shrink.
        let patience = match is_shared {
            true => SETTLING + signs.round_trip,
            false => queue.mul_f64(2.0 / (1.0 - DRAIN_MOST)).min(PATIENCE) + signs.round_trip * 2,
        };
        let is_whole = signs.standing * 2 > queue;
        let is_least = self.rate <= self.least;
        let stays = owner.is_somebody_else(signs.arrivals, is_least, now)
            || now >= since + patience && is_whole
            || now >= since + patience * 2;
        let is_theirs = match signs.whose {
            Some(Whose::Theirs) => true,
            // A radio that becomes narrower and narrower keeps a queue, too.
            Some(Whose::Ours) => false,
            None => stays,
        };
        if is_theirs {
            self.begin_competing(carries, before, queue, now);
            return;
        }
        // What arrives first was sent before the cut: it shows what the link carries. Later it does so as long as it is more
        // than is sent, or less (the link became narrower still); as much as is sent says only that the queue is somebody else's.
        let is_first = now < since + signs.round_trip + SETTLING;
        let arrives = match (signs.recent, signs.acknowledged) {
            (Some(recent), _) if is_first || recent < self.rate * 0.9 => recent,
            // Upwards by the longer time alone: the best of many short ones would be more than the link carries.
            (_, Some(longer)) if longer > carries => longer,
            (_, _) => carries,
        };
        let carries = carries + (arrives - carries) * FOLLOW;
        self.phase = Phase::Draining(Drain {
            queue: queue.max(signs.standing),
            carries,
            owner,
            ..drain
        });
        self.drain_at(carries, before, signs.standing, now);
    }

    /// Sends less than arrives, the less the longer the queue, so that it is gone in half a second. Beside somebody else that
    /// would only give the link away: no less than after a loss.
    fn drain_at(&mut self, carries: f64, before: f64, standing: Duration, now: Instant) {
        let share = 1.0 - standing.as_secs_f64() / DRAIN_TIME.as_secs_f64();
        let rate = carries * share.clamp(DRAIN_LEAST, DRAIN_MOST);
        let least = match self.is_shared(now) {
            true => before * COMPETING_CUT,
            false => 0.0,
        };
        self.rate = rate.max(least).clamp(self.least, self.most);
        self.decreased = Some(now);
        self.because = Because::Queue { delay: standing };
    }

    fn grow(&mut self, signs: &Signs<'_>, elapsed: Duration, now: Instant) {
        if self.is_shared(now) && self.shares_loss(signs, now) {
            return;
        }
        // Section 5.5: an emptying queue is left alone.
        if signs.usage != Usage::Normal || signs.standing >= GROWN * 2 + self.packet_time() {
            return;
        }
        let Some(acknowledged) = signs.acknowledged else {
            return;
        };
        let elapsed = elapsed.as_secs_f64();
        self.capacity.forget_if_passed(acknowledged);
        let grown = if self.capacity.is_near(self.rate) {
            let response = signs.round_trip.as_secs_f64() + 0.1;
            self.rate + (PACKET_BITS / response).max(LEAST_STEP) * elapsed
        } else {
            self.rate * GROWTH.powf(elapsed)
        };
        let grown = match self.is_shared(now) {
            true => grown.max(self.rate + competing_step(signs) * elapsed),
            false => grown,
        };
        // Section 5.5: what was never sent is not known to arrive.
        let grown = grown
            .min(acknowledged * UNPROVEN + UNPROVEN_STEP)
            .min(self.most);
        if grown > self.rate {
            self.rate = grown;
            self.because = match grown >= self.most {
                true => Because::Enough,
                false => Because::Growing,
            };
        }
    }
}

/// Below this a queue is what frames of several packets make.
const GROWN: Duration = Duration::from_millis(12);

/// The issue's bound for a standing queue is 100 ms; half of it leaves time to act.
const STANDING: Duration = Duration::from_millis(50);
const STANDING_TIME: Duration = Duration::from_millis(200);

/// A link that carries so much less than is sent builds a queue, and every moment of waiting makes it longer.
const NARROW: f64 = 0.8;

/// Empty but for jitter.
const DRAINED: Duration = Duration::from_millis(15);

/// A queue of 300 ms takes about a second: a rate of nearly nothing would free it sooner and show no picture meanwhile.
const DRAIN_TIME: Duration = Duration::from_millis(500);
const DRAIN_LEAST: f64 = 0.4;
/// draft-ietf-rmcat-gcc-02, section 5.5, beta.
const DRAIN_MOST: f64 = 0.85;

/// A little below what arrived: the next queue is some seconds away.
const REGAIN: f64 = 0.95;

/// Longer than a queue of our own needs to go.
const PATIENCE: Duration = Duration::from_millis(2500);

/// The window of what arrived last, and a report.
const SETTLING: Duration = Duration::from_millis(250);

/// A frame more or less in 200 ms is no change of the link.
const FOLLOW: f64 = 0.3;

/// Section 5.5: 8 % a second far from what the link carries.
const GROWTH: f64 = 1.08;

/// Section 5.5: near it, one packet in each response time.
const PACKET_BITS: f64 = 1200.0 * 8.0;
const LEAST_STEP: f64 = 4000.0;

/// Section 5.5: 1.5 times what arrives, and 10 kbit/s.
const UNPROVEN: f64 = 1.5;
const UNPROVEN_STEP: f64 = 10_000.0;
