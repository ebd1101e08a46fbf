//! Encoders that stand still, fail, block or go away.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rovercast::camera::Camera;
use rovercast::encoder::{Encoder, EncoderError};

use super::pair::{Pair, Quirk, mapped, no_raw_picture_is_mapped};

#[test]
#[ignore = "needs the virtual encoder"]
fn a_reset_that_stalls_leads_to_opening_it_again() {
    let _no_force_key = Quirk::set("no_force_key", 1);
    let _stalls = Quirk::set("restart_stalls", 1);
    let mut pair = Pair::open("[patience]\nfirst_unit = \"1 s\"", &[]);
    pair.run(10);
    pair.wants_key_frame = true;
    pair.run(20);
    pair.check("reset-stalls");
    assert!(pair.errors.iter().any(|it| it.contains("gave nothing")));
    assert_eq!(pair.key_frames().len(), 2);
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_failed_frame_is_left_out_and_a_key_frame_follows() {
    let mut pair = Pair::open("", &[]);
    pair.run(10);
    let failing = Quirk::set("error_buffers", 3);
    pair.run(20);
    pair.check("failed-frames");
    drop(failing);
    let after = pair.key_frames()[1];
    let (before, key) = (&pair.units[after - 1], &pair.units[after]);
    assert!(
        key.sequence > before.sequence + 3,
        "what was lost is left out"
    );
    assert_eq!(pair.errors, [""; 0]);
}

/// The 10th next frame is never finished, until that is done which cures it.
fn stall(name: &str, cure: u32, overlay: &str) -> Pair {
    let mut pair = Pair::open(overlay, &[]);
    pair.run(10);
    let _cure = Quirk::set("stall_cure", cure);
    let _stall = Quirk::set("stall_after", 10);
    pair.run(40);
    pair.check(name);
    pair
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_stall_is_cured_by_the_lowest_rung_that_helps() {
    let rungs = [
        "a reset of its capture queue",
        "setting both queues up again",
        "opening it again",
    ];
    for (cure, expected) in (1..).zip([&rungs[..1], &rungs[..2], &rungs]) {
        for path in ["encoder-export", "camera-export", "copy"] {
            let overlay = format!("paths = [\"{path}\"]\n[patience]\nfirst_unit = \"1 s\"");
            let pair = stall(&format!("stall-{cure}-{path}"), cure, &overlay);
            let tried: Vec<_> = pair
                .errors
                .iter()
                .filter_map(|it| it.split_once("trying "))
                .collect();
            let tried: Vec<_> = tried.into_iter().map(|(_, rung)| rung).collect();
            assert_eq!(tried, expected);
            assert_eq!(pair.key_frames().len(), 2);
            if path != "copy" {
                assert_eq!(pair.encoder.copied_bytes(), 0);
                no_raw_picture_is_mapped(&pair);
            }
        }
    }
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_wedged_encoder_is_given_up() {
    let mut pair = Pair::open("[patience]\nfirst_unit = \"1 s\"", &[]);
    pair.run(10);
    let cure = Quirk::set("stall_cure", 4);
    let _stall = Quirk::set("stall_after", 5);
    let begin = Instant::now();
    let end = loop {
        if let Err(error) = pair.turn() {
            break error;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "it goes on");
    };
    println!("given up after {:?}: {end}", begin.elapsed());
    assert!(matches!(end, EncoderError::GivenUp { .. }));
    assert_eq!(pair.errors.len(), 3);
    cure.write("1");
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_streamoff_that_blocks_is_left_behind_and_the_picture_returns() {
    let mut pair = Pair::open("[patience]\nfirst_unit = \"1 s\"\ncall = \"1 s\"", &[]);
    pair.run(10);
    let blocks = Quirk::set("streamoff_ms", 6000);
    let _stall = Quirk::set("stall_after", 5);
    pair.run(20);
    drop(blocks);
    pair.check("streamoff-blocks");
    println!("left behind: {}", rovercast::v4l2::left_behind());
    assert!(
        pair.errors
            .iter()
            .any(|it| it.contains("did not come back"))
    );
    let begin = Instant::now();
    while rovercast::v4l2::left_behind() > 0 {
        assert!(begin.elapsed() < Duration::from_secs(30), "it never ends");
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "needs the virtual encoder"]
fn closing_waits_for_a_slow_driver_but_not_for_ever() {
    let mut pair = Pair::open("", &[]);
    pair.run(5);
    let _blocks = Quirk::set("streamoff_ms", 6000);
    let begin = Instant::now();
    drop(pair);
    let took = begin.elapsed();
    println!("closed after {took:?}");
    assert!(took < Duration::from_secs(5));
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_slow_frame_is_no_stall() {
    let mut pair = Pair::open("", &[]);
    pair.run(10);
    let _slow = Quirk::set("stall_ms", 900);
    pair.run(20);
    pair.check("slow-frame");
    assert_eq!(pair.errors, [""; 0]);
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_start_that_fails_once_is_tried_again() {
    let fails = Quirk::set("fail_streamon", 1);
    let mut pair = Pair::open("", &[]);
    pair.run(10);
    drop(fails);
    pair.check("failed-start");
    assert_eq!(pair.errors.len(), 1, "{:?}", pair.errors);
}

#[test]
#[ignore = "needs the virtual encoder, which is gone for a while"]
fn an_encoder_that_is_taken_away_is_given_up() {
    let mut pair = Pair::open("", &[]);
    pair.run(10);
    let driver = PathBuf::from("/sys/bus/platform/drivers/vh264enc");
    fs::write(driver.join("unbind"), "vh264enc").expect("it can be taken away");
    let begin = Instant::now();
    let end = loop {
        if let Err(error) = pair.turn() {
            break error;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "it goes on");
    };
    println!(
        "after {:?}: {end}; before: {:?}",
        begin.elapsed(),
        pair.errors
    );
    drop(pair);
    fs::write(driver.join("bind"), "vh264enc").expect("it comes back");
    assert!(matches!(end, EncoderError::GivenUp { .. }));
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("proc").count()
}

#[test]
#[ignore = "needs vivid, which is gone for a while"]
fn a_camera_that_is_pulled_out_twenty_times_leaves_nothing_behind() {
    let driver = PathBuf::from("/sys/bus/platform/drivers/vivid");
    let mut before = None;
    for cycle in 0..20 {
        let mut pair = Pair::open("", &[]);
        pair.run(3);
        fs::write(driver.join("unbind"), "vivid.0").expect("it can be pulled out");
        let begin = Instant::now();
        let end = loop {
            while let Ok(Some(_)) = pair.encoder.try_access_unit() {}
            match pair.camera.try_frame() {
                Ok(frame) => drop(frame),
                Err(error) => break error,
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "it goes on");
        };
        assert!(end.is_unplugged(), "{end}");
        drop(pair);
        fs::write(driver.join("bind"), "vivid.0").expect("it can be put back");
        let held = (open_descriptors(), mapped().len());
        println!("{cycle}: {} descriptors, {} mappings", held.0, held.1);
        assert_eq!(*before.get_or_insert(held), held);
    }
}
