//! Encoders that do not do what the interface says, or do it in a way of their own.

use std::time::{Duration, Instant};

use rovercast::encoder::Encoder;
use rovercast::media::Bitrate;

use super::pair::{Pair, Quirk, node};

#[test]
#[ignore = "needs a camera and an encoder"]
fn a_key_frame_comes_soon_after_it_was_asked_for_and_not_before() {
    let mut pair = Pair::open("", &[]);
    pair.run(20);
    pair.wants_key_frame = true;
    pair.run(20);
    pair.check("key-frame");
    let key_frames = pair.key_frames();
    assert_eq!(key_frames.len(), 2);
    assert!((19..27).contains(&key_frames[1]));
}

/// All that is planned goes without a fault: `errors` is what the pipeline would have logged.
fn key_frames_by_other_means(name: &str, overlay: &str) {
    let _no_force_key = Quirk::set("no_force_key", 1);
    let mut pair = Pair::open(overlay, &[]);
    pair.run(10);
    pair.wants_key_frame = true;
    pair.run(10);
    pair.wants_key_frame = true;
    pair.run(20);
    pair.check(name);
    assert_eq!(pair.errors, [""; 0]);
    assert_eq!(pair.key_frames().len(), 3);
    assert_eq!(pair.encoder.copied_bytes(), 0);
}

#[test]
#[ignore = "needs the virtual encoder"]
fn without_the_control_a_reset_brings_key_frames() {
    key_frames_by_other_means("key-by-reset", "");
}

#[test]
#[ignore = "needs the virtual encoder"]
fn without_control_and_reset_opening_it_again_brings_key_frames() {
    let _stalls = Quirk::set("restart_stalls", 1);
    key_frames_by_other_means("key-by-reopen", "[key_frames]\notherwise = \"reopen\"");
}

#[test]
#[ignore = "needs the virtual encoder, multi-planar"]
fn access_units_may_begin_anywhere_in_their_buffers() {
    let _offset = Quirk::set("data_offset", 256);
    let mut pair = Pair::open("", &[]);
    pair.run(10);
    pair.check("data-offset");
    assert_eq!(pair.errors, [""; 0]);
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_drain_that_ends_in_epipe_is_a_drain() {
    let _epipe = Quirk::set("drain_epipe", 1);
    key_frames_by_other_means("drain-epipe", "");
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_drain_that_start_does_not_end_is_ended_by_the_reset() {
    let _sticks = Quirk::set("drain_sticks", 1);
    key_frames_by_other_means("drain-sticks", "");
}

/// Bytes a second over so long.
fn rate(pair: &mut Pair, over: Duration) -> u64 {
    let (begin, before) = (Instant::now(), pair.units.len());
    while begin.elapsed() < over {
        pair.turn().expect("it works");
    }
    let bytes: usize = pair.units[before..].iter().map(|it| it.data.len()).sum();
    bytes as u64 * 1000 / begin.elapsed().as_millis() as u64
}

fn noise() {
    let done = std::process::Command::new("v4l2-ctl")
        .arg("-d")
        .arg(node("ROVERCAST_CAMERA"))
        .args(["-c", "test_pattern=21"])
        .status();
    assert!(done.expect("v4l2-ctl is there").success());
}

fn bitrate_follows(name: &str, overlay: &str) {
    let mut pair = Pair::open(overlay, &[]);
    noise();
    pair.encoder
        .set_bitrate(Bitrate::kbps(1600))
        .expect("it takes a rate");
    pair.run(30);
    let before = rate(&mut pair, Duration::from_secs(3));
    let took = pair.encoder.set_bitrate(Bitrate::kbps(400));
    println!("took {took:?}");
    rate(&mut pair, Duration::from_secs(2));
    let after = rate(&mut pair, Duration::from_secs(3));
    println!("{name}: {before} bytes/s, then {after}");
    pair.check(name);
    assert!(after * 2 < before, "{before}, then {after}");
    assert_eq!(pair.errors, [""; 0]);
}

#[test]
#[ignore = "needs vivid and an encoder"]
fn the_rate_of_the_stream_follows_the_bitrate() {
    bitrate_follows("bitrate", "");
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_bitrate_that_cannot_be_changed_is_changed_by_opening_it_again() {
    let _fixed = Quirk::set("fixed_bitrate", 1);
    bitrate_follows(
        "bitrate-by-reopen",
        "[rate]\nmethod = \"reopen\"\nspacing = \"1 s\"\nleast_change_percent = 30",
    );
}

#[test]
#[ignore = "needs the virtual encoder"]
fn the_level_is_high_enough_for_a_strict_firmware() {
    let _strict = Quirk::set("strict_level", 1);
    let mut pair = Pair::open("", &[]);
    pair.run(10);
    pair.check("strict-level");
    assert_eq!(pair.errors, [""; 0]);
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_level_that_the_firmware_refuses_is_raised_until_it_starts() {
    let _strict = Quirk::set("strict_level", 1);
    let mut pair = Pair::open("[level]\nleast = \"1.0\"\nmost = \"1.0\"", &[]);
    pair.run(10);
    pair.check("raised-level");
    assert_eq!(pair.errors, [""; 0]);
}

#[test]
#[ignore = "needs the virtual encoder"]
fn headers_in_a_buffer_of_their_own_go_in_front_of_their_picture() {
    for separate in [1, 2] {
        let _separate = Quirk::set("separate_headers", separate);
        let mut pair = Pair::open("", &[]);
        pair.run(10);
        pair.wants_key_frame = true;
        pair.run(10);
        pair.check(&format!("separate-headers-{separate}"));
        assert_eq!(pair.key_frames().len(), 2);
    }
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_key_frame_is_one_whatever_its_flag_says() {
    let _flag = Quirk::set("no_keyframe_flag", 1);
    let mut pair = Pair::open("", &[]);
    pair.run(10);
    pair.check("no-flag");
    assert_eq!(pair.key_frames(), [0]);
}

#[test]
#[ignore = "needs the virtual encoder"]
fn skipped_frames_are_missed_and_nothing_is_restarted() {
    let _skips = Quirk::set("skip_every", 5);
    let mut pair = Pair::open("", &[]);
    pair.run(40);
    pair.check("skips");
    let (frames, units) = (pair.taken.len(), pair.units.len());
    assert!(frames > units + units / 6, "{units} units of {frames}");
    assert_eq!(pair.errors, [""; 0]);
    assert_eq!(pair.key_frames(), [0]);
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_key_frame_that_is_skipped_is_asked_for_again() {
    let _skips = Quirk::set("skip_every", 4);
    let mut pair = Pair::open("", &[]);
    pair.run(5);
    for _ in 0..8 {
        pair.wants_key_frame = true;
        pair.run(9);
    }
    pair.check("skipped-key-frame");
    assert_eq!(pair.errors, [""; 0]);
    assert_eq!(pair.key_frames().len(), 9, "{:?}", pair.key_frames());
}

#[test]
#[ignore = "needs the virtual encoder"]
fn timestamps_cut_to_milliseconds_still_tell_whose_unit_it_is() {
    let _cut = Quirk::set("timestamp_step_us", 1000);
    let mut pair = Pair::open("", &[]);
    pair.run(20);
    pair.check("cut-timestamps");
    assert_eq!(pair.errors, [""; 0]);
}
