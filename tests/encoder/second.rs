//! A second instance of the encoder for the same pictures.

use std::time::{Duration, Instant};

use rovercast::board::PicturePath;
use rovercast::camera::Camera;
use rovercast::camera::tap::{Tap, TapCamera, Tapped};
use rovercast::encoder::{Another, Encoder, EncoderError, Submitted};
use rovercast::media::{AccessUnit, Bitrate, Frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::pair::{Pair, Quirk, write_stream};

/// One encoder and what it reads.
struct Rendition {
    name: String,
    camera: Box<dyn Camera>,
    encoder: Box<dyn Encoder>,
    pending: Option<Frame>,
    units: Vec<AccessUnit>,
}

impl Rendition {
    fn new(name: &str, camera: Box<dyn Camera>, encoder: Box<dyn Encoder>) -> Self {
        Self {
            name: name.to_owned(),
            camera,
            encoder,
            pending: None,
            units: Vec::new(),
        }
    }

    fn turn(&mut self) {
        while let Some(unit) = passing(self.encoder.try_access_unit()).flatten() {
            self.units.push(unit);
        }
        if let Some(frame) = self.camera.try_frame().expect("the camera works") {
            self.pending = Some(frame);
        }
        if let Some(frame) = self.pending.take() {
            match passing(self.encoder.submit(frame, false)) {
                Some(Submitted::Full(frame)) => self.pending = Some(frame),
                Some(Submitted::Taken) | None => {}
            }
        }
    }

    /// It begins with a key frame that has all that a decoder needs, and goes forward.
    fn check(&self) {
        let first = &self.units[0];
        assert!(first.key_frame, "{}: the first is a key frame", self.name);
        let types: Vec<u8> = rovercast::media::h264::nal_units(&first.data)
            .map(|nal| nal[0] & 0x1f)
            .collect();
        assert_eq!(types[..2], [7, 8], "{}: SPS and PPS", self.name);
        for pair in self.units.windows(2) {
            assert!(pair[1].sequence > pair[0].sequence, "{}", self.name);
        }
        println!(
            "{}: {} units, {} copied bytes",
            self.name,
            self.units.len(),
            self.encoder.copied_bytes()
        );
        write_stream(&self.name, &self.units);
    }
}

/// On a busy machine an emulated encoder may be taken for one that stalls, and is put right.
fn passing<T>(result: Result<T, EncoderError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if error.is_passing() => {
            println!("passing: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Turns them all until each has so many more units.
fn run(renditions: &mut [&mut Rendition], units: usize) {
    let until: Vec<usize> = renditions.iter().map(|it| it.units.len() + units).collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_short = |renditions: &[&mut Rendition]| {
        let mut each = renditions.iter().zip(&until);
        each.any(|(it, until)| it.units.len() < *until)
    };
    while is_short(renditions) {
        let mut descriptors: Vec<_> = renditions
            .iter()
            .flat_map(|it| {
                [
                    PollFd::new(&it.camera, PollFlags::IN),
                    PollFd::new(&it.encoder, PollFlags::IN),
                ]
            })
            .collect();
        let patience = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        poll(&mut descriptors, Some(&patience)).expect("poll works");
        drop(descriptors);
        for rendition in renditions.iter_mut() {
            rendition.turn();
        }
        let counts: Vec<usize> = renditions.iter().map(|it| it.units.len()).collect();
        assert!(Instant::now() < deadline, "{counts:?} of {until:?}");
    }
}

/// A camera with its encoder, and how another can be opened for it.
fn open(path: &str) -> (Rendition, Tap, Another) {
    let Pair {
        camera, encoder, ..
    } = Pair::open(&format!("paths = [\"{path}\"]"), &[]);
    let another = encoder.another().expect("there can be another");
    let (camera, tap) = Tapped::new(Box::new(camera));
    let name = format!("large-{path}");
    let large = Rendition::new(&name, Box::new(camera), Box::new(encoder));
    (large, tap, another)
}

fn opened(tap: &Tap) -> Box<TapCamera> {
    Box::new(tap.open().expect("it can be opened"))
}

const SLOW: Bitrate = Bitrate::kbps(150);

#[test]
#[ignore = "needs a camera and an encoder with two instances"]
fn a_second_instance_reads_the_same_memory_and_its_end_leaves_the_first_alone() {
    for path in [
        PicturePath::EncoderExport,
        PicturePath::CameraExport,
        PicturePath::Copy,
    ] {
        let (mut large, tap, another) = open(&path.to_string());
        run(&mut [&mut large], 5);
        for turn in ["first", "second"] {
            let encoder = another(SLOW).expect("there is another instance");
            let name = format!("small-{path}-{turn}");
            let mut small = Rendition::new(&name, opened(&tap), encoder);
            run(&mut [&mut large, &mut small], 15);
            small.check();
            let is_copied = small.encoder.copied_bytes() > 0;
            assert_eq!(is_copied, path == PicturePath::Copy, "{name}");
            drop(small);
            run(&mut [&mut large], 10);
        }
        large.check();
        let is_copied = large.encoder.copied_bytes() > 0;
        assert_eq!(is_copied, path == PicturePath::Copy);
        assert!(
            large.units[1..].iter().all(|unit| !unit.key_frame),
            "{path}: the large one never had to begin anew"
        );
    }
}

/// The pictures are in the first instance's buffers: they outlive it.
#[test]
#[ignore = "needs a camera and an encoder with two instances"]
fn a_second_instance_outlives_the_first() {
    for path in ["encoder-export", "camera-export", "copy"] {
        let (mut large, tap, another) = open(path);
        let encoder = another(SLOW).expect("there is another instance");
        let mut small = Rendition::new(&format!("heir-{path}"), opened(&tap), encoder);
        run(&mut [&mut large, &mut small], 10);
        let Rendition {
            camera, encoder, ..
        } = large;
        drop(encoder);
        // Somebody has to ask the camera.
        let mut camera = camera;
        let deadline = Instant::now() + Duration::from_secs(60);
        let until = small.units.len() + 10;
        while small.units.len() < until {
            drop(camera.try_frame().expect("the camera works"));
            small.turn();
            assert!(Instant::now() < deadline, "{} units", small.units.len());
            std::thread::yield_now();
        }
        small.check();
    }
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_driver_with_one_instance_says_so_and_the_first_goes_on() {
    let (mut large, tap, another) = open("encoder-export");
    run(&mut [&mut large], 5);
    let quirk = Quirk::set("max_instances", 1);
    let refusal = another(SLOW).err().expect("there is one");
    println!("{refusal}");
    assert!(refusal.to_string().contains("in use"), "{refusal}");
    run(&mut [&mut large], 10);
    drop(quirk);
    let encoder = another(SLOW).expect("there are more again");
    let mut small = Rendition::new("small-later", opened(&tap), encoder);
    run(&mut [&mut large, &mut small], 10);
}

#[test]
#[ignore = "needs the virtual encoder"]
fn a_second_instance_that_nobody_turns_leaves_the_first_its_pictures() {
    let (mut large, tap, another) = open("encoder-export");
    run(&mut [&mut large], 5);
    let encoder = another(SLOW).expect("there is another instance");
    let mut small = Rendition::new("small-left-alone", opened(&tap), encoder);
    run(&mut [&mut large, &mut small], 5);
    // It is not turned any more, and keeps the picture that it has.
    run(&mut [&mut large], 30);
    run(&mut [&mut large, &mut small], 5);
    small.check();
}
