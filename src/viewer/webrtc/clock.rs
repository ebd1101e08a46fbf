//! The two clocks of a viewer: the capture clock, and the wall clock as RTP writes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::media::MediaTime;

/// Seconds since 1900 in 32.32 fixed point (RFC 3550, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NtpTime(u64);

impl NtpTime {
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// The middle 32 bits, which reception reports send back: 16.16 seconds.
    pub(super) fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

impl From<SystemTime> for NtpTime {
    fn from(time: SystemTime) -> Self {
        // Boards without a clock battery start in 1970, never before.
        let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        // Wraps in 2036, as NTP does.
        let seconds = (since_1970.as_secs() + SECONDS_1900_TO_1970) as u32;
        let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
        Self(u64::from(seconds) << 32 | fraction)
    }
}

pub(super) fn wall_now() -> SystemTime {
    SystemTime::now()
}

pub(super) fn monotonic_now() -> MediaTime {
    let now = clock_gettime(ClockId::Monotonic);
    MediaTime::from_monotonic(Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    ))
}

/// 70 years, 17 of them leap years.
const SECONDS_1900_TO_1970: u64 = 2_208_988_800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_second_into_1970_in_ntp() {
        let time = NtpTime::from(UNIX_EPOCH + Duration::from_millis(500));
        assert_eq!(time.bits(), 2_208_988_800 << 32 | 1 << 31);
        assert_eq!(time.middle(), 0x7e80_8000);
    }
}
