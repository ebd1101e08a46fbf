//! How many bits the next picture may have, so that all of them together have the bitrate.

use std::time::Duration;

use super::bucket::Wanted;
use crate::media::Bitrate;

/// What the pictures so far had too much is saved at the next ones, a tenth of it at each.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// In seconds of the bitrate, so that it means no more when the bitrate falls: what a link has too much then is its queue, and who
    /// lowered the bitrate knows of it. Negative: left over.
    debt: f64,
}

impl Allowance {
    /// What the next picture may have, `passed` after the one before; `None` leaves it out. Whatever comes of it is told by
    /// [`spend`](Self::spend).
    pub(super) fn next(
        &mut self,
        bitrate: Bitrate,
        passed: Duration,
        key_frame: bool,
    ) -> Option<Wanted> {
        let bitrate = bitrate.as_bps() as f64;
        let passed = passed.as_secs_f64();
        self.debt = (self.debt - passed).max(-LEFT_OVER);
        if key_frame {
            return Some(Wanted::KeyFrame(bitrate * passed * KEY_FRAME));
        }
        if self.debt > LONGEST_DEBT {
            return None;
        }
        let saved = (self.debt * PAID_BACK).clamp(-passed * MORE, passed * LESS);
        Some(Wanted::Other(bitrate * (passed - saved)))
    }

    pub(super) fn spend(&mut self, bits: usize, bitrate: Bitrate) {
        let more = bits as f64 / bitrate.as_bps() as f64;
        self.debt = (self.debt + more).min(MOST_DEBT);
    }

    /// What was too much is sent sooner now.
    pub(super) fn rises(&mut self, from: Bitrate, to: Bitrate) {
        if self.debt > 0.0 {
            self.debt *= from.as_bps() as f64 / to.as_bps() as f64;
        }
    }
}

/// In usual pictures. Smaller, the picture is coarse for a moment after each; larger, it comes late on a narrow link.
const KEY_FRAME: f64 = 4.0;

/// openh264's own limit: with so much still to be sent, another picture would only arrive later.
const LONGEST_DEBT: f64 = 0.5;

/// Key frames are made whatever is owed. Viewers who lose one after the other would else leave nobody a picture for as long as they
/// did.
const MOST_DEBT: f64 = 1.0;

/// A scene that stood still may have so much at once when it moves again.
const LEFT_OVER: f64 = 0.1;

/// Of the debt, with each picture: a key frame's is gone in a third of a second.
const PAID_BACK: f64 = 0.1;

/// Of a usual picture.
const LESS: f64 = 0.5;
const MORE: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_micros(33_333);
    const BITRATE: Bitrate = Bitrate::kbps(900);
    /// Of a usual picture.
    const BITS: f64 = 30_000.0;

    fn next(allowance: &mut Allowance) -> f64 {
        match allowance.next(BITRATE, FRAME, false) {
            Some(Wanted::Other(bits)) => bits,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn key_frame_is_paid_back_with_small_pictures_and_none_is_left_out() {
        let mut allowance = Allowance::default();
        let key_frame = allowance.next(BITRATE, FRAME, true);
        let Some(Wanted::KeyFrame(bits)) = key_frame else {
            panic!("{key_frame:?}");
        };
        assert!((bits - 4.0 * BITS).abs() < 10.0);
        allowance.spend(bits as usize, BITRATE);

        let mut spent = bits;
        let mut smallest = f64::MAX;
        for _ in 0..29 {
            let bits = next(&mut allowance);
            allowance.spend(bits as usize, BITRATE);
            smallest = smallest.min(bits);
            spent += bits;
        }
        assert!(smallest > BITS / 2.0);
        // The first picture follows none, and has its time for itself.
        assert!((spent / BITS - 31.0).abs() < 0.2, "{spent}");
    }

    #[test]
    fn pictures_that_are_always_too_large_are_left_out_in_the_end_and_the_bitrate_is_kept() {
        let mut allowance = Allowance::default();
        let mut shown = 0;
        for _ in 0..300 {
            if allowance.next(BITRATE, FRAME, false).is_some() {
                allowance.spend(2 * BITS as usize, BITRATE);
                shown += 1;
            }
        }
        // Half of them, and what half a second more and the little that was left over allow.
        assert!((150..=162).contains(&shown), "{shown}");
    }

    #[test]
    fn key_frames_one_after_the_other_cost_no_more_than_a_second_of_pictures() {
        let mut allowance = Allowance::default();
        for _ in 0..60 {
            let key_frame = allowance.next(BITRATE, FRAME, true);
            assert!(matches!(key_frame, Some(Wanted::KeyFrame(_))));
            allowance.spend(4 * BITS as usize, BITRATE);
        }
        let left_out = (0..60)
            .take_while(|_| allowance.next(BITRATE, FRAME, false).is_none())
            .count();
        assert!((1..=16).contains(&left_out), "{left_out}");
    }

    #[test]
    fn bitrate_that_rises_makes_a_debt_shorter_and_one_that_falls_does_not_make_it_longer() {
        let mut allowance = Allowance::default();
        allowance.spend(4 * BITS as usize, BITRATE);
        let debt = allowance.debt;
        allowance.rises(BITRATE, Bitrate::kbps(1800));
        assert!((allowance.debt - debt / 2.0).abs() < 1e-9);
    }
}
