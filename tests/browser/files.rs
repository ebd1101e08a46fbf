//! Files instead of a camera: each kind plays at its own pace and loops.

use std::fs;
use std::thread;
use std::time::Duration;

use rovercast::media::Size;

use super::common::artefact;
use super::common::browser::Browser;
use super::common::clip;
use super::common::process::Rovercast;
use super::common::sampler::Samples;
use super::watch;

/// Large enough for the strip, small enough to be made in no time.
const SIZE: Size = Size {
    width: 320,
    height: 240,
};
const FRAMES: u32 = 60;

#[test]
fn raw_video_file_plays_and_loops() {
    let mut file = format!(
        "YUV4MPEG2 W{} H{} F30:1 Ip A1:1 C420jpeg\n",
        SIZE.width, SIZE.height
    )
    .into_bytes();
    for frame in 0..FRAMES {
        file.extend_from_slice(b"FRAME\n");
        file.extend(clip::picture(SIZE, frame));
    }
    assert_plays("clip.y4m", &file);
}

#[test]
fn motion_jpeg_file_plays_and_loops() {
    let file: Vec<u8> = (0..FRAMES)
        .flat_map(|frame| jpeg(&clip::picture(SIZE, frame)))
        .collect();
    assert_plays("clip.mjpeg", &file);
}

#[test]
fn coded_file_is_passed_through_and_loops() {
    assert_plays("clip.h264", &clip::h264(SIZE, FRAMES, 500_000));
}

/// Two rounds of the clip: every frame number is seen, and the first follows the last.
fn assert_plays(name: &str, file: &[u8]) {
    let path = artefact(name);
    fs::write(&path, file).expect("target is writable");
    let browser = Browser::open(name);
    let path = path.to_str().expect("target is UTF-8");
    let mut robot = Rovercast::demo(name, &["--camera", path]);
    let page = watch(&browser, &format!("http://{}/", robot.address()));

    thread::sleep(Duration::from_secs(4));
    let samples = Samples::take(&page);
    page.screenshot(name);

    let sizes = samples.sizes();
    assert_eq!(sizes, [(SIZE.width, SIZE.height)]);
    let frames = samples.frames();
    assert!(
        (90..=130).contains(&frames.len()),
        "4 s of 30 a second were {} pictures",
        frames.len()
    );
    assert!(frames.iter().all(|frame| *frame < FRAMES), "{frames:?}");
    let rounds = frames.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(
        (1..=2).contains(&rounds),
        "looped {rounds} times: {frames:?}"
    );
    let pause = samples.longest_pause();
    assert!(
        pause < Duration::from_millis(250),
        "the picture stood still for {pause:?}"
    );
}

/// A baseline JPEG of a picture's mosaic: every block of 8 by 8 pixels is its mean, which keeps the strip (ITU-T T.81).
fn jpeg(picture: &[u8]) -> Vec<u8> {
    let (width, height) = (SIZE.width as usize, SIZE.height as usize);
    let mut file = vec![0xff, 0xd8];
    // All coefficients are divided by 8: the first of a block is then its mean.
    segment(&mut file, 0xdb, &[&[0][..], &[8; 64]].concat());
    let [height_high, height_low] = (SIZE.height as u16).to_be_bytes();
    let [width_high, width_low] = (SIZE.width as u16).to_be_bytes();
    let shape = [8, height_high, height_low, width_high, width_low, 3];
    segment(
        &mut file,
        0xc0,
        &[&shape[..], &[1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0]].concat(),
    );
    // First coefficients: nine sizes, each a code of four bits. Others: nothing but "end of block", a single 0.
    segment(
        &mut file,
        0xc4,
        &[
            0x00, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
        ],
    );
    segment(
        &mut file,
        0xc4,
        &[0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    segment(&mut file, 0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);

    let mut bits = Vec::new();
    let mut last = 0_i32;
    for top in (0..height).step_by(16) {
        for left in (0..width).step_by(16) {
            for (x, y) in [(0, 0), (8, 0), (0, 8), (8, 8)] {
                let block = (0..64).map(|n| picture[(top + y + n / 8) * width + left + x + n % 8]);
                let mean = block.map(i32::from).sum::<i32>() / 64 - 128;
                push_mean(&mut bits, mean - last);
                last = mean;
            }
            // Grey: both colour planes are 128, the value that codes as 0.
            push_mean(&mut bits, 0);
            push_mean(&mut bits, 0);
        }
    }
    bits.resize(bits.len().next_multiple_of(8), true);
    for byte in bits.chunks(8) {
        let byte = byte.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        file.push(byte);
        if byte == 0xff {
            file.push(0);
        }
    }
    file.extend([0xff, 0xd9]);
    file
}

fn segment(file: &mut Vec<u8>, marker: u8, content: &[u8]) {
    file.extend([0xff, marker]);
    file.extend((content.len() as u16 + 2).to_be_bytes());
    file.extend(content);
}

/// One block: the size of the difference, the difference, and "end of block".
fn push_mean(bits: &mut Vec<bool>, difference: i32) {
    let size = i32::BITS - difference.abs().leading_zeros();
    // A negative one is sent as its one's complement (ITU-T T.81, F.1.2.1.1).
    let value = if difference < 0 {
        difference - 1
    } else {
        difference
    };
    bits.extend((0..4).rev().map(|bit| size >> bit & 1 == 1));
    bits.extend((0..size).rev().map(|bit| value >> bit & 1 == 1));
    bits.push(false);
}
