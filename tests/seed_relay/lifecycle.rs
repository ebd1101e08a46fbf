//! How a robot goes: politely, and when that takes too long, at once.

use std::fs;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::common::{artefact, wait_for};
use super::scene::{Robot, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn terminated_robot_takes_leave_of_relay_and_viewer_within_a_second() {
    let (mut scene, viewer) = Scene::watched("leave", Robot::default()).await;

    let start = Instant::now();
    scene.robot.ask_to_end();
    let bye = scene.link.hear_kind("bye").await;
    let close = scene.link.hear_close().await;
    let exit = scene.robot.exit();
    let took = start.elapsed();

    assert_eq!(
        bye,
        json!({ "type": "bye", "reason": "robot is shutting down" })
    );
    assert_eq!(close.code, CloseCode::Away);
    assert_eq!(close.reason, "robot is shutting down");
    assert_eq!(exit.code(), Some(0));
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    viewer.until_closed().await;
    assert!(scene.robot.last_output().contains("everything is closed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn robot_leaves_a_relay_that_takes_nothing_within_a_second() {
    let mut scene = at_a_deaf_relay("deaf").await;

    let start = Instant::now();
    scene.robot.ask_to_end();
    let exit = scene.robot.exit();
    let took = start.elapsed();

    assert_eq!(exit.code(), Some(0));
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn second_signal_ends_the_robot_at_once() {
    let mut scene = at_a_deaf_relay("twice").await;

    // The first alone would have it wait for the relay to take its good-bye. Of two that are alike, the kernel might make one.
    scene.robot.ask_to_end();
    scene.robot.interrupt();
    let exit = scene.robot.exit();

    assert_eq!(exit.code(), Some(1));
    let output = scene.robot.last_output();
    assert!(
        output.contains("asked twice, ending without good-bye"),
        "{output}"
    );
    assert!(!output.contains("everything is closed"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_never_comes_does_not_keep_a_robot_that_is_told_to_end() {
    let key = artefact("endless-key.key");
    // Of a run that failed.
    let _ = fs::remove_file(&key);
    let scene = Scene::open("endless-key", Robot::default()).await;
    let Scene {
        link, mut robot, ..
    } = scene;
    fs::remove_file(&key).unwrap();
    mknodat(CWD, &key, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    link.hang_up("dial again").await;
    // It can be opened for writing as soon as somebody reads, who then waits for words.
    let endless = wait_for("a reader of the key", Duration::from_secs(10), || {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        open(&key, flags, Mode::empty()).ok()
    });

    let took = robot.terminate();

    drop(endless);
    fs::remove_file(&key).unwrap();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}

/// A robot whose words to the relay are stuck: the buffers of both sides are full, and the relay does not read.
async fn at_a_deaf_relay(name: &str) -> Scene {
    let mut scene = Scene::open(name, Robot::default()).await;
    scene.link.provoke_until_stuck().await;
    scene
}
