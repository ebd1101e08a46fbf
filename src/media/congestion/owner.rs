//! Whose queue it is: ours goes when we send less, and somebody else's does not.
//!
//! As long as a queue is never empty, what arrives over a link that is ours alone is what the link carries, however little we send:
//! the queue shrinks by the difference. Somebody else who fills the link takes the room that we leave: only as much arrives as we
//! send, and the queue stays.
//!
//! ```text
//!                         sent      arrives    the queue
//!   ours alone            0.6       1.0        shrinks by 0.4 s a second
//!   a neighbour's         0.6       0.6        stays
//!   narrower just then    0.6       0.6        stays, but not again, when less is sent once more
//! ```

use std::time::{Duration, Instant};

use super::acknowledged::{AcknowledgedRate, Stretch};

/// Asks while one queue is drained.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    /// What the link carries if it is ours alone, in bits per second.
    carries: f64,
    /// Packets sent since then tell.
    since: Instant,
    /// How often in a row the queue stayed although less was sent.
    stayed: u32,
}

impl Owner {
    /// Less than `carries` is sent from now on.
    pub(super) fn asked(carries: f64, now: Instant) -> Self {
        Self {
            carries,
            since: now,
            stayed: 0,
        }
    }

    /// To be called with each report. `is_least`: less cannot be sent.
    pub(super) fn is_somebody_else(
        &mut self,
        arrivals: &AcknowledgedRate,
        is_least: bool,
        now: Instant,
    ) -> bool {
        if let Some(stretch) = arrivals.since(self.since)
            && stretch.packets >= FEWEST
        {
            self.judge(&stretch, is_least, now);
        }
        self.stayed >= PROVEN
    }

    fn judge(&mut self, stretch: &Stretch, is_least: bool, now: Instant) {
        let packet = PACKET_BITS / self.carries.max(1.0);
        // By so much a queue of our own shrinks meanwhile.
        let ours = stretch.sending * (1.0 - stretch.sent / self.carries);
        let at_bottom = is_least && self.stayed > 0 && stretch.sending > BOTTOM + packet;
        if ours < SHOWN + packet && !at_bottom {
            return;
        }
        let shrunk = stretch.sending - stretch.arriving;
        if shrunk < (ours * STAYS).max(NOISE) {
            self.stayed += 1;
        } else if shrunk < ours * GOES {
            self.stayed = 0;
        }
        // One that goes much sooner than ours would is a pause of theirs, or a wider link: that says nothing.
        self.carries = stretch.arrived;
        self.since = now;
    }
}

/// Drains in a row, each of which left less than the one before: where TCP's own cuts empty a short queue, none of them lasts long
/// enough to tell whose it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retreat {
    /// When the last ended, and what the link seemed to carry, in bits per second.
    last: Option<(Instant, f64)>,
    steps: u32,
}

impl Retreat {
    pub(super) fn drained(&mut self, carries: f64, now: Instant) {
        let is_step = self
            .last
            .is_some_and(|(at, before)| now < at + SOON && carries < before * LESS);
        self.steps = if is_step { self.steps + 1 } else { 0 };
        self.last = Some((now, carries));
    }

    pub(super) fn is_somebody_else(&self) -> bool {
        self.steps >= RETREATS
    }
}

/// What there was before the first of several queues in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heights(Option<Height>);

#[derive(Clone, Copy, Debug)]
struct Height {
    at: Instant,
    /// What the link carried, in bits per second.
    rate: f64,
    /// What of it was used.
    used: f64,
}

impl Heights {
    pub(super) fn met_queue(&mut self, rate: f64, used: f64, now: Instant) {
        let is_first = self
            .0
            .is_none_or(|height| now > height.at + REMEMBERED || rate > height.rate);
        if is_first {
            let at = now;
            self.0 = Some(Height { at, rate, used });
        }
    }

    /// This share of the link, as far as we want it.
    pub(super) fn fair(&self, share: f64) -> f64 {
        self.0.map_or(0.0, |it| it.used.min(it.rate * share))
    }
}

const PACKET_BITS: f64 = 1200.0 * 8.0;

/// A queue that should have shrunk by less tells nothing, in seconds: frames of several packets make as much of one. More takes
/// longer, and that time is the neighbour's.
const SHOWN: f64 = 0.04;
const FEWEST: usize = 5;

