//! Pictures through a TURN server, for browsers and robots that find no direct way. coturn must be installed.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::common::browser::{Browser, Page};
use super::common::process::{Rovercast, configuration, free_address};
use super::common::{artefact, wait_for};
use super::{until_shown, watch};

/// coturn on loopback.
struct Coturn {
    process: Child,
    address: SocketAddr,
}

impl Coturn {
    /// With one user.
    fn start(name: &str) -> Self {
        Self::taking(name, &["--lt-cred-mech", "--user", "robots:hunter2"])
    }

    fn taking(name: &str, logins: &[&str]) -> Self {
        let address = free_address();
        let log =
            fs::File::create(artefact(&format!("{name}.coturn.log"))).expect("target is writable");
        let process = Command::new("turnserver")
            .args(["-n", "--no-cli", "--no-tls", "--no-dtls", "--realm", "test"])
            .args(logins)
            .args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1"])
            .args([
                "--allow-loopback-peers",
                "--log-file",
                "stdout",
                "--verbose",
            ])
            .args(["--listening-port", &address.port().to_string()])
            .args(["--pidfile", "/dev/null"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("one more descriptor"))
            .stderr(log)
            .spawn()
            .expect("coturn is installed (tests/run does it)");
        Self { process, address }
    }

    fn url(&self) -> String {
        format!("turn:{}", self.address)
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        self.process.kill().expect("it is our child");
        self.process.wait().expect("it is our child");
    }
}

/// The way that packets take, as the page shows it: `relay → host udp`.
fn path(page: &Page<'_>) -> String {
    wait_for("the page's statistics", Duration::from_secs(10), || {
        let path = page.run("return window.rovercast.stats().then(now => now?.path ?? null)");
        path.as_str().map(str::to_owned)
    })
}

#[test]
fn browser_that_may_use_nothing_but_turn_sees_the_picture() {
    let coturn = Coturn::start("turn_browser");
    let browser = Browser::open("turn_browser");
    let relay_at = free_address();
    let login = artefact("turn_browser.login");
    fs::write(&login, "robots:hunter2\n").expect("target is writable");
    let mut relay = Rovercast::start(
        "turn_browser.relay",
        &[
            "relay",
            "--listen",
            &relay_at.to_string(),
            "--ice-server",
            &coturn.url(),
            "--turn-login-file",
            login.to_str().expect("target is UTF-8"),
        ],
    );
    relay.address();
    let _robot = Rovercast::run("turn_browser.robot", "test-card", free_address(), relay_at);

    let url = format!("http://{relay_at}/?robot=rover-7&camera=front&ice=relay");
    let page = watch(&browser, &url);

    until_shown(&page, 60);
    let path = path(&page);
    assert!(path.starts_with("relay → "), "{path}");
}

#[test]
fn robot_that_shows_nobody_its_addresses_is_seen_through_turn() {
    let coturn = Coturn::start("turn_robot");
    let browser = Browser::open("turn_robot");
    let http = free_address();
    let config = configuration("turn_robot", "test-card", http, http);
    let credential = artefact("turn_robot.credential");
    fs::write(&credential, "hunter2\n").expect("target is writable");
    let text = fs::read_to_string(&config).expect("it was just written");
    let text = text.replace(
        "[webrtc]\n",
        &format!(
            "[webrtc]\nice_policy = \"relay\"\nice_servers = [{{ urls = [\"{}\"], username = \"robots\", credential_file = \"{}\" }}]\n",
            coturn.url(),
            credential.display()
        ),
    );
    fs::write(&config, text).expect("target is writable");
    let _robot = Rovercast::start("turn_robot.robot", &["run", "--config", &config]);

    let page = watch(
        &browser,
        &format!("http://{http}/?robot=rover-7&camera=front"),
    );

    until_shown(&page, 60);
    let path = path(&page);
    assert!(path.contains(" → relay "), "{path}");
}

#[test]
fn relay_and_coturn_that_share_a_secret_need_no_user() {
    let name = "turn_secret";
    let coturn = Coturn::taking(
        name,
        &["--use-auth-secret", "--static-auth-secret", "hunter2"],
    );
    let browser = Browser::open(name);
    let relay_at = free_address();
    let secret = artefact(&format!("{name}.secret"));
    fs::write(&secret, "hunter2\n").expect("target is writable");
    let mut relay = Rovercast::start(
        &format!("{name}.relay"),
        &[
            "relay",
            "--listen",
            &relay_at.to_string(),
            "--ice-server",
            &coturn.url(),
            "--turn-secret-file",
            secret.to_str().expect("target is UTF-8"),
        ],
    );
    relay.address();
    // Neither side shows the other its addresses: both have a login that coturn takes.
    let config = configuration(
        &format!("{name}.robot"),
        "test-card",
        free_address(),
        relay_at,
    );
    let text = fs::read_to_string(&config).expect("it was just written");
    let text = text.replace("[webrtc]\n", "[webrtc]\nice_policy = \"relay\"\n");
    fs::write(&config, text).expect("target is writable");
    let _robot = Rovercast::start(&format!("{name}.robot"), &["run", "--config", &config]);

    let url = format!("http://{relay_at}/?robot=rover-7&camera=front&ice=relay");
    let page = watch(&browser, &url);

    until_shown(&page, 60);
    assert_eq!(path(&page), "relay → relay udp");
}

#[test]
fn every_viewer_comes_to_a_port_of_the_range() {
    let browser = Browser::open("port_range");
    let http = free_address();
    let config = configuration("port_range", "test-card", http, http);
    let text = fs::read_to_string(&config).expect("it was just written");
    let text = text.replace("[webrtc]\n", "[webrtc]\nudp_ports = \"47100-47115\"\n");
    fs::write(&config, text).expect("target is writable");
    let robot = Rovercast::start("port_range.robot", &["run", "--config", &config]);
    let url = format!("http://{http}/?robot=rover-7&camera=front");
    let pages = [(); 3].map(|()| watch(&browser, &url));

    pages.iter().for_each(|page| until_shown(page, 60));
    let mut ports = udp_ports(&robot);
    ports.dedup();
    assert_eq!(ports.len(), 3, "{ports:?}");
    let is_inside = |port: &u16| (47100..=47115).contains(port);
    assert!(ports.iter().all(is_inside), "{ports:?}");
}

/// The UDP ports that `robot` has bound, sorted; mDNS, which all share, left out.
fn udp_ports(robot: &Rovercast) -> Vec<u16> {
    let process = robot.id().as_raw_nonzero();
    let output = Command::new("ss").args(["-uanpH"]).output();
    let output = output.expect("iproute2 is installed");
    let wanted = format!("pid={process},");
    let mut ports: Vec<u16> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.contains(&wanted))
        .filter_map(|line| {
            line.split_whitespace()
                .nth(3)?
                .rsplit_once(':')?
                .1
                .parse()
                .ok()
        })
        .filter(|port| *port != 5353)
        .collect();
    ports.sort_unstable();
    ports
}
