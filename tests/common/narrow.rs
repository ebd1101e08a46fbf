//! A robot whose picture comes over a shaped link, to one browser or to several, each behind its own.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::browser::{Browser, Page};
use super::process::{Rovercast, configuration, free_address, free_port};
use super::sampler::Samples;
use super::shaper::{Link, Shaper};
use super::{http, wait_for};

/// A robot that serves page and relay, too. All viewers come to one UDP port.
pub(crate) struct Robot {
    pub(crate) http: SocketAddr,
    port: u16,
    _process: Rovercast,
}

impl Robot {
    /// `size` at 30 fps, 1.5 Mbit/s at the start, between `least` and 4 Mbit/s.
    pub(crate) fn start(name: &str, size: &str, least: &str) -> Self {
        Self::with_renditions(name, size, least, 1)
    }

    /// Its camera may have so many.
    pub(crate) fn with_renditions(name: &str, size: &str, least: &str, renditions: u8) -> Self {
        Self::with(name, size, least, &format!("renditions = {renditions}"))
    }

    /// `line` is one more of the camera's.
    pub(crate) fn with(name: &str, size: &str, least: &str, line: &str) -> Self {
        let http = free_address();
        let port = free_port();
        let config = configuration(name, "test-card", http, http);
        let text = fs::read_to_string(&config).expect("it was just written");
        let text = text
            .replace("640x360", size)
            .replace("300 kbps", least)
            .replace("fps = 30\n", &format!("fps = 30\n{line}\n"))
            .replace("[webrtc]\n", &format!("[webrtc]\nudp_ports = \"{port}\"\n"))
            .replace(
                r#"start = "2 Mbps", max = "2 Mbps""#,
                r#"start = "1.5 Mbps", max = "4 Mbps""#,
            );
        fs::write(&config, text).expect("target is writable");
        let process = Rovercast::start(&format!("{name}.robot"), &["run", "--config", &config]);
        wait_for("/readyz", Duration::from_secs(10), || {
            http::get(http, "/readyz")
                .ok()
                .filter(|answer| answer.status == 200)
        });
        Self {
            http,
            port,
            _process: process,
        }
    }

    /// Somebody watches over `link`; `seed` decides which packets it loses.
    pub(crate) fn watched<'b>(&self, browser: &'b Browser, link: Link, seed: u64) -> Seat<'b> {
        Seat::take(browser, self.http, "rover-7", self.port, link, seed)
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
}

/// A page that watches, and the link between it and the robot.
pub(crate) struct Seat<'b> {
    pub(crate) page: Page<'b>,
    pub(crate) shaper: Shaper,
}

impl<'b> Seat<'b> {
    /// Of the camera `front` of `robot`, which serves viewers at UDP port `port`; page and relay are at `http`.
    pub(crate) fn take(
        browser: &'b Browser,
        http: SocketAddr,
        robot: &str,
        port: u16,
        link: Link,
        seed: u64,
    ) -> Self {
        let shaper = Shaper::before(port, link, seed);
        let url = format!("http://{http}/?robot={robot}&camera=front");
        let page = browser.page_after(&shaper.script(), &url);
        let seat = Self { page, shaper };
        seat.until_live();
        seat
    }

    /// From now on it asks for a key frame 200 times a second.
    pub(crate) fn nag(&self) {
        // The page allows no workers, and what asks is one.
        let enabled = json!({ "enabled": true });
        self.page.devtools("Page.setBypassCSP", &enabled);
        self.page.run("location.reload()");
        self.until_live();
        self.page.run(include_str!("nag.js"));
    }

    fn until_live(&self) {
        self.page.wait_until(
            "document.documentElement.dataset.state === 'live'",
            Duration::from_secs(15),
        );
        Samples::start(&self.page);
    }
}

/// A robot and its only viewer.
pub(crate) struct Scene<'b> {
    pub(crate) page: Page<'b>,
    pub(crate) shaper: Shaper,
    robot: Robot,
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
        let robot = Robot::start(name, size, least);
        let Seat { page, shaper } = robot.watched(browser, link, 7);
        Self {
            page,
            shaper,
            robot,
        }
    }

    /// `/status` of the one camera.
    pub(crate) fn status(&self) -> Value {
        self.robot.status()
    }

    pub(crate) fn target(&self) -> f64 {
        self.robot.target()
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
