//! Pictures made here, so that no test needs a video file or ffmpeg: a texture that moves, and the strip above it.

use openh264::OpenH264API;
use openh264::encoder::{BitRate, Encoder, EncoderConfig, FrameRate, IntraFramePeriod};
use openh264::formats::YUVBuffer;
use rovercast::media::Size;
use rovercast::media::strip::Strip;

pub(crate) const FRAMES_PER_SECOND: u32 = 30;

/// One picture as planar 4:2:0 (`YU12`). Its texture is about as hard to code as a road seen from a moving robot.
pub(crate) fn picture(size: Size, frame: u32) -> Vec<u8> {
    let (width, height) = (size.width as usize, size.height as usize);
    let mut picture = vec![128; width * height * 3 / 2];
    let luma = &mut picture[..width * height];
    for (line, pixels) in luma.chunks_mut(width).enumerate() {
        for (column, pixel) in pixels.iter_mut().enumerate() {
            // Blocks of 4 by 4, two pixels to the left and one up a frame.
            let (x, y) = ((column as u32 + 2 * frame) / 4, (line as u32 + frame) / 4);
            *pixel = 64 + (scatter(x ^ y.rotate_left(16)) >> 25) as u8;
        }
    }
    let strip = Strip {
        frame,
        captured_unix_ms: 0,
    };
    strip.draw(luma, width, size);
    picture
}

/// A clip as an encoder inside a camera would send it: Annex B, a key frame a second.
pub(crate) fn h264(size: Size, frames: u32, bits_per_second: u32) -> Vec<u8> {
    let config = EncoderConfig::new()
        .bitrate(BitRate::from_bps(bits_per_second))
        .max_frame_rate(FrameRate::from_hz(FRAMES_PER_SECOND as f32))
        .intra_frame_period(IntraFramePeriod::from_num_frames(FRAMES_PER_SECOND))
        .skip_frames(false);
    let mut encoder =
        Encoder::with_api_config(OpenH264API::from_source(), config).expect("OpenH264 is built in");
    let mut clip = Vec::new();
    for frame in 0..frames {
        let (width, height) = (size.width as usize, size.height as usize);
        let picture = YUVBuffer::from_vec(picture(size, frame), width, height);
        encoder
            .encode(&picture)
            .expect("a picture can be coded")
            .write_vec(&mut clip);
    }
    clip
}

/// A number that looks random, always the same for the same input (the finaliser of MurmurHash3).
fn scatter(mut number: u32) -> u32 {
    number = (number ^ number >> 16).wrapping_mul(0x85eb_ca6b);
    number = (number ^ number >> 13).wrapping_mul(0xc2b2_ae35);
    number ^ number >> 16
}
