//! The real robot at a relay that speaks the seed's protocol and no word more (design.md, section 5), with viewers made from
//! the `webrtc` crate: no browser, and no extension on either side.
#![allow(clippy::disallowed_methods)] // a process is watched by the real clock
#![allow(clippy::unwrap_used)] // tests from end to end: clippy knows only functions marked #[test] as such

#[path = "seed_relay/bad_messages.rs"]
mod bad_messages;
mod common;
#[path = "seed_relay/lifecycle.rs"]
mod lifecycle;
#[path = "seed_relay/profile.rs"]
mod profile;
#[path = "common/receiver.rs"]
mod receiver;
#[path = "seed_relay/relay.rs"]
mod relay;
#[path = "seed_relay/scene.rs"]
mod scene;
#[path = "seed_relay/secrets.rs"]
mod secrets;

use std::time::Duration;

use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use relay::SeedRelay;
use scene::{KEY_ENCODED, Robot, Scene, assert_complete, pictures};

#[tokio::test(flavor = "multi_thread")]
async fn seed_relay_gets_an_offer_candidates_and_a_stream_from_its_key_frame_on() {
    let mut scene = Scene::open("seed", Robot::default()).await;
    assert_eq!(
        scene.link.request_line,
        format!(
            "GET /webrtc-relay?type=robot&robot_id=rover-7&api_key={KEY_ENCODED}&camera_id=front HTTP/1.1"
        )
    );

    let mut viewer = scene.join("dashboard_ready").await;
    let pictures = pictures(&mut viewer, 30).await;

    assert!(pictures[0].key_frame, "{:?}", pictures[0]);
    assert_complete(&pictures);
    assert_eq!(scene.http.metric("rovercast_viewers"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn second_ready_replaces_the_anonymous_viewer() {
    let (mut scene, first) = Scene::watched("replaced", Robot::default()).await;

    let mut second = scene.join("ready").await;

    first.until_closed().await;
    let pictures = pictures(&mut second, 10).await;
    assert!(pictures[0].key_frame, "{:?}", pictures[0]);
    assert_eq!(scene.http.metric("rovercast_viewers"), 1.0);
    assert_eq!(scene.http.metric("rovercast_viewers_opened_total"), 2.0);
    assert_eq!(scene.http.metric("rovercast_pipeline_starts_total"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_lives_through_the_relays_absence_and_is_not_doubled_by_its_return() {
    let (scene, mut viewer) = Scene::watched("outage", Robot::default()).await;
    let Scene {
        relay,
        link,
        robot: _robot,
        http,
    } = scene;
    let address = relay.address;
    let mut seen = pictures(&mut viewer, 5).await;

    drop((relay, link));
    http.until_metric("rovercast_relay_connected", 0.0);
    seen.extend(pictures(&mut viewer, 15).await);
    let relay = SeedRelay::open_at(address).await;
    let mut link = relay.accept().await;
    link.say(json!({ "type": "welcome" })).await;
    http.until_metric("rovercast_relay_connected", 1.0);
    seen.extend(pictures(&mut viewer, 15).await);

    link.expect_no_offer_on_its_way().await;
    assert_complete(&seen);
    assert_eq!(http.metric("rovercast_viewers"), 1.0);
    assert_eq!(http.metric("rovercast_viewers_opened_total"), 1.0);
    assert_eq!(http.metric("rovercast_pipeline_starts_total"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_loss_reports_within_a_second_become_three_key_frames_at_most() {
    let (scene, mut viewer) = Scene::watched("losses", Robot::default()).await;
    // What joining asked for has come by then.
    let settled = pictures(&mut viewer, 15).await;
    assert!(
        settled.iter().skip(5).all(|picture| !picture.key_frame),
        "{settled:?}"
    );
    let media_ssrc = viewer.packets(1).await[0].header.ssrc;
    let asked = scene.http.metric("rovercast_key_frame_requests_total");
    let made = scene.http.metric("rovercast_encoder_key_frames_total");

    // 0.6 s long, so that it still is a second on a machine that stretches it.
    let mut pace = interval(Duration::from_millis(3));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..200 {
        pace.tick().await;
        let loss = PictureLossIndication {
            sender_ssrc: 1,
            media_ssrc,
        };
        viewer.report(loss).await;
    }
    let seen = pictures(&mut viewer, 40).await;

    let made = scene.http.metric("rovercast_encoder_key_frames_total") - made;
    let asked = scene.http.metric("rovercast_key_frame_requests_total") - asked;
    let seen = seen.iter().filter(|picture| picture.key_frame).count();
    // Two that are free now, and one more when the budget fills up again.
    assert!((1.0..=3.0).contains(&asked), "{asked} requests were made");
    assert!((1.0..=3.0).contains(&made), "{made} key frames were made");
    assert!((1..=3).contains(&seen), "{seen} key frames came");
}
