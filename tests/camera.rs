//! The V4L2 driver against a kernel. `ROVERCAST_CAMERA` names the node, and `ROVERCAST_CAMERA_2` another camera's.
//!
//! Some provoke faults that only vivid has, with `v4l2-ctl`; the virtual board's `camera` scenario brings both.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rovercast::camera::v4l2::{CameraSettings, FORMATS, Negotiated, V4l2Camera, Whereabouts};
use rovercast::camera::{Camera, CameraError, SharedBuffer};
use rovercast::media::{Fourcc, Frame, Size};
use rovercast::v4l2::{BufferType, Device, FormatRequest, Memory, Queue, Submission};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const NEEDS_A_CAMERA: &str = "set ROVERCAST_CAMERA to a camera's node";

fn node() -> PathBuf {
    std::env::var_os("ROVERCAST_CAMERA")
        .expect(NEEDS_A_CAMERA)
        .into()
}

fn settings(formats: &[Fourcc]) -> CameraSettings<'_> {
    CameraSettings {
        size: Size {
            width: 320,
            height: 180,
        },
        interval: Duration::from_millis(100),
        formats,
    }
}

fn negotiate(formats: &'static [Fourcc]) -> Negotiated {
    let device = Device::open(&node()).expect("the node opens");
    Negotiated::with(device, &settings(formats)).expect("the camera agrees")
}

fn open() -> V4l2Camera {
    negotiate(FORMATS).start().expect("the camera streams")
}

/// What the pipeline does: wait, then try. `None` when nothing comes for so long.
fn try_next(camera: &mut V4l2Camera, patience: Duration) -> Result<Option<Frame>, CameraError> {
    let patience = Timespec::try_from(patience).expect("short");
    for _ in 0..100 {
        let ready = poll(&mut [PollFd::new(&*camera, PollFlags::IN)], Some(&patience));
        if ready.expect("poll works") == 0 {
            return Ok(None);
        }
        if let Some(frame) = camera.try_frame()? {
            return Ok(Some(frame));
        }
    }
    panic!("a hundred wake-ups without a picture: it spins");
}

fn next(camera: &mut V4l2Camera) -> Frame {
    try_next(camera, Duration::from_secs(10))
        .expect("the camera works")
        .expect("a picture within ten seconds")
}

/// The error that ends the stream within so many pictures.
fn end(camera: &mut V4l2Camera, pictures: usize) -> CameraError {
    (0..pictures)
        .find_map(|_| try_next(camera, Duration::from_secs(10)).err())
        .expect("the stream ends")
}

fn set(control: &str) {
    let done = Command::new("v4l2-ctl")
        .arg("-d")
        .arg(node())
        .args(["-c", control])
        .status();
    assert!(done.expect("v4l2-ctl is there").success(), "{control}");
}

fn mapped_video_memory() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("proc");
    maps.lines()
        .filter(|line| line.contains("/dev/video"))
        .count()
}

fn open_descriptors() -> BTreeSet<String> {
    fs::read_dir("/proc/self/fd")
        .expect("proc")
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|target| target.display().to_string())
        .filter(|target| !target.starts_with("/proc"))
        .collect()
}

#[test]
#[ignore = "needs a camera"]
fn pictures_of_every_format_are_whole_move_and_say_when_they_were_captured() {
    const ONE_EACH: [&[Fourcc]; 4] = [
        &[Fourcc::NV12],
        &[Fourcc::YU12],
        &[Fourcc::YUYV],
        &[Fourcc::UYVY],
    ];
    for formats in ONE_EACH {
        let mut camera = negotiate(formats).start().expect("the camera streams");
        let format = camera.format();
        println!("{format:?}");
        assert_eq!(format.fourcc, formats[0]);
        let lines = format.stride as usize * format.size.height as usize;
        let expected = match format.fourcc {
            Fourcc::NV12 | Fourcc::YU12 => lines * 3 / 2,
            _ => lines,
        };
        let mut last: Option<(Vec<u8>, Frame)> = None;
        let mut moved = 0;
        for _ in 0..10 {
            let frame = next(&mut camera);
            let picture = frame.bytes().to_vec();
            assert!(picture.len() >= expected, "{} of {expected}", picture.len());
            if let Some((before, earlier)) = last.take() {
                assert!(frame.captured > earlier.captured);
                assert!(frame.sequence > earlier.sequence);
                moved += usize::from(before != picture);
            }
            last = Some((picture, frame));
        }
        assert!(moved > 5, "the picture stands still");
    }
}

