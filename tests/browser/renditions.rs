//! Viewers whose links differ much: each sees a rendition that its link can carry.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::common::browser::{Browser, Page};
use super::common::process::{Rovercast, configuration, free_address};
use super::common::sampler::Samples;
use super::common::shaper::{Link, Shaper, free_udp_port};
use super::common::{http, wait_for};
use super::until_live;

const WIDE: Link = Link {
    rate: Some(6e6),
    queue: Duration::from_millis(300),
    delay: Duration::from_millis(20),
    jitter: Duration::ZERO,
    loss: 0.0,
    is_up: true,
};

/// A camera that may have two renditions.
struct Robot {
    http: SocketAddr,
    port: u16,
    _process: Rovercast,
}

impl Robot {
    fn start(name: &str) -> Self {
        let (http, port) = (free_address(), free_udp_port());
        let config = configuration(name, "test-card", http, http);
        let text = fs::read_to_string(&config).expect("it was just written");
        let text = text
            .replace("fps = 30\n", "fps = 30\nrenditions = 2\n")
            .replace("[webrtc]\n", &format!("[webrtc]\nudp_ports = \"{port}\"\n"))
            .replace(
                r#"start = "2 Mbps", max = "2 Mbps""#,
                r#"start = "1.5 Mbps", max = "4 Mbps""#,
            );
        fs::write(&config, text).expect("target is writable");
        let process = Rovercast::start(&format!("{name}.robot"), &["run", "--config", &config]);
        wait_for("/readyz", Duration::from_secs(10), || {
            let answer = http::get(http, "/readyz").ok()?;
            (answer.status == 200).then_some(())
        });
        Self {
            http,
            port,
            _process: process,
        }
    }

    fn watched<'b>(&self, browser: &'b Browser, seed: u64) -> (Page<'b>, Shaper) {
        let shaper = Shaper::before(self.port, WIDE, seed);
        let url = format!("http://{}/?robot=rover-7&camera=front", self.http);
        let page = browser.page_after(&shaper.script(), &url);
        until_live(&page, Duration::from_secs(15));
        Samples::start(&page);
        (page, shaper)
    }

    fn until(&self, what: &str, within: Duration, is_so: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, within, || {
            let answer = http::get(self.http, "/status").ok()?;
            let mut status: Value = serde_json::from_str(&answer.body).ok()?;
            Some(status["cameras"][0].take()).filter(&is_so)
        })
    }
}

fn pictures(page: &Page<'_>) -> usize {
    drop(Samples::take(page));
    thread::sleep(Duration::from_secs(3));
    Samples::take(page).0.len()
}

fn until_wide(page: &Page<'_>, width: u32) {
    wait_for("pictures of that size", Duration::from_secs(15), || {
        let sizes = Samples::take(page).sizes();
        sizes.last().filter(|size| size.0 == width).map(|_| ())
    });
}

#[test]
fn slow_viewer_sees_a_smaller_picture_that_costs_the_other_nothing_and_the_large_one_again_later() {
    let browser = Browser::open("renditions");
    let robot = Robot::start("renditions");
    let (fast, _wide) = robot.watched(&browser, 1);
    let (slow, link) = robot.watched(&browser, 2);
    let is_rich = |camera: &Value| camera["target_kbps"].as_f64() > Some(2000.0);
    let start = robot.until("a good picture", Duration::from_secs(20), is_rich);
    assert_eq!(start["small"]["state"], "asleep", "{start}");
    let before = pictures(&fast);

    link.there.change(|link| link.rate = Some(300e3));
    let small = robot.until("the small rendition", Duration::from_secs(20), |camera| {
        camera["small"]["viewers"] == 1 && is_rich(camera)
    });
    until_wide(&slow, 320);
    slow.screenshot("renditions.slow");
    let after = pictures(&fast);
    let seen = pictures(&slow);
    println!("fast {before}, then {after} pictures in 3 s; slow {seen}; {small}");
    assert!(after * 10 > before * 7, "{before}, then {after} in 3 s");
    assert!(seen > 20, "{seen} small pictures in 3 s");
    assert_eq!(Samples::take(&fast).sizes().last(), Some(&(640, 360)));

    link.there.change(|link| link.rate = WIDE.rate);
    let end = robot.until("one rendition", Duration::from_secs(40), |camera| {
        camera["small"]["state"] == "asleep"
    });
    until_wide(&slow, 640);
    println!("and at the end {end}");
    assert!(is_rich(&end), "{end}");
}
