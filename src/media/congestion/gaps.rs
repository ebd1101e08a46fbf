//! Whose queue it is, from the gaps between our frames.
//!
//! A queue that is ours alone closes them: its packets leave the link one after the other, however far apart they were sent.
//! Behind a queue that somebody else fills they are still there, for his packets are in between.
//!
//! ```text
//!   sent             ▪▪▪▪        ▪▪▪▪        ▪▪▪▪
//!   ours alone         ▪▪▪▪▪▪▪▪▪▪▪▪
//!   somebody else's    ▪▫▪▫▪▫▪▫▫▫▫▫▫▪▫▪▫▪▫▪▫▫▫▫▫▫▪▫▪▫▪▫▪▫
//! ```
//!
//! This needs no less to be sent, as [`Owner`](super::owner::Owner) does, and two gaps tell. But frames of one packet each, or a
//! picture that is sent evenly, show none.

use std::collections::VecDeque;
use std::time::Duration;

use super::history::Acknowledged;

#[derive(Debug, Default)]
pub(super) struct Gaps {
    newest: Option<Acknowledged>,
    /// Packets one after the other that found a queue, oldest first.
    pairs: VecDeque<Pair>,
}

/// Who fills the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Ours,
    Theirs,
}

/// A packet, by how much it was sent and arrived after the one before.
#[derive(Clone, Copy, Debug)]
struct Pair {
    /// By the receiver's clock.
    at: Duration,
    sent: Duration,
    arrived: Duration,
    bytes: u32,
}

impl Gaps {
    /// In order of arrival; `waited` in a queue.
    pub(super) fn add(&mut self, packet: &Acknowledged, waited: Duration) {
        let before = self.newest.replace(*packet);
        if let Some(before) = before.filter(|before| before.number + 1 == packet.number)
            && waited >= QUEUED
        {
            self.pairs.push_back(Pair {
                at: packet.arrived,
                sent: packet.sent.saturating_duration_since(before.sent),
                arrived: packet.arrived.saturating_sub(before.arrived),
                bytes: packet.bytes,
            });
        }
        while let Some(oldest) = self.pairs.front()
            && (oldest.at + WINDOW < packet.arrived || self.pairs.len() > MOST_PAIRS)
        {
            self.pairs.pop_front();
        }
    }

    /// `None`: there is no queue, or there are no gaps to tell by.
    pub(super) fn whose(&self) -> Option<Whose> {
        let is_frame = |pair: &&Pair| pair.sent < GAP;
        if self.pairs.iter().filter(is_frame).count() < FEWEST {
            return None;
        }
        // A packet's own time on the link is no gap.
        let usual = time_per_byte(self.pairs.iter().filter(is_frame));
        // A link that just became narrower has had another, which the packets beside the gap tell.
        let beside = |place| {
            let before = self.pairs.range(..place).rev().filter(is_frame);
            let after = self.pairs.range(place..).filter(is_frame);
            time_per_byte(before.take(BESIDE)).max(time_per_byte(after.take(BESIDE)))
        };
        let left =
            |gap: &Pair, own: f64| (gap.arrived.as_secs_f64() - own) / gap.sent.as_secs_f64();
        let own = |gap: &Pair, time: f64| f64::from(gap.bytes) * time;
        let gaps = || {
            let all = self.pairs.iter().enumerate();
            all.filter(|(_, pair)| pair.sent >= GAP)
        };
        // One by one: a radio that pauses in one of them would outweigh the others.
        let is_kept = |(place, gap): &(usize, &Pair)| {
            let own = own(gap, usual.max(beside(*place)));
            // Of one that is no longer than two packets take, only jitter would leave so much.
            own < gap.sent.as_secs_f64() * (1.0 - KEPT) && left(gap, own) > KEPT
        };
        let kept = gaps().filter(is_kept).count();
        let closed = gaps()
            .filter(|(_, gap)| left(gap, own(gap, usual)) < CLOSED)
            .count();
        let most = |count: usize| count >= FEWEST && count * 2 > gaps().count();
        if most(kept) {
            Some(Whose::Theirs)
        } else if most(closed) {
            Some(Whose::Ours)
        } else {
            None
        }
    }
}

