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
use rovercast::encoder::m2m::{Candidate, M2mEncoder, M2mSettings, Standing};
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

/// A quirk of the virtual encoder, for as long as this lives.
struct Quirk {
    path: PathBuf,
    before: String,
}

impl Quirk {
    fn set(name: &str, value: u32) -> Self {
        let path = PathBuf::from("/sys/module/vh264enc/parameters").join(name);
        let before = fs::read_to_string(&path).expect("the virtual encoder is loaded");
        let quirk = Self { path, before };
        quirk.write(&value.to_string());
        quirk
    }

    fn write(&self, value: &str) {
        fs::write(&self.path, value).expect("the quirk can be set");
    }
}

impl Drop for Quirk {
    fn drop(&mut self) {
        self.write(self.before.trim());
    }
}

/// The picture's size as decoders will see it, from the first SPS.
fn coded_size(unit: &AccessUnit) -> (u32, u32) {
    let sps = rovercast::media::h264::nal_units(&unit.data)
        .find(|nal| nal[0] & 0x1f == 7)
        .expect("an SPS");
    let bits = h264_reader::rbsp::decode_nal(sps).expect("a NAL unit");
    let reader = h264_reader::rbsp::BitReader::new(&bits[..]);
    let sps = h264_reader::nal::sps::SeqParameterSet::from_bits(reader).expect("a whole SPS");
    sps.pixel_dimensions().expect("dimensions")
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
    let _skips = Quirk::set("skip_every", 2);
    let mut pair = Pair::open("", &[]);
    pair.run(5);
    for _ in 0..8 {
        pair.wants_key_frame = true;
        pair.run(8);
    }
    pair.check("skipped-key-frame");
    assert_eq!(pair.errors, [""; 0]);
    assert_eq!(pair.key_frames().len(), 9, "{:?}", pair.key_frames());
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
        assert_eq!(pair.encoder.picture_path(), Some(path));
        pair.run(10);
        pair.check(&format!("cropped-{name}"));
        assert_eq!(coded_size(&pair.units[0]), (320, 180));
    }
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
    println!("left behind: {}", rovercast::encoder::m2m::left_behind());
    assert!(
        pair.errors
            .iter()
            .any(|it| it.contains("did not come back"))
    );
    let begin = Instant::now();
    while rovercast::encoder::m2m::left_behind() > 0 {
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
#[ignore = "needs the virtual encoder"]
fn with_little_contiguous_memory_there_are_fewer_buffers() {
    let _short = Quirk::set("fail_reqbufs", 1);
    let mut pair = Pair::open("paths = [\"encoder-export\"]", &[]);
    pair.run(10);
    pair.check("little-memory");
}

#[test]
#[ignore = "needs the virtual encoder, which is gone for a while"]
fn an_encoder_that_is_taken_away_is_given_up() {
    let mut pair = Pair::open("", &[]);
    pair.run(10);
    let driver = PathBuf::from("/sys/bus/platform/drivers/vh264enc");
    fs::write(driver.join("unbind"), "vh264enc.0").expect("it can be taken away");
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
    fs::write(driver.join("bind"), "vh264enc.0").expect("it comes back");
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

#[test]
#[ignore = "needs vivid with scattered memory, and an encoder without an IOMMU"]
fn scattered_memory_is_refused_and_the_next_path_taken() {
    let mut pair = Pair::open("paths = [\"camera-export\", \"copy\"]", &[]);
    assert_eq!(pair.encoder.picture_path(), Some(PicturePath::Copy));
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
                unit = pair.encoder.try_access_unit().expect("well")
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
