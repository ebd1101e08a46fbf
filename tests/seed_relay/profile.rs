//! An encoder that makes another profile of H.264 than the offer said, as hardware may that takes over from software.

use std::fs;

use rovercast::media::Size;
use serde_json::json;

use super::common::{artefact, clip};
use super::receiver::Receiver;
use super::scene::{Robot, Scene, pictures};

#[tokio::test(flavor = "multi_thread")]
async fn who_agreed_to_baseline_comes_again_for_main_and_stays_for_baseline() {
    let robot = Robot {
        source: baseline_and_main("profiles.h264"),
        ..Robot::default()
    };
    let (mut scene, first) = Scene::watched("profiles", robot).await;

    let bye = scene.link.hear_kind("bye").await;
    assert_eq!(
        bye,
        json!({ "type": "bye", "reason": "the encoder makes another profile of H.264 now" })
    );
    first.until_closed().await;

    // As the page does.
    let offer = scene.offer("ready").await;
    assert!(offer.contains("profile-level-id=4d"), "{offer}");
    let mut second = Receiver::open().await;
    let answer = second.answer(&offer).await;
    let answer = json!({ "type": "answer", "sdp": answer });
    scene.link.say(answer).await;
    scene.trickle(&mut second, &offer).await;
    // The clip begins again, with Baseline.
    pictures(&mut second, 2 * (BASELINE + MAIN) as usize).await;
    assert_eq!(scene.http.metric("rovercast_viewers"), 1.0);
    assert_eq!(scene.http.metric("rovercast_viewers_opened_total"), 2.0);
    assert_eq!(scene.http.metric("rovercast_pipeline_starts_total"), 1.0);
}

/// A clip whose SPS says Constrained Baseline at first and Main from the fourth second on: decoders of Main read both.
fn baseline_and_main(name: &str) -> &'static str {
    const SPS: [u8; 4] = [0, 0, 1, 0x67];
    let size = Size {
        width: 320,
        height: 240,
    };
    let mut clip = clip::h264(size, BASELINE, 300_000);
    let mut main = clip::h264(size, MAIN, 300_000);
    for at in 0..main.len() - 5 {
        if main[at..].starts_with(&SPS) {
            assert_eq!(main[at + 4], 66, "Baseline");
            main[at + 4..at + 6].copy_from_slice(&[77, 0x40]);
        }
    }
    clip.append(&mut main);
    let path = artefact(name);
    fs::write(&path, clip).unwrap();
    format!("file:{}", path.display()).leak()
}

/// Long enough to see three pictures of it.
const BASELINE: u32 = 3 * clip::FRAMES_PER_SECOND;
const MAIN: u32 = 2 * clip::FRAMES_PER_SECOND;
