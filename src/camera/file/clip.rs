//! What is in a video file: which kind it is, and where each picture begins.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::{h264, mjpeg, y4m};
use crate::camera::metronome::INTERVALS;
use crate::camera::{CameraError, USABLE_SIDES, has_usable_sides};
use crate::media::{PictureFormat, Size};

/// The pictures of a file, and what is to be said about it.
#[derive(Debug)]
pub(super) struct Clip {
    pub(super) format: PictureFormat,
    /// One at least.
    pub(super) pictures: Vec<Span>,
    /// What of the file is not played, and why.
    pub(super) leftover: Option<String>,
}

/// Where in the file a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) length: u32,
}

/// What is wrong with a file, whichever it is.
#[derive(Debug)]
pub(super) enum Flaw {
    Unreadable(io::Error),
    NotPlayable(String),
}

impl Flaw {
    pub(super) fn of(self, path: &Path) -> CameraError {
        let path = path.to_owned();
        match self {
            Self::Unreadable(source) => CameraError::Unreadable { path, source },
            Self::NotPlayable(found) => CameraError::NotPlayable { path, found },
        }
    }
}

impl From<io::Error> for Flaw {
    fn from(source: io::Error) -> Self {
        Self::Unreadable(source)
    }
}

impl From<String> for Flaw {
    fn from(found: String) -> Self {
        Self::NotPlayable(found)
    }
}

pub(super) fn open_and_index(path: &Path) -> Result<(File, Clip), Flaw> {
    // Asked before opening: opening a pipe would wait for its writer.
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err("it is a directory".to_owned().into());
    }
    if !kind.is_file() {
        return Err("it is not a regular file".to_owned().into());
    }
    let file = File::open(path)?;
    let clip = index(&file)?;
    Ok((file, clip))
}

fn index(file: &File) -> Result<Clip, Flaw> {
    let mut head = [0; 16];
    let length = read_up_to(file, &mut head, 0)?;
    let head = &head[..length];
    if head.starts_with(y4m::MAGIC) {
        y4m::index(|buffer, offset| read_up_to(file, buffer, offset))
    } else if head.starts_with(mjpeg::MAGIC) {
        let mut scanner = mjpeg::Scanner::default();
        read_through(file, |piece| scanner.push(piece))?;
        scanner.finish()
    } else if h264::begins(head) {
        let mut scanner = h264::Scanner::default();
        read_through(file, |piece| scanner.push(piece))?;
        scanner.finish()
    } else {
        Err(format!(
            "it {} when expecting YUV4MPEG2 (.y4m), JPEG images (.mjpeg) or an H.264 byte stream (.h264)",
            describe(head)
        )
        .into())
    }
}

/// What a file is that cannot be played, by its first bytes.
fn describe(head: &[u8]) -> String {
    let known = KNOWN
        .iter()
        .find(|(at, magic, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    match known {
        Some((_, _, name)) => format!("is {name}"),
        None if head.is_empty() => "is empty".into(),
        None => format!("begins with \"{}\"", head.escape_ascii()),
    }
}

/// Fills the buffer as far as the file goes.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Hands the whole file over, piece by piece.
fn read_through(file: &File, mut push: impl FnMut(&[u8]) -> Result<(), Flaw>) -> Result<(), Flaw> {
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    loop {
        let read = read_up_to(file, &mut buffer, offset)?;
        push(&buffer[..read])?;
        offset += read as u64;
        if read < PIECE {
            return Ok(());
        }
    }
}

pub(super) fn check_size(size: Size) -> Result<(), Flaw> {
    if has_usable_sides(size) {
        return Ok(());
    }
    Err(format!("its pictures are {size} when expecting {USABLE_SIDES}").into())
}

pub(super) fn add(pictures: &mut Vec<Span>, span: Span) -> Result<(), Flaw> {
    if pictures.len() == MAX_PICTURES {
        return Err(format!("it has more than {MAX_PICTURES} pictures").into());
    }
    pictures.push(span);
    Ok(())
}

/// A coded picture from `offset` up to but not including `end`.
pub(super) fn coded_span(offset: u64, end: u64) -> Result<Span, Flaw> {
    let length = end - offset;
    if length > MAX_CODED_PICTURE {
        let mebibytes = MAX_CODED_PICTURE >> 20;
        return Err(format!("its picture at byte {offset} is longer than {mebibytes} MiB").into());
    }
    Ok(Span {
        offset,
        length: length as u32,
    })
}

/// The time between two pictures; `None` when no camera would be so slow or so fast.
pub(super) fn interval(pictures: u64, seconds: u64) -> Option<Duration> {
    let nanoseconds = seconds.checked_mul(1_000_000_000)?.checked_div(pictures)?;
    Some(Duration::from_nanos(nanoseconds)).filter(|interval| INTERVALS.contains(interval))
}

/// Files that people have and that are not what is expected here: where, the bytes, the name.
const KNOWN: [(usize, &[u8], &str); 5] = [
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\x7fELF", "a program (ELF)"),
    (
        4,
        b"ftyp",
        "an MP4 container (ffmpeg -i FILE -bf 0 clip.h264 makes a stream of it)",
    ),
    (
        0,
        b"\x1a\x45\xdf\xa3",
        "a Matroska container (ffmpeg -i FILE -bf 0 clip.h264 makes a stream of it)",
    ),
    (
        0,
        b"RIFF",
        "an AVI container (ffmpeg -i FILE -bf 0 clip.h264 makes a stream of it)",
    ),
];

/// The pace of files that do not tell one.
pub(super) const DEFAULT_INTERVAL: Duration = Duration::from_nanos(33_333_333);

/// How much of a file is in memory while it is searched.
const PIECE: usize = 64 * 1024;

/// Nearly ten hours at 30 a second; the list of them takes 16 MiB then.
const MAX_PICTURES: usize = 1 << 20;

/// Far beyond any real picture; four slots of this size are what a hostile file can cost.
const MAX_CODED_PICTURE: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coded_picture_has_a_limit() {
        assert!(coded_span(5, 5 + MAX_CODED_PICTURE).is_ok());
        let Err(Flaw::NotPlayable(found)) = coded_span(5, 6 + MAX_CODED_PICTURE) else {
            panic!("a picture of more than 16 MiB was taken");
        };
        assert_eq!(found, "its picture at byte 5 is longer than 16 MiB");
    }
}
