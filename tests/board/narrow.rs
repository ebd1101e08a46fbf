//! A viewer whose link is too narrow for the whole picture: half of it, from a camera and an encoder that were opened again for it.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::wait_for;
use super::devices::quirk;
use super::loopback::NarrowWay;
use super::robot::{Robot, Setup};
use super::viewer::Viewer;

/// An encoder that goes down as far as the picture can be looked at: firmware that does not is not what this is about. And one that says
/// by its level how large the picture is.
const PROFILE: &str = r#"
[rate]
least = "40 kbps"
floors = [{ up_to = "4096x2304", bitrate = "40 kbps" }]
[level]
least = "1.0"
"#;

const BITRATE: [&str; 3] = ["40 kbps", "400 kbps", "800 kbps"];

/// Less than 640x360 at 15 frames a second needs to be seen.
const NARROW_KBPS: u32 = 100;
/// The same of 320x240 at 30.
const VERY_NARROW_KBPS: u32 = 55;
const WIDE_KBPS: u32 = 4000;

/// The estimate, the two seconds of patience, the half minute before the larger picture is tried; and an emulator on a busy machine.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a camera with 640x360 and 320x180, the virtual encoder, and traffic control"]
async fn smaller_picture() {
    let setup = Setup {
        size: "640x360",
        bitrate: BITRATE,
        profile: Some(PROFILE),
        ..Setup::default()
    };
    let robot = Robot::start("smaller-picture", &setup);
    let viewer = Viewer::join(robot.address()).await;
    viewer.until_size((640, 360), SETTLED_WITHIN);
    let whole = robot.camera();
    assert_eq!(whole["picture_size"], "640x360", "{whole}");
    assert_eq!(
        whole["smaller_picture"], "camera and encoder are opened again for it",
        "{whole}"
    );

    let whole_profile = viewer.profile();
    assert_eq!(whole["profile_level_id"], whole_profile.as_str());

    let way = NarrowWay::to(viewer.port(), NARROW_KBPS);
    let begin = Instant::now();
    let half = until(&robot, "half of the picture", |camera| {
        camera["picture_size"] == "320x180"
    });
    viewer.until_size((320, 180), SETTLED_WITHIN);
    println!(
        "half of the picture after {:?}, {} after {whole_profile}: {half}",
        begin.elapsed(),
        viewer.profile()
    );
    viewer.until_moving(SETTLED_WITHIN);
    let half = robot.camera();
    assert!(half["picture"].as_str().unwrap().contains("1/2"), "{half}");
    assert!(half["encoder"].as_str().unwrap().contains("vh264enc"));
    assert_ne!(viewer.profile(), whole_profile, "its level is lower");
    assert_eq!(half["profile_level_id"], whole["profile_level_id"]);
    assert_eq!(robot.metric("rovercast_copied_bytes_total"), 0.0);
    assert_eq!(starts(&robot), 2.0);

    way.become_kbps(WIDE_KBPS);
    let begin = Instant::now();
    until(&robot, "the whole picture", |camera| {
        camera["picture_size"] == "640x360"
    });
    viewer.until_size((640, 360), SETTLED_WITHIN);
    println!(
        "the whole picture after {:?}, and nothing for {:?} before it",
        begin.elapsed(),
        viewer.pause_before((640, 360))
    );
    viewer.until_moving(SETTLED_WITHIN);
    assert_eq!(starts(&robot), 3.0);
    assert_eq!(viewer.sessions(), 1, "the peer is the same");
    assert_eq!(robot.metric("rovercast_viewers_opened_total"), 1.0);
    assert!(robot.has_not_panicked());
}

/// It is asked once for a smaller picture, and never again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a camera of one size, the virtual encoder, and traffic control"]
async fn camera_of_one_size() {
    let setup = Setup {
        size: "320x240",
        fps: 30,
        bitrate: BITRATE,
        profile: Some(PROFILE),
        ..Setup::default()
    };
    let robot = Robot::start("one-size", &setup);
    let viewer = Viewer::join(robot.address()).await;
    viewer.until_size((320, 240), SETTLED_WITHIN);

    let _way = NarrowWay::to(viewer.port(), VERY_NARROW_KBPS);
    let learned = until(&robot, "fewer frames", |camera| {
        let picture = camera["picture"].as_str().unwrap();
        picture.contains("every") && picture.contains("full size")
    });
    println!("{learned}");
    assert_eq!(
        learned["smaller_picture"], "there is none, narrow links get fewer frames",
        "{learned}"
    );
    assert_eq!(starts(&robot), 2.0, "it was tried");
    viewer.until_moving(SETTLED_WITHIN);

    // Longer than the pause between two openings for a smaller picture.
    std::thread::sleep(Duration::from_secs(15));
    assert_eq!(starts(&robot), 2.0, "it is not tried again");
    assert_eq!(viewer.sessions(), 1, "the peer is the same");
    assert!(robot.has_not_panicked());
}

