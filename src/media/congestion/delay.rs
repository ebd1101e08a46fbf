//! Whether a queue grows on the way, from how the distance between packets changes.
//!
//! The trendline is what Chromium uses in the place of the Kalman filter of draft-ietf-rmcat-gcc-02, section 5.3; the adaptive
//! threshold is section 5.4 of the draft and section 4.2 of Carlucci et al., "Analysis and Design of the Google Congestion
//! Control for Web Real-time Communication (WebRTC)", 2016.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::history::Acknowledged;

/// draft-ietf-rmcat-gcc-02, section 5.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Usage {
    #[default]
    Normal,
    /// The queue grows.
    Over,
    /// The queue empties.
    Under,
}

#[derive(Debug)]
pub(super) struct DelayGradient {
    current: Option<Group>,
    previous: Option<Group>,
    trend: Trendline,
    detector: Detector,
}

/// Packets that were sent together: their distance says how they were sent, not what the way did to them. Section 5.2.
#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent: Instant,
    last_sent: Instant,
    first_arrived: Duration,
    last_arrived: Duration,
}

impl DelayGradient {
    pub(super) fn new() -> Self {
        Self {
            current: None,
            previous: None,
            trend: Trendline::default(),
            detector: Detector::new(),
        }
    }

    /// In order of arrival.
    pub(super) fn add(&mut self, packet: &Acknowledged) {
        let Some(group) = &mut self.current else {
            self.current = Some(Group::new(packet));
            return;
        };
        if packet.sent < group.first_sent {
            // Overtaken on the way: its distance to the others says nothing about a queue.
            return;
        }
        if group.takes(packet) {
            group.last_sent = group.last_sent.max(packet.sent);
            group.last_arrived = packet.arrived;
            return;
        }
        let finished = std::mem::replace(group, Group::new(packet));
        if let Some(previous) = self.previous.replace(finished) {
            self.measure(previous, finished);
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.detector.usage
    }

    fn measure(&mut self, previous: Group, group: Group) {
        let sent = group
            .last_sent
            .saturating_duration_since(previous.last_sent);
        let arrived = group.last_arrived.saturating_sub(previous.last_arrived);
        if sent > LONGEST_GAP || arrived > LONGEST_GAP {
            // After a pause or an outage nothing that was seen before tells about now.
            self.trend = Trendline::default();
            self.detector = Detector::new();
            return;
        }
        let change = ms(arrived) - ms(sent);
        let trend = self.trend.add(change, ms(group.last_arrived));
        self.detector
            .decide(trend, ms(sent), self.trend.count, ms(group.last_arrived));
    }
}

impl Group {
    fn new(packet: &Acknowledged) -> Self {
        Self {
            first_sent: packet.sent,
            last_sent: packet.sent,
            first_arrived: packet.arrived,
            last_arrived: packet.arrived,
        }
    }

    fn takes(&self, packet: &Acknowledged) -> bool {
        if packet.sent.saturating_duration_since(self.first_sent) <= BURST {
            return true;
        }
        // Section 5.2: what a radio held back and let go at once arrives together although it was sent apart.
        let sent = packet.sent.saturating_duration_since(self.last_sent);
        let arrived = packet.arrived.saturating_sub(self.last_arrived);
        arrived <= BURST
            && arrived < sent
            && packet.arrived.saturating_sub(self.first_arrived) < LONGEST_BURST
    }
}

/// A line through the smoothed delay of the last groups.
#[derive(Debug, Default)]
struct Trendline {
    /// When it arrived, and the smoothed delay, in ms.
    points: VecDeque<(f64, f64)>,
    delay: f64,
    smoothed: f64,
    count: u32,
}

impl Trendline {
    /// The slope: ms of delay a ms.
    fn add(&mut self, change: f64, arrived: f64) -> f64 {
        self.count = self.count.saturating_add(1);
        self.delay += change;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.delay;
        if self.points.len() == TREND_POINTS {
            self.points.pop_front();
        }
        self.points.push_back((arrived, self.smoothed));
        if self.points.len() < TREND_POINTS {
            return 0.0;
        }
        let count = self.points.len() as f64;
        let (sum_x, sum_y) = self
            .points
            .iter()
            .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        let (mean_x, mean_y) = (sum_x / count, sum_y / count);
        let (above, below) = self.points.iter().fold((0.0, 0.0), |sum, (x, y)| {
            let x = x - mean_x;
            (sum.0 + x * (y - mean_y), sum.1 + x * x)
        });
        if below > 0.0 { above / below } else { 0.0 }
    }
}

#[derive(Debug)]
struct Detector {
    /// In ms.
    threshold: f64,
    previous_trend: f64,
    /// How long the trend has been above the threshold, in ms, and in how many groups.
    over: Option<(f64, u32)>,
    updated: Option<f64>,
    usage: Usage,
}

impl Detector {
    fn new() -> Self {
        Self {
            threshold: FIRST_THRESHOLD,
            previous_trend: 0.0,
            over: None,
            updated: None,
            usage: Usage::Normal,
        }
    }

