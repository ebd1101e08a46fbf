//! A camera and an encoder, turned as the pipeline turns them, and the quirks of the virtual one.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rovercast::board::{PicturePath, Profiles};
use rovercast::camera::Camera;
use rovercast::camera::v4l2::{CameraSettings, Negotiated, V4l2Camera};
use rovercast::encoder::m2m::{Candidate, M2mEncoder, M2mSettings, Standing};
use rovercast::encoder::{Encoder, EncoderError, Submitted};
use rovercast::media::{AccessUnit, Bitrate, Fourcc, Frame, Size};
use rovercast::v4l2::Device;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub(crate) fn node(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("set {variable} to a node"))
        .into()
}

/// The board's profiles, with `overlay` over that of the virtual encoder.
pub(crate) fn profiles(overlay: &str) -> Profiles {
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
pub(crate) struct Pair {
    pub camera: V4l2Camera,
    pub encoder: M2mEncoder,
    pub pending: Option<Frame>,
    pub wants_key_frame: bool,
    pub taken: BTreeSet<u32>,
    pub units: Vec<AccessUnit>,
    pub errors: Vec<String>,
    pub wakes: u64,
}

impl Pair {
    pub(crate) fn open(overlay: &str, formats: &[Fourcc]) -> Self {
        Self::of_size("320x180", overlay, formats)
    }

    pub(crate) fn of_size(size: &str, overlay: &str, formats: &[Fourcc]) -> Self {
        let candidate = Candidate::at(&node("ROVERCAST_ENCODER"), &profiles(overlay))
            .expect("there is an encoder");
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
        let standing = Arc::new(Standing::default());
        let (camera, encoder) = candidate
            .pair(&mut negotiated, settings, &standing)
            .expect("camera and encoder find together");
        Self {
            camera,
            encoder,
            pending: None,
            wants_key_frame: false,
            taken: BTreeSet::new(),
            units: Vec::new(),
            errors: Vec::new(),
            wakes: 0,
        }
    }

    /// One turn of the pipeline's loop. An error is one that ends it.
    pub(crate) fn turn(&mut self) -> Result<(), EncoderError> {
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
    pub(crate) fn run(&mut self, units: usize) {
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

    pub(crate) fn path(&self) -> Option<PicturePath> {
        Some(self.encoder.handover()?.path)
    }

    pub(crate) fn key_frames(&self) -> Vec<usize> {
        let units = self.units.iter().enumerate();
        units
            .filter(|(_, unit)| unit.key_frame)
            .map(|(index, _)| index)
            .collect()
    }

    /// What holds for every encoder: the first unit is a key frame with headers, and each belongs to a frame that went in.
    pub(crate) fn check(&self, name: &str) {
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
        write_stream(name, &self.units);
        println!(
            "{name}: {} on {:?}, {} units, key frames {:?}, {} frames, {} copied bytes, {} wakes",
            self.encoder.name(),
            self.path(),
            self.units.len(),
            self.key_frames(),
            self.taken.len(),
            self.encoder.copied_bytes(),
            self.wakes,
        );
    }
}

/// Leaves NAME.h264, which must decode, where that is wanted.
pub(crate) fn write_stream(name: &str, units: &[AccessUnit]) {
    if std::env::var_os("ROVERCAST_LEAVE_STREAMS").is_some() {
        let stream: Vec<u8> = units.iter().flat_map(|unit| unit.data.to_vec()).collect();
        fs::write(format!("{name}.h264"), stream).expect("a stream to decode");
    }
}

/// What of video devices or of dma-bufs is mapped, with its size: coded buffers are, raw pictures are not.
pub(crate) fn mapped() -> Vec<(String, u64)> {
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

pub(crate) fn no_raw_picture_is_mapped(pair: &Pair) {
    let Size { width, height } = pair.camera.format().size;
    let raw = u64::from(width * height * 3 / 2).next_multiple_of(4096);
    let encoder = node("ROVERCAST_ENCODER").display().to_string();
    for (name, bytes) in mapped() {
        println!("mapped: {name} {bytes}");
        assert_eq!(name, encoder, "only the encoder's");
        assert_ne!(bytes, raw, "only coded buffers");
    }
}

/// A quirk of the virtual encoder, for as long as this lives.
pub(crate) struct Quirk {
    path: PathBuf,
    before: String,
}

impl Quirk {
    pub(crate) fn set(name: &str, value: u32) -> Self {
        let path = PathBuf::from("/sys/module/vh264enc/parameters").join(name);
        let before = fs::read_to_string(&path).expect("the virtual encoder is loaded");
        let quirk = Self { path, before };
        quirk.write(&value.to_string());
        quirk
    }

    pub(crate) fn write(&self, value: &str) {
        fs::write(&self.path, value).expect("the quirk can be set");
    }
}

impl Drop for Quirk {
    fn drop(&mut self) {
        self.write(self.before.trim());
    }
}

/// The picture's size as decoders will see it, from the first SPS.
pub(crate) fn coded_size(unit: &AccessUnit) -> (u32, u32) {
    let sps = rovercast::media::h264::nal_units(&unit.data)
        .find(|nal| nal[0] & 0x1f == 7)
        .expect("an SPS");
    let bits = h264_reader::rbsp::decode_nal(sps).expect("a NAL unit");
    let reader = h264_reader::rbsp::BitReader::new(&bits[..]);
    let sps = h264_reader::nal::sps::SeqParameterSet::from_bits(reader).expect("a whole SPS");
    sps.pixel_dimensions().expect("dimensions")
}
