//! The links of the figures table. 720p at 30 fps, 1.5 Mbit/s at the start, 4 Mbit/s at most, 25 ms each way.

use std::time::Duration;

use rovercast::media::Bitrate;
use rovercast::media::congestion::EstimateRange;
use rovercast::media::rate::EncoderLimits;

use super::encoder::Kind;
use super::link::{LinkSettings, Loss};
use super::ms;
use super::traces::Trace;
use super::world::{Scenario, ViewerSettings};

pub const START: f64 = 1_500_000.0;
pub const MOST: f64 = 4_000_000.0;

/// Seconds.
pub const SHORT: u64 = 10;

/// One viewer behind this link.
pub fn one(seed: u64, there: LinkSettings, seconds: u64) -> Scenario {
    of_viewers(seed, vec![viewer(there)], seconds)
}

pub fn of_viewers(seed: u64, viewers: Vec<ViewerSettings>, seconds: u64) -> Scenario {
    Scenario {
        seed,
        length: Duration::from_secs(seconds),
        range: EstimateRange {
            least: Bitrate::kbps(150),
            start: Bitrate::bps(START as u64),
            most: Bitrate::bps(MOST as u64),
        },
        limits: EncoderLimits {
            least: Bitrate::kbps(150),
            most: Bitrate::bps(MOST as u64),
            ..EncoderLimits::ANY
        },
        viewers,
        encoder: Kind::Model,
        scene: |_| f64::MAX,
        lateness: Duration::ZERO,
    }
}

pub fn viewer(there: LinkSettings) -> ViewerSettings {
    ViewerSettings {
        there,
        back: LinkSettings::fast(ms(25)),
        neighbour: None,
        nagging: None,
    }
}

/// `queue` in ms.
pub fn link(rate: Trace, queue: u64) -> LinkSettings {
    LinkSettings {
        rate,
        queue: ms(queue),
        ..LinkSettings::fast(ms(25))
    }
}

pub fn wide() -> LinkSettings {
    link(Trace::constant(10e6), 300)
}

/// 5 % random loss both ways.
pub fn lossy(seed: u64) -> Scenario {
    let mut scenario = one(seed, wide(), 30);
    scenario.viewers[0].there.loss = Loss::Random(0.05);
    scenario.viewers[0].back.loss = Loss::Random(0.05);
    scenario
}

/// A microwave oven: bursts of ten packets with most of them lost.
pub fn bursts(seed: u64) -> Scenario {
    let mut scenario = one(seed, wide(), 30);
    scenario.viewers[0].there.loss = Loss::Bursty {
        worse: 0.005,
        better: 0.1,
        lost: 0.7,
    };
    scenario
}

/// 4 → 0.5 → 4 Mbit/s at 15 and 35 s.
pub fn narrowing(seed: u64) -> Scenario {
    let rate = Trace::steps(&[(0.0, 4e6), (15.0, 0.5e6), (35.0, 4e6)]);
    one(seed, link(rate, 300), 60)
}

/// The shortest that shows all of it: start, a link that narrows, and one that is wide again.
pub fn short(seed: u64) -> Scenario {
    let rate = Trace::steps(&[(0.0, 4e6), (4.0, 1e6), (7.0, 4e6)]);
    one(seed, link(rate, 300), SHORT)
}

pub fn bufferbloat(seed: u64) -> Scenario {
    one(seed, link(Trace::constant(1e6), 1000), 60)
}

/// 20 ms of jitter both ways, in order.
pub fn jitter(seed: u64) -> Scenario {
    let mut scenario = one(seed, wide(), 30);
    scenario.viewers[0].there.jitter = ms(20);
    scenario.viewers[0].back.jitter = ms(20);
    scenario
}

/// Nothing gets through from 10 to 13 s, either way.
pub fn outage(seed: u64) -> Scenario {
    let mut scenario = one(seed, link(Trace::constant(4e6), 300), 30);
    let outage = (Duration::from_secs(10), Duration::from_secs(13));
    scenario.viewers[0].there.outages = vec![outage];
    scenario.viewers[0].back.outages = vec![outage];
    scenario
}

/// The way there takes 80 ms more from 10 s on. 4 → 1 → 4 Mbit/s at 20 and 30 s.
pub fn longer(seed: u64) -> Scenario {
    let rate = Trace::steps(&[(0.0, 4e6), (20.0, 1e6), (30.0, 4e6)]);
    let mut scenario = one(seed, link(rate, 600), 45);
    scenario.viewers[0].there.longer = Some((Duration::from_secs(10), ms(80)));
    scenario
}

/// The way there takes 80 ms more after nothing got through from 10 to 13 s.
pub fn longer_after_an_outage(seed: u64) -> Scenario {
    let mut scenario = outage(seed);
    scenario.viewers[0].there.longer = Some((Duration::from_secs(11), ms(80)));
    scenario
}

/// A download beside it from 10 to 80 s; `queue` in ms.
pub fn competing(seed: u64, bps: f64, queue: u64) -> Scenario {
    let mut scenario = one(seed, link(Trace::constant(bps), queue), 90);
    scenario.viewers[0].neighbour = Some((Duration::from_secs(10), Duration::from_secs(80)));
    scenario
}

/// The same beside a picture that needs no more than the 720p test card of the benchmark in Chromium: while little is sent, little
/// arrives, and a queue looks as if the link carried no more.
pub fn competing_card(seed: u64, bps: f64, queue: u64) -> Scenario {
    let mut scenario = competing(seed, bps, queue);
    scenario.scene = |_| 1.5e6;
    scenario
}

/// Three good viewers, and perhaps another.
pub fn three_and(seed: u64, other: Option<ViewerSettings>) -> Scenario {
    let good = viewer(link(Trace::constant(6e6), 300));
    let mut viewers = vec![good.clone(), good.clone(), good];
    viewers.extend(other);
    let mut scenario = of_viewers(seed, viewers, 30);
    scenario.limits.least = Bitrate::kbps(300);
    scenario
}

/// 300 kbit/s with 5 % loss.
pub fn poor() -> ViewerSettings {
    let mut poor = viewer(link(Trace::constant(300e3), 300));
    poor.there.loss = Loss::Random(0.05);
    poor.back.loss = Loss::Random(0.05);
    poor
}

/// 200 PLIs a second.
pub fn nagging() -> ViewerSettings {
    ViewerSettings {
        nagging: Some(ms(5)),
        ..viewer(link(Trace::constant(6e6), 300))
    }
}

pub fn lte(seed: u64) -> Scenario {
    let rate = Trace::lte(2e6, Duration::from_secs(60), seed);
    one(seed, link(rate, 1000), 60)
}

pub fn wifi(seed: u64) -> Scenario {
    let rate = Trace::wifi(5e6, Duration::from_secs(60), seed);
    one(seed, link(rate, 200), 60)
}
