//! Calls that may block, on a thread of their own, with a deadline.
//!
//! STREAMON, STREAMOFF, REQBUFS and close(2) of a codec wait for its firmware: two seconds on a Raspberry Pi, a minute with wave5, for
//! ever when it hangs. Those of a USB camera that has stopped answering wait five seconds for each of its answers. No signal ends such
//! a call. A thread that does not come back in time is left behind with all that it holds, descriptors included, and counted.
//!
//! The end of the process waits for it, too: the kernel takes no task away from a driver that it sleeps in uninterruptibly, and
//! closes what is open itself. All else has ended by then.
#![allow(clippy::disallowed_methods)] // a driver: one reading when a device is closed

use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use tracing::{info, warn};

/// Something that is being done aside.
#[derive(Debug)]
pub(crate) struct Aside<T> {
    what: &'static str,
    result: Receiver<T>,
    until: Instant,
    state: Arc<AtomicU8>,
}

/// How it stands.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    NotYet,
    Done(T),
    /// It did not come back in time, or its thread died: what it held is lost.
    Lost,
}

impl<T: Send + 'static> Aside<T> {
    /// Starts it; the bell rings when it is done.
    pub(crate) fn start(
        what: &'static str,
        until: Instant,
        bell: Option<Arc<Bell>>,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<Self> {
        let (tell, result) = sync_channel(1);
        let state = Arc::new(AtomicU8::new(RUNNING));
        let theirs = Arc::clone(&state);
        let span = tracing::Span::current();
        std::thread::Builder::new()
            .name("driver-aside".into())
            .spawn(move || {
                let _entered = span.enter();
                let done = act();
                if theirs.swap(DONE, Ordering::AcqRel) == LEFT {
                    // Nobody wants it any more. It is dropped here, where that may block.
                    drop(done);
                    LEFT_BEHIND.fetch_sub(1, Ordering::Relaxed);
                    info!(what, "a call to a driver that was given up has ended");
                    return;
                }
                // There is room for the one result; without a receiver it is dropped here too.
                let _ = tell.send(done);
                if let Some(bell) = bell {
                    bell.ring();
                }
            })?;
        Ok(Self {
            what,
            result,
            until,
            state,
        })
    }

    pub(crate) fn poll(&self, now: Instant) -> Outcome<T> {
        match self.result.try_recv() {
            Ok(done) => Outcome::Done(done),
            Err(TryRecvError::Empty) if now < self.until => Outcome::NotYet,
            Err(TryRecvError::Empty) => self.leave_behind(),
            Err(TryRecvError::Disconnected) => Outcome::Lost,
        }
    }

    /// Waits for the end, or so long.
    pub(crate) fn wait(&self, limit: Duration) -> Outcome<T> {
        match self.result.recv_timeout(limit) {
            Ok(done) => Outcome::Done(done),
            Err(RecvTimeoutError::Timeout) => self.leave_behind(),
            Err(RecvTimeoutError::Disconnected) => Outcome::Lost,
        }
    }

    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    fn leave_behind(&self) -> Outcome<T> {
        if self.state.swap(LEFT, Ordering::AcqRel) == DONE {
            // Just now; the result is on its way.
            return self.result.recv().map_or(Outcome::Lost, Outcome::Done);
        }
        LEFT_BEHIND.fetch_add(1, Ordering::Relaxed);
        warn!(
            what = self.what,
            left_behind = left_behind(),
            "a driver does not come back: left behind"
        );
        Outcome::Lost
    }
}

/// How many threads wait in a driver now, without anybody waiting for them.
pub fn left_behind() -> u64 {
    LEFT_BEHIND.load(Ordering::Relaxed)
}

/// Makes a call that may block, for so long at most. `None`: left behind.
pub(crate) fn within<T: Send + 'static>(
    what: &'static str,
    limit: Duration,
    now: Instant,
    act: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<Option<T>> {
    let aside = Aside::start(what, now + limit, None, act)?;
    Ok(match aside.wait(limit) {
        Outcome::Done(done) => Some(done),
        Outcome::NotYet | Outcome::Lost => None,
    })
}

/// A device that is closed aside when this is dropped: for so long it is waited for, then it is left behind.
#[derive(Debug)]
pub(crate) struct ClosedAside<T: Send + 'static> {
    what: &'static str,
    limit: Duration,
    /// Gone when it is dropped.
    open: Option<T>,
}

impl<T: Send + 'static> ClosedAside<T> {
    pub(crate) fn new(what: &'static str, limit: Duration, open: T) -> Self {
        Self {
            what,
            limit,
            open: Some(open),
        }
    }
}

impl<T: Send + 'static> Deref for ClosedAside<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.open.as_ref().expect("it is open until it is dropped")
    }
}

impl<T: Send + 'static> DerefMut for ClosedAside<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.open.as_mut().expect("it is open until it is dropped")
    }
}

impl<T: Send + 'static> Drop for ClosedAside<T> {
    fn drop(&mut self) {
        let open = self.open.take();
        if let Err(error) = within(self.what, self.limit, Instant::now(), move || drop(open)) {
            warn!(what = self.what, %error, "cannot start a thread: closed without");
        }
    }
}

/// Rung from another thread.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> Result<Self, Errno> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        eventfd(0, flags).map(Self)
    }

    pub(crate) fn ring(&self) {
        // Only a full counter can refuse, and then the descriptor is readable anyway.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Silent until it is rung again.
    pub(crate) fn hush(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

const RUNNING: u8 = 0;
const DONE: u8 = 1;
const LEFT: u8 = 2;

static LEFT_BEHIND: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What is left behind is counted for the whole process.
    static COUNTING: Mutex<()> = Mutex::new(());

    #[test]
    fn what_comes_back_in_time_brings_its_result() {
        let done = within("add", Duration::from_secs(10), Instant::now(), || 3 + 4);
        assert_eq!(done.unwrap(), Some(7));
    }

    #[test]
    fn a_driver_that_never_comes_back_is_left_behind_and_counted_until_it_does() {
        let _alone = COUNTING.lock().unwrap();
        let (release, held) = sync_channel::<()>(0);
        let now = Instant::now();
        let aside = Aside::start("close", now, None, move || held.recv()).unwrap();

        assert!(matches!(aside.poll(now), Outcome::Lost));
        assert_eq!(left_behind(), 1);

        drop(aside);
        drop(release);
        while left_behind() > 0 {
            std::thread::yield_now();
        }
    }

    /// A device whose close(2) takes as long as somebody holds it.
    struct Slow(std::sync::mpsc::Receiver<()>);

    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    #[test]
    fn a_device_that_does_not_close_in_time_holds_nobody_up() {
        let _alone = COUNTING.lock().unwrap();
        let (release, held) = sync_channel::<()>(0);
        let slow = ClosedAside::new("close it", Duration::from_millis(1), Slow(held));

        drop(slow);

        assert_eq!(left_behind(), 1, "it is being closed still");
        release.send(()).unwrap();
        while left_behind() > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_thread_that_dies_is_a_loss_and_no_wait() {
        let now = Instant::now();
        let until = now + Duration::from_secs(600);
        let aside =
            Aside::<()>::start("open", until, None, || panic!("the driver's answer")).unwrap();
        let minutes = Duration::from_secs(600);
        assert!(matches!(aside.wait(minutes), Outcome::Lost));
    }
}
