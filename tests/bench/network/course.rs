//! One viewer in Chromium, and a link that changes.

use std::fs::File;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use rovercast::media::{Bitrate, Size};

use crate::common::artefact;
use crate::common::browser::{Browser, Page};
use crate::common::narrow::{Robot, Seat};
use crate::common::sampler::{Sample, Samples};
use crate::common::shaper::Link;
use crate::emulator::scenarios;
use crate::emulator::world::Scenario;
use crate::rival::{self, Range, Rival};
use crate::table::{Aim, Figure};

/// A link, and how it changes.
pub(crate) struct Course {
    pub(crate) name: &'static str,
    link: Link,
    back: Link,
    pub(crate) seconds: f64,
    /// At which second what happens.
    changes: &'static [(f64, Change)],
    figures: fn(&Watched) -> Vec<Figure>,
    pub(crate) emulated: fn(u64) -> Scenario,
}

#[derive(Clone, Copy)]
enum Change {
    Rate(f64),
    Up(bool),
    BeginDownload,
    EndDownload,
}

/// Whose packets they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Rovercast,
    Str0m,
}

pub(crate) fn courses() -> [Course; 6] {
    let wide = Link {
        rate: Some(10e6),
        ..Link::wide(WAY)
    };
    let lossy = Link { loss: 0.05, ..wide };
    let narrow = Link {
        rate: Some(4e6),
        ..wide
    };
    let shaky = Link {
        jitter: Duration::from_millis(20),
        ..wide
    };
    [
        Course {
            name: "5 % loss both ways",
            link: lossy,
            back: lossy,
            seconds: 30.0,
            changes: &[],
            figures: |watched| {
                vec![
                    watched.shown().aim(Aim::AtLeast(98.0)),
                    watched.frozen().aim(Aim::AtMost(0.5)),
                    watched.least_target().aim(Aim::AtLeast(60.0)),
                    watched.latency(0.5, 0.0),
                    watched.latency(0.95, 0.0),
                    watched.arrived(0.0, 30.0),
                ]
            },
            emulated: scenarios::lossy,
        },
        Course {
            name: "4 to 0.5 to 4 Mbit/s",
            link: narrow,
            back: wide,
            seconds: 60.0,
            changes: &[(15.0, Change::Rate(0.5e6)), (35.0, Change::Rate(4e6))],
            figures: |watched| {
                let used = watched.arrived(17.0, 35.0).value / 500.0 * 100.0;
                vec![
                    watched
                        .latency_between("latency 2 s after the drop and later, 95 %", 17.0, 35.0)
                        .aim(Aim::AtMost(300.0)),
                    watched.latency(1.0, 0.0).aim(Aim::AtMost(1000.0)),
                    Figure::new("narrow link used", "%", used).aim(Aim::AtLeast(85.0)),
                    watched.wide_again(35.0, 4e6).aim(Aim::AtMost(10.0)),
                    watched.shown(),
                    watched.frozen(),
                ]
            },
            emulated: scenarios::narrowing,
        },
        Course {
            name: "bufferbloat, 1 Mbit/s",
            link: Link {
                rate: Some(1e6),
                queue: Duration::from_secs(1),
                ..wide
            },
            back: wide,
            seconds: 40.0,
            changes: &[],
            figures: |watched| {
                vec![
                    watched.queue(0.5).aim(Aim::AtMost(100.0)),
                    watched.queue(0.95),
                    watched.latency(0.95, 5.0),
                    watched.arrived(5.0, 40.0),
                    watched.shown(),
                    watched.frozen(),
                ]
            },
            emulated: scenarios::bufferbloat,
        },
        Course {
            name: "jitter of 20 ms",
            link: shaky,
            back: shaky,
            seconds: 30.0,
            changes: &[],
            figures: |watched| {
                vec![
                    watched.least_target().aim(Aim::AtLeast(70.0)),
                    watched.shown(),
                    watched.frozen(),
                    watched.latency(0.95, 0.0),
                    watched.arrived(0.0, 30.0),
                ]
            },
            emulated: scenarios::jitter,
        },
        Course {
            name: "outage of 3 s",
            link: narrow,
            back: wide,
            seconds: 30.0,
            changes: &[(10.0, Change::Up(false)), (13.0, Change::Up(true))],
            figures: |watched| {
                vec![
                    watched.back_after(13.0).aim(Aim::AtMost(1.0)),
                    watched.shown(),
                    watched.frozen(),
                    watched.arrived(15.0, 30.0),
                ]
            },
            emulated: scenarios::outage,
        },
        Course {
            name: "download beside it, 4 Mbit/s",
            link: narrow,
            back: wide,
            seconds: 60.0,
            changes: &[(10.0, Change::BeginDownload), (60.0, Change::EndDownload)],
            figures: |watched| {
                let ours = watched.arrived(15.0, 60.0).value / 4000.0 * 100.0;
                let theirs = watched.downloaded as f64 * 8.0 / 50.0 / 4e6 * 100.0;
                vec![
                    Figure::new("share of the link", "%", ours).aim(Aim::Between(30.0, 70.0)),
                    Figure::new("the download's share", "%", theirs).aim(Aim::Between(30.0, 70.0)),
                    watched.queue(0.5),
                    watched.latency(0.95, 15.0),
                    watched.shown(),
                    watched.frozen(),
                ]
            },
            emulated: |seed| scenarios::competing(seed, 4e6, 300),
        },
    ]
}

