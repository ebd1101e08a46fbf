//! What a V4L2 device or the kernel said no to, in words.

use std::fmt;

use rustix::io::Errno;

/// Why a call to a V4L2 device or a dma-heap failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum V4l2Error {
    /// The kernel or the driver refused.
    #[error("cannot {attempt}: {}", Meaning(*errno))]
    Refused { attempt: &'static str, errno: Errno },
    /// The driver's answer cannot be true.
    #[error("cannot {attempt}: got {found} when expecting {expected}")]
    Nonsense {
        attempt: &'static str,
        found: String,
        expected: String,
    },
}

impl V4l2Error {
    /// The device is gone; its descriptor is good for nothing but closing.
    pub fn is_unplugged(&self) -> bool {
        self.is_one_of(&[Errno::NODEV, Errno::NXIO])
    }

    /// There is no such node (any more).
    pub fn is_missing(&self) -> bool {
        self.is_one_of(&[Errno::NOENT, Errno::NODEV, Errno::NXIO])
    }

    /// This user may not open it: a matter of udev rules or groups.
    pub fn is_forbidden(&self) -> bool {
        self.is_one_of(&[Errno::ACCESS, Errno::PERM])
    }

    /// Somebody else streams from it, or buffers that still exist forbid the change.
    pub fn is_busy(&self) -> bool {
        self.is_one_of(&[Errno::BUSY])
    }

    /// `DQBUF` after the buffer with the LAST flag: nothing more comes until the queue is started again.
    pub fn is_end_of_stream(&self) -> bool {
        self.is_one_of(&[Errno::PIPE])
    }

    /// The driver gave up; only stopping and freeing both queues, or closing the device, helps.
    pub fn is_broken(&self) -> bool {
        self.is_one_of(&[Errno::IO])
    }

    /// The driver does not know this call, control or value.
    pub fn is_unsupported(&self) -> bool {
        self.is_one_of(&[Errno::NOTTY, Errno::INVAL, Errno::RANGE, Errno::ACCESS])
    }

    /// `QBUF` of a dma-buf that the device cannot reach: scattered pages without an IOMMU, or too small.
    pub fn is_unreachable_memory(&self) -> bool {
        self.is_one_of(&[Errno::FAULT, Errno::INVAL, Errno::NOTTY, Errno::OPNOTSUPP])
    }

    pub fn is_out_of_memory(&self) -> bool {
        self.is_one_of(&[Errno::NOMEM])
    }

    /// No room left on the bus of a USB camera.
    pub fn is_out_of_bandwidth(&self) -> bool {
        self.is_one_of(&[Errno::NOSPC])
    }

    /// bcm2835-codec's firmware refuses the level or the bitrate.
    pub fn is_beyond_level(&self) -> bool {
        self.is_one_of(&[Errno::SRCH])
    }

    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Nonsense { .. } => None,
        }
    }

    fn is_one_of(&self, errnos: &[Errno]) -> bool {
        self.errno().is_some_and(|errno| errnos.contains(&errno))
    }
}

/// For `map_err`: what was tried.
pub(super) fn refused(attempt: &'static str) -> impl FnOnce(Errno) -> V4l2Error {
    move |errno| V4l2Error::Refused { attempt, errno }
}

/// What an errno means when V4L2 says it; libc's text where V4L2 means the same.
struct Meaning(Errno);

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self.0 {
            Errno::NODEV | Errno::NXIO => "the device is gone",
            Errno::BUSY => "the device is in use",
            Errno::PIPE => "the stream has ended",
            Errno::IO => "the device reports a failure",
            Errno::NOTTY => "the driver does not have this call",
            Errno::INVAL => "the driver refuses this value or this moment",
            Errno::RANGE => "the value is out of the driver's range",
            Errno::FAULT => "the device cannot reach this memory",
            Errno::NOMEM => "there is no memory for it (of the contiguous kind, perhaps)",
            Errno::NOSPC => "there is no bandwidth left on its bus",
            Errno::SRCH => "the firmware refuses this level or bitrate",
            errno => return write!(f, "{errno}"),
        };
        write!(f, "{meaning} (errno {})", self.0.raw_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: Errno) -> V4l2Error {
        refused("queue a buffer")(errno)
    }

    #[test]
    fn an_error_says_what_was_tried_and_what_the_errno_means_here() {
        assert_eq!(
            error(Errno::NODEV).to_string(),
            "cannot queue a buffer: the device is gone (errno 19)"
        );
        assert_eq!(
            error(Errno::MFILE).to_string(),
            "cannot queue a buffer: Too many open files (os error 24)"
        );
        let nonsense = V4l2Error::Nonsense {
            attempt: "take a buffer back",
            found: "index 7".into(),
            expected: "less than 4".into(),
        };
        assert_eq!(
            nonsense.to_string(),
            "cannot take a buffer back: got index 7 when expecting less than 4"
        );
    }

    #[test]
    fn questions_are_about_one_thing_each() {
        assert!(error(Errno::NODEV).is_unplugged() && error(Errno::NODEV).is_missing());
        assert!(error(Errno::NOENT).is_missing() && !error(Errno::NOENT).is_unplugged());
        assert!(error(Errno::FAULT).is_unreachable_memory());
        assert!(error(Errno::PIPE).is_end_of_stream() && !error(Errno::PIPE).is_broken());
        assert!(!error(Errno::AGAIN).is_broken() && !error(Errno::AGAIN).is_unsupported());
    }
}
