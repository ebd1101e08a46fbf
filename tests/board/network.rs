//! The robot on one side of a network, a relay with TLS and a real Chromium on the other.

use std::thread;
use std::time::{Duration, Instant};

use super::common::browser::Browser;
use super::devices::{camera, control, quirk};
use super::outside::{self, Relay, Screen, ShapedLink};
use super::robot::{Robot, Setup};

#[test]
#[ignore = "needs a camera and an encoder, and a relay and a browser on the board's network"]
fn chromium() {
    let relay = Relay::outside();
    let setup = Setup {
        fps: CAMERA_FPS,
        relay: Some(&relay),
        ..Setup::default()
    };
    let robot = Robot::start("chromium", &setup);
    let browser = outside::browser("chromium");
    let screen = Screen::open(&browser, &relay);

    let (decoded_before, before) = (screen.take().decoded, robot.counts());
    let shown = screen.next(150);
    let after = robot.counts();

    screen.page.screenshot("chromium");
    shown.assert_moving();
    assert_eq!(shown.size(), (320, 240));
    let (coded, decoded) = (after.units(&before), shown.decoded - decoded_before);
    println!(
        "{:.1} pictures a second shown of {:.1} coded; {decoded} decoded of {coded}, the longest pause {:?}",
        shown.fps(),
        after.fps(&before),
        shown.longest_pause(),
    );
    // How many are coded is the machine's part as much as ours; that all of them are seen is ours.
    assert!(decoded as f64 >= 0.9 * coded, "{decoded} of {coded}");
    if after.fps(&before) >= 0.9 * f64::from(CAMERA_FPS) {
        assert!(shown.fps() >= 15.0, "{:.1} pictures a second", shown.fps());
    } else {
        println!(
            "the emulated encoder does not keep up with {CAMERA_FPS} a second: 15 shown are not asked for"
        );
    }
    assert_eq!(robot.metric("rovercast_copied_bytes_total"), 0.0);
    robot.assert_no_raw_picture_is_mapped();
    assert_eq!(robot.metric("rovercast_viewers_opened_total"), 1.0);
    assert!(robot.has_not_panicked());
}

#[test]
#[ignore = "needs a camera and an encoder, and a relay and a browser on the board's network"]
fn shaped_link() {
    let relay = Relay::outside();
    let robot = Robot::start("shaped-link", &shaped(&relay));
    let browser = outside::browser("shaped-link");
    let (screen, link) = follows_the_link(&robot, &browser, &relay);

    let target_before = robot.target_kbps();
    link.become_lossy(5);
    let (decoded_before, before) = (screen.take().decoded, robot.counts());
    let lossy = screen.next(150);
    let coded = robot.counts().units(&before);
    let decoded = lossy.decoded - decoded_before;
    println!(
        "lossy: {decoded} decoded of {coded} coded, {} packets lost, the longest pause {:?}; {:.0} kbit/s asked for, {target_before:.0} \
         before",
        lossy.lost,
        lossy.longest_pause(),
        robot.target_kbps(),
    );
    lossy.assert_moving();
    assert!(decoded as f64 >= 0.8 * coded, "{decoded} of {coded}");
    robot.until_target("as much in spite of loss", |kbps| {
        kbps >= 0.6 * target_before
    });
    assert_eq!(robot.metric("rovercast_viewers_opened_total"), 1.0);
    assert!(robot.has_not_panicked());
}

/// Such a driver says that it took the rate, and takes it when it is opened again.
#[test]
#[ignore = "needs the virtual encoder, and a relay and a browser on the board's network"]
fn shaped_link_and_an_encoder_of_fixed_rate() {
    quirk("fixed_bitrate", "1");
    let relay = Relay::outside();
    let profile = "[rate]\nmethod = \"reopen\"\nspacing = \"500 ms\"\nleast_change_percent = 20";
    let setup = Setup {
        profile: Some(profile),
        ..shaped(&relay)
    };
    let robot = Robot::start("fixed-rate", &setup);
    let browser = outside::browser("fixed-rate");
    follows_the_link(&robot, &browser, &relay);
    assert_eq!(robot.metric("rovercast_viewers_opened_total"), 1.0);
    assert!(robot.has_not_panicked());
}

fn shaped(relay: &Relay) -> Setup<'_> {
    Setup {
        fps: CAMERA_FPS,
        bitrate: ["300 kbps", "1200 kbps", "1600 kbps"],
        relay: Some(relay),
        ..Setup::default()
    }
}

/// Wide, narrow and wide again: the stream's rate is the link's soon after it became narrow, and more when that is over.
fn follows_the_link<'b>(
    robot: &Robot,
    browser: &'b Browser,
    relay: &Relay,
) -> (Screen<'b>, ShapedLink) {
    // A picture that costs what is asked for: little of it stays where it was.
    control(&camera(), "horizontal_movement=5");
    let link = ShapedLink::of_kbps(WIDE_KBPS);
    let screen = Screen::open(browser, relay);
    screen.next(50);
    let wide = robot.until_coded(1.5 * NARROW_KBPS);
    drop(screen.take());

    link.become_kbps(NARROW_KBPS);
    let asked = robot.until_target("less than the link", |kbps| kbps < NARROW_KBPS);
    thread::sleep(FOLLOWS_WITHIN.saturating_sub(asked));
    let narrow = robot.kbps_over(Duration::from_secs(4));
    let shown = screen.take();

    link.become_kbps(WIDE_KBPS);
    let widened = Instant::now();
    let wide_again = robot.until_coded(1.5 * NARROW_KBPS);
    println!(
        "{wide:.0} kbit/s; the link narrows to {NARROW_KBPS} and less is asked for after {asked:?}: {narrow:.0} kbit/s, {:.1} pictures a \
         second, the longest pause {:?}; {wide_again:.0} kbit/s {:?} after it widened",
        shown.fps(),
        shown.longest_pause(),
        widened.elapsed(),
    );
    shown.assert_moving();
    assert!(
        asked <= FOLLOWS_WITHIN,
        "less was asked for after {asked:?}"
    );
    // Key frames make it more than is asked for, for a moment.
    assert!(narrow < 1.2 * NARROW_KBPS, "{narrow:.0} kbit/s");
    (screen, link)
}

/// What `load_hdmi` sets.
const CAMERA_FPS: u32 = 25;

const WIDE_KBPS: f64 = 2000.0;

/// A quarter, and more than the floor of every encoder's profile for so small a picture.
const NARROW_KBPS: f64 = 500.0;

/// From the moment when the link became narrow.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(2);
