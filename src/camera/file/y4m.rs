//! YUV4MPEG2: a line that describes the stream, then frames of one size, each behind a line of its own.

use std::time::Duration;

use super::clip::{self, Clip, Flaw, Span, interval};
use crate::media::{Fourcc, PictureFormat, Size};

pub(super) const MAGIC: &[u8] = b"YUV4MPEG2";

/// Finds the frames. `read_at` fills a buffer from an offset as far as the file goes and tells how far.
pub(super) fn index(
    read_at: impl Fn(&mut [u8], u64) -> std::io::Result<usize>,
) -> Result<Clip, Flaw> {
    let mut buffer = [0; MAX_LINE];
    let read = read_at(&mut buffer, 0)?;
    let line = line(&buffer[..read])
        .ok_or_else(|| format!("its first line does not end within {MAX_LINE} bytes"))?;
    let format = parse_header(line)?;
    let length = format.size.width * format.size.height * 3 / 2;

    let mut frames = Vec::new();
    let mut at = line.len() as u64 + 1;
    let leftover = loop {
        let mut start = [0; MAX_FRAME_LINE];
        let read = read_at(&mut start, at)?;
        if read == 0 {
            break None;
        }
        let Some(line) = self::line(&start[..read]).filter(|line| line.starts_with(b"FRAME"))
        else {
            break Some(format!("what is at byte {at} is no frame"));
        };
        let offset = at + line.len() as u64 + 1;
        // The frame is there when its last byte is.
        at = offset + u64::from(length);
        if read_at(&mut [0], at - 1)? == 0 {
            break Some("it ends inside a frame".into());
        }
        clip::add(&mut frames, Span { offset, length })?;
    };
    if frames.is_empty() {
        let why = leftover.unwrap_or_else(|| "it ends after its first line".into());
        return Err(format!("it has no whole frame: {why}").into());
    }
    Ok(Clip {
        format,
        pictures: frames,
        leftover,
    })
}

/// The text before the first line feed.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some(&bytes[..end])
}

fn parse_header(line: &[u8]) -> Result<PictureFormat, Flaw> {
    let line = String::from_utf8_lossy(line);
    let (mut width, mut height, mut rate, mut colour) = (None, None, None, "420");
    for field in line.split_ascii_whitespace().skip(1) {
        let (tag, value) = match field.char_indices().nth(1) {
            Some((second, _)) => field.split_at(second),
            None => (field, ""),
        };
        match tag {
            "W" => width = Some(value),
            "H" => height = Some(value),
            "F" => rate = Some(value),
            "C" => colour = value,
            // Interlacing, aspect ratio and comments change nothing about where the bytes are.
            _ => {}
        }
    }
    let side = |name, value: Option<&str>| {
        let value = value.ok_or_else(|| format!("its header has no {name}"))?;
        value
            .parse::<u32>()
            .map_err(|_| format!("its header has {name} \"{value}\" when expecting a number"))
    };
    let size = Size {
        width: side("width", width)?,
        height: side("height", height)?,
    };
    clip::check_size(size)?;
    if !COLOURS.contains(&colour) {
        return Err(format!(
            "its colours are C{colour} when expecting one of C420, C420jpeg, C420mpeg2, C420paldv \
             (ffmpeg -pix_fmt yuv420p makes them)"
        )
        .into());
    }
    Ok(PictureFormat {
        fourcc: Fourcc::YU12,
        size,
        stride: size.width,
        interval: parse_rate(rate.ok_or_else(|| "its header has no frame rate".to_owned())?)?,
    })
}

fn parse_rate(rate: &str) -> Result<Duration, Flaw> {
    let refuse = || format!("its frame rate is \"{rate}\" when expecting a ratio such as \"30:1\"");
    let (frames, seconds) = rate.split_once(':').ok_or_else(refuse)?;
    let frames: u64 = frames.parse().map_err(|_| refuse())?;
    let seconds: u64 = seconds.parse().map_err(|_| refuse())?;
    let interval = interval(frames, seconds).ok_or_else(|| {
        format!("its frame rate is \"{rate}\" when expecting 0.1 to 1000 frames per second")
    })?;
    Ok(interval)
}

/// The same three planes; they differ in where between the luma samples a chroma sample lies.
const COLOURS: [&str; 4] = ["420", "420jpeg", "420mpeg2", "420paldv"];

