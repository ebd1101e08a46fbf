//! The encoder as the pipeline uses it.

use std::time::Duration;

use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::rbsp::{BitReader, decode_nal};
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::media::h264::nal_units;
use crate::media::{Fourcc, MediaTime, Size, SlotPool};

const SIZE: Size = Size {
    width: 320,
    height: 180,
};
const INTERVAL: Duration = Duration::from_nanos(33_333_333);
const FORMAT: PictureFormat = PictureFormat {
    fourcc: Fourcc::YU12,
    size: SIZE,
    stride: SIZE.width,
    interval: INTERVAL,
};
/// No test waits that long unless it fails.
const LONG: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

fn open(bitrate: Bitrate) -> SoftwareEncoder {
    SoftwareEncoder::open(FORMAT, EncoderSettings { bitrate }).unwrap()
}

/// Moving checks under noise: hard enough that 2 Mbps are used up.
fn frame(sequence: u32) -> Frame {
    let (width, height) = (SIZE.width as usize, SIZE.height as usize);
    let mut noise = sequence;
    let lease = SlotPool::new(1, 0)
        .lend(|memory| {
            for at in 0..width * height {
                let (x, y) = (at % width + 2 * sequence as usize, at / width);
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let check = if x / 40 % 2 == y / 40 % 2 { 60 } else { 180 };
                memory.push(check + (noise >> 27) as u8);
            }
            memory.resize(width * height * 3 / 2, 128);
        })
        .unwrap();
    let captured = MediaTime::from_monotonic(INTERVAL * sequence);
    Frame::new(FORMAT, captured, sequence, lease)
}

fn wait(encoder: &SoftwareEncoder) {
    let mut fds = [PollFd::new(encoder, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&LONG)).unwrap(), 1, "nothing came out");
}

fn encode(encoder: &mut SoftwareEncoder, sequence: u32, key_frame: bool) -> AccessUnit {
    let submitted = encoder.submit(frame(sequence), key_frame).unwrap();
    assert!(matches!(submitted, Submitted::Taken));
    wait(encoder);
    encoder.try_access_unit().unwrap().unwrap()
}

fn encode_all(encoder: &mut SoftwareEncoder, sequence: std::ops::Range<u32>) -> Vec<AccessUnit> {
    sequence.map(|it| encode(encoder, it, false)).collect()
}

fn bitrate_of(units: &[AccessUnit]) -> f64 {
    let bits: usize = units.iter().map(|unit| unit.data.len() * 8).sum();
    bits as f64 / (INTERVAL * units.len() as u32).as_secs_f64()
}

fn assert_bitrate(units: &[AccessUnit], target: Bitrate) {
    let share = bitrate_of(units) / target.as_bps() as f64;
    assert!((0.65..1.35).contains(&share), "{share:.2} of {target}");
}

#[test]
fn two_seconds_of_motion_keep_to_their_bitrate() {
    for bitrate in [Bitrate::kbps(300), Bitrate::kbps(2000)] {
        let units = encode_all(&mut open(bitrate), 0..60);
        assert_bitrate(&units, bitrate);
    }
}

#[test]
fn key_frames_come_first_and_when_asked_for_and_never_else() {
    let mut encoder = open(Bitrate::kbps(500));
    let keys: Vec<u32> = (0..60)
        .map(|sequence| encode(&mut encoder, sequence, sequence == 31))
        .filter(|unit| unit.key_frame)
        .map(|unit| unit.sequence)
        .collect();
    assert_eq!(keys, [0, 31]);
}

#[test]
fn every_access_unit_decodes_by_itself_into_one_picture() {
    let mut decoder = Decoder::new().unwrap();
    for unit in encode_all(&mut open(Bitrate::kbps(1000)), 0..10) {
        let picture = decoder.decode(&unit.data).unwrap().expect("no picture");
        assert_eq!(picture.dimensions(), (320, 180));
        let luma = i32::from(picture.y()[90 * picture.strides().0 + 10]);
        let sent = i32::from(frame(unit.sequence).bytes()[90 * 320 + 10]);
        assert!((luma - sent).abs() < 40, "{luma} instead of {sent}");
        assert_eq!(unit.captured, frame(unit.sequence).captured);
    }
}

