//! A relay, or a dashboard behind it, that says what nobody should.

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::scene::{Robot, Scene, pictures};

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_from_the_relay_is_answered_or_dropped_and_the_viewer_goes_on() {
    let (mut scene, mut viewer) = Scene::watched("nonsense", Robot::default()).await;
    let link = &mut scene.link;

    link.say(json!({ "type": "offer", "sdp": "v=0" })).await;
    assert_refused(
        &link.hear().await,
        "unexpected_offer",
        "cannot take \"offer\": the robot makes the offers; say \"ready\" to get one",
    );
    link.say(json!({ "type": "answer", "sdp": "v=0" })).await;
    assert_refused(
        &link.hear().await,
        "unexpected_answer",
        "cannot take \"answer\": there is no offer that waits for an answer",
    );
    for (text, told) in [
        (
            "{\"type\":",
            "message is not JSON: EOF while parsing a value at line 1 column 8",
        ),
        (
            "",
            "message is not JSON: EOF while parsing a value at line 1 column 0",
        ),
        (
            "[]",
            "message has no \"type\" when expecting an object such as {\"type\":\"ready\"}",
        ),
        (
            "{\"type\":7}",
            "message has a number as \"type\" when expecting a string",
        ),
        (
            "{\"type\":\"answer\"}",
            "message has no \"sdp\" when expecting a string",
        ),
        (
            "{\"type\":\"ready\",\"viewer_id\":\"\"}",
            "got a viewer_id of 0 bytes when expecting 1 to 128",
        ),
    ] {
        link.say_text(text).await;
        scene.robot.until_said(&format!("dropped it: {told}"));
    }
    link.say_binary(b"\xff\x00").await;
    scene
        .robot
        .until_said("dropped it: binary message of 2 bytes when expecting text");
    link.say(json!({ "type": "weather" })).await;
    scene
        .robot
        .until_said("relay sent a message of a kind that we do not know kind=\"weather\"");
    for bytes in [256 * 1024 + 1, 1024 * 1024] {
        link.say_text(&"x".repeat(bytes)).await;
        let told = format!("dropped it: message of {bytes} bytes is over the limit of 262144");
        scene.robot.until_said(&told);
    }

    link.expect_no_offer_on_its_way().await;
    pictures(&mut viewer, 3).await;
    assert_eq!(scene.http.metric("rovercast_viewers_opened_total"), 1.0);
    // One to this relay, one to that of the robot's own page.
    assert_eq!(scene.http.metric("rovercast_relay_dials_total"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_about_a_viewer_that_is_not_there_are_refused() {
    let mut scene = Scene::open("nobody", Robot::default()).await;
    let told = "this viewer is not known here; say \"ready\" first";

    for message in [
        json!({ "type": "answer", "sdp": "v=0" }),
        json!({ "type": "ice_candidate", "candidate": "candidate:1 1 udp 1 192.0.2.1 1 typ host", "sdp_mid": "0" }),
    ] {
        let kind = message["type"].clone();
        scene.link.say(message).await;
        assert_refused(
            &scene.link.hear().await,
            "unknown_viewer",
            &format!("cannot take {kind}: {told}"),
        );
    }

    let mut viewer = scene.join("ready").await;
    pictures(&mut viewer, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_for_an_answer_ends_that_viewer_with_the_reason_and_the_next_one_sees() {
    let mut scene = Scene::open("garbage-answer", Robot::default()).await;
    for garbage in ["", "what?", "v=0\r\nm=video x\r\n"] {
        scene.offer("ready").await;

        scene
            .link
            .say(json!({ "type": "answer", "sdp": garbage }))
            .await;

        let bye = scene.link.hear_kind("bye").await;
        let reason = bye["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("cannot use the browser's answer: "),
            "{reason}"
        );
        assert_eq!(bye.get("viewer_id"), None, "{bye}");
    }
    scene.http.until_metric("rovercast_viewers", 0.0);

    let mut viewer = scene.join("ready").await;
    pictures(&mut viewer, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_that_come_before_the_answer_are_used_after_it() {
    let mut scene = Scene::open("early-candidates", Robot::default()).await;
    let offer = scene.offer("ready").await;
    let mut viewer = Receiver::open().await;
    let answer = viewer.answer(&offer).await;

    let candidate = viewer.candidate().await;
    scene.link.say_candidate(candidate).await;
    scene
        .link
        .say(json!({ "type": "answer", "sdp": answer }))
        .await;

    // The viewer is told none of the robot's candidates: only the robot, with the early one, can find the way.
    assert!(pictures(&mut viewer, 3).await[0].key_frame);
}

#[tokio::test(flavor = "multi_thread")]
async fn camera_that_is_not_there_turns_the_viewer_away_with_the_reason() {
    let robot = Robot {
        source: "/dev/video4242",
        ..Robot::default()
    };
    assert_turned_away(
        "no-camera",
        robot,
        "cannot read /dev/video4242: No such file or directory (os error 2)",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encoder_that_is_not_there_turns_the_viewer_away_with_the_reason() {
    let robot = Robot {
        encoder: "/dev/video4242",
        ..Robot::default()
    };
    assert_turned_away(
        "no-encoder",
        robot,
        "encoder /dev/video4242: cannot open: No such file or directory (os error 2)",
    )
    .await;
}

async fn assert_turned_away(name: &str, robot: Robot, why: &str) {
    let mut scene = Scene::open(name, robot).await;

    // The second time is no other: the device may have been plugged in meanwhile, and has to be tried.
    for _ in 0..2 {
        scene.link.say(json!({ "type": "dashboard_ready" })).await;
        let bye = scene.link.hear().await;
        assert_eq!(bye, json!({ "type": "bye", "reason": why }));
    }

    let log = scene.robot.until_said("camera or encoder failed");
    assert!(log.contains("WARN") && log.contains(why), "{log}");
    assert_eq!(scene.http.page("/healthz"), "healthy");
    assert_eq!(scene.http.metric("rovercast_viewers"), 0.0);
}

fn assert_refused(message: &Value, code: &str, told: &str) {
    assert_eq!(
        *message,
        json!({ "type": "error", "code": code, "message": told })
    );
}
