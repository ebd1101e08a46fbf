//! Which encoders are not to be tried for a while.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Kept as long as the camera is wanted, across pipelines: an encoder that was given up is left alone until its time has come.
#[derive(Debug, Default)]
pub struct Standing(Mutex<BTreeMap<PathBuf, Instant>>);

impl Standing {
    /// Nothing helped it: pipelines that start soon do without.
    pub fn suspend(&self, node: &Path, now: Instant) {
        self.nodes().insert(node.to_owned(), now + SUSPENDED_FOR);
    }

    pub fn is_suspended(&self, node: &Path, now: Instant) -> bool {
        self.nodes().get(node).is_some_and(|until| now < *until)
    }

    fn nodes(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Firmware that was wedged may have been restarted meanwhile. A pipeline that runs is never interrupted to find out: the
/// next one that starts tries.
const SUSPENDED_FOR: Duration = Duration::from_secs(30);

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // one instant to count from
mod tests {
    use super::*;

    #[test]
    fn an_encoder_that_was_given_up_is_tried_again_half_a_minute_later() {
        let (standing, now) = (Standing::default(), Instant::now());
        let (node, other) = (Path::new("/dev/video11"), Path::new("/dev/video12"));
        assert!(!standing.is_suspended(node, now));

        standing.suspend(node, now);

        assert!(standing.is_suspended(node, now + Duration::from_secs(29)));
        assert!(!standing.is_suspended(other, now));
        assert!(!standing.is_suspended(node, now + Duration::from_secs(30)));
    }
}
