//! A camera that replays a file at the file's own pace, over and over.
//!
//! What a file is, its first bytes tell, whatever its name:
//!
//! - **YUV4MPEG2** (`.y4m`): 4:2:0 pictures become `YU12` frames, at the rate of the header.
//! - **Motion JPEG** (`.mjpeg`): each image becomes an `MJPG` frame; such a file tells no rate, and 30 a second are shown.
//! - **H.264** byte stream (`.h264`): each access unit becomes an `H264` frame, as from a camera with its own encoder, at the
//!   rate of its SPS or 30 a second. It starts over with its first IDR picture. B pictures are refused: viewers of a live
//!   stream show pictures as they come.
//!
//! When nobody comes in time for a picture, raw video and Motion JPEG go on with the newest one, as a camera does. An access unit
//! left out would break every picture up to the next IDR, so H.264 waits, and the rest of the replay is later by that much.

mod clip;
mod h264;
mod mjpeg;
mod y4m;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tracing::{debug, info, warn};

use crate::camera::metronome::Metronome;
use crate::camera::{Camera, CameraError};
use crate::media::{Fourcc, Frame, PictureFormat, SlotPool};

use clip::{Clip, Span, open_and_index};

/// The file stays open; frames are read when they are due.
#[derive(Debug)]
pub struct FileCamera {
    path: PathBuf,
    file: File,
    clip: Clip,
    metronome: Metronome,
    slots: SlotPool,
    /// The picture that is due next.
    position: usize,
    sequence: u32,
}

impl FileCamera {
    /// Finds every picture in the file first: Motion JPEG and H.264 are read once from end to end.
    pub fn open(path: &Path) -> Result<Self, CameraError> {
        let (file, clip) = open_and_index(path).map_err(|flaw| flaw.of(path))?;
        let PictureFormat { fourcc, size, .. } = clip.format;
        let (pictures, interval) = (clip.pictures.len(), clip.format.interval);
        info!(path = %path.display(), %fourcc, %size, pictures, ?interval, "file plays");
        if let Some(leftover) = &clip.leftover {
            warn!(path = %path.display(), leftover, "file is damaged: the rest of it plays");
        }
        let largest = clip.pictures.iter().map(|span| span.length).max();
        Ok(Self {
            metronome: Metronome::start(path.display().to_string(), interval)?,
            slots: SlotPool::new(SLOTS, largest.unwrap_or_default() as usize),
            path: path.to_owned(),
            file,
            clip,
            position: 0,
            sequence: 0,
        })
    }

    /// Goes on by some pictures, to the beginning after the last one.
    fn advance(&mut self, pictures: u32) {
        let count = self.clip.pictures.len();
        let position = self.position + pictures as usize;
        if position >= count {
            debug!(path = %self.path.display(), "file starts over");
        }
        self.position = position % count;
        self.sequence = self.sequence.wrapping_add(pictures);
    }
}

impl Camera for FileCamera {
    fn format(&self) -> PictureFormat {
        self.clip.format
    }

    fn try_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        let Some(ticks) = self.metronome.try_ticks()? else {
            return Ok(None);
        };
        let in_order = self.clip.format.fourcc == Fourcc::H264;
        if !in_order {
            self.advance(ticks.count - 1);
        }

        let Span { offset, length } = self.clip.pictures[self.position];
        let mut read = Ok(());
        let lease = self.slots.lend(|memory| {
            memory.resize(length as usize, 0);
            read = self.file.read_exact_at(memory, offset);
        });
        read.map_err(|source| unreadable_picture(&self.path, offset, source))?;
        let Some(lease) = lease else {
            if !in_order {
                self.advance(1);
            }
            return Ok(None);
        };
        let frame = Frame::new(self.clip.format, ticks.last, self.sequence, lease);
        self.advance(1);
        Ok(Some(frame))
    }
}

impl AsFd for FileCamera {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.metronome.as_fd()
    }
}

