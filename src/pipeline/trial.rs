//! A camera and an encoder for a second: do they work together, and how fast.
#![allow(clippy::disallowed_methods)] // a driver: reads the clock once a turn

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tracing::debug;

use super::{Parts, PipelineError};
use crate::encoder::{EncoderError, Submitted};
use crate::media::Frame;

/// What came out after the first access unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    pub units: u32,
    pub bytes: u64,
    /// Raw picture bytes that the processor copied or converted.
    pub copied_bytes: u64,
    pub took: Duration,
    /// From the start to the first access unit.
    pub first_unit_after: Duration,
}

impl Trial {
    /// Runs both for `measured` after the first access unit, which must come within `patience`; up to three times as long where units
    /// come so slowly that their rate could not be told.
    pub fn run(
        parts: Parts,
        measured: Duration,
        patience: Duration,
    ) -> Result<Self, PipelineError> {
        let started = Instant::now();
        let mut turner = Turner {
            parts,
            pending: None,
            wants_key_frame: true,
        };
        let mut trial: Option<(Instant, Self)> = None;
        let mut copied_before = 0;
        loop {
            turner.wait()?;
            let now = Instant::now();
            while let Some(bytes) = turner.try_unit()? {
                let Some((_, trial)) = &mut trial else {
                    copied_before = turner.parts.encoder.copied_bytes();
                    let first = Self {
                        units: 0,
                        bytes: 0,
                        copied_bytes: 0,
                        took: Duration::ZERO,
                        first_unit_after: now - started,
                    };
                    trial = Some((now, first));
                    continue;
                };
                trial.units += 1;
                trial.bytes += bytes;
            }
            turner.feed()?;
            match &mut trial {
                Some((since, trial)) if is_enough(trial.units, now - *since, measured) => {
                    trial.took = now - *since;
                    trial.copied_bytes = turner.parts.encoder.copied_bytes() - copied_before;
                    return Ok(*trial);
                }
                None if now - started >= patience => {
                    return Err(EncoderError::Stopped {
                        encoder: "the encoder",
                        found: format!("no access unit came within {patience:?}"),
                    }
                    .into());
                }
                Some(_) | None => {}
            }
        }
    }

    pub fn frames_per_second(&self) -> f64 {
        f64::from(self.units) / self.took.as_secs_f64().max(0.001)
    }

    pub fn copied_bytes_per_frame(&self) -> u64 {
        self.copied_bytes / u64::from(self.units.max(1))
    }
}

struct Turner {
    parts: Parts,
    pending: Option<Frame>,
    wants_key_frame: bool,
}

impl Turner {
    fn wait(&self) -> Result<(), PipelineError> {
        let mut descriptors = [
            PollFd::from_borrowed_fd(self.parts.camera.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.parts.encoder.as_fd(), PollFlags::IN),
        ];
        match poll(&mut descriptors, Some(&WAIT_AT_MOST)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(PipelineError::Poll(errno.into())),
        }
    }

    /// The length of the next access unit.
    fn try_unit(&mut self) -> Result<Option<u64>, PipelineError> {
        match self.parts.encoder.try_access_unit() {
            Ok(unit) => Ok(unit.map(|unit| unit.data.len() as u64)),
            Err(error) => passing(error).map(|()| None),
        }
    }

    fn feed(&mut self) -> Result<(), PipelineError> {
        if let Some(frame) = self.parts.camera.try_frame()? {
            self.pending = Some(frame);
        }
        let Some(frame) = self.pending.take() else {
            return Ok(());
        };
        match self.parts.encoder.submit(frame, self.wants_key_frame) {
            Ok(Submitted::Taken) => self.wants_key_frame = false,
            Ok(Submitted::Full(frame)) => self.pending = Some(frame),
            Err(error) => passing(error)?,
        }
        Ok(())
    }
}

fn is_enough(units: u32, took: Duration, measured: Duration) -> bool {
    took >= 3 * measured || took >= measured && units >= UNITS_TO_TELL
}

fn passing(error: EncoderError) -> Result<(), PipelineError> {
    if !error.is_passing() {
        return Err(error.into());
    }
    debug!(%error, "the encoder goes on");
    Ok(())
}

/// Fewer say little of a rate.
const UNITS_TO_TELL: u32 = 5;

/// Often enough to notice a deadline.
const WAIT_AT_MOST: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

#[cfg(all(test, feature = "software-encoder"))]
mod tests {
    use super::*;
    use crate::camera::Camera;
    use crate::camera::test_card::{TestCard, TestCardSettings};
    use crate::encoder::software::{EncoderSettings, SoftwareEncoder};
    use crate::media::Bitrate;

    #[test]
    fn the_test_card_and_the_software_encoder_work_together() {
        let settings = TestCardSettings {
            size: "64x48".parse().unwrap(),
            interval: Duration::from_millis(10),
        };
        let camera = TestCard::open(&settings).unwrap();
        let bitrate = Bitrate::kbps(300);
        let encoder = SoftwareEncoder::open(camera.format(), EncoderSettings { bitrate }).unwrap();
        let parts = Parts::new(Box::new(camera), Box::new(encoder));

        let patience = Duration::from_secs(20);
        let trial = Trial::run(parts, Duration::from_millis(200), patience).unwrap();

        assert!(trial.units > 0 && trial.bytes > 0, "{trial:?}");
        // The test card is YU12 already: what counts as copied is the encoder's to tell.
        assert!(trial.frames_per_second() <= 110.0, "{trial:?}");
    }
}
