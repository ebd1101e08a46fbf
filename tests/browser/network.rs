//! The robot's network changes under it. These make network namespaces, which takes root; without it they say so and do nothing.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use super::common::browser::{Browser, Page};
use serde_json::Value;

use super::common::process::{LOG_LEVEL, Rovercast, configuration};
use super::common::sampler::Samples;
use super::common::wait_for;
use super::namespace::{Family, Namespace};
use super::{until_shown, watch};

/// A robot behind a cable, and a relay on this side of it.
struct Site {
    _robot: Rovercast,
    _relay: Rovercast,
    network: Namespace,
    relay_at: SocketAddr,
}

impl Site {
    fn open(name: &str) -> Option<Self> {
        Self::of(Family::V4, name, "")
    }

    /// `webrtc`: more lines of that section.
    fn of(family: Family, name: &str, webrtc: &str) -> Option<Self> {
        let network = Namespace::new(family)?;
        let listen = SocketAddr::new(network.outside(), 0).to_string();
        let mut relay = Rovercast::start(&format!("{name}.relay"), &["relay", "--listen", &listen]);
        let relay_at = relay.address();
        let name = format!("{name}.robot");
        let http = SocketAddr::new(network.loopback(), HTTP_PORT);
        let config = configuration(&name, "test-card", http, relay_at);
        let text = fs::read_to_string(&config).expect("it was just written");
        let text = text.replace("[webrtc]\n", &format!("[webrtc]\n{webrtc}"));
        fs::write(&config, text).expect("target is writable");
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
        let http = SocketAddr::new(self.network.loopback(), HTTP_PORT);
        let output = command.arg(format!("http://{http}")).output().ok()?;
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
    until_shown(page, 60);
    // The first of those that count.
    wait_for("one more picture", Duration::from_secs(5), || {
        let shown = page.run("return window.sampler.count()");
        (shown.as_u64() > Some(0)).then_some(())
    });
}

/// The longest pause until the picture runs again.
fn longest_pause(page: &Page<'_>, since: Instant) -> Duration {
    let mut samples = Samples(Vec::new());
    wait_for("a picture that runs", Duration::from_secs(20), || {
        samples.0.extend(Samples::take(page).0);
        let runs = samples.0.windows(RUNS).last()?;
        let took = Duration::from_secs_f64((runs[RUNS - 1].at - runs[0].at) / 1000.0);
        // A picture that has not stopped yet runs, too.
        (took < Duration::from_secs(2) && since.elapsed() > COMES_TO_REST).then_some(())
    });
    samples.longest_pause()
}

#[test]
fn picture_is_back_two_seconds_after_the_robot_got_another_address() {
    let Some((linked, pause)) = after_another_address("other_address", "") else {
        return;
    };
    println!("the link was back after {linked:?}, the picture stood still for {pause:?}");
    assert!(linked <= Duration::from_secs(2), "the link took {linked:?}");
    assert!(
        pause <= Duration::from_secs(2),
        "the picture took {pause:?}"
    );
}

#[test]
fn picture_on_the_one_port_is_back_two_seconds_after_the_robot_got_another_address() {
    let Some((linked, pause)) =
        after_another_address("other_address_one_port", "udp_ports = \"47122\"\n")
    else {
        return;
    };
    println!("the link was back after {linked:?}, the picture stood still for {pause:?}");
    assert!(linked <= Duration::from_secs(2), "the link took {linked:?}");
    assert!(
        pause <= Duration::from_secs(2),
        "the picture took {pause:?}"
    );
}

/// How long the link and the picture were away.
fn after_another_address(name: &str, webrtc: &str) -> Option<(Duration, Duration)> {
    let site = Site::of(Family::V4, name, webrtc)?;
    let browser = Browser::open(name);
    let page = site.watch(&browser);
    let_it_run(&page);

    let changed = Instant::now();
    for (verb, host) in [("del", 2), ("add", 3)] {
        let (address, bits) = (site.network.inside(host), site.network.prefix());
        site.network
            .ip(&format!("addr {verb} {address}/{bits} dev eth0"));
    }
    site.network.ip(&format!(
        "route replace default via {}",
        site.network.outside()
    ));
    let linked = site.relinked(changed);

    Some((linked, longest_pause(&page, changed)))
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
    std::thread::sleep(Duration::from_secs(10)); // that long it is down
    let up = Instant::now();
    site.network.ip("link set eth0 up");
    site.network.ip(&format!(
        "route replace default via {}",
        site.network.outside()
    ));
    let linked = site.relinked(up);

    let pause = longest_pause(&page, up);
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
    let lost = Instant::now();
    site.network.swallow_answers();
    wait_for("the robot's notice", Duration::from_secs(40), || {
        site.link().filter(|link| link["state"] != "connected")
    });
    let noticed = lost.elapsed();
    // The link has its good-bye to say first, into the black hole.
    let link = wait_for("the reason", Duration::from_secs(10), || {
        site.link().filter(|link| link["failure"].is_string())
    });
    assert_eq!(link["failure"], "silent", "{link}");
    println!("noticed after {noticed:?}");
    assert!(noticed <= Duration::from_secs(30), "took {noticed:?}");
}

#[test]
fn robot_with_nothing_but_ipv6_is_seen() {
    let Some(site) = Site::of(Family::V6, "ipv6_only", "") else {
        return;
    };
    let browser = Browser::open("ipv6_only");
    let page = site.watch(&browser);
    until_shown(&page, 60);

    let addresses = site.network.command().args(["ip", "-4", "addr"]).output();
    assert_eq!(
        addresses.expect("iproute2 is installed").stdout,
        b"",
        "IPv4"
    );
    // Where the browser sends its packets: it may not tell by what name it knows the robot, but it does tell the family.
    let remote = wait_for("the page's statistics", Duration::from_secs(10), || {
        let remote = page.run(REMOTE_ADDRESS);
        remote.as_str().map(str::to_owned)
    });
    assert_eq!(remote, site.network.inside(2).to_string());
}

/// The robot's address in the pair of candidates that carries the picture.
const REMOTE_ADDRESS: &str = "return window.rovercast.peer().getStats().then(stats => {
  const transport = [...stats.values()].find(({ type }) => type === 'transport');
  const pair = stats.get(transport?.selectedCandidatePairId);
  return stats.get(pair?.remoteCandidateId)?.address ?? null;
})";

/// Where the robot answers, on its own loopback.
const HTTP_PORT: u16 = 8081;

/// Pictures, a second of them.
const RUNS: usize = 30;

/// A change that nobody noticed after so long is not going to stop the picture.
const COMES_TO_REST: Duration = Duration::from_secs(4);
