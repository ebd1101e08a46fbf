//! A second encoder for pictures of a camera that runs already.

use std::fmt;

use super::{Parts, PipelineError};
use crate::camera::tap::{Tap, Tapped};
use crate::encoder::Another;
use crate::media::Bitrate;

/// How to open it. It is of use as long as the first one's pipeline runs.
#[derive(Clone)]
pub struct Second {
    tap: Tap,
    another: Another,
}

impl Second {
    /// May block, as opening the first may.
    pub fn open(&self, bitrate: Bitrate) -> Result<Parts, PipelineError> {
        let encoder = (self.another)(bitrate)?;
        Ok(Parts::new(Box::new(self.tap.open()?), encoder))
    }
}

impl fmt::Debug for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Second")
            .field("tap", &self.tap)
            .finish_non_exhaustive()
    }
}

impl Parts {
    /// Lets a second encoder have the pictures too, where the first says how to open one.
    pub fn shared(self) -> Self {
        let Some(another) = self.encoder.another() else {
            return self;
        };
        let (camera, tap) = Tapped::new(self.camera);
        Self {
            camera: Box::new(camera),
            encoder: self.encoder,
            is_half: self.is_half,
            second: Some(Second { tap, another }),
        }
    }
}
