//! What an encoder can be asked for.

use std::time::Duration;

use crate::media::Bitrate;

/// What an encoder can be asked for, from its board profile and the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderLimits {
    /// Below it the encoder makes no picture worth looking at, or refuses.
    pub least: Bitrate,
    pub most: Bitrate,
    /// Rates are multiples of this.
    pub step: Bitrate,
    /// Between two changes.
    pub interval: Duration,
    /// A smaller rise is not worth what it costs.
    pub least_change_percent: u32,
    pub method: RateMethod,
}

impl EncoderLimits {
    /// An encoder that takes any rate, by a control.
    pub const ANY: Self = Self {
        least: Bitrate::bps(1),
        most: Bitrate::kbps(1_000_000),
        // Finer than anybody sees.
        step: Bitrate::kbps(10),
        // One frame: what becomes too much is not to wait for the little more of a moment ago.
        interval: Duration::from_millis(30),
        least_change_percent: 2,
        method: RateMethod::Control,
    };

    /// What the encoder and a configuration allow. The encoder's word counts where they have nothing in common.
    pub fn within(self, least: Bitrate, most: Bitrate) -> Self {
        let least = least.clamp(self.least, self.most);
        Self {
            least,
            most: most.clamp(least, self.most),
            ..self
        }
    }
}

/// What a change of the rate takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateMethod {
    /// A control: in force with one of the next frames.
    Control,
    /// The encoder is closed and opened again: some frames are missing, and a key frame follows.
    Reopen,
}
