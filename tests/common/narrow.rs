//! A robot whose picture comes over a shaped link.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::browser::{Browser, Page};
use super::process::{Rovercast, configuration, free_address};
use super::sampler::Samples;
use super::shaper::{Link, Shaper, free_udp_port};
use super::{http, wait_for};

/// A robot, a page that watches it, and the link between them.
pub(crate) struct Scene<'b> {
    pub(crate) page: Page<'b>,
    pub(crate) shaper: Shaper,
    http: SocketAddr,
    _robot: Rovercast,
}

impl<'b> Scene<'b> {
    /// 640x360 at 30 fps, 1.5 Mbit/s at the start and 4 at most.
    pub(crate) fn open(name: &str, browser: &'b Browser, link: Link) -> Self {
        Self::open_with(name, browser, link, "640x360", "300 kbps")
    }

    pub(crate) fn open_with(
        name: &str,
        browser: &'b Browser,
        link: Link,
        size: &str,
        least: &str,
    ) -> Self {
        let http = free_address();
        let port = free_udp_port();
        let config = configuration(name, "test-card", http, http);
        let text = fs::read_to_string(&config).expect("it was just written");
        let text = text
            .replace("640x360", size)
            .replace("300 kbps", least)
            .replace(
                "[webrtc]\nmax_viewers = 16\n",
                &format!("[webrtc]\nmax_viewers = 1\nudp_ports = \"{port}-{port}\"\n"),
            )
            .replace(
                r#"start = "2 Mbps", max = "2 Mbps""#,
                r#"start = "1.5 Mbps", max = "4 Mbps""#,
            );
        fs::write(&config, text).expect("target is writable");
        let robot = Rovercast::start(&format!("{name}.robot"), &["run", "--config", &config]);
        let shaper = Shaper::before(port, link, 7);
        wait_for("/readyz", Duration::from_secs(10), || {
            http::get(http, "/readyz")
                .ok()
                .filter(|answer| answer.status == 200)
        });
        let url = format!("http://{http}/?robot=rover-7&camera=front");
        let page = browser.page_after(&shaper.script(), &url);
        page.wait_until(
            "document.documentElement.dataset.state === 'live'",
            Duration::from_secs(15),
        );
        Samples::start(&page);
        Self {
            page,
            shaper,
            http,
            _robot: robot,
        }
    }

    /// `/status` of the one camera.
    pub(crate) fn status(&self) -> Value {
        let answer = http::get(self.http, "/status").expect("it runs");
        let mut status: Value = serde_json::from_str(&answer.body).expect("it is JSON");
        status["cameras"][0].take()
    }

    pub(crate) fn target(&self) -> f64 {
        self.status()["target_kbps"].as_f64().expect("a number")
    }

    pub(crate) fn until_target(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(f64) -> bool,
    ) -> Duration {
        let start = Instant::now();
        wait_for(what, within, || {
            Some(self.target()).filter(|it| wanted(*it))
        });
        start.elapsed()
    }
}