#[test]
#[ignore = "needs a camera"]
fn a_camera_whose_slots_are_all_lent_waits_and_goes_on() {
    let mut camera = open();
    let mut lent = Vec::new();
    while let Some(frame) = try_next(&mut camera, Duration::from_secs(1)).expect("it works") {
        lent.push(frame);
        assert!(lent.len() <= 64, "more slots than there can be");
    }
    assert!(lent.len() >= 2, "{} slots", lent.len());
    let indices: BTreeSet<_> = lent
        .iter()
        .flat_map(Frame::loan)
        .map(|loan| loan.index())
        .collect();
    assert_eq!(indices.len(), lent.len(), "each slot is lent once");
    let last = lent.iter().map(|frame| frame.sequence).max().expect("some");

    std::thread::spawn(move || drop(lent))
        .join()
        .expect("dropped");

    assert!(next(&mut camera).sequence > last + 1, "the gap shows");
}

#[test]
#[ignore = "needs a camera"]
fn nothing_is_mapped_that_no_cpu_looks_at() {
    let before = mapped_video_memory();
    let mut camera = open();
    for _ in 0..8 {
        assert!(next(&mut camera).loan().expect("a device's").range().len() > 1000);
    }
    assert_eq!(mapped_video_memory(), before);

    let frame = next(&mut camera);
    assert!(!frame.bytes().is_empty());
    assert_eq!(mapped_video_memory(), before + 1);
    drop(camera);
    assert!(!frame.bytes().is_empty(), "a frame outlives its camera");
    drop(frame);
    assert_eq!(mapped_video_memory(), before);
}

#[test]
#[ignore = "needs a camera"]
fn twenty_openings_leave_no_descriptor_and_a_lent_frame_does_not_keep_the_camera_busy() {
    drop(next(&mut open()));
    let before = open_descriptors();
    for _ in 0..20 {
        let mut camera = open();
        let lent = next(&mut camera);
        assert!(!lent.bytes().is_empty());
        drop(camera);
        drop(next(&mut open()));
        drop(lent);
    }
    assert_eq!(open_descriptors(), before);
}

#[test]
#[ignore = "needs two cameras"]
fn a_camera_fills_the_memory_of_another_device() {
    let path = std::env::var_os("ROVERCAST_CAMERA_2").expect("set ROVERCAST_CAMERA_2");
    let importer = negotiate(FORMATS);
    let fourcc = importer.format().fourcc;
    let owner = Device::open(path.as_ref()).expect("the second camera opens");
    let capture = owner.capabilities().camera().expect("it is a camera");
    let mut request = FormatRequest::new(fourcc, importer.format().size);
    request.layout = importer.layout();
    let format = owner.set_format(capture, &request).expect("a format");
    assert!(
        format.planes()[0].bytes >= importer.layout().bytes,
        "{format:?}"
    );
    let (queue, slots) = Queue::request(&owner, capture, Memory::Mmap, 3, 1).expect("buffers");
    let shared = |slot: &rovercast::v4l2::Slot| SharedBuffer {
        dma_buf: slot.export(0).expect("exported"),
        length: slot.room(0),
    };

    let mut camera = importer
        .start_importing(slots.iter().map(shared).collect())
        .expect("imports");

    assert!(camera.shared_buffers().is_empty());
    for _ in 0..10 {
        let frame = next(&mut camera);
        let loan = frame.loan().expect("a device's");
        assert!(loan.index() < slots.len());
        assert!(frame.bytes().is_empty(), "the memory is not the camera's");
    }
    drop(camera);
    queue.free().expect("nobody uses it any more");
}

#[test]
#[ignore = "needs a camera"]
fn a_buffer_that_was_given_away_cannot_be_given_again() {
    let device = Device::open(&node()).expect("the node opens");
    let capture = device.capabilities().camera().expect("it is a camera");
    let planes = device.format(capture).expect("a format").planes().len();
    let (queue, mut slots) =
        Queue::request(&device, capture, Memory::Mmap, 2, planes).expect("buffers");
    let output = BufferType::VideoOutput;

    queue
        .submit(&mut slots[0], &Submission::default())
        .expect("ours");
    assert!(queue.submit(&mut slots[0], &Submission::default()).is_err());
    assert!(queue.try_dequeue().is_err(), "it does not stream");
    queue.start().expect("it streams");
    queue.stop().expect("it stops");
    queue
        .submit(&mut slots[0], &Submission::default())
        .expect("ours again");

    let error = device.set_format(
        output,
        &FormatRequest::new(
            Fourcc::NV12,
            Size {
                width: 320,
                height: 180,
            },
        ),
    );
    assert!(error.expect_err("no encoder").is_unsupported());
}

#[test]
#[ignore = "needs vivid and v4l2-ctl"]
fn a_damaged_picture_is_dropped_and_the_next_one_shown() {
    let mut camera = open();
    let before = next(&mut camera).sequence;
    set("inject_v4l2_buf_flag_error=1");
    let after = (0..10)
        .map(|_| next(&mut camera).sequence)
        .last()
        .expect("ten");
    assert_eq!(camera.damaged_frames(), 1);
    assert!(after > before + 10, "the gap shows");
}