fn unreadable_picture(path: &Path, offset: u64, source: io::Error) -> CameraError {
    let shrank = source.kind() == io::ErrorKind::UnexpectedEof;
    let source = if shrank {
        let found = format!(
            "the picture at byte {offset} is gone: the file became shorter while it played"
        );
        io::Error::new(io::ErrorKind::UnexpectedEof, found)
    } else {
        source
    };
    CameraError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

/// One to fill, one on its way to the encoder, two that the encoder may hold.
const SLOTS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::metronome::tests::wait_readable;

    /// A file that is gone after the test.
    struct Clipping(PathBuf);

    impl Clipping {
        fn new(name: &str, bytes: &[u8]) -> Self {
            let name = format!("rovercast-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, bytes).unwrap();
            Self(path)
        }
    }

    impl Drop for Clipping {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn next_frame(camera: &mut FileCamera) -> Option<Frame> {
        wait_readable(camera);
        camera.try_frame().unwrap()
    }

    fn refusal(name: &str, bytes: &[u8]) -> String {
        let file = Clipping::new(name, bytes);
        let error = FileCamera::open(&file.0).unwrap_err();
        assert!(!error.is_worth_retrying());
        let start = format!("cannot play {}: ", file.0.display());
        error.to_string().replace(&start, "")
    }

    #[test]
    fn raw_video_plays_over_and_over() {
        let file = Clipping::new("loop.y4m", &y4m::tests::clip(3));
        let mut camera = FileCamera::open(&file.0).unwrap();
        let mut before = None;
        for _ in 0..7 {
            let frame = next_frame(&mut camera).unwrap();
            assert_eq!(frame.bytes(), [(frame.sequence % 3) as u8; 384]);
            assert!(before < Some((frame.sequence, frame.captured)));
            before = Some((frame.sequence, frame.captured));
        }
    }

    #[test]
    fn raw_video_leaves_pictures_out_while_every_slot_is_lent() {
        let file = Clipping::new("lent.y4m", &y4m::tests::clip(3));
        let mut camera = FileCamera::open(&file.0).unwrap();
        let lent: Vec<_> = (0..SLOTS).map(|_| next_frame(&mut camera)).collect();
        assert!(lent.iter().all(Option::is_some));
        assert!(next_frame(&mut camera).is_none());
        let last = lent.iter().flatten().map(|frame| frame.sequence).max();
        drop(lent);
        let next = next_frame(&mut camera).unwrap();
        assert!(next.sequence > last.unwrap() + 1);
        assert_eq!(next.bytes(), [(next.sequence % 3) as u8; 384]);
    }

    #[test]
    fn jpeg_images_of_different_lengths_come_out_whole() {
        let small = mjpeg::tests::image(64, 32, 1);
        let large = [&small[..small.len() - 3], &[9; 100_000], &[0xff, 0xd9]].concat();
        let file = Clipping::new("images.mjpeg", &[&small[..], &large].concat());
        let mut camera = FileCamera::open(&file.0).unwrap();
        assert_eq!(camera.format().fourcc, Fourcc::MJPG);
        for _ in 0..4 {
            let frame = next_frame(&mut camera).unwrap();
            let expected = [&small, &large][frame.sequence as usize % 2];
            assert!(frame.bytes() == *expected);
        }
    }

    #[cfg(feature = "software-encoder")]
    #[test]
    fn h264_is_never_skipped_and_starts_over_with_its_key_frame() {
        let stream = h264::tests::encoded(4);
        let file = Clipping::new("whole.h264", &stream.concat());
        let mut camera = FileCamera::open(&file.0).unwrap();
        assert_eq!(camera.format().fourcc, Fourcc::H264);
        assert_eq!(camera.format().size.to_string(), "64x64");

        let lent: Vec<_> = (0..SLOTS).map(|_| next_frame(&mut camera)).collect();
        assert!(next_frame(&mut camera).is_none(), "every slot is lent");
        drop(lent);
        for number in SLOTS..10 {
            let frame = next_frame(&mut camera).unwrap();
            assert_eq!(frame.sequence as usize, number);
            assert!(frame.bytes() == stream[number % 4], "frame {number}");
        }
    }

    #[test]
    fn what_is_no_video_is_named() {
        let expected =
            "when expecting YUV4MPEG2 (.y4m), JPEG images (.mjpeg) or an H.264 byte stream (.h264)";
        for (name, bytes, found) in [
            ("empty", &b""[..], "is empty"),
            ("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a PNG image"),
            ("elf", b"\x7fELF\x02\x01\x01", "is a program (ELF)"),
            (
                "mp4",
                b"\0\0\0\x20ftypisom",
                "is an MP4 container (ffmpeg -i FILE -bf 0 clip.h264 makes a stream of it)",
            ),
            ("text", b"Hello\n", "begins with \"Hello\\n\""),
            (
                "hevc",
                &[0, 0, 0, 1, 0x40, 1],
                "begins with \"\\x00\\x00\\x00\\x01@\\x01\"",
            ),
        ] {
            assert_eq!(refusal(name, bytes), format!("it {found} {expected}"));
        }
    }

    #[test]
    fn a_missing_file_a_directory_and_a_device_are_refused() {
        let missing = FileCamera::open(Path::new("/no/such/clip.y4m")).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read /no/such/clip.y4m");
        let source = std::error::Error::source(&missing).unwrap();
        assert_eq!(source.to_string(), "No such file or directory (os error 2)");
        let directory = FileCamera::open(Path::new("/")).unwrap_err();
        assert_eq!(directory.to_string(), "cannot play /: it is a directory");
        let device = FileCamera::open(Path::new("/dev/null")).unwrap_err();
        assert_eq!(
            device.to_string(),
            "cannot play /dev/null: it is not a regular file"
        );
    }

    #[test]
    fn a_truncated_clip_plays_without_its_last_picture() {
        let bytes = y4m::tests::clip(2);
        let file = Clipping::new("cut.y4m", &bytes[..bytes.len() - 1]);
        let mut camera = FileCamera::open(&file.0).unwrap();
        for _ in 0..2 {
            assert_eq!(next_frame(&mut camera).unwrap().bytes(), [0; 384]);
        }
    }

    #[test]
    fn a_file_that_shrinks_while_it_plays_is_reported() {
        let file = Clipping::new("shrinks.y4m", &y4m::tests::clip(1));
        let mut camera = FileCamera::open(&file.0).unwrap();
        assert!(next_frame(&mut camera).is_some());
        std::fs::write(&file.0, b"short").unwrap();

        wait_readable(&camera);
        let error = camera.try_frame().unwrap_err();
        assert!(error.is_worth_retrying());
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(
            source.to_string(),
            "the picture at byte 57 is gone: the file became shorter while it played"
        );
    }
}
