//! Everything together: what happens when, until the scenario ends.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rovercast::media::Bitrate;
use rovercast::media::congestion::EstimateRange;
use rovercast::media::rate::{
    EncoderLimits, KEY_FRAME_SPACING, KeyFrameBudget, KeyFrameGate, SharedRate,
};

use super::browser::Browser;
use super::encoder::{self, Encoder, Frame, Kind};
use super::link::{Link, LinkSettings};
use super::neighbour::{self, Neighbour};
use super::seen::{Sample, Seen};
use super::sender::Sender;
use super::{Answer, FRAME, MediaPacket, ms};

#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub length: Duration,
    pub range: EstimateRange,
    pub limits: EncoderLimits,
    pub viewers: Vec<ViewerSettings>,
    pub encoder: Kind,
    /// What the scene needs, by second; a model follows it.
    pub scene: fn(f64) -> f64,
    /// Timers of the robot are late by up to so much: it does other things, too.
    pub lateness: Duration,
}

#[derive(Clone, Debug)]
pub struct ViewerSettings {
    pub there: LinkSettings,
    pub back: LinkSettings,
    pub neighbour: Option<(Duration, Duration)>,
    pub nagging: Option<Duration>,
}

#[derive(Debug)]
enum Happening {
    Frame,
    Coded(Frame),
    Wake(usize),
    Arrives(usize, MediaPacket),
    Answered(usize, Answer),
    Browser,
    Neighbour(usize, u64),
    NeighbourAnswered(usize, u64),
    Sample,
}

