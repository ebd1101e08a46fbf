//! How much a link carries over time.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Steps of (from, bits per second), the first from zero on, the last for ever.
#[derive(Clone, Debug)]
pub struct Trace(Vec<(Duration, f64)>);

impl Trace {
    pub fn constant(bps: f64) -> Self {
        Self(vec![(Duration::ZERO, bps)])
    }

    /// Each step: from this second on, so many bits per second.
    pub fn steps(steps: &[(f64, f64)]) -> Self {
        Self(
            steps
                .iter()
                .map(|(from, bps)| (Duration::from_secs_f64(*from), *bps))
                .collect(),
        )
    }

    /// As LTE uplinks were recorded: the logarithm of the rate walks around `mean` with the correlation of fading while driving
    /// (a time constant of 2 s, a deviation of 45 %), in steps of 100 ms, and twice a minute a handover of 100 to 400 ms carries
    /// nearly nothing.
    pub fn lte(mean: f64, length: Duration, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ 0x17e);
        let mut steps = Vec::new();
        let (mut offset, mut at, mut handover) = (0.0_f64, 0.0_f64, 0_u32);
        while at < length.as_secs_f64() {
            let keep = (-0.1_f64 / 2.0).exp();
            offset = offset * keep + 0.45 * (1.0 - keep * keep).sqrt() * normal(&mut random);
            if handover == 0 && random.random_bool(0.1 / 30.0) {
                handover = random.random_range(1..=4);
            }
            let bps = match handover {
                0 => mean * offset.clamp(-1.4, 1.0).exp(),
                _ => 20_000.0,
            };
            handover = handover.saturating_sub(1);
            steps.push((Duration::from_secs_f64(at), bps));
            at += 0.1;
        }
        Self(steps)
    }

    /// As Wi-Fi at the edge of its range: the modulation moves between five steps, each for 0.3 to 4 s, neighbours take up to a third
    /// of the time away in slices of 20 ms.
    pub fn wifi(best: f64, length: Duration, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ 0x80211);
        let shares = [0.15, 0.3, 0.5, 0.75, 1.0];
        let (mut step, mut until, mut at) = (3_usize, 0.0_f64, 0.0_f64);
        let mut steps = Vec::new();
        while at < length.as_secs_f64() {
            if at >= until {
                until = at + random.random_range(0.3..4.0);
                step = match random.random_bool(0.5) {
                    true => (step + 1).min(shares.len() - 1),
                    false => step.saturating_sub(1),
                };
            }
            let free = 1.0 - random.random_range(0.0..0.33);
            steps.push((Duration::from_secs_f64(at), best * shares[step] * free));
            at += 0.02;
        }
        Self(steps)
    }

    pub fn at(&self, time: Duration) -> f64 {
        self.0[self.index(time)].1
    }

    /// When `bits` that begin at `start` are through.
    pub fn finish(&self, start: Duration, bits: f64) -> Duration {
        let mut index = self.index(start);
        let (mut at, mut left) = (start.as_secs_f64(), bits);
        loop {
            let bps = self.0[index].1.max(1.0);
            let need = left / bps;
            match self.0.get(index + 1) {
                Some((next, _)) if at + need > next.as_secs_f64() => {
                    left -= (next.as_secs_f64() - at).max(0.0) * bps;
                    at = next.as_secs_f64();
                    index += 1;
                }
                Some(_) | None => return Duration::from_secs_f64(at + need),
            }
        }
    }

    fn index(&self, time: Duration) -> usize {
        self.0.partition_point(|(from, _)| *from <= time) - 1
    }
}

/// Box and Muller.
pub fn normal(random: &mut StdRng) -> f64 {
    let (a, b): (f64, f64) = (random.random_range(1e-9..1.0), random.random());
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}
