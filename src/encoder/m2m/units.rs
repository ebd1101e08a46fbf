//! From the coded buffers of a driver to access units: joined where one goes on in the next buffer, headers held back for their
//! picture, each with the frame it was made of.

use bytes::BytesMut;
use tracing::{debug, warn};

use super::journal::Journal;
use crate::media::h264::Conditioner;
use crate::media::{AccessUnit, MediaTime};

/// Puts units together. Its memory is used again.
#[derive(Debug, Default)]
pub(super) struct Units {
    conditioner: Conditioner,
    /// What is written next.
    buffer: Vec<u8>,
    /// The beginning of a unit whose buffer was full.
    begun: Vec<u8>,
    begun_stamp: Option<MediaTime>,
    /// `buffer` was left for later, with this timestamp.
    kept: Option<(MediaTime, bool)>,
    /// Its memory is used again when no viewer needs the units in it any more.
    memory: BytesMut,
    /// A picture was lost, and those that build on it are not shown.
    needs_key_frame: bool,
    /// The last that came was headers without a picture.
    headers_alone: bool,
    lost_key_frame: bool,
}

/// What became of a coded buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Became {
    /// Headers, a part, or nothing that was waited for.
    Nothing,
    Unit(AccessUnit),
    /// A picture that cannot be shown: a key frame is needed.
    Lost,
}

impl Units {
    pub(super) fn new(coded_bytes: usize) -> Self {
        Self {
            buffer: Vec::with_capacity(coded_bytes),
            needs_key_frame: true,
            ..Self::default()
        }
    }

    /// Where a buffer's bytes go before `take`.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// The bytes in `buffer` came with this timestamp. `goes_on`: the driver may continue in the next buffer.
    pub(super) fn take(
        &mut self,
        stamp: MediaTime,
        goes_on: bool,
        journal: &mut Journal,
    ) -> Became {
        if self.begun_stamp == Some(stamp) {
            self.begun.extend_from_slice(&self.buffer);
            if goes_on {
                return Became::Nothing;
            }
            self.begun_stamp = None;
            std::mem::swap(&mut self.begun, &mut self.buffer);
            self.begun.clear();
            return self.finish(stamp, journal);
        }
        // That one was full to the last byte, and whole: it is late by one buffer.
        if let Some(begun) = self.begun_stamp.take() {
            std::mem::swap(&mut self.begun, &mut self.buffer);
            let became = self.finish(begun, journal);
            std::mem::swap(&mut self.begun, &mut self.buffer);
            self.begun.clear();
            self.kept = Some((stamp, goes_on));
            return became;
        }
        if goes_on {
            self.begun_stamp = Some(stamp);
            std::mem::swap(&mut self.begun, &mut self.buffer);
            return Became::Nothing;
        }
        self.finish(stamp, journal)
    }

    /// What `take` left for later. Ask before `buffer` is used again.
    pub(super) fn take_kept(&mut self, journal: &mut Journal) -> Option<Became> {
        let (stamp, goes_on) = self.kept.take()?;
        Some(self.take(stamp, goes_on, journal))
    }

    /// The driver could not code the frame of this time.
    pub(super) fn failed(&mut self, stamp: MediaTime, journal: &mut Journal) {
        let sequence = journal.take(stamp).map(|found| found.entry.sequence);
        warn!(?sequence, "the encoder failed at a frame");
        self.needs_key_frame = true;
    }

    /// What came so far has no end.
    pub(super) fn reset(&mut self) {
        self.begun_stamp = None;
        self.begun.clear();
        self.kept = None;
        self.needs_key_frame = true;
    }

    /// True until the next key frame came out: what comes before it is not shown.
    pub(super) fn needs_key_frame(&self) -> bool {
        self.needs_key_frame
    }

    /// True once for each key frame that the encoder has begun and not brought.
    pub(super) fn take_lost_key_frame(&mut self) -> bool {
        std::mem::take(&mut self.lost_key_frame)
    }