impl Course {
    /// One run in Chromium.
    pub(crate) fn run(&self, sender: Sender, seed: u64) -> Vec<Figure> {
        let words = self.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let name = format!("bench.{words}.{sender:?}");
        let browser = Browser::open(&name);
        let robot = Robot::start(&name, "1280x720", "150 kbps");
        let rival = (sender == Sender::Str0m).then(|| {
            let size = Size {
                width: 1280,
                height: 720,
            };
            let [least, start, most] = [150, 1500, 4000].map(Bitrate::kbps);
            Rival::start(robot.http, size, Range { least, start, most })
        });
        let seat = match &rival {
            None => robot.watched(&browser, self.link, seed),
            Some(rival) => Seat::take(
                &browser,
                robot.http,
                rival::NAME,
                rival.port,
                self.link,
                seed,
            ),
        };
        seat.shaper.back.change(|link| *link = self.back);
        let mut log =
            File::create(artefact(&format!("{name}.course"))).expect("target is writable");
        let mut look = |at: f64| match &rival {
            None => {
                let status = robot.status();
                let link = &status["viewers"][0]["link"];
                let target = &status["target_kbps"];
                writeln!(log, "{at:.2} {target} {link}").expect("target is writable");
                target.as_f64().expect("a number")
            }
            Some(rival) => {
                let target = rival.target_kbps();
                writeln!(log, "{at:.2} {target}").expect("target is writable");
                target
            }
        };
        let watched = self.watch(&seat, &mut look);
        seat.page.screenshot(&name);
        (self.figures)(&watched)
    }

    fn watch(&self, seat: &Seat<'_>, target: &mut dyn FnMut(f64) -> f64) -> Watched {
        let there = &seat.shaper.there;
        let start = Instant::now();
        let mut changes = self.changes.iter().peekable();
        let mut watched = Watched::from_now(&seat.page);
        loop {
            let at = start.elapsed().as_secs_f64();
            while let Some((_, change)) = changes.next_if(|(when, _)| *when <= at) {
                match *change {
                    Change::Rate(rate) => there.change(|link| link.rate = Some(rate)),
                    Change::Up(is_up) => seat.shaper.both(|link| link.is_up = is_up),
                    Change::BeginDownload => there.begin_download(),
                    Change::EndDownload => watched.downloaded = there.end_download(),
                }
            }
            if at >= self.seconds {
                return watched;
            }
            thread::sleep(STEP);
            watched.samples.extend(Samples::take(&seat.page).0);
            let at = start.elapsed().as_secs_f64();
            watched.course.push(Moment {
                at,
                target: target(at),
                bytes: there.bytes(),
                queue: there.queue_delay(),
            });
        }
    }
}

/// What there was to see of one run.
pub(crate) struct Watched {
    /// `performance.now()` of the page at the start, in milliseconds.
    zero: f64,
    pub(crate) samples: Vec<Sample>,
    course: Vec<Moment>,
    downloaded: u64,
}

struct Moment {
    /// In seconds since the start.
    at: f64,
    /// In kbit/s.
    target: f64,
    bytes: u64,
    queue: Duration,
}

