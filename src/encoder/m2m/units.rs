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
            return Became::Nothing;
        }
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