    fn finish(&mut self, stamp: MediaTime, journal: &mut Journal) -> Became {
        if self.buffer.is_empty() {
            return Became::Nothing;
        }
        let conditioned = match self.conditioner.condition(&self.buffer, &mut self.memory) {
            Ok(conditioned) => conditioned,
            Err(error) => {
                warn!(%error, bytes = self.buffer.len(), "the encoder's stream is damaged");
                journal.take(stamp);
                self.needs_key_frame = true;
                return Became::Lost;
            }
        };
        if let Some(surprise) = self.conditioner.take_surprise() {
            warn!(%surprise, "the encoder's stream is unusual");
        }
        // Headers of their own may have their picture's timestamp, which is still to come.
        if !conditioned.has_picture {
            self.headers_alone = true;
            return Became::Nothing;
        }
        // A rate control that skips a key frame may leave its headers.
        let had_headers = std::mem::take(&mut self.headers_alone);
        self.lost_key_frame |= had_headers && !conditioned.key_frame;
        let data = self.memory.split().freeze();
        let Some(found) = journal.take(stamp) else {
            debug!(?stamp, bytes = data.len(), "a picture of no frame");
            self.needs_key_frame = true;
            return Became::Lost;
        };
        if found.skipped > 0 {
            debug!(
                skipped = found.skipped,
                before = found.entry.sequence,
                "the encoder skipped frames"
            );
        }
        if self.needs_key_frame && !conditioned.key_frame {
            return Became::Lost;
        }
        self.needs_key_frame = false;
        Became::Unit(AccessUnit {
            data,
            key_frame: conditioned.key_frame,
            captured: found.entry.captured,
            sequence: found.entry.sequence,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    // Constrained baseline, level 1.3, 160x120.
    const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x0d, 0xda, 0x0a, 0x0f, 0xc8];
    const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
    const IDR: &[u8] = &[0x65, 0x88, 0x84, 0x11, 0x22, 0x33];
    const P: &[u8] = &[0x41, 0x9a, 0x21, 0x44, 0x55];

    fn stream(nals: &[&[u8]]) -> Vec<u8> {
        nals.iter()
            .flat_map(|nal| [&[0, 0, 0, 1], *nal].concat())
            .collect()
    }

    struct Scene {
        units: Units,
        journal: Journal,
        stamps: Vec<MediaTime>,
    }

    impl Scene {
        /// So many frames went in.
        fn with_frames(count: u32) -> Self {
            let mut journal = Journal::default();
            let captured = |n: u32| MediaTime::from_monotonic(Duration::from_millis(40) * n);
            let stamps = (0..count)
                .map(|n| journal.enter(captured(n + 1), n))
                .collect();
            Self {
                units: Units::new(1024),
                journal,
                stamps,
            }
        }

        fn take(&mut self, frame: usize, bytes: &[u8], goes_on: bool) -> Became {
            self.units.buffer().clear();
            self.units.buffer().extend_from_slice(bytes);
            self.units
                .take(self.stamps[frame], goes_on, &mut self.journal)
        }
    }

    fn unit(became: Became) -> (u32, bool, Vec<u8>) {
        match became {
            Became::Unit(unit) => (unit.sequence, unit.key_frame, unit.data.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn headers_of_their_own_wait_for_the_picture_with_the_same_timestamp() {
        let mut scene = Scene::with_frames(1);
        let headers = stream(&[SPS, PPS]);
        assert_eq!(scene.take(0, &headers, false), Became::Nothing);
        let (sequence, key_frame, data) = unit(scene.take(0, &stream(&[IDR]), false));
        assert_eq!((sequence, key_frame), (0, true));
        assert!(data.ends_with(&stream(&[PPS, IDR])));
    }

    #[test]
    fn a_unit_that_goes_on_in_the_next_buffers_is_joined() {
        let mut scene = Scene::with_frames(2);
        let whole = stream(&[SPS, PPS, IDR]);
        assert_eq!(scene.take(0, &whole[..10], true), Became::Nothing);
        assert_eq!(scene.take(0, &whole[10..20], true), Became::Nothing);
        let (sequence, key_frame, data) = unit(scene.take(0, &whole[20..], false));
        assert_eq!((sequence, key_frame), (0, true));
        assert!(data.ends_with(&stream(&[IDR])));
        assert_eq!(unit(scene.take(1, &stream(&[P]), false)).0, 1);
    }

    #[test]
    fn a_unit_that_filled_its_buffer_to_the_last_byte_comes_with_the_next() {
        let mut scene = Scene::with_frames(3);
        let key_frame = stream(&[SPS, PPS, IDR]);
        assert_eq!(scene.take(0, &key_frame, true), Became::Nothing);
        assert_eq!(unit(scene.take(1, &stream(&[P]), false)).0, 0);
        let kept = scene.units.take_kept(&mut scene.journal).unwrap();
        assert_eq!(unit(kept), (1, false, stream(&[P])));
        assert_eq!(scene.units.take_kept(&mut scene.journal), None);
        assert_eq!(unit(scene.take(2, &stream(&[P]), false)).0, 2);
    }

    #[test]
    fn after_a_failed_frame_nothing_is_shown_before_the_next_key_frame() {
        let mut scene = Scene::with_frames(5);
        unit(scene.take(0, &stream(&[SPS, PPS, IDR]), false));
        scene.units.failed(scene.stamps[1], &mut scene.journal);
        assert!(scene.units.needs_key_frame());
        assert_eq!(scene.take(2, &stream(&[P]), false), Became::Lost);
        assert!(unit(scene.take(3, &stream(&[IDR]), false)).1);
        assert_eq!(unit(scene.take(4, &stream(&[P]), false)).0, 4);
    }

    #[test]
    fn headers_whose_picture_never_comes_tell_of_a_key_frame_that_was_skipped() {
        let mut scene = Scene::with_frames(4);
        unit(scene.take(0, &stream(&[SPS, PPS, IDR]), false));
        scene.take(1, &stream(&[SPS, PPS]), false);
        assert!(!scene.units.take_lost_key_frame(), "it may still come");
        assert_eq!(unit(scene.take(2, &stream(&[P]), false)).0, 2);
        assert!(scene.units.take_lost_key_frame());
        unit(scene.take(3, &stream(&[P]), false));
        assert!(!scene.units.take_lost_key_frame(), "told once");
    }

    #[test]
    fn a_picture_of_no_frame_and_a_damaged_stream_are_losses() {
        let mut scene = Scene::with_frames(2);
        unit(scene.take(0, &stream(&[SPS, PPS, IDR]), false));
        scene.stamps[0] = MediaTime::from_monotonic(Duration::ZERO);
        assert_eq!(scene.take(0, &stream(&[P]), false), Became::Lost);
        assert_eq!(scene.take(1, &[7; 40], false), Became::Lost);
        assert_eq!(scene.take(1, &[], false), Became::Nothing);
    }
}