/// One whose link is narrow sees a second instance's pictures, which cost the other nothing, and the first one's again later.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a camera, the virtual encoder, and traffic control"]
async fn two_renditions() {
    let setup = Setup {
        size: "320x180",
        bitrate: BITRATE,
        profile: Some(PROFILE),
        more: "renditions = 2",
        ..Setup::default()
    };
    let robot = Robot::start("two-renditions", &setup);
    let fast = Viewer::join(robot.address()).await;
    let slow = Viewer::join(robot.address()).await;
    until(&robot, "a good picture", is_rich);

    let way = NarrowWay::to(slow.port(), NARROW_KBPS);
    let small = until(&robot, "the small rendition", |camera| {
        camera["small"]["viewers"] == 1 && is_rich(camera)
    });
    println!("{small}");
    assert!(
        small["small"]["encoder"]
            .as_str()
            .unwrap()
            .contains("vh264enc"),
        "{small}"
    );
    fast.until_moving(SETTLED_WITHIN);
    slow.until_moving(SETTLED_WITHIN);
    let small = robot.camera();
    assert_eq!(small["small"]["copied_bytes_per_frame"], 0, "{small}");
    assert_eq!(small["copied_bytes_per_frame"], 0, "{small}");
    assert!(is_rich(&small), "{small}");

    // One of the two stands still, whichever it is.
    quirk("stall_cure", "3");
    quirk("stall_after", "1");
    wait_for("a recovery", SETTLED_WITHIN, || {
        robot.has_logged("encoder stalled").then_some(())
    });
    fast.until_moving(SETTLED_WITHIN);
    slow.until_moving(SETTLED_WITHIN);

    way.become_kbps(WIDE_KBPS);
    until(&robot, "one rendition", |camera| {
        camera["small"]["state"] == "asleep" && is_rich(camera)
    });
    fast.until_moving(SETTLED_WITHIN);
    slow.until_moving(SETTLED_WITHIN);
    assert_eq!(starts(&robot), 1.0, "the large one was never disturbed");
    assert_eq!((fast.sessions(), slow.sessions()), (1, 1));
    assert!(robot.has_not_panicked());
}

/// Both were seen when the large one's camera is opened again: the second encoder lets go of it, and nobody is lost.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a camera with 640x360 and 320x180, the virtual encoder, and traffic control"]
async fn two_renditions_become_one_of_half_the_size() {
    let setup = Setup {
        size: "640x360",
        fps: 10,
        bitrate: BITRATE,
        profile: Some(PROFILE),
        more: "renditions = 2",
        ..Setup::default()
    };
    let robot = Robot::start("two-and-half", &setup);
    let fast = Viewer::join(robot.address()).await;
    let slow = Viewer::join(robot.address()).await;
    until(&robot, "a good picture", is_rich);

    let way = NarrowWay::to(slow.port(), NARROW_KBPS);
    until(&robot, "the small rendition", |camera| {
        camera["small"]["viewers"] == 1 && is_rich(camera)
    });
    way.take(fast.port());
    let half = until(&robot, "half of the picture", |camera| {
        camera["picture_size"] == "320x180" && camera["state"] == "running"
    });
    println!("{half}");
    assert!(half["encoder"].as_str().unwrap().contains("vh264enc"));
    fast.until_size((320, 180), SETTLED_WITHIN);
    slow.until_size((320, 180), SETTLED_WITHIN);
    fast.until_moving(SETTLED_WITHIN);
    slow.until_moving(SETTLED_WITHIN);
    assert_eq!((fast.sessions(), slow.sessions()), (1, 1));
    assert!(robot.has_not_panicked());
}

/// More than a narrow link carries.
fn is_rich(camera: &Value) -> bool {
    camera["target_kbps"].as_f64() > Some(2.0 * f64::from(NARROW_KBPS))
}

fn until(robot: &Robot, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, SETTLED_WITHIN, || Some(robot.camera()).filter(&is_so))
}

fn starts(robot: &Robot) -> f64 {
    robot.metric("rovercast_pipeline_starts_total")
}
