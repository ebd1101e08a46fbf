//! How pictures get from a camera to an encoder, and what it costs.

use std::time::{Duration, Instant};

use rovercast::board::PicturePath;
use rovercast::camera::Camera;
use rovercast::encoder::{Encoder, Submitted};
use rovercast::media::Fourcc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::pair::{Pair, Quirk, coded_size, no_raw_picture_is_mapped};

#[test]
#[ignore = "needs a camera and an encoder"]
fn the_best_path_brings_pictures_without_a_copy() {
    let mut pair = Pair::open("", &[]);
    pair.run(60);
    pair.check("best");
    assert_eq!(pair.path(), Some(PicturePath::EncoderExport));
    assert_eq!(pair.encoder.copied_bytes(), 0);
    no_raw_picture_is_mapped(&pair);
}

#[test]
#[ignore = "needs a camera and an encoder"]
fn the_camera_s_own_memory_brings_pictures_without_a_copy() {
    let mut pair = Pair::open("paths = [\"camera-export\"]", &[]);
    pair.run(60);
    pair.check("camera-export");
    assert_eq!(pair.path(), Some(PicturePath::CameraExport));
    assert_eq!(pair.encoder.copied_bytes(), 0);
    no_raw_picture_is_mapped(&pair);
}

#[test]
#[ignore = "needs a camera and an encoder"]
fn a_copy_works_with_everything_and_is_counted() {
    let all = [Fourcc::NV12, Fourcc::YU12, Fourcc::YUYV, Fourcc::UYVY];
    for fourcc in all {
        let mut pair = Pair::open("paths = [\"copy\"]", &[fourcc]);
        assert_eq!(pair.camera.format().fourcc, fourcc);
        pair.run(20);
        pair.check(&format!("copy-{fourcc}"));
        assert_eq!(pair.path(), Some(PicturePath::Copy));
        assert!(pair.encoder.copied_bytes() > 0);
    }
}

#[test]
#[ignore = "needs the virtual encoder, multi-planar"]
fn planes_with_buffers_of_their_own_are_each_written_to_theirs() {
    // NM12 alone, YM12 alone.
    for (name, formats) in [("nm12", 8), ("ym12", 16)] {
        let _formats = Quirk::set("formats", formats);
        for fourcc in [Fourcc::NV12, Fourcc::YUYV] {
            let mut pair = Pair::open("", &[fourcc]);
            assert_eq!(pair.path(), Some(PicturePath::Copy));
            pair.run(10);
            pair.check(&format!("{name}-{fourcc}"));
            assert!(pair.encoder.copied_bytes() > 0);
        }
    }
}

#[test]
#[ignore = "needs the virtual encoder"]
fn an_encoder_that_wants_more_buffers_gets_them() {
    let _raw = Quirk::set("min_output_buffers", 6);
    let _coded = Quirk::set("min_capture_buffers", 5);
    let _queued = Quirk::set("need_queued_output", 1);
    for path in ["encoder-export", "camera-export", "copy"] {
        let mut pair = Pair::open(&format!("paths = [\"{path}\"]"), &[]);
        pair.run(10);
        pair.check(&format!("buffers-{path}"));
        assert_eq!(pair.errors, [""; 0]);
    }
}

#[test]
#[ignore = "needs the virtual encoder"]
fn the_camera_widens_its_lines_to_the_encoder_s() {
    for align in [64, 128] {
        let _stride = Quirk::set("stride_align", align);
        for path in ["encoder-export", "camera-export", "copy"] {
            let mut pair = Pair::open(&format!("paths = [\"{path}\"]"), &[Fourcc::NV12]);
            assert_eq!(pair.camera.format().stride % align, 0);
            pair.run(10);
            pair.check(&format!("stride-{align}-{path}"));
        }
    }
}

#[test]
#[ignore = "needs the virtual encoder"]
fn padded_lines_are_cropped_and_never_seen() {
    let _height = Quirk::set("height_align", 16);
    let planes = ("planes", Fourcc::NV12, PicturePath::Copy);
    let packed = ("packed", Fourcc::YUYV, PicturePath::EncoderExport);
    for (name, fourcc, path) in [planes, packed] {
        let mut pair = Pair::open("", &[fourcc]);
        assert_eq!(pair.path(), Some(path));
        pair.run(10);
        pair.check(&format!("cropped-{name}"));
        assert_eq!(coded_size(&pair.units[0]), (320, 180));
    }
}

#[test]
#[ignore = "needs the virtual encoder"]
fn with_little_contiguous_memory_there_are_fewer_buffers() {
    let _short = Quirk::set("fail_reqbufs", 1);
    let mut pair = Pair::open("paths = [\"encoder-export\"]", &[]);
    pair.run(10);
    pair.check("little-memory");
}

#[test]
#[ignore = "needs vivid with scattered memory, and an encoder without an IOMMU"]
fn scattered_memory_is_refused_and_the_next_path_taken() {
    let mut pair = Pair::open("paths = [\"camera-export\", \"copy\"]", &[]);
    assert_eq!(pair.path(), Some(PicturePath::Copy));
    pair.run(20);
    pair.check("scattered");
    let frame = 320 * 180 * 3 / 2;
    let expected = pair.taken.len() as u64 * frame;
    assert_eq!(pair.encoder.copied_bytes(), expected);
}

#[test]
#[ignore = "needs a camera and an encoder"]
fn with_nothing_to_do_it_does_not_turn() {
    let mut pair = Pair::open("", &[]);
    pair.run(10);
    let begin = Instant::now();
    let mut wakes = 0;
    while begin.elapsed() < Duration::from_secs(3) {
        let mut encoder = [PollFd::new(&pair.encoder, PollFlags::IN)];
        let patience = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        wakes += poll(&mut encoder, Some(&patience)).expect("poll works");
        while pair
            .encoder
            .try_access_unit()
            .expect("it is well")
            .is_some()
        {}
    }
    println!("{wakes} wakes in 3 s");
    assert!(wakes < 10);
}

#[test]
#[ignore = "needs a camera and an encoder"]
fn a_frame_costs_no_memory_and_a_unit_only_its_own() {
    for path in ["encoder-export", "camera-export", "copy"] {
        let mut pair = Pair::open(&format!("paths = [\"{path}\"]"), &[]);
        pair.run(20);
        let (mut frames, mut units, mut in_units) = (0, 0, 0);
        while units < 60 {
            let mut descriptors = [
                PollFd::new(&pair.camera, PollFlags::IN),
                PollFd::new(&pair.encoder, PollFlags::IN),
            ];
            poll(&mut descriptors, None).expect("poll works");
            let mut unit = None;
            let counted = allocation_counter::measure(|| {
                unit = pair.encoder.try_access_unit().expect("well");
            });
            in_units += counted.count_total;
            units += u32::from(unit.is_some());
            drop(unit);
            let counted = allocation_counter::measure(|| {
                let Some(frame) = pair.camera.try_frame().expect("it works") else {
                    return;
                };
                frames += 1;
                match pair.encoder.submit(frame, false).expect("it works") {
                    Submitted::Taken => {}
                    Submitted::Full(frame) => drop(frame),
                }
            });
            assert_eq!(counted.count_total, 0, "from camera to encoder, on {path}");
        }
        println!("{path}: {in_units} allocations in {units} units of {frames} frames");
        assert!(in_units <= 2 * u64::from(units));
    }
}
