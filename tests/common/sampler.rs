//! What was on the screen: one sample for every picture that the browser presented.

use std::time::Duration;

use serde::Deserialize;

use super::browser::Page;

/// One presented picture.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Sample {
    /// `performance.now()` of the callback, milliseconds.
    pub(crate) at: f64,
    /// Counts what the browser presented, sampled or not.
    pub(crate) presented: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// The frame number in the strip, when it could be read.
    pub(crate) frame: Option<u32>,
    /// Milliseconds from capture until the picture is to be seen.
    pub(crate) age: Option<f64>,
}

/// The pictures of one page in the order they were shown.
#[derive(Debug)]
pub(crate) struct Samples(pub(crate) Vec<Sample>);

impl Samples {
    /// Starts to sample; harmless when it runs already.
    pub(crate) fn start(page: &Page<'_>) {
        page.run(include_str!("sampler.js"));
    }

    /// What was shown since the start or the last call.
    pub(crate) fn take(page: &Page<'_>) -> Self {
        let samples = page.run("return window.sampler.take()");
        Self(serde_json::from_value(samples).expect("sampler.js and Sample agree"))
    }

    /// Every size that was seen, in the order of its coming.
    pub(crate) fn sizes(&self) -> Vec<(u32, u32)> {
        let mut sizes: Vec<_> = self
            .0
            .iter()
            .map(|sample| (sample.width, sample.height))
            .collect();
        sizes.dedup();
        sizes
    }

    pub(crate) fn frames(&self) -> Vec<u32> {
        self.0.iter().filter_map(|sample| sample.frame).collect()
    }

    /// The part of the frames between the first and the last that never came to the screen.
    ///
    /// The browser's own count decides: when the page's thread is late, one callback stands for two pictures that were shown.
    pub(crate) fn missing(&self) -> f64 {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else {
            return 1.0;
        };
        let (Some(first_frame), Some(last_frame)) = (first.frame, last.frame) else {
            return 1.0;
        };
        let sent = last_frame.saturating_sub(first_frame).max(1);
        1.0 - (last.presented - first.presented) as f64 / f64::from(sent)
    }

    /// The longest time that one picture stood still.
    pub(crate) fn longest_pause(&self) -> Duration {
        let pauses = self.0.windows(2).map(|pair| pair[1].at - pair[0].at);
        Duration::from_secs_f64(pauses.fold(0.0, f64::max) / 1000.0)
    }

    /// The age that `part` of the pictures (0.5: the median) did not exceed, in milliseconds.
    pub(crate) fn age(&self, part: f64) -> f64 {
        let mut ages: Vec<f64> = self.0.iter().filter_map(|sample| sample.age).collect();
        ages.sort_by(f64::total_cmp);
        assert!(
            !ages.is_empty(),
            "no strip was read in {} pictures",
            self.0.len()
        );
        ages[((ages.len() - 1) as f64 * part).round() as usize]
    }
}