/// In seconds.
fn time_per_byte<'a>(pairs: impl Iterator<Item = &'a Pair>) -> f64 {
    let (bytes, arrived) = pairs.fold((0.0, 0.0), |(bytes, arrived), pair| {
        (
            bytes + f64::from(pair.bytes),
            arrived + pair.arrived.as_secs_f64(),
        )
    });
    arrived / f64::max(bytes, 1.0)
}

/// Packets of one frame leave within 4 ms of each other; up to the next frame half of a frame time is left.
const GAP: Duration = Duration::from_millis(8);

/// Of a gap, in the middle between nothing of it and all. Below it somebody else has a smaller part of the link than we.
const KEPT: f64 = 0.5;
const CLOSED: f64 = 0.25;

/// Less is what jitter makes of an empty link, which keeps every gap.
const QUEUED: Duration = Duration::from_millis(20);

/// Two gaps, and two of a frame's own packets: one would be any hiccup. More would take a frame time each.
const FEWEST: usize = 2;

/// As many packets on either side of a gap tell what one takes: a single one may have somebody else's before it, or none.
const BESIDE: usize = 4;

/// Nine frames. Longer, and what was before somebody else came counts too.
const WINDOW: Duration = Duration::from_millis(300);

/// 300 ms at 16 Mbit/s; beyond it the window is shorter.
const MOST_PAIRS: usize = 512;

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests need some instant to count from
mod tests {
    use std::time::Instant;

    use super::*;

    const QUEUE: Duration = Duration::from_millis(100);
    const PACKET: f64 = 1200.0 * 8.0;

    /// Frames of four packets at 30 fps, each 1 ms after the other, on a link of 2 Mbit/s. `theirs` is sent all the time.
    fn behind(theirs: f64, waited: Duration) -> Gaps {
        let start = Instant::now();
        let (mut gaps, mut last, mut free) = (Gaps::default(), 0.0, 0.1);
        for number in 0..40u32 {
            let at = f64::from(number / 4) / 30.0 + f64::from(number % 4) * 0.001;
            free += (PACKET + theirs * (at - last)) / 2e6;
            last = at;
            let packet = Acknowledged {
                number: number.into(),
                sent: start + Duration::from_secs_f64(at),
                arrived: Duration::from_secs_f64(free),
                bytes: 1200,
                probe: None,
            };
            gaps.add(&packet, waited);
        }
        gaps
    }

    #[test]
    fn queue_of_our_own_closes_the_gaps() {
        assert_eq!(behind(0.0, QUEUE).whose(), Some(Whose::Ours));
    }

    #[test]
    fn queue_that_somebody_else_fills_keeps_them() {
        assert_eq!(behind(1.5e6, QUEUE).whose(), Some(Whose::Theirs));
        assert_ne!(behind(0.5e6, QUEUE).whose(), Some(Whose::Theirs));
    }

    #[test]
    fn pause_of_a_radio_in_one_gap_is_no_neighbour() {
        let mut gaps = behind(0.0, QUEUE);
        let newest = gaps.newest.expect("packets were added");
        let next = Acknowledged {
            number: newest.number + 1,
            sent: newest.sent + Duration::from_millis(30),
            arrived: newest.arrived + Duration::from_millis(200),
            ..newest
        };
        gaps.add(&next, QUEUE);
        assert_eq!(gaps.whose(), Some(Whose::Ours));
    }

    #[test]
    fn link_that_just_became_an_eighth_is_not_taken_for_somebody_elses() {
        let start = Instant::now();
        let (mut gaps, mut number) = (Gaps::default(), 0);
        let (mut sent, mut arrived) = (start, Duration::from_secs(1));
        // In ms: sent and arriving after the one before.
        let fast = [(1, 2); 12];
        let slow = [(18, 19), (1, 19), (1, 19), (15, 19), (1, 19)];
        for (after, later) in fast.into_iter().chain(slow) {
            number += 1;
            sent += Duration::from_millis(after);
            arrived += Duration::from_millis(later);
            let packet = Acknowledged {
                number,
                sent,
                arrived,
                bytes: 1200,
                probe: None,
            };
            gaps.add(&packet, QUEUE);
        }
        assert_eq!(gaps.whose(), None);
    }

    #[test]
    fn gaps_without_a_queue_say_nothing() {
        assert_eq!(behind(1.5e6, Duration::from_millis(5)).whose(), None);
    }
}
