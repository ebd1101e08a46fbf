//! The robot on one side of a network, a relay with TLS and a real Chromium on the other.

use super::outside::{self, Relay, Screen};
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

/// What `load_hdmi` sets.
const CAMERA_FPS: u32 = 25;
