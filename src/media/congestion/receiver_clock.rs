//! The browser's clock, as transport-cc feedback writes it.

use std::time::Duration;

/// Unwraps the reference times of transport-cc feedback: 24 bits in steps of 64 ms, which come round after 12 days
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct ReceiverClock {
    last: Option<u64>,
}

impl ReceiverClock {
    /// The time that the deltas of a report with `reference` are added to.
    pub fn unwrap(&mut self, reference: u32) -> Duration {
        let reference = u64::from(reference) & MASK;
        // One round ahead, so that a first report that was overtaken stays representable.
        let near = self.last.unwrap_or(reference + ROUND);
        let ahead = (reference.wrapping_sub(near)) & MASK;
        let steps = match ahead < ROUND / 2 {
            true => near + ahead,
            false => near.saturating_sub(ROUND - ahead),
        };
        self.last = Some(steps);
        STEP * steps as u32
    }
}

const ROUND: u64 = 1 << 24;
const MASK: u64 = ROUND - 1;
const STEP: Duration = Duration::from_millis(64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_goes_on_after_twelve_days() {
        let mut clock = ReceiverClock::default();
        let before = clock.unwrap(0xff_ffff);
        assert_eq!(clock.unwrap(0) - before, STEP);
        assert_eq!(clock.unwrap(0xff_ffff), before);
        assert_eq!(clock.unwrap(1) - before, STEP * 2);
    }
}