#[test]
fn stream_is_constrained_baseline_in_bt601_and_never_reordered() {
    let unit = encode(&mut open(Bitrate::kbps(500)), 0, false);
    let sps = nal_units(&unit.data).next().unwrap();
    let sps = SeqParameterSet::from_bits(BitReader::new(&decode_nal(sps).unwrap()[..])).unwrap();
    assert_eq!(u8::from(sps.profile_idc), 66);
    assert!(sps.constraint_flags.flag1());
    // 240 macroblocks, 30 times a second: 1.2 allows 6000, 1.3 allows 11,880.
    assert_eq!(sps.level_idc, 13);
    let vui = sps.vui_parameters.unwrap();
    let restrictions = vui.bitstream_restrictions.unwrap();
    assert_eq!(restrictions.max_num_reorder_frames, 0);
    assert_eq!(restrictions.max_dec_frame_buffering, 1);
    let signal = vui.video_signal_type.unwrap();
    assert!(!signal.video_full_range_flag);
    assert_eq!(signal.colour_description.unwrap().matrix_coefficients, 6);
}

#[test]
fn bitrate_falls_and_rises_a_little_without_a_key_frame() {
    let mut encoder = open(Bitrate::kbps(1600));
    encode_all(&mut encoder, 0..30);
    for (start, bitrate) in [(30, Bitrate::kbps(600)), (90, Bitrate::kbps(1900))] {
        assert_eq!(encoder.set_bitrate(bitrate).unwrap(), bitrate);
        // The bucket evens out over half a second.
        let units = [
            encode_all(&mut encoder, start..start + 30),
            encode_all(&mut encoder, start + 30..start + 60),
        ];
        assert!(units.iter().flatten().all(|unit| !unit.key_frame));
        assert_bitrate(&units[1], bitrate);
    }
}

#[test]
fn next_pictures_are_as_small_as_a_bitrate_that_fell() {
    let mut encoder = open(Bitrate::kbps(1600));
    // So few that half a second of bits is far away.
    encode_all(&mut encoder, 0..4);
    encoder.set_bitrate(Bitrate::kbps(400)).unwrap();
    let after = encode_all(&mut encoder, 4..12);
    assert!(after.iter().all(|unit| !unit.key_frame));
    // QP rises by five with each picture, at most: a quarter of the bits is twelve.
    assert_bitrate(&after[3..], Bitrate::kbps(400));
}

#[test]
fn bitrate_far_above_costs_one_key_frame() {
    let mut encoder = open(Bitrate::kbps(300));
    encode_all(&mut encoder, 0..10);
    encoder.set_bitrate(Bitrate::kbps(1500)).unwrap();
    let units = encode_all(&mut encoder, 10..70);
    assert_eq!(units.iter().filter(|unit| unit.key_frame).count(), 1);
    assert_bitrate(&units, Bitrate::kbps(1500));
}

#[test]
fn bitrate_above_costs_a_key_frame_only_when_it_lasts() {
    let mut encoder = open(Bitrate::kbps(500));
    encode_all(&mut encoder, 0..10);
    let mut units = Vec::new();
    // Twice taken back after half a second; then it stays.
    for (frames, kbps) in [
        (10..25, 1000),
        (25..40, 500),
        (40..55, 1000),
        (55..70, 500),
        (70..120, 1000),
    ] {
        encoder.set_bitrate(Bitrate::kbps(kbps)).unwrap();
        units.extend(encode_all(&mut encoder, frames));
    }
    let keys: Vec<u32> = units
        .iter()
        .filter(|unit| unit.key_frame)
        .map(|unit| unit.sequence)
        .collect();
    assert_eq!(keys, [101]);
}

#[test]
fn bitrate_below_all_that_helps_does_not_open_the_encoder_again_and_again() {
    let size = Size {
        width: 1920,
        height: 1080,
    };
    let format = PictureFormat {
        size,
        stride: size.width,
        ..FORMAT
    };
    let bitrate = Bitrate::kbps(8000);
    let mut encoder = SoftwareEncoder::open(format, EncoderSettings { bitrate }).unwrap();
    let pool = SlotPool::new(1, 0);
    let mut encode = |sequence| {
        let lease = pool
            .lend(|memory| memory.resize((size.width * size.height * 3 / 2) as usize, 128))
            .expect("the lease came home");
        let captured = MediaTime::from_monotonic(INTERVAL * sequence);
        let frame = Frame::new(format, captured, sequence, lease);
        assert!(matches!(
            encoder.submit(frame, false).unwrap(),
            Submitted::Taken
        ));
        wait(&encoder);
        let unit = encoder.try_access_unit().unwrap().unwrap();
        encoder.set_bitrate(LOWEST_BITRATE).unwrap();
        unit.key_frame
    };
    let keys: Vec<u32> = (0..6).filter(|sequence| encode(*sequence)).collect();
    assert_eq!(keys, [0, 1]);
}