#[test]
#[ignore = "needs vivid and v4l2-ctl"]
fn dropped_pictures_wrapped_numbers_and_wrapped_time_are_only_gaps() {
    for control in [
        "percentage_of_dropped_buffers=50",
        "wrap_sequence_number=1",
        "wrap_timestamp=1",
    ] {
        set(control);
        let mut camera = open();
        let mut last = next(&mut camera);
        for _ in 0..20 {
            let frame = next(&mut camera);
            let step = frame.sequence - last.sequence;
            assert!(
                (1..50).contains(&step),
                "{control}: {step} pictures at once"
            );
            assert!(frame.captured > last.captured, "{control}");
            last = frame;
        }
        let name = control.split('=').next().expect("a name");
        set(&format!("{name}=0"));
    }
}

#[test]
#[ignore = "needs vivid and v4l2-ctl"]
fn a_driver_that_gives_up_is_opened_again() {
    let mut camera = open();
    next(&mut camera);
    set("inject_fatal_streaming_error=1");
    let error = end(&mut camera, 20);
    println!("{error}");
    assert!(
        error.is_worth_retrying() && !error.is_unplugged(),
        "{error}"
    );
    drop(camera);
    next(&mut open());

    for control in [
        "inject_vidioc_streamon_error=1",
        "inject_vidioc_reqbufs_error=1",
    ] {
        set(control);
        let error = negotiate(FORMATS).start().expect_err("one refusal");
        println!("{error}");
        assert!(error.is_worth_retrying(), "{error}");
        next(&mut open());
    }
}

#[test]
#[ignore = "needs a camera and the commands that pull it out and put it back"]
fn a_camera_that_is_pulled_out_and_put_back_is_found_again_and_leaks_nothing() {
    let shell = |variable| {
        let command = std::env::var(variable).expect("set ROVERCAST_UNPLUG and ROVERCAST_PLUG");
        let done = Command::new("sh").arg("-c").arg(&command).status();
        assert!(done.expect("there is a shell").success(), "{command}");
    };
    let whereabouts = Whereabouts::at(&node());
    let found = || whereabouts.negotiate(&settings(FORMATS));
    let mut before = None;
    for cycle in 0..10 {
        let mut camera = found_within(Duration::from_secs(5), found)
            .start()
            .expect("it streams");
        let lent = next(&mut camera);
        assert!(!lent.bytes().is_empty());

        shell("ROVERCAST_UNPLUG");
        let error = end(&mut camera, 20);
        assert!(error.is_unplugged(), "{error}");
        drop(camera);
        let error = found().expect_err("it is gone");
        assert!(error.is_unplugged(), "{error}");
        assert!(!lent.bytes().is_empty(), "a picture survives its camera");
        drop(lent);

        shell("ROVERCAST_PLUG");
        assert_eq!(mapped_video_memory(), 0);
        let left = open_descriptors();
        assert_eq!(*before.get_or_insert(left.clone()), left, "cycle {cycle}");
    }
}

/// Asks again and again, as the supervisor does.
fn found_within(
    patience: Duration,
    find: impl Fn() -> Result<Option<Negotiated>, CameraError>,
) -> Negotiated {
    const PAUSE: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 50_000_000,
    };
    for _ in 0..patience.as_millis() / 50 {
        match find() {
            Ok(found) => return found.expect("a camera that is known is never no camera"),
            Err(error) => assert!(error.is_worth_retrying(), "{error}"),
        }
        poll(&mut [], Some(&PAUSE)).expect("poll works");
    }
    panic!("the camera is not found within {patience:?}");
}

#[test]
#[ignore = "needs vivid with an HDMI input, and v4l2-ctl"]
fn another_signal_at_an_hdmi_input_ends_the_stream_and_a_wide_stride_is_kept() {
    let mut negotiated = negotiate(FORMATS);
    let narrow = negotiated.format();
    assert_eq!(narrow.stride, 320);
    let wide = negotiated.widen(384).expect("the driver pads");
    assert_eq!(wide.stride, 384);
    let mut camera = negotiated.start().expect("it streams");
    let bytes = 384 * narrow.size.height as usize * 3 / 2;
    assert!(next(&mut camera).bytes().len() >= bytes);

    set("dv_timings_signal_mode=1");
    let error = end(&mut camera, 20);
    set("dv_timings_signal_mode=0");
    assert_eq!(
        error.to_string(),
        format!(
            "camera {} (vivid) has another picture at its input",
            node().display()
        )
    );
    assert!(error.is_worth_retrying() && !error.is_unplugged());
    drop(camera);
    next(&mut open());
}
