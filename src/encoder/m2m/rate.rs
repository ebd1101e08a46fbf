//! When an encoder's bitrate may be changed.

use std::time::Instant;

use crate::board::RateRules;
use crate::media::Bitrate;

/// The bitrate that is wanted, and when it may be changed.
#[derive(Debug)]
pub(super) struct Rate {
    pub(super) wanted: Bitrate,
    /// What it was told last.
    pub(super) aimed: Bitrate,
    pub(super) took: Bitrate,
    pub(super) changed: Option<Instant>,
}

impl Rate {
    /// What to tell it now: a change that is worth its cost, and not too soon after the one before.
    pub(super) fn due(&self, rules: &RateRules, now: Instant) -> Option<Bitrate> {
        let is_too_soon = self.changed.is_some_and(|at| now < at + rules.spacing);
        (!is_too_soon && rules.is_worth(self.aimed, self.wanted)).then_some(self.wanted)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // one instant to count from
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::board::Profiles;

    #[test]
    fn an_encoder_that_must_be_opened_again_for_it_changes_seldom_and_by_much() {
        let profiles = Profiles::built_in();
        let wave5 = &profiles.encoder("wave5-enc").unwrap().rate;
        let start = Instant::now();
        let mut rate = Rate {
            wanted: Bitrate::kbps(1000),
            aimed: Bitrate::kbps(1000),
            took: Bitrate::kbps(1000),
            changed: Some(start),
        };
        let later = start + Duration::from_secs(5);
        assert_eq!(rate.due(wave5, later), None);
        rate.wanted = Bitrate::kbps(800);
        assert_eq!(rate.due(wave5, later), None, "20 % is not worth it");
        rate.wanted = Bitrate::kbps(500);
        assert_eq!(rate.due(wave5, later), Some(Bitrate::kbps(500)));
        let sooner = start + Duration::from_secs(4);
        assert_eq!(rate.due(wave5, sooner), None);
    }
}
