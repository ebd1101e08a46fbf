//! Viewers whose links differ much: each sees a rendition that its link can carry.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::common::browser::{Browser, Page};
use super::common::narrow::{Robot, Seat};
use super::common::sampler::Samples;
use super::common::shaper::Link;
use super::common::wait_for;

const WIDE: Link = Link {
    rate: Some(6e6),
    queue: Duration::from_millis(300),
    delay: Duration::from_millis(20),
    jitter: Duration::ZERO,
    loss: 0.0,
    is_up: true,
};

/// `/status` of the camera as soon as it is so.
fn until(robot: &Robot, what: &str, within: Duration, is_so: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, within, || Some(robot.status()).filter(&is_so))
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
    let robot = Robot::with_renditions("renditions", "640x360", "300 kbps", 2);
    let Seat { page: fast, .. } = &robot.watched(&browser, WIDE, 1);
    let Seat { page: slow, shaper } = &robot.watched(&browser, WIDE, 2);
    let is_rich = |camera: &Value| camera["target_kbps"].as_f64() > Some(2000.0);
    let start = until(&robot, "a good picture", Duration::from_secs(20), is_rich);
    assert_eq!(start["small"]["state"], "asleep", "{start}");
    let before = pictures(fast);

    shaper.there.change(|link| link.rate = Some(300e3));
    let small = until(
        &robot,
        "the small rendition",
        Duration::from_secs(20),
        |camera| camera["small"]["viewers"] == 1 && is_rich(camera),
    );
    until_wide(slow, 320);
    slow.screenshot("renditions.slow");
    let after = pictures(fast);
    let seen = pictures(slow);
    println!("fast {before}, then {after} pictures in 3 s; slow {seen}; {small}");
    assert!(after * 10 > before * 7, "{before}, then {after} in 3 s");
    assert!(seen > 20, "{seen} small pictures in 3 s");
    assert_eq!(Samples::take(fast).sizes().last(), Some(&(640, 360)));

    shaper.there.change(|link| link.rate = WIDE.rate);
    let end = until(&robot, "one rendition", Duration::from_secs(40), |camera| {
        camera["small"]["state"] == "asleep"
    });
    until_wide(slow, 640);
    println!("and at the end {end}");
    assert!(is_rich(&end), "{end}");
}
