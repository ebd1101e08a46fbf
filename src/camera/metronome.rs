//! The pace of cameras that have no sensor to give one: a timer that ticks once a picture.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use crate::camera::CameraError;
use crate::media::MediaTime;

/// Ticks at a fixed interval, first at once. Its descriptor is readable when a tick is due.
///
/// The ticks stand on the grid that the first one set, so that the pace does not drift however late anyone looks.
#[derive(Debug)]
pub(super) struct Metronome {
    camera: String,
    timer: OwnedFd,
    interval: Duration,
    /// The tick that comes next, on `CLOCK_MONOTONIC`.
    next: Duration,
}

/// The ticks since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticks {
    /// At least 1; more when somebody looked late.
    pub(super) count: u32,
    pub(super) last: MediaTime,
}

impl Metronome {
    /// `camera` names its owner in errors.
    pub(super) fn start(camera: String, interval: Duration) -> Result<Self, CameraError> {
        let now = monotonic_now();
        let timer = start_timer(now, interval).map_err(|errno| CameraError::Device {
            camera: camera.clone(),
            what: "start the clock",
            source: errno.into(),
        })?;
        Ok(Self {
            camera,
            timer,
            interval,
            next: now,
        })
    }

    /// The ticks that nobody has taken yet; `None` when the next one is still to come.
    pub(super) fn try_ticks(&mut self) -> Result<Option<Ticks>, CameraError> {
        let mut expirations = [0; 8];
        match rustix::io::read(&self.timer, &mut expirations) {
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(errno) => {
                return Err(CameraError::Device {
                    camera: self.camera.clone(),
                    what: "read the clock",
                    source: errno.into(),
                });
            }
        }
        // Intervals are a millisecond at least: 2^32 of them are seven weeks in which nobody looked.
        let count = u32::try_from(u64::from_ne_bytes(expirations)).unwrap_or(u32::MAX);
        let Some(before_last) = count.checked_sub(1) else {
            return Ok(None);
        };
        let last = self.next + self.interval * before_last;
        self.next = last + self.interval;
        Ok(Some(Ticks {
            count,
            last: MediaTime::from_monotonic(last),
        }))
    }
}

impl AsFd for Metronome {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

fn start_timer(first: Duration, interval: Duration) -> Result<OwnedFd, Errno> {
    let timer = timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?;
    let pace = Itimerspec {
        it_interval: timespec(interval)?,
        it_value: timespec(first)?,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &pace)?;
    Ok(timer)
}

fn timespec(duration: Duration) -> Result<Timespec, Errno> {
    Timespec::try_from(duration).map_err(|_| Errno::INVAL)
}

/// The clock that V4L2 stamps buffers with.
pub(super) fn monotonic_now() -> Duration {
    since_zero(ClockId::Monotonic)
}

/// The wall clock, as time since 1970.
pub(super) fn unix_now() -> Duration {
    since_zero(ClockId::Realtime)
}

fn since_zero(clock: ClockId) -> Duration {
    // Negative only for a wall clock set to before 1970.
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// The intervals that a camera may have: 1 kHz is beyond any sensor, and a picture every ten seconds is no video any more.
pub(super) const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(10);

#[cfg(test)]
pub(super) mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    /// Waits for the descriptor, as the pipeline does.
    pub(in crate::camera) fn wait_readable(source: &impl AsFd) {
        let deadline = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        let ready = poll(&mut [PollFd::new(source, PollFlags::IN)], Some(&deadline));
        assert_eq!(ready, Ok(1), "nothing to read within ten seconds");
    }

    #[test]
    fn the_first_tick_is_now() {
        let before = monotonic_now();
        let mut metronome = Metronome::start("test".into(), Duration::from_secs(10)).unwrap();
        wait_readable(&metronome);
        let ticks = metronome.try_ticks().unwrap().unwrap();
        assert_eq!(ticks.count, 1);
        assert!(ticks.last >= MediaTime::from_monotonic(before));
        assert!(ticks.last <= MediaTime::from_monotonic(monotonic_now()));
        assert_eq!(metronome.try_ticks().unwrap(), None);
    }

    #[test]
    fn a_late_look_finds_every_tick_and_stays_on_the_grid() {
        let interval = Duration::from_millis(2);
        let mut metronome = Metronome::start("test".into(), interval).unwrap();
        let mut slow = Metronome::start("slow".into(), interval * 10).unwrap();
        wait_readable(&metronome);
        let first = metronome.try_ticks().unwrap().unwrap();

        // The second tick of the slow one is ten of the fast one's intervals later.
        wait_readable(&slow);
        slow.try_ticks().unwrap().unwrap();
        wait_readable(&slow);
        let late = metronome.try_ticks().unwrap().unwrap();

        assert!(late.count >= 9, "{late:?}");
        assert_eq!(late.last.since(first.last), interval * late.count);
    }
}
