//! What a link carries, remembered from its queues: near it the rate grows slowly.

/// What the link was seen to carry when there was a queue. draft-ietf-rmcat-gcc-02, section 5.5, "close to convergence".
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Capacity {
    mean: Option<f64>,
    /// Of the mean.
    deviation: f64,
}

impl Capacity {
    pub(super) fn learn(&mut self, carries: f64) {
        let mean = *self.mean.get_or_insert(carries);
        if (carries - mean).abs() > self.spread() * mean {
            *self = Self {
                mean: Some(carries),
                deviation: 0.0,
            };
            return;
        }
        let off = (carries - mean).abs() / mean.max(1.0);
        self.deviation += 0.05 * (off - self.deviation);
        self.mean = Some(mean + 0.2 * (carries - mean));
    }

    pub(super) fn is_near(&self, rate: f64) -> bool {
        self.mean
            .is_some_and(|mean| (rate - mean).abs() < self.spread() * mean)
    }

    pub(super) fn forget_if_passed(&mut self, rate: f64) {
        if self
            .mean
            .is_some_and(|mean| rate > mean * (1.0 + self.spread()))
        {
            *self = Self::default();
        }
    }

    fn spread(&self) -> f64 {
        (3.0 * self.deviation).clamp(0.15, 0.4)
    }
}
