//! Between the camera and the encoder nothing is allocated and no pixel copied, however long it runs.
#![cfg(feature = "software-encoder")]

use std::time::Duration;

use rovercast::camera::Camera;
use rovercast::camera::test_card::{TestCard, TestCardSettings};
use rovercast::encoder::software::{EncoderSettings, SoftwareEncoder};
use rovercast::encoder::{Encoder, Submitted};
use rovercast::media::{Bitrate, Size};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What the pipeline's thread does, a turn at a time.
struct Turns {
    camera: TestCard,
    encoder: SoftwareEncoder,
    units: u32,
}

impl Turns {
    fn new() -> Self {
        let settings = TestCardSettings {
            size: Size {
                width: 320,
                height: 180,
            },
            interval: Duration::from_millis(5),
        };
        let camera = TestCard::open(&settings).expect("a test card needs no device");
        let bitrate = Bitrate::kbps(500);
        let encoder = SoftwareEncoder::open(camera.format(), EncoderSettings { bitrate })
            .expect("OpenH264 takes the test card");
        Self {
            camera,
            encoder,
            units: 0,
        }
    }

    /// Runs until so many units came out.
    fn run(&mut self, units: u32) {
        let until = self.units + units;
        while self.units < until {
            let mut descriptors = [
                PollFd::new(&self.camera, PollFlags::IN),
                PollFd::new(&self.encoder, PollFlags::IN),
            ];
            let patience = Timespec {
                tv_sec: 10,
                tv_nsec: 0,
            };
            assert_ne!(poll(&mut descriptors, Some(&patience)), Ok(0));
            if self.encoder.try_access_unit().expect("it codes").is_some() {
                self.units += 1;
            }
            if let Some(frame) = self.camera.try_frame().expect("it draws") {
                match self.encoder.submit(frame, false).expect("it takes frames") {
                    Submitted::Taken => {}
                    Submitted::Full(frame) => drop(frame),
                }
            }
        }
    }
}

#[test]
fn camera_to_encoder_allocates_nothing_per_frame_and_copies_no_pixel() {
    let mut turns = Turns::new();
    turns.run(10);

    let counted = allocation_counter::measure(|| turns.run(100));

    assert_eq!(counted.count_total, 0, "in 100 frames");
    assert_eq!(turns.encoder.copied_bytes(), 0);
}

#[test]
fn the_count_can_see_an_allocation() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(7_u64))));

    assert_eq!(counted.count_total, 1);
}
