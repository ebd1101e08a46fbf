//! The robot's network changes under it. These make network namespaces, which takes root; without it they say so and do nothing.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::common::browser::{Browser, Page};
use serde_json::Value;

use super::common::process::{LOG_LEVEL, Rovercast, configuration};
use super::common::sampler::Samples;
use super::common::wait_for;
use super::namespace::Namespace;
use super::watch;

/// A robot behind a cable, and a relay on this side of it.
struct Site {
    _robot: Rovercast,
    _relay: Rovercast,
    network: Namespace,
    relay_at: SocketAddr,
}

impl Site {
    fn open(name: &str) -> Option<Self> {
        let network = Namespace::new()?;
        let listen = format!("{}:0", network.outside());
        let mut relay = Rovercast::start(&format!("{name}.relay"), &["relay", "--listen", &listen]);
        let relay_at = relay.address();
        let name = format!("{name}.robot");
        let config = configuration(&name, "test-card", HTTP, relay_at);
        let mut command = network.command();
        command.arg(env!("CARGO_BIN_EXE_rovercast"));
        let robot = Rovercast::start_as(&name, command, LOG_LEVEL, &["run", "--config", &config]);
        let site = Self {
            _robot: robot,
            _relay: relay,
            network,
            relay_at,
        };
        wait_for("the robot at the relay", Duration::from_secs(10), || {
            site.link_age()
        });
        Some(site)
    }

    fn watch<'b>(&self, browser: &'b Browser) -> Page<'b> {
        let url = format!("http://{}/?robot=rover-7&camera=front", self.relay_at);
        watch(browser, &url)
    }

    /// What `rovercast status` says of the link, on the robot.
    fn link(&self) -> Option<Value> {
        let mut command: Command = self.network.command();
        command.args([env!("CARGO_BIN_EXE_rovercast"), "status", "--json", "--url"]);
        let output = command.arg(format!("http://{HTTP}")).output().ok()?;
        let mut status: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(status["cameras"][0]["relays"][0].take())
    }

    /// For how long it has been standing.
    fn link_age(&self) -> Option<Duration> {
        let link = self.link()?;
        let stands = link["state"] == "connected";
        stands.then(|| Duration::from_secs_f64(link["since_s"].as_f64().unwrap_or_default()))
    }

    /// How long after `change` a new link stands.
    fn relinked(&self, change: Instant) -> Duration {
        wait_for("a new link", Duration::from_secs(20), || {
            let age = self.link_age()?;
            change.elapsed().checked_sub(age)
        })
    }
}

/// What is sampled from here on begins with a picture that runs.
fn let_it_run(page: &Page<'_>) {
    thread::sleep(Duration::from_secs(2));
    drop(Samples::take(page));
    thread::sleep(Duration::from_millis(500));
}

/// The longest pause until now; the page must have shown pictures in the last second.
fn longest_pause(page: &Page<'_>) -> Duration {
    let samples = Samples::take(page);
    thread::sleep(Duration::from_secs(1));
    let after = Samples::take(page);
    assert!(
        after.frames().len() > 15,
        "only {} pictures in the last second",
        after.frames().len()
    );
    samples.longest_pause()
}

#[test]
fn picture_is_back_two_seconds_after_the_robot_got_another_address() {
    let Some(site) = Site::open("other_address") else {
        return;
    };
    let browser = Browser::open("other_address");
    let page = site.watch(&browser);
    let_it_run(&page);

    let changed = Instant::now();
    site.network
        .ip(&format!("addr del {}/24 dev eth0", site.network.inside(2)));
    site.network
        .ip(&format!("addr add {}/24 dev eth0", site.network.inside(3)));
    site.network.ip(&format!(
        "route replace default via {}",
        site.network.outside()
    ));
    let linked = site.relinked(changed);
    thread::sleep(Duration::from_secs(5));

    let pause = longest_pause(&page);
    println!("the link was back after {linked:?}, the picture stood still for {pause:?}");
    assert!(linked <= Duration::from_secs(2), "the link took {linked:?}");
    assert!(
        pause <= Duration::from_secs(2),
        "the picture took {pause:?}"
    );
}

#[test]
fn picture_is_back_two_seconds_after_the_interface_was_down_for_ten() {
    let Some(site) = Site::open("interface_down") else {
        return;
    };
    let browser = Browser::open("interface_down");
    let page = site.watch(&browser);
    let_it_run(&page);

    site.network.ip("link set eth0 down");
    thread::sleep(Duration::from_secs(10));
    let up = Instant::now();
    site.network.ip("link set eth0 up");
    site.network.ip(&format!(
        "route replace default via {}",
        site.network.outside()
    ));
    let linked = site.relinked(up);
    thread::sleep(Duration::from_secs(5));

    let pause = longest_pause(&page);
    println!("the link was back after {linked:?}, the picture stood still for {pause:?}");
    assert!(linked <= Duration::from_secs(2), "the link took {linked:?}");
    assert!(
        Duration::from_secs(10) <= pause && pause <= Duration::from_secs(12),
        "the picture took {pause:?}"
    );
}

#[test]
fn link_into_a_black_hole_is_noticed_within_half_a_minute() {
    let Some(site) = Site::open("black_hole") else {
        return;
    };
    // The new interface comes to rest: its IPv6 address is a change of the network, after which the link is asked anyway.
    thread::sleep(Duration::from_secs(5));
    let lost = Instant::now();
    site.network.swallow_answers();
    let link = wait_for("the robot's notice", Duration::from_secs(40), || {
        site.link().filter(|link| link["state"] != "connected")
    });
    let noticed = lost.elapsed();
    assert_eq!(link["failure"], "silent", "{link}");
    println!("noticed after {noticed:?}");
    assert!(noticed <= Duration::from_secs(31), "took {noticed:?}");
}

/// Where the robot answers, on its own loopback.
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8081);