/// Headers are some 70 bytes; comments (X) may make them longer.
const MAX_LINE: usize = 4096;

/// `FRAME` and a line feed; parameters of a frame are allowed and hardly ever seen.
const MAX_FRAME_LINE: usize = 256;

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A clip of 16x16 pictures, each filled with its number.
    pub(in crate::camera::file) fn clip(frames: u8) -> Vec<u8> {
        let mut bytes = b"YUV4MPEG2 W16 H16 F100:1 Ip A1:1 C420jpeg XCOMMENT\n".to_vec();
        for frame in 0..frames {
            bytes.extend_from_slice(b"FRAME\n");
            bytes.extend_from_slice(&[frame; 384]);
        }
        bytes
    }

    pub(in crate::camera::file) fn reader(
        bytes: &[u8],
    ) -> impl Fn(&mut [u8], u64) -> std::io::Result<usize> {
        |buffer, offset| {
            let rest = bytes.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        }
    }

    fn found(bytes: &[u8]) -> String {
        match index(reader(bytes)) {
            Err(Flaw::NotPlayable(found)) => found,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn frames_are_where_the_header_says() {
        let clip = index(reader(&clip(3))).unwrap();
        assert_eq!(clip.format.fourcc, Fourcc::YU12);
        assert_eq!(clip.format.size.to_string(), "16x16");
        assert_eq!(clip.format.interval, Duration::from_millis(10));
        let offsets: Vec<_> = clip.pictures.iter().map(|span| span.offset).collect();
        assert_eq!(offsets, [57, 447, 837]);
        assert_eq!(clip.pictures[0].length, 384);
        assert_eq!(clip.leftover, None);
    }

    #[test]
    fn ntsc_is_not_rounded_to_30() {
        let interval = parse_rate("30000:1001").unwrap();
        assert_eq!(interval, Duration::from_nanos(33_366_666));
    }

    #[test]
    fn a_frame_cut_short_is_left_out() {
        let bytes = clip(2);
        let cut = index(reader(&bytes[..bytes.len() - 1])).unwrap();
        assert_eq!(cut.pictures.len(), 1);
        assert_eq!(cut.leftover.unwrap(), "it ends inside a frame");

        let only = clip(1);
        assert_eq!(
            found(&only[..only.len() - 1]),
            "it has no whole frame: it ends inside a frame"
        );
        assert_eq!(
            found(&clip(0)),
            "it has no whole frame: it ends after its first line"
        );
    }

    #[test]
    fn headers_that_cannot_be_played_say_why() {
        for (header, expected) in [
            (
                "W641 H360 F30:1",
                "its pictures are 641x360 when expecting even sides of 16 to 8192 pixels",
            ),
            (
                "W1000000 H1000000 F30:1",
                "its pictures are 1000000x1000000 when expecting even sides of 16 to 8192 pixels",
            ),
            (
                "W99999999999 H2 F30:1",
                "its header has width \"99999999999\" when expecting a number",
            ),
            ("W640 F30:1", "its header has no height"),
            ("W640 H360", "its header has no frame rate"),
            (
                "W640 H360 F0:1",
                "its frame rate is \"0:1\" when expecting 0.1 to 1000 frames per second",
            ),
            (
                "W640 H360 F30",
                "its frame rate is \"30\" when expecting a ratio such as \"30:1\"",
            ),
            (
                "W640 H360 F30:1 C422",
                "its colours are C422 when expecting one of C420, C420jpeg, C420mpeg2, C420paldv \
                 (ffmpeg -pix_fmt yuv420p makes them)",
            ),
        ] {
            assert_eq!(found(format!("YUV4MPEG2 {header}\n").as_bytes()), expected);
        }
        assert_eq!(
            found(b"YUV4MPEG2 W640 H360"),
            "its first line does not end within 4096 bytes"
        );
    }

    proptest! {
        #[test]
        fn any_header_is_harmless(header in "[WHFCX0-9: \\PC]{0,40}", body: Vec<u8>) {
            let mut bytes = format!("YUV4MPEG2 {header}\n").into_bytes();
            bytes.extend_from_slice(&body);
            let _ = index(reader(&bytes));
        }

        #[test]
        fn any_bytes_are_harmless(bytes: Vec<u8>) {
            let _ = index(reader(&bytes));
        }
    }
}
