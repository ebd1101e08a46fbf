//! What all viewers want of the one encoder: key frames, at most one every so often; a rate; a picture that fits the rate.

mod budget;
mod division;
mod limits;
mod picture;
pub mod renditions;
mod shared;
mod sizes;
pub mod steering;

use std::time::{Duration, Instant};

pub use budget::KeyFrameBudget;
pub use limits::{EncoderLimits, RateMethod};
pub use picture::{Halving, PictureLadder, PictureScale, Prefer, needed};
pub use shared::{SharedRate, Why};
pub use sizes::{Half, Opened, Sizes};

/// Merges requests for key frames. However many come, key frames keep their distance, and no request is forgotten.
#[derive(Debug)]
pub struct KeyFrameGate {
    spacing: Duration,
    requested: Option<Instant>,
    last: Option<Instant>,
    /// `requested` and `last` before the newest `take`.
    before_take: (Option<Instant>, Option<Instant>),
}

impl KeyFrameGate {
    pub const fn new(spacing: Duration) -> Self {
        Self {
            spacing,
            requested: None,
            last: None,
            before_take: (None, None),
        }
    }

    /// A viewer cannot go on without a key frame.
    pub fn request(&mut self, now: Instant) {
        self.requested.get_or_insert(now);
    }

    /// True when the next frame is to carry the request; that answers all requests so far.
    pub fn take(&mut self, now: Instant) -> bool {
        let is_due = self.poll_timeout().is_some_and(|due| due <= now);
        if is_due {
            self.before_take = (self.requested, self.last);
            self.requested = None;
            self.last = Some(now);
        }
        is_due
    }

    /// The encoder handed the frame back: what `take` took is still wanted, and no key frame was made.
    pub fn give_back(&mut self) {
        let (requested, last) = self.before_take;
        self.requested = requested.or(self.requested);
        self.last = last;
    }

    /// A key frame came out of the encoder, asked for or not: it answers all requests so far.
    pub fn key_frame_made(&mut self, now: Instant) {
        self.requested = None;
        self.last = Some(now);
    }

    /// When a frame may carry the request that waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let requested = self.requested?;
        let free = self.last.map(|last| last + self.spacing);
        Some(free.map_or(requested, |free| free.max(requested)))
    }
}

/// Browsers repeat a PLI about every 200 ms until they see a key frame. Answering each would double the bitrate on a link that
/// already loses packets.
pub const KEY_FRAME_SPACING: Duration = Duration::from_millis(300);

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests need some instant to count from
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const FRAME: Duration = Duration::from_millis(33);

    fn gate() -> (KeyFrameGate, Instant) {
        (KeyFrameGate::new(KEY_FRAME_SPACING), Instant::now())
    }

    #[test]
    fn first_request_passes_at_once() {
        let (mut gate, start) = gate();
        assert!(!gate.take(start));
        gate.request(start);
        assert_eq!(gate.poll_timeout(), Some(start));
        assert!(gate.take(start));
        assert_eq!(gate.poll_timeout(), None);
    }

    #[test]
    fn two_hundred_requests_in_a_second_become_at_most_four_key_frames() {
        let (mut gate, start) = gate();
        let mut key_frames = 0;
        for request in 0..200 {
            let now = start + Duration::from_millis(5) * request;
            gate.request(now);
            if request % 6 == 0 && gate.take(now) {
                key_frames += 1;
            }
        }
        assert!((3..=4).contains(&key_frames), "{key_frames} key frames");
    }

    #[test]
    fn requests_within_the_spacing_become_one_at_its_end() {
        let (mut gate, start) = gate();
        gate.request(start);
        assert!(gate.take(start));
        gate.request(start + FRAME);
        gate.request(start + FRAME * 2);
        assert_eq!(gate.poll_timeout(), Some(start + KEY_FRAME_SPACING));
        assert!(!gate.take(start + FRAME * 3));
        assert!(gate.take(start + KEY_FRAME_SPACING));
        assert!(!gate.take(start + KEY_FRAME_SPACING * 3));
    }

    #[test]
    fn key_frame_that_the_encoder_makes_by_itself_answers_the_request() {
        let (mut gate, start) = gate();
        gate.request(start);
        assert!(gate.take(start));
        gate.request(start + FRAME);
        gate.key_frame_made(start + FRAME * 2);
        assert!(!gate.take(start + KEY_FRAME_SPACING * 2));
    }

    #[test]
    fn request_that_a_full_encoder_hands_back_passes_with_the_next_frame() {
        let (mut gate, start) = gate();
        gate.request(start);
        assert!(gate.take(start));
        gate.give_back();
        assert!(gate.take(start + FRAME));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Request,
        Frame,
        FullFrame,
        OwnKeyFrame,
    }

    proptest! {
        #[test]
        fn key_frames_keep_their_distance_and_no_request_is_lost(
            steps in vec((0u64..200, prop_oneof![
                3 => Just(Step::Request),
                3 => Just(Step::Frame),
                1 => Just(Step::FullFrame),
                1 => Just(Step::OwnKeyFrame),
            ]), 0..60)
        ) {
            let (mut gate, mut now) = gate();
            let mut last: Option<Instant> = None;
            let mut waiting = false;
            for (pause, step) in steps {
                now += Duration::from_millis(pause);
                match step {
                    Step::Request => {
                        gate.request(now);
                        waiting = true;
                    }
                    Step::Frame | Step::FullFrame => {
                        let free = last.is_none_or(|last| now >= last + KEY_FRAME_SPACING);
                        prop_assert_eq!(gate.take(now), waiting && free);
                        if waiting && free {
                            if matches!(step, Step::FullFrame) {
                                gate.give_back();
                            } else {
                                waiting = false;
                                last = Some(now);
                            }
                        }
                    }
                    Step::OwnKeyFrame => {
                        gate.key_frame_made(now);
                        waiting = false;
                        last = Some(now);
                    }
                }
                prop_assert_eq!(gate.poll_timeout().is_some(), waiting);
            }
            // With frames going on, whatever waits is answered within the spacing.
            prop_assert_eq!(gate.take(now + KEY_FRAME_SPACING), waiting);
        }
    }
}