    fn decide(&mut self, trend: f64, sent: f64, count: u32, at: f64) {
        let scaled = f64::from(count.min(FULL_CONFIDENCE)) * trend * TREND_GAIN;
        if scaled > self.threshold {
            let (time, groups) = self
                .over
                .map_or((sent / 2.0, 1), |(time, groups)| (time + sent, groups + 1));
            self.over = Some((time, groups));
            // Section 5.4: for some time, and not while it falls already.
            if time > OVERUSE_TIME && groups > 1 && trend >= self.previous_trend {
                self.over = Some((0.0, 0));
                self.usage = Usage::Over;
            }
        } else {
            self.over = None;
            self.usage = if scaled < -self.threshold {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
        self.previous_trend = trend;
        self.adapt(scaled.abs(), at);
    }

    /// Carlucci et al., equation 5: quick to follow down, slow up, so that a loss-based neighbour does not starve us.
    fn adapt(&mut self, scaled: f64, at: f64) {
        let elapsed = self
            .updated
            .replace(at)
            .map_or(0.0, |before| (at - before).clamp(0.0, 100.0));
        // Section 5.4: a sudden spike is a change of the way, not of its noise.
        if scaled > self.threshold + SPIKE {
            return;
        }
        let gain = if scaled < self.threshold {
            GAIN_DOWN
        } else {
            GAIN_UP
        };
        self.threshold += gain * (scaled - self.threshold) * elapsed;
        self.threshold = self.threshold.clamp(LEAST_THRESHOLD, MOST_THRESHOLD);
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Section 5.2: packets sent within this are one group.
const BURST: Duration = Duration::from_millis(5);

/// A radio's pause may merge groups up to this; more would hide a queue.
const LONGEST_BURST: Duration = Duration::from_millis(100);

/// A still picture at one frame a second is slower: the trend of seconds ago would be taken for one of now.
const LONGEST_GAP: Duration = Duration::from_millis(700);

/// Two thirds of a second at 30 fps. Chromium's value: fewer points take jitter for a queue, more see the queue later.
const TREND_POINTS: usize = 20;

/// Chromium's value.
const SMOOTHING: f64 = 0.9;

/// Chromium's values: the slope becomes the ms that the delay would change in 60 groups, times four.
const TREND_GAIN: f64 = 4.0;
const FULL_CONFIDENCE: u32 = 60;

/// Section 5.4, `del_var_th(0)`.
const FIRST_THRESHOLD: f64 = 12.5;

/// Section 5.4: clamped to this range.
const LEAST_THRESHOLD: f64 = 6.0;
const MOST_THRESHOLD: f64 = 600.0;

/// Section 5.4, `overuse_time_th`.
const OVERUSE_TIME: f64 = 10.0;

/// Section 5.4: further above the threshold than this it is not followed.
const SPIKE: f64 = 15.0;

/// Section 5.4, `K_u` and `K_d`, by ms; the values that Chromium uses today.
const GAIN_UP: f64 = 0.0087;
const GAIN_DOWN: f64 = 0.039;