impl Watched {
    pub(crate) fn from_now(page: &Page<'_>) -> Self {
        drop(Samples::take(page));
        let now = page.run("return performance.now()");
        Self {
            zero: now.as_f64().expect("a number"),
            samples: Vec::new(),
            course: Vec::new(),
            downloaded: 0,
        }
    }

    pub(crate) fn shown(&self) -> Figure {
        let samples = Samples(self.samples.clone());
        Figure::new("frames shown", "%", 100.0 * (1.0 - samples.missing()))
    }

    /// All standstills that a person notices.
    pub(crate) fn frozen(&self) -> Figure {
        let pauses = self.samples.windows(2).map(|pair| pair[1].at - pair[0].at);
        let sum = pauses
            .filter(|ms| *ms > NOTICED_MS)
            .fold(0.0, |sum, ms| sum + ms)
            / 1e3;
        Figure::new("stands still in sum", "s", sum)
    }

    /// Of all pictures from second `from` on.
    pub(crate) fn latency(&self, part: f64, from: f64) -> Figure {
        let what = match part {
            0.5 => "latency, median",
            1.0 => "latency, worst",
            _ => "latency, 95 %",
        };
        Figure::new(what, "ms", self.age(part, from, f64::MAX))
    }

    fn latency_between(&self, what: &'static str, from: f64, to: f64) -> Figure {
        Figure::new(what, "ms", self.age(0.95, from, to))
    }

    fn age(&self, part: f64, from: f64, to: f64) -> f64 {
        let ages = self.samples.iter().filter_map(|sample| {
            let at = (sample.at - self.zero) / 1e3;
            sample.age.filter(|_| at >= from && at < to)
        });
        quantile(ages.collect(), part)
    }

    /// The first picture of this moment or later.
    fn back_after(&self, from: f64) -> Figure {
        let after = self.samples.iter().find_map(|sample| {
            let after = (sample.at - self.zero) / 1e3 - from;
            let is_new = sample.age.is_some_and(|age| age / 1e3 < after);
            (after > 0.0 && is_new).then_some(after)
        });
        let what = "a picture of after its end, after";
        Figure::new(what, "s", after.unwrap_or(f64::INFINITY))
    }

    fn least_target(&self) -> Figure {
        let targets = self.course.iter().map(|it| it.target);
        let least = targets.fold(f64::MAX, f64::min);
        let percent = least / START_KBPS * 100.0;
        Figure::new("least target, of the start", "%", percent)
    }

    /// Until the encoder's target fills four fifths of a link of `rate`.
    fn wide_again(&self, from: f64, rate: f64) -> Figure {
        let wanted = 0.8 * rate / 1e3 / WITH_HEADERS;
        let after = self.course.iter().find_map(|it| {
            let after = it.at - from;
            (after > 0.0 && it.target >= wanted).then_some(after)
        });
        let what = "80 % of the wide link again after";
        Figure::new(what, "s", after.unwrap_or(f64::INFINITY))
    }

    fn arrived(&self, from: f64, to: f64) -> Figure {
        let mut within = self
            .course
            .iter()
            .filter(|it| it.at >= from && it.at < to)
            .map(|it| (it.at, it.bytes));
        let rate = match (within.next(), within.next_back()) {
            (Some((from, first)), Some((to, last))) => {
                (last - first) as f64 * 8.0 / 1e3 / (to - from)
            }
            _ => 0.0,
        };
        Figure::new("arrived", "kbit/s", rate)
    }

    fn queue(&self, part: f64) -> Figure {
        let what = match part {
            0.5 => "standing queue, median",
            _ => "queue, 95 %",
        };
        let settled = self.course.iter().filter(|it| it.at > 5.0);
        let queues = settled.map(|it| it.queue.as_secs_f64() * 1e3);
        Figure::new(what, "ms", quantile(queues.collect(), part))
    }
}

fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    let found = values.get((last * part).round() as usize);
    found.copied().unwrap_or(f64::INFINITY)
}

/// Each way.
pub(crate) const WAY: Duration = Duration::from_millis(25);

const STEP: Duration = Duration::from_millis(100);

const START_KBPS: f64 = 1500.0;

/// IP, UDP, RTP, SRTP.
const WITH_HEADERS: f64 = 1.06;

/// As Chromium counts freezes, and the emulator: 150 ms more than a frame time.
const NOTICED_MS: f64 = 183.0;
