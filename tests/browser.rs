//! What a person sees, in a real Chromium: chromedriver and Chromium must be installed (`tests/run` does it).
//!
//! Logs, screenshots and, after a failure, each page's picture and console are in `target/test-artefacts`.
//! One test runs at a time, and each takes as long as it says: the time that people wait is what is tested.
#![allow(clippy::disallowed_methods)] // a person's clock is the real one
#![allow(clippy::print_stdout)] // how long people waited

mod common;

#[path = "browser/cameras.rs"]
mod cameras;
#[path = "browser/crowd.rs"]
mod crowd;
#[path = "browser/files.rs"]
mod files;
#[path = "browser/joins.rs"]
mod joins;
#[path = "browser/lifecycle.rs"]
mod lifecycle;
#[path = "browser/namespace.rs"]
mod namespace;
#[path = "browser/narrow.rs"]
mod narrow;
#[path = "browser/network.rs"]
mod network;
#[path = "browser/outages.rs"]
mod outages;
#[path = "browser/picture.rs"]
mod picture;
#[path = "browser/renditions.rs"]
mod renditions;
#[path = "browser/turn.rs"]
mod turn;

use std::time::Duration;

use common::browser::{Browser, Page};
use common::sampler::Samples;

const TEST_CARD: [&str; 6] = ["--camera", "test-card", "--size", "640x360", "--fps", "30"];

/// Opens the viewer page and returns when it shows a moving picture; from then on every picture is sampled.
fn watch<'b>(browser: &'b Browser, url: &str) -> Page<'b> {
    let page = browser.page(url);
    until_live(&page, Duration::from_secs(10));
    Samples::start(&page);
    page
}

/// Returns when the page has shown so many pictures; they are sampled no more.
fn until_shown(page: &Page<'_>, pictures: usize) {
    let mut shown = 0;
    common::wait_for("pictures", Duration::from_secs(20), || {
        shown += Samples::take(page).frames().len();
        (shown >= pictures).then_some(())
    });
}

fn until_live(page: &Page<'_>, within: Duration) {
    page.wait_until("document.documentElement.dataset.state === 'live'", within);
}
