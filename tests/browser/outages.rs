//! Relay and robot go away and come back, as they do.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::common::browser::Browser;
use super::common::process::{Rovercast, free_port};
use super::common::sampler::Samples;
use super::common::{artefact, http, wait_for};
use super::{TEST_CARD, until_live, watch};

#[test]
fn viewers_do_not_notice_that_the_relay_is_gone() {
    let browser = Browser::open("relay_gone");
    let relay_at = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listen = relay_at.to_string();
    let mut relay = Rovercast::start("relay_gone.relay-1", &["relay", "--listen", &listen]);
    relay.address();
    let _robot = robot_of("relay_gone", relay_at);
    let url = format!("http://{relay_at}/?robot=rover-7&camera=front");
    let pages = [(); 4].map(|()| watch(&browser, &url));
    pages.iter().for_each(|page| drop(Samples::take(page)));

    relay.kill();
    thread::sleep(Duration::from_secs(5));
    let mut relay = Rovercast::start("relay_gone.relay-2", &["relay", "--listen", &listen]);
    relay.address();
    let fifth = browser.page(&url);
    // The robot's next attempt may be 8 s away: it has knocked in vain for 5 s.
    until_live(&fifth, Duration::from_secs(15));
    Samples::start(&fifth);

    for (number, page) in pages.iter().enumerate() {
        let samples = Samples::take(page);
        let pause = samples.longest_pause();
        assert!(
            samples.frames().len() > 100,
            "page {number} showed {} pictures",
            samples.frames().len()
        );
        assert!(
            pause <= Duration::from_millis(250),
            "page {number} stood still for {pause:?}"
        );
    }
    thread::sleep(Duration::from_secs(1));
    assert!(
        !Samples::take(&fifth).frames().is_empty(),
        "the fifth viewer sees nothing"
    );
}

#[test]
fn open_page_shows_the_picture_again_after_the_robot_restarted() {
    let browser = Browser::open("robot_restarted");
    let listen = format!("127.0.0.1:{}", free_port());
    let arguments = [&["demo", "--listen", &listen], &TEST_CARD[..]].concat();
    let mut robot = Rovercast::start("robot_restarted.robot-1", &arguments);
    robot.address();
    let page = watch(&browser, &format!("http://{listen}/"));
    page.run("window.notReloaded = true");

    robot.kill();
    page.wait_until(
        "document.documentElement.dataset.state !== 'live'",
        Duration::from_secs(10),
    );
    page.screenshot("robot_restarted.gone");
    let _robot = Rovercast::start("robot_restarted.robot-2", &arguments);

    until_live(&page, Duration::from_secs(15));
    drop(Samples::take(&page));
    thread::sleep(Duration::from_secs(2));
    let shown = Samples::take(&page).frames();
    assert!(
        shown.len() >= 40,
        "showed only {} pictures in 2 s",
        shown.len()
    );
    assert_eq!(
        page.run("return window.notReloaded"),
        true,
        "the page was loaded again"
    );
}

/// `rovercast run` with a test card called `front`, ready for viewers.
fn robot_of(name: &str, relay_at: SocketAddr) -> Rovercast {
    let http_at = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let key = artefact(&format!("{name}.key"));
    fs::write(&key, "not-so-secret\n").expect("target is writable");
    let config = artefact(&format!("{name}.toml"));
    let text = format!(
        r#"
        [robot]
        id = "rover-7"

        [[camera]]
        id = "front"
        source = "test-card"
        size = "640x360"
        fps = 30

        [relay]
        url = "ws://{relay_at}/webrtc-relay"
        api_key_file = {key:?}

        [http]
        listen = "{http_at}"
        "#
    );
    fs::write(&config, text).expect("target is writable");
    let path = config.to_str().expect("target is UTF-8");
    let robot = Rovercast::start(&format!("{name}.robot"), &["run", "--config", path]);
    wait_for("/readyz", Duration::from_secs(10), || {
        http::get(http_at, "/readyz")
            .ok()
            .filter(|answer| answer.status == 200)
    });
    robot
}
