//! The link between robot and browser becomes narrow, loses packets, breaks.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::browser::{Browser, Page};
use super::common::process::{Rovercast, configuration, free_address};
use super::common::sampler::Samples;
use super::common::shaper::{Link, Shaper, free_udp_port};
use super::common::{http, wait_for};
use super::until_live;

/// A robot, a page that watches it, and the link between them.
pub(crate) struct Scene<'b> {
    pub(crate) page: Page<'b>,
    pub(crate) shaper: Shaper,
    http: std::net::SocketAddr,
    _robot: Rovercast,
}

impl<'b> Scene<'b> {
    pub(crate) fn open(name: &str, browser: &'b Browser, link: Link) -> Self {
        let http = free_address();
        let port = free_udp_port();
        let config = configuration(name, "test-card", http, http);
        let text = fs::read_to_string(&config).expect("it was just written");
        let text = text
            .replace(
                "640x360",
                if name == "timeline" {
                    "1280x720"
                } else {
                    "640x360"
                },
            )
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
        until_live(&page, Duration::from_secs(15));
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

    fn until_target(&self, what: &str, within: Duration, wanted: impl Fn(f64) -> bool) -> Duration {
        let start = Instant::now();
        wait_for(what, within, || {
            Some(self.target()).filter(|it| wanted(*it))
        });
        start.elapsed()
    }
}

#[test]
fn picture_follows_a_link_that_becomes_narrow_and_wide_again() {
    let browser = Browser::open("narrow");
    let link = Link {
        rate: Some(4e6),
        ..Link::wide(Duration::from_millis(20))
    };
    let scene = Scene::open("narrow", &browser, link);
    let up = scene.until_target("more than the start", Duration::from_secs(20), |kbps| {
        kbps > 2000.0
    });

    scene.shaper.there.change(|link| link.rate = Some(5e5));
    let down = scene.until_target("less than the link", Duration::from_secs(10), |kbps| {
        kbps < 500.0
    });
    thread::sleep(Duration::from_secs(2));
    drop(Samples::take(&scene.page));
    thread::sleep(Duration::from_secs(5));
    let narrow = Samples::take(&scene.page);
    let status = scene.status();

    scene.shaper.there.change(|link| link.rate = Some(4e6));
    let again = scene.until_target("much again", Duration::from_secs(25), |kbps| kbps > 2000.0);
    println!(
        "up in {up:?}, down in {down:?}, narrow: {} pictures, ages {:.0} and {:.0} ms, up again in {again:?}; {status}",
        narrow.0.len(),
        narrow.age(0.5),
        narrow.age(0.95),
    );
    assert!(narrow.0.len() > 60, "{} pictures in 5 s", narrow.0.len());
    assert!(narrow.age(0.5) < 400.0, "{:.0} ms old", narrow.age(0.5));
}

#[test]
fn picture_is_back_soon_after_an_outage_of_three_seconds() {
    let browser = Browser::open("outage");
    let link = Link {
        rate: Some(4e6),
        ..Link::wide(Duration::from_millis(20))
    };
    let scene = Scene::open("outage", &browser, link);
    thread::sleep(Duration::from_secs(3));
    drop(Samples::take(&scene.page));

    scene.shaper.both(|link| link.is_up = false);
    thread::sleep(Duration::from_secs(3));
    scene.shaper.both(|link| link.is_up = true);
    let up = Instant::now();
    drop(Samples::take(&scene.page));
    let back = wait_for("a picture", Duration::from_secs(10), || {
        let fresh = |samples: &Samples| {
            samples
                .0
                .iter()
                .any(|it| it.age.is_some_and(|age| age < 500.0))
        };
        Some(Samples::take(&scene.page))
            .filter(fresh)
            .map(|_| up.elapsed())
    });
    println!("picture after {back:?}; {}", scene.status());
    assert!(back < Duration::from_millis(2500), "took {back:?}");
}

#[test]
fn random_loss_is_repaired_and_not_taken_for_a_full_link() {
    let browser = Browser::open("loss");
    let scene = Scene::open("loss", &browser, Link::wide(Duration::from_millis(25)));
    thread::sleep(Duration::from_secs(2));
    let before = scene.target();
    scene.shaper.both(|link| link.loss = 0.05);
    thread::sleep(Duration::from_secs(2));
    drop(Samples::take(&scene.page));
    thread::sleep(Duration::from_secs(8));
    let samples = Samples::take(&scene.page);
    let after = scene.target();
    println!(
        "target {before} to {after} kbps, {:.1} % missing, longest pause {:?}; {}",
        samples.missing() * 100.0,
        samples.longest_pause(),
        scene.status()
    );
    assert!(after > before * 0.6, "{before} to {after} kbps");
    assert!(samples.missing() < 0.1, "{:.3}", samples.missing());
}

#[test]
#[ignore]
fn timeline() {
    let browser = Browser::open("timeline");
    let link = Link {
        rate: Some(4e6),
        ..Link::wide(Duration::from_millis(20))
    };
    let scene = Scene::open("timeline", &browser, link);
    let start = Instant::now();
    let mut narrow = 0;
    let mut last = 0;
    while start.elapsed() < Duration::from_secs(45) {
        let at = start.elapsed().as_secs_f64();
        if narrow == 0 && at > 10.0 {
            narrow = 1;
            scene.shaper.there.change(|link| link.rate = Some(5e5));
            println!("NARROW");
        }
        if narrow == 1 && at > 25.0 {
            narrow = 2;
            scene.shaper.there.change(|link| link.rate = Some(4e6));
            println!("WIDE");
        }
        thread::sleep(Duration::from_millis(500));
        let status = scene.status();
        let bytes = scene.shaper.there.bytes();
        let samples = Samples::take(&scene.page);
        let age = samples.0.iter().filter_map(|it| it.age).fold(0.0, f64::max);
        let v = &status["viewers"][0];
        println!(
            "{at:5.1} target {} est {} ack {} sent {} through {:.0} q {} skip {} rep {} pics {} age {age:.0} {:?} | {}",
            status["target_kbps"],
            v["link"]["estimate_kbps"],
            v["link"]["acknowledged_kbps"],
            v["sent_kbps"],
            (bytes - last) as f64 * 8.0 / 500.0,
            v["link"]["queue_delay_ms"],
            v["skipped_units"],
            v["repaired_packets"],
            samples.0.len(),
            samples.sizes(),
            v["link"]["because"]
        );
        last = bytes;
    }
}