/// When, in nanoseconds since the start and then by the order of planning, and what: the smallest comes first. One comparison of
/// integers, for this is what a run does most.
struct Entry(Reverse<u128>, Happening);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    fn le(&self, other: &Self) -> bool {
        self.0.0 >= other.0.0
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

struct Path {
    settings: ViewerSettings,
    sender: Sender,
    there: Link,
    back: Link,
    browser: Browser,
    neighbour: Option<Neighbour>,
    budget: KeyFrameBudget,
    wake: Option<Instant>,
    samples: Vec<Sample>,
}

struct World {
    origin: Instant,
    now: Instant,
    events: BinaryHeap<Entry>,
    count: u64,
    encoder: Box<dyn Encoder>,
    gate: KeyFrameGate,
    paths: Vec<Path>,
    frames: u32,
    shared: SharedRate<usize>,
    random: StdRng,
    scenario: Scenario,
}

/// Runs it to its end; what each viewer saw.
pub fn run(scenario: Scenario) -> Vec<Seen> {
    let origin = Instant::now();
    let mut world = World::new(scenario, origin);
    world.schedule(origin, Happening::Frame);
    world.schedule(origin, Happening::Browser);
    world.schedule(origin, Happening::Sample);
    let end = origin + world.scenario.length;
    while let Some(Entry(Reverse(key), happening)) = world.events.pop() {
        world.now = origin + Duration::from_nanos((key >> 64) as u64);
        if world.now >= end {
            break;
        }
        world.happen(happening);
    }
    world.finish()
}

impl World {
    fn new(scenario: Scenario, now: Instant) -> Self {
        let paths = scenario
            .viewers
            .iter()
            .enumerate()
            .map(|(index, settings)| {
                let seed = scenario
                    .seed
                    .wrapping_mul(31)
                    .wrapping_add(index as u64 * 7);
                let mut browser = Browser::new(now);
                browser.nagging = settings.nagging;
                Path {
                    settings: settings.clone(),
                    sender: Sender::new(scenario.range, now),
                    there: Link::new(settings.there.clone(), now, seed),
                    back: Link::new(settings.back.clone(), now, seed + 1),
                    browser,
                    neighbour: None,
                    budget: KeyFrameBudget::new(now),
                    wake: None,
                    samples: Vec::new(),
                }
            });
        Self {
            origin: now,
            now,
            events: BinaryHeap::new(),
            count: 0,
            encoder: encoder::open(
                scenario.encoder,
                scenario.range.start.as_bps() as f64 * 0.93,
                scenario.seed,
            ),
            gate: KeyFrameGate::new(KEY_FRAME_SPACING),
            paths: paths.collect(),
            frames: 0,
            shared: SharedRate::new(scenario.limits, scenario.range.start),
            random: StdRng::seed_from_u64(scenario.seed),
            scenario,
        }
    }

    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.count += 1;
        let key = (at - self.origin).as_nanos() << 64 | u128::from(self.count);
        self.events.push(Entry(Reverse(key), happening));
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Frame => {
                self.frame();
                self.schedule(now + FRAME, Happening::Frame);
            }
            Happening::Coded(frame) => {
                for path in &mut self.paths {
                    path.sender.frame(&frame);
                }
                for index in 0..self.paths.len() {
                    self.send(index);
                }
            }
            Happening::Wake(index) => {
                // One that was brought forward since is out of date.
                if self.paths[index].wake == Some(now) {
                    self.paths[index].wake = None;
                    self.send(index);
                }
            }
            Happening::Arrives(index, packet) => {
                let mut answers = Vec::new();
                self.paths[index]
                    .browser
                    .receive(&packet, now, &mut answers);
                self.answers(index, answers);
            }
            Happening::Answered(index, answer) => {
                self.paths[index].sender.answer(answer, now);
                self.send(index);
            }
            Happening::Browser => {
                for index in 0..self.paths.len() {
                    let mut answers = Vec::new();
                    self.paths[index].browser.tick(now, &mut answers);
                    self.answers(index, answers);
                    self.neighbour(index);
                }
                self.schedule(now + ms(10), Happening::Browser);
            }
            Happening::Neighbour(index, number) => {
                self.schedule(
                    now + neighbour::RETURN,
                    Happening::NeighbourAnswered(index, number),
                );
            }
            Happening::NeighbourAnswered(index, number) => {
                if let Some(neighbour) = &mut self.paths[index].neighbour {
                    neighbour.acknowledged(number, now);
                }
                self.neighbour(index);
            }
            Happening::Sample => {
                self.sample();
                self.schedule(now + ms(50), Happening::Sample);
            }
        }
    }

    fn frame(&mut self) {
        let now = self.now;
        let answering = |(_, path): &(usize, &Path)| !path.sender.estimator().is_silent();
        let rates: BTreeMap<usize, Bitrate> = self
            .paths
            .iter()
            .enumerate()
            .filter(answering)
            .map(|(index, path)| (index, path.sender.media()))
            .collect();
        let target = self.shared.update(&rates, now);
        let since_start = now - self.origin;
        let needs = (self.scenario.scene)(since_start.as_secs_f64());
        self.encoder.steer(target, self.shared.left(), needs, now);
        for path in &mut self.paths {
            let wants = std::mem::take(&mut path.sender.wants_key_frame);
            if wants && path.budget.request(now) || path.budget.handle_timeout(now) {
                self.gate.request(now);
            }
        }
        self.frames += 1;
        let wants = self.gate.take(now);
        let Some(frame) = self.encoder.encode(wants, now, since_start) else {
            return;
        };
        if frame.key_frame {
            for path in &mut self.paths {
                path.budget.key_frame_made();
            }
        }
        self.schedule(now + CODING, Happening::Coded(frame));
    }

    fn send(&mut self, index: usize) {
        let now = self.now;
        while let Some(packet) = self.paths[index].sender.poll(now) {
            if let Some(arrival) = self.paths[index].there.send(packet.bytes, now) {
                self.schedule(arrival, Happening::Arrives(index, packet));
            }
        }
        let path = &mut self.paths[index];
        if let Some(at) = path.sender.poll_timeout() {
            // Timers have a resolution of 1 ms.
            let at = at.max(now + ms(1));
            if path.wake.is_none_or(|wake| at < wake) {
                let at = at + self.scenario.lateness.mul_f64(self.random.random());
                path.wake = Some(at);
                self.schedule(at, Happening::Wake(index));
            }
        }
    }

    fn answers(&mut self, index: usize, answers: Vec<Answer>) {
        for answer in answers {
            if let Some(arrival) = self.paths[index].back.send(100, self.now) {
                self.schedule(arrival, Happening::Answered(index, answer));
            }
        }
    }

    fn neighbour(&mut self, index: usize) {
        let now = self.now;
        let at = now - self.origin;
        let path = &mut self.paths[index];
        let Some((from, to)) = path.settings.neighbour else {
            return;
        };
        if at < from || at >= to {
            return;
        }
        let neighbour = path.neighbour.get_or_insert_with(|| Neighbour::new(now));
        let mut arrivals = Vec::new();
        while let Some(number) = neighbour.poll(now) {
            if let Some(arrival) = path.there.send(neighbour::PACKET, now) {
                arrivals.push((arrival, number));
            }
        }
        for (arrival, number) in arrivals {
            self.schedule(arrival, Happening::Neighbour(index, number));
        }
    }

    fn sample(&mut self) {
        let at = self.now - self.origin;
        for path in &mut self.paths {
            path.samples.push(Sample {
                at,
                estimate: path.sender.estimator().estimate().as_bps() as f64,
                target: self.shared.target().as_bps() as f64,
                link: path.settings.there.rate.at(at),
                queue: path.there.queue_delay(self.now),
                wire_bytes: path.browser.wire_bytes,
                neighbour_bytes: path.neighbour.as_ref().map_or(0, |it| it.arrived_bytes),
            });
        }
    }

    fn finish(self) -> Vec<Seen> {
        let (origin, frames) = (self.origin, self.frames);
        let seen = |path: Path| Seen {
            origin,
            samples: path.samples,
            screen: path.browser.screen,
            frames,
            wire_bytes: path.browser.wire_bytes,
            media_bytes: path.browser.media_bytes,
            padding_bytes: path.browser.padding_bytes,
        };
        self.paths.into_iter().map(seen).collect()
    }
}

/// A frame time in the encoder, less what hardware overlaps.
const CODING: Duration = Duration::from_millis(15);