/// Of what it should have shrunk by. In the middle between a queue of ours and one that stays.
const STAYS: f64 = 0.5;

/// A queue that shrinks by less stays, in seconds.
const NOISE: f64 = 0.01;

/// Of what it should have shrunk by. Ours cannot go so fast.
const GOES: f64 = 2.0;

/// Where less cannot be sent, a queue that once stayed is looked at for so long, in seconds.
const BOTTOM: f64 = 0.2;

/// Once may be a link that became narrower at the same moment. The price is a round trip, queue included.
const PROVEN: u32 = 2;

/// A way whose fading takes a tenth of what is left three times in a row, with a queue each time, is taken for a shared one: it
/// keeps a queue until a loss or until it is wide again. Two times would be a radio's everyday life; four leave half of a share.
const RETREATS: u32 = 3;
const LESS: f64 = 0.9;

/// TCP needs as long to fill a short queue again.
const SOON: Duration = Duration::from_secs(3);

/// A few drains. Longer ago, the link may have been another.
const REMEMBERED: Duration = Duration::from_secs(10);

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests need some instant to count from
mod tests {
    use super::super::history::Acknowledged;
    use super::*;

    /// Packets of 1200 bytes for half a second: sent at one rate, arriving at another behind a queue.
    fn stretch(arrivals: &mut AcknowledgedRate, start: Instant, at: f64, sent: f64, arrived: f64) {
        let count = (sent * 0.5 / PACKET_BITS) as u32;
        for number in 0..count {
            let time =
                |rate: f64| Duration::from_secs_f64(at + f64::from(number) * PACKET_BITS / rate);
            arrivals.add(&Acknowledged {
                number: 0,
                sent: start + time(sent),
                arrived: time(arrived) + Duration::from_millis(300),
                bytes: 1200,
                probe: None,
            });
        }
    }

    fn asked(steps: &[(f64, f64)]) -> bool {
        let start = Instant::now();
        let mut owner = Owner::asked(2e6, start);
        let mut at = 0.0;
        steps.iter().any(|(sent, arrived)| {
            let mut arrivals = AcknowledgedRate::default();
            stretch(&mut arrivals, start, at, *sent, *arrived);
            at += 1.0;
            owner.is_somebody_else(&arrivals, false, start + Duration::from_secs_f64(at))
        })
    }

    #[test]
    fn queue_that_shrinks_as_less_is_sent_is_ours() {
        assert!(!asked(&[(1.6e6, 2e6), (1.2e6, 2e6), (0.8e6, 2e6)]));
    }

    #[test]
    fn queue_that_stays_twice_is_somebody_elses() {
        assert!(!asked(&[(1.4e6, 1.4e6)]));
        assert!(asked(&[(1.4e6, 1.4e6), (1e6, 1e6)]));
    }

    #[test]
    fn link_that_became_narrower_meanwhile_is_ours() {
        assert!(!asked(&[(1.2e6, 1e6), (0.8e6, 1e6), (0.5e6, 1e6)]));
    }

    #[test]
    fn pause_of_somebody_else_does_not_make_it_ours() {
        assert!(asked(&[(1.4e6, 1.4e6), (1.2e6, 4e6), (1e6, 1e6)]));
    }

    #[test]
    fn drains_that_leave_less_each_time_are_beside_somebody_else() {
        let start = Instant::now();
        let drained = |rates: &[f64]| {
            let mut retreat = Retreat::default();
            for (second, rate) in rates.iter().enumerate() {
                retreat.drained(*rate, start + Duration::from_secs(second as u64));
            }
            retreat.is_somebody_else()
        };
        assert!(drained(&[1e6, 0.8e6, 0.6e6, 0.5e6]));
        assert!(!drained(&[4e6, 0.5e6, 0.5e6, 0.48e6, 0.47e6]));
    }

    #[test]
    fn fair_is_half_of_what_there_was_first_and_no_more_than_was_used() {
        let start = Instant::now();
        let mut heights = Heights::default();
        heights.met_queue(4e6, 3e6, start);
        heights.met_queue(1e6, 1e6, start + Duration::from_secs(2));
        assert_eq!(heights.fair(0.5), 2e6);
        heights.met_queue(1e6, 0.2e6, start + Duration::from_secs(20));
        assert_eq!(heights.fair(0.5), 0.2e6);
    }
}
