//! A real rovercast, a real Chromium, and what they say.
//!
//! Everything here blocks and reads the real clock: what is tested is how long a person waits.
#![allow(dead_code)] // several suites share this, and none needs all of it

pub(crate) mod browser;
pub(crate) mod clip;
pub(crate) mod http;
pub(crate) mod inbound;
pub(crate) mod narrow;
pub(crate) mod neighbour;
pub(crate) mod process;
pub(crate) mod sampler;
pub(crate) mod shaper;

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Where a run leaves logs and pictures; CI keeps this folder. On a board, where there is no source, `ARTEFACTS` names it.
pub(crate) fn artefact(name: &str) -> PathBuf {
    let folder = std::env::var_os("ARTEFACTS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-artefacts"),
        PathBuf::from,
    );
    fs::create_dir_all(&folder).expect("target is writable");
    folder.join(name)
}

/// Asks `look` again and again until it has an answer; panics with `what` when it has none in time.
pub(crate) fn wait_for<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(
            start.elapsed() < within,
            "waited {within:?} in vain for {what}"
        );
        thread::sleep(POLL_INTERVAL);
    }
}

/// Short against anything a test asserts, long against one question to Chromium (2 to 5 ms).
const POLL_INTERVAL: Duration = Duration::from_millis(20);
