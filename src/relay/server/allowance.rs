//! How much a connection may say.

use std::time::Instant;

use super::rooms::Role;

/// A bucket of messages that fills by the second.
#[derive(Debug)]
pub(super) struct Allowance {
    left: f64,
    most: f64,
    per_second: f64,
    counted: Instant,
}

impl Allowance {
    pub(super) fn new(role: Role, now: Instant) -> Self {
        let (most, per_second) = match role {
            Role::Robot => ROBOT_ALLOWANCE,
            Role::Dashboard => DASHBOARD_ALLOWANCE,
        };
        Self {
            left: most,
            most,
            per_second,
            counted: now,
        }
    }

    /// Whether it covers something that weighs as much as `price` messages.
    pub(super) fn take(&mut self, price: u32, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.counted).as_secs_f64() * self.per_second;
        self.counted = now;
        self.left = (self.left + earned).min(self.most) - f64::from(price);
        self.left >= 0.0
    }
}

/// A burst, and messages a second: ten sessions' worth, then more than trickling ever needs.
const DASHBOARD_ALLOWANCE: (f64, f64) = (200.0, 50.0);

/// A robot that comes back answers 64 dashboards with an offer and some ten candidates each.
const ROBOT_ALLOWANCE: (f64, f64) = (2000.0, 500.0);

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests need some instant to start from
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn burst_is_covered_and_a_flood_is_not() {
        let start = Instant::now();
        let mut allowance = Allowance::new(Role::Dashboard, start);
        assert!((0..200).all(|_| allowance.take(1, start)));
        assert!(!allowance.take(1, start));
    }

    #[test]
    fn fifty_messages_a_second_may_go_on_for_ever() {
        let start = Instant::now();
        let mut allowance = Allowance::new(Role::Dashboard, start);
        for message in 1..=10_000 {
            let now = start + Duration::from_millis(20) * message;
            assert!(allowance.take(1, now), "message {message}");
        }
    }

    #[test]
    fn silence_saves_no_more_than_one_burst() {
        let start = Instant::now();
        let mut allowance = Allowance::new(Role::Dashboard, start);
        let later = start + Duration::from_secs(3600);
        assert!((0..200).all(|_| allowance.take(1, later)));
        assert!(!allowance.take(1, later));
    }
}
