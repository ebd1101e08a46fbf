//! Relay and robot go away and come back, as they do.

use std::thread;
use std::time::Duration;

use super::common::browser::Browser;
use super::common::process::{Rovercast, free_address};
use super::common::sampler::Samples;
use super::{TEST_CARD, until_live, watch};

#[test]
fn viewers_do_not_notice_that_the_relay_is_gone() {
    let browser = Browser::open("relay_gone");
    let relay_at = free_address();
    let listen = relay_at.to_string();
    let mut relay = Rovercast::start("relay_gone.relay-1", &["relay", "--listen", &listen]);
    relay.address();
    let _robot = Rovercast::run("relay_gone.robot", "test-card", free_address(), relay_at);
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
    let listen = free_address().to_string();
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
