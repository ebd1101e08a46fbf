//! The hardware encoder against a kernel, with a camera before it. `ROVERCAST_ENCODER` and `ROVERCAST_CAMERA` name the nodes.
//!
//! Some need an encoder that misbehaves in a certain way: the virtual board's `encoder` scenario sets its quirks and picks the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rovercast::board::{PicturePath, Profiles};
use rovercast::camera::Camera;
use rovercast::camera::v4l2::{CameraSettings, Negotiated, V4l2Camera};
use rovercast::encoder::m2m::pairing::{Candidate, M2mSettings};
use rovercast::encoder::m2m::{M2mEncoder, Standing};
use rovercast::encoder::{Encoder, EncoderError, Submitted};
use rovercast::media::{AccessUnit, Bitrate, Fourcc, Frame, Size};
use rovercast::v4l2::Device;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

fn node(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("set {variable} to a node"))
        .into()
}

/// The board's profiles, with `overlay` over that of the virtual encoder.
fn profiles(overlay: &str) -> Profiles {
    let mut profiles = Profiles::built_in();
    let content = format!(
        "kind = \"encoder\"\nid = \"virtual\"\ntitle = \"Virtual encoder\"\nevidence = \"measured\"\n{overlay}"
    );
    profiles
        .lay_over("overlay", content.as_bytes())
        .expect("the overlay is a profile");
    profiles
}

/// A camera and an encoder, turned as the pipeline turns them.
struct Pair {
    camera: V4l2Camera,
    encoder: M2mEncoder,
    pending: Option<Frame>,
    wants_key_frame: bool,
    taken: BTreeSet<u32>,
    units: Vec<AccessUnit>,
    errors: Vec<String>,
    wakes: u64,
}

impl Pair {
    fn open(overlay: &str, formats: &[Fourcc]) -> Self {
        Self::try_open(overlay, formats, "320x180").expect("camera and encoder find together")
    }

    fn try_open(overlay: &str, formats: &[Fourcc], size: &str) -> Result<Self, String> {
        let candidate = Candidate::at(&node("ROVERCAST_ENCODER"), &profiles(overlay))
            .map_err(|error| error.to_string())?;
        let wanted = candidate.camera_formats();
        let settings = CameraSettings {
            size: size.parse().expect("a size"),
            interval: Duration::from_millis(66),
            formats: if formats.is_empty() { &wanted } else { formats },
        };
        let device = Device::open(&node("ROVERCAST_CAMERA")).expect("the camera opens");
        let mut negotiated = Negotiated::with(device, &settings).expect("the camera agrees");
        let settings = M2mSettings {
            bitrate: Bitrate::kbps(500),
            highest_bitrate: Bitrate::kbps(4000),
        };
        let (camera, encoder) = candidate
            .pair(&mut negotiated, settings, &Arc::new(Standing::default()))
            .map_err(|error| error.to_string())?;
        Ok(Self {
            camera,
            encoder,
            pending: None,
            wants_key_frame: false,
            taken: BTreeSet::new(),
            units: Vec::new(),
            errors: Vec::new(),
            wakes: 0,
        })
    }

