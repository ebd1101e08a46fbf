//! Where finished access units wait, with a file descriptor that shows it to poll(2).

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};

use super::EncoderError;
use crate::media::AccessUnit;

/// A queue of results in order. Its descriptor is readable exactly while there is one.
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Mutex<VecDeque<Result<AccessUnit, EncoderError>>>,
    event: OwnedFd,
}

impl Outbox {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            // One more for the error that a stopping encoder leaves.
            waiting: Mutex::new(VecDeque::with_capacity(WAITING + IN_FLIGHT + 1)),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// True when the encoder must take no further frame. Coded pictures are never dropped, for the next ones build on them;
    /// so it is the frames before the encoder that give way when the pipeline is slow.
    pub(super) fn is_full(&self) -> bool {
        self.lock().len() >= WAITING
    }

    pub(super) fn push(&self, result: Result<AccessUnit, EncoderError>) {
        let mut waiting = self.lock();
        waiting.push_back(result);
        // Fails only when the counter would overflow: then the descriptor is readable all the same.
        let _ = write(&self.event, &1u64.to_ne_bytes());
    }

    pub(super) fn pop(&self) -> Option<Result<AccessUnit, EncoderError>> {
        let mut waiting = self.lock();
        let result = waiting.pop_front();
        if waiting.is_empty() {
            // Sets the counter to zero. Fails only when it is.
            let _ = read(&self.event, &mut [0; 8]);
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Result<AccessUnit, EncoderError>>> {
        // A panic cannot have left the queue half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// A pipeline that wakes up for every unit leaves none waiting. Two let it miss one turn; each more would be a frame of delay
/// that nobody asked for.
const WAITING: usize = 2;

/// One frame in the mailbox and one being coded, both taken before the outbox was full.
const IN_FLIGHT: usize = 2;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::media::MediaTime;

    fn unit(sequence: u32) -> AccessUnit {
        AccessUnit {
            data: Bytes::new(),
            key_frame: false,
            captured: MediaTime::from_monotonic(Duration::ZERO),
            sequence,
        }
    }

    fn is_readable(outbox: &Outbox) -> bool {
        let mut fds = [PollFd::new(outbox, PollFlags::IN)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&at_once)).unwrap() == 1
    }

    #[test]
    fn descriptor_is_readable_exactly_while_something_waits() {
        let outbox = Outbox::new().unwrap();
        assert!(!is_readable(&outbox));
        outbox.push(Ok(unit(1)));
        outbox.push(Ok(unit(2)));
        assert!(is_readable(&outbox) && outbox.is_full());
        assert_eq!(outbox.pop().unwrap().unwrap().sequence, 1);
        assert!(is_readable(&outbox) && !outbox.is_full());
        assert_eq!(outbox.pop().unwrap().unwrap().sequence, 2);
        assert!(!is_readable(&outbox));
        assert!(outbox.pop().is_none());
        outbox.push(Ok(unit(3)));
        assert!(is_readable(&outbox));
    }
}
