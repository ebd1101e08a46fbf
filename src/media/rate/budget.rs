//! How many key frames one viewer may cost the others.

use std::time::{Duration, Instant};

/// One viewer's requests for key frames: some at once, then one every so often.
#[derive(Debug)]
pub struct KeyFrameBudget {
    /// Requests that are free now.
    free: u32,
    refilled: Instant,
    /// A request that came too soon.
    owed: bool,
}

impl KeyFrameBudget {
    pub fn new(now: Instant) -> Self {
        Self {
            free: AT_ONCE,
            refilled: now,
            owed: false,
        }
    }

    /// The viewer wants a key frame. True when it may have one now; otherwise [`poll_timeout`](Self::poll_timeout) says when.
    pub fn request(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.owed = self.free == 0;
        self.free = self.free.saturating_sub(1);
        !self.owed
    }

    /// A key frame was made, for whomever: it answers what is owed.
    pub fn key_frame_made(&mut self) {
        self.owed = false;
    }

    /// True when a request that came too soon may be made now.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        self.owed && self.request(now)
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.owed.then_some(self.refilled + REFILL)
    }

    fn refill(&mut self, now: Instant) {
        while self.free < AT_ONCE && now >= self.refilled + REFILL {
            self.refilled += REFILL;
            self.free += 1;
        }
        if self.free == AT_ONCE {
            self.refilled = now;
        }
    }
}

/// Joining, and two losses of the picture.
const AT_ONCE: u32 = 3;

/// A key frame is five frames' worth: one in two seconds costs everybody 7 % of the rate.
const REFILL: Duration = Duration::from_secs(2);

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests need some instant to count from
mod tests {
    use super::*;

    #[test]
    fn two_hundred_requests_a_second_become_one_every_two_seconds() {
        let start = Instant::now();
        let mut budget = KeyFrameBudget::new(start);
        let passed = (0..4000)
            .filter(|request| budget.request(start + Duration::from_millis(5) * *request))
            .count();
        assert_eq!(passed, AT_ONCE as usize + 9);
    }

    #[test]
    fn request_that_came_too_soon_is_not_forgotten() {
        let start = Instant::now();
        let mut budget = KeyFrameBudget::new(start);
        for _ in 0..=AT_ONCE {
            budget.request(start);
        }
        let due = budget.poll_timeout().unwrap();
        assert!(!budget.handle_timeout(due - Duration::from_millis(1)));
        assert!(budget.handle_timeout(due));
        assert_eq!(budget.poll_timeout(), None);
    }

    #[test]
    fn key_frame_for_somebody_else_answers_the_request_too() {
        let start = Instant::now();
        let mut budget = KeyFrameBudget::new(start);
        for _ in 0..=AT_ONCE {
            budget.request(start);
        }
        budget.key_frame_made();
        assert_eq!(budget.poll_timeout(), None);
    }
}