    /// One turn of the pipeline's loop. An error is one that ends it.
    fn turn(&mut self) -> Result<(), EncoderError> {
        let mut descriptors = [
            PollFd::new(&self.camera, PollFlags::IN),
            PollFd::new(&self.encoder, PollFlags::IN),
        ];
        let patience = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        poll(&mut descriptors, Some(&patience)).expect("poll works");
        self.wakes += 1;
        loop {
            match self.encoder.try_access_unit() {
                Ok(Some(unit)) => self.units.push(unit),
                Ok(None) => break,
                Err(error) if error.is_passing() => {
                    println!("passing: {error}");
                    self.errors.push(error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(frame) = self.camera.try_frame().expect("the camera works") {
            self.pending = Some(frame);
        }
        let Some(frame) = self.pending.take() else {
            return Ok(());
        };
        let sequence = frame.sequence;
        match self.encoder.submit(frame, self.wants_key_frame) {
            Ok(Submitted::Taken) => {
                self.wants_key_frame = false;
                self.taken.insert(sequence);
            }
            Ok(Submitted::Full(frame)) => self.pending = Some(frame),
            Err(error) if error.is_passing() => {
                println!("passing: {error}");
                self.errors.push(error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Until so many more units came.
    fn run(&mut self, units: usize) {
        let until = self.units.len() + units;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.units.len() < until {
            self.turn().expect("the encoder goes on");
            assert!(
                Instant::now() < deadline,
                "only {} of {until} units; {:?}",
                self.units.len(),
                self.errors
            );
        }
    }

    fn key_frames(&self) -> Vec<usize> {
        let units = self.units.iter().enumerate();
        units
            .filter(|(_, unit)| unit.key_frame)
            .map(|(index, _)| index)
            .collect()
    }

    /// What holds for every encoder: the first unit is a key frame with headers, and each belongs to a frame that went in.
    fn check(&self, name: &str) {
        assert!(self.units[0].key_frame, "the first unit is a key frame");
        for unit in self.units.iter().filter(|unit| unit.key_frame) {
            let types: Vec<u8> = rovercast::media::h264::nal_units(&unit.data)
                .map(|nal| nal[0] & 0x1f)
                .collect();
            assert_eq!(types[..2], [7, 8], "SPS and PPS come first");
        }
        for pair in self.units.windows(2) {
            assert!(pair[1].captured > pair[0].captured, "time grows");
            assert!(pair[1].sequence > pair[0].sequence, "in order");
        }
        for unit in &self.units {
            assert!(
                self.taken.contains(&unit.sequence),
                "of a frame that went in"
            );
        }
        let stream: Vec<u8> = self
            .units
            .iter()
            .flat_map(|unit| unit.data.to_vec())
            .collect();
        if std::env::var_os("ROVERCAST_LEAVE_STREAMS").is_some() {
            fs::write(format!("{name}.h264"), stream).expect("a stream to decode");
        }
        println!(
            "{name}: {} on {:?}, {} units, key frames {:?}, {} frames, {} copied bytes, {} wakes",
            self.encoder.name(),
            self.encoder.picture_path(),
            self.units.len(),
            self.key_frames(),
            self.taken.len(),
            self.encoder.copied_bytes(),
            self.wakes,
        );
    }
}

/// What of video devices or of dma-bufs is mapped, with its size: coded buffers are, raw pictures are not.
fn mapped() -> Vec<(String, u64)> {
    let maps = fs::read_to_string("/proc/self/maps").expect("proc");
    maps.lines()
        .filter(|line| line.contains("/dev/video") || line.contains("dmabuf"))
        .map(|line| {
            let (range, rest) = line.split_once(' ').expect("a range");
            let (begin, end) = range.split_once('-').expect("from - to");
            let number = |text| u64::from_str_radix(text, 16).expect("hex");
            let name = rest.split_whitespace().last().expect("a name");
            (name.to_owned(), number(end) - number(begin))
        })
        .collect()
}

fn no_raw_picture_is_mapped(pair: &Pair) {
    let Size { width, height } = pair.camera.format().size;
    let raw = u64::from(width * height * 3 / 2).next_multiple_of(4096);
    let encoder = node("ROVERCAST_ENCODER").display().to_string();
    for (name, bytes) in mapped() {
        println!("mapped: {name} {bytes}");
        assert_eq!(name, encoder, "only the encoder's");
        assert_ne!(bytes, raw, "only coded buffers");
    }
}

#[test]
#[ignore = "needs a camera and an encoder"]
fn the_best_path_brings_pictures_without_a_copy() {
    let mut pair = Pair::open("", &[]);
    pair.run(60);
    pair.check("best");
    assert_eq!(
        pair.encoder.picture_path(),
        Some(PicturePath::EncoderExport)
    );
    assert_eq!(pair.encoder.copied_bytes(), 0);
    no_raw_picture_is_mapped(&pair);
}

#[test]
#[ignore = "needs a camera and an encoder"]
fn the_camera_s_own_memory_brings_pictures_without_a_copy() {
    let mut pair = Pair::open("paths = [\"camera-export\"]", &[]);
    pair.run(60);
    pair.check("camera-export");
    assert_eq!(pair.encoder.picture_path(), Some(PicturePath::CameraExport));
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
        assert_eq!(pair.encoder.picture_path(), Some(PicturePath::Copy));
        assert!(pair.encoder.copied_bytes() > 0);
    }
}