#[test]
fn key_frame_while_a_queue_is_drained_is_the_only_one() {
    let mut encoder = open(Bitrate::kbps(4000));
    encode_all(&mut encoder, 0..10);
    let mut units = Vec::new();
    // The link became narrow; its queue is drained, and a viewer asks for a key frame meanwhile; then all of the link is used.
    for (frames, kbps) in [(10..20, 450), (20..40, 190), (40..60, 450)] {
        encoder.set_bitrate(Bitrate::kbps(kbps)).unwrap();
        units.extend(frames.map(|it| encode(&mut encoder, it, it == 25)));
    }
    let keys: Vec<u32> = units
        .iter()
        .filter(|unit| unit.key_frame)
        .map(|unit| unit.sequence)
        .collect();
    assert_eq!(keys, [25]);
}

#[test]
fn bitrate_that_no_picture_fits_into_is_raised() {
    let mut encoder = open(Bitrate::bps(1));
    assert_eq!(
        encoder.set_bitrate(Bitrate::bps(1)).unwrap(),
        LOWEST_BITRATE
    );
    let most = encoder.set_bitrate(Bitrate::bps(u64::MAX)).unwrap();
    assert_eq!(most, HIGHEST_BITRATE);
}

#[test]
fn busy_encoder_hands_the_frame_back_and_keeps_every_picture_it_took() {
    let mut encoder = open(Bitrate::kbps(500));
    let mut taken = Vec::new();
    let handed_back = loop {
        let sequence = taken.len() as u32;
        match encoder.submit(frame(sequence), false).unwrap() {
            Submitted::Taken => taken.push(sequence),
            Submitted::Full(frame) => break frame.sequence,
        }
        assert!(taken.len() <= 4, "a queue grows");
    };
    assert_eq!(handed_back, taken.len() as u32);
    for sequence in taken {
        wait(&encoder);
        let unit = encoder.try_access_unit().unwrap().unwrap();
        assert_eq!(unit.sequence, sequence);
    }
}

#[test]
fn damaged_frame_is_a_passing_error_and_the_lease_comes_home() {
    let format = PictureFormat {
        fourcc: Fourcc::MJPG,
        stride: 0,
        ..FORMAT
    };
    let bitrate = Bitrate::kbps(500);
    let mut encoder = SoftwareEncoder::open(format, EncoderSettings { bitrate }).unwrap();
    let pool = SlotPool::new(1, 16);
    for sequence in 0..3 {
        let lease = pool.lend(|memory| memory.clear()).expect("lease came home");
        let captured = MediaTime::from_monotonic(INTERVAL * sequence);
        let frame = Frame::new(format, captured, sequence, lease);
        assert!(matches!(
            encoder.submit(frame, false).unwrap(),
            Submitted::Taken
        ));
        wait(&encoder);
        assert!(encoder.try_access_unit().unwrap_err().is_passing());
    }
}

#[test]
fn panic_in_the_worker_becomes_stopped() {
    let outbox = Arc::new(Outbox::new().unwrap());
    let worker = std::thread::spawn({
        let outbox = Arc::clone(&outbox);
        move || {
            let _told = TellStopped(&outbox);
            panic!("on purpose");
        }
    });
    assert!(worker.join().is_err());
    let error = outbox.pop().unwrap().unwrap_err();
    assert!(!error.is_passing());
    assert_eq!(error.to_string(), "openh264 stopped: its thread ended");
}

#[test]
fn picture_that_is_too_large_is_refused_at_the_start() {
    let size = Size {
        width: 4096,
        height: 2304,
    };
    let format = PictureFormat {
        size,
        stride: 4096,
        ..FORMAT
    };
    let bitrate = Bitrate::kbps(500);
    let error = SoftwareEncoder::open(format, EncoderSettings { bitrate }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot start openh264: got a picture of 4096x2304 when expecting at most 3840x2160"
    );
}
