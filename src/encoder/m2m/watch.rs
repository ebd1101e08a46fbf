//! What an encoder waits for, behind one descriptor: its device, a deadline, and news from a thread of its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::v4l2::Device;
use crate::v4l2::aside::Bell;

/// An epoll descriptor that is readable when there is something to do.
///
/// The device is only in it while it has buffers of both queues: poll(2) of a memory-to-memory device without is an error that
/// does not go away (`v4l2_m2m_poll`), and waiting for it would turn for ever.
#[derive(Debug)]
pub(super) struct Watch {
    epoll: OwnedFd,
    deadline: OwnedFd,
    bell: Arc<Bell>,
    watched: Option<Arc<Device>>,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) device: bool,
    /// poll(2) says that the device has failed, or has nothing to do.
    pub(super) device_error: bool,
    pub(super) deadline: bool,
    pub(super) bell: bool,
}

impl Watch {
    pub(super) fn new() -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let deadline = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        let bell = Bell::new()?;
        epoll::add(&epoll, &deadline, DEADLINE, epoll::EventFlags::IN)?;
        epoll::add(&epoll, &bell, BELL, epoll::EventFlags::IN)?;
        Ok(Self {
            epoll,
            deadline,
            bell: Arc::new(bell),
            watched: None,
        })
    }

    pub(super) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// Never waits.
    pub(super) fn ready(&self) -> Result<Ready, Errno> {
        let mut space = [std::mem::MaybeUninit::uninit(); 3];
        let (events, _) = match epoll::wait(&self.epoll, &mut space, Some(&Timespec::default())) {
            Ok(events) => events,
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(errno) => return Err(errno),
        };
        let mut ready = Ready::default();
        for event in events {
            let data = { event.data };
            if data == DEADLINE {
                ready.deadline = true;
                let _ = rustix::io::read(&self.deadline, &mut [0u8; 8]);
            } else if data == BELL {
                ready.bell = true;
                self.bell.hush();
            } else {
                let failed = epoll::EventFlags::ERR | epoll::EventFlags::HUP;
                let flags = { event.flags };
                ready.device = true;
                ready.device_error = flags.intersects(failed);
            }
        }
        Ok(ready)
    }

    /// Waits for the device from here on, if it does not already.
    pub(super) fn listen(&mut self, device: &Arc<Device>) -> Result<(), Errno> {
        if self.watched.is_some() {
            return Ok(());
        }
        let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::PRI;
        epoll::add(&self.epoll, &**device, DEVICE, interest)?;
        self.watched = Some(Arc::clone(device));
        Ok(())
    }

    /// Waits for the device no longer.
    pub(super) fn deafen(&mut self) {
        if let Some(device) = self.watched.take() {
            // It fails for what is not in the set, and then there is nothing to remove.
            let _ = epoll::delete(&self.epoll, &*device);
        }
    }

    /// Rings after so long; zero: not at all.
    pub(super) fn set_deadline(&self, after: Duration) -> Result<(), Errno> {
        let value = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: after.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.deadline, TimerfdTimerFlags::empty(), &value).map(drop)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

const DEVICE: epoll::EventData = epoll::EventData::new_u64(0);
const DEADLINE: epoll::EventData = epoll::EventData::new_u64(1);
const BELL: epoll::EventData = epoll::EventData::new_u64(2);
