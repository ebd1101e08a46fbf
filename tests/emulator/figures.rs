//! What is aimed at on each link, and what comes out, ours beside str0m's.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::reference;
use super::scenarios::{self, MOST, START};
use super::seen::Seen;
use super::world::{Scenario, run};
use Aim::{AtLeast, AtMost, Between};

/// A link, and what it is judged by.
pub struct Course {
    pub name: &'static str,
    scenario: fn(u64) -> Scenario,
    pub figures: Vec<Figure>,
}

pub struct Figure {
    pub what: &'static str,
    aim: Aim,
    of: Of,
}

#[derive(Clone, Copy, Debug)]
pub enum Aim {
    AtLeast(f64),
    AtMost(f64),
    Between(f64, f64),
}

#[derive(Clone, Copy, Debug)]
enum Of {
    /// 0 to 1.
    Share(fn(&Seen) -> f64),
    Time(fn(&Seen) -> Duration),
}

/// All runs of one figure.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub middle: f64,
    /// Furthest from the aim.
    pub worst: f64,
}

/// 5 % random loss, both ways.
pub fn loss() -> Course {
    course(
        "5 % random loss both ways, 30 s",
        scenarios::lossy,
        vec![
            percent("frames shown", AtLeast(0.98), Seen::share_shown),
            seconds("standing still, in sum", AtMost(0.5), |it| {
                it.frozen(0.5, 30.0)
            }),
            percent("least bitrate, of the start", AtLeast(0.6), |it| {
                it.least_target(0.0, 30.0) / START
            }),
        ],
    )
}

pub fn narrowing() -> Course {
    course(
        "4 → 0.5 → 4 Mbit/s, queue of 300 ms",
        scenarios::narrowing,
        vec![
            seconds("latency from 2 s after the drop on", AtMost(0.3), |it| {
                it.latency(1.0, 17.0, 35.0)
            }),
            seconds("oldest picture on the screen", AtMost(1.0), |it| {
                it.oldest_picture(1.0, 60.0)
            }),
            percent("narrow link used", AtLeast(0.85), |it| it.used(17.0, 35.0)),
            seconds("80 % of the wide link again", AtMost(10.0), |it| {
                it.reached(35.0, 0.8 * 4e6)
            }),
        ],
    )
}

pub fn bufferbloat() -> Course {
    course(
        "1 Mbit/s, queue of 1 s",
        scenarios::bufferbloat,
        vec![
            seconds("standing queue", AtMost(0.1), |it| {
                it.standing_queue(5.0, 60.0)
            }),
            seconds("95 % of all queues", AtMost(0.1), |it| {
                it.queue(0.95, 5.0, 60.0)
            }),
            percent("link used", AtLeast(0.85), |it| it.used(5.0, 60.0)),
        ],
    )
}

pub fn jitter() -> Course {
    course(
        "jitter of 20 ms",
        scenarios::jitter,
        vec![percent(
            "least estimate, of the start",
            AtLeast(0.7),
            |it| it.least_estimate(0.0, 30.0) / START,
        )],
    )
}

pub fn outage() -> Course {
    course(
        "outage of 3 s",
        scenarios::outage,
        vec![
            seconds("picture, after its end", AtMost(1.0), |it| {
                it.first_shown_after(13.0)
            }),
            seconds("80 % of the rate again", AtMost(10.0), |it| {
                it.reached(14.0, 0.8 * MOST)
            }),
        ],
    )
}

/// Queues longer and shorter than the round trip, and links of which we want no more than a part.
pub fn downloads() -> Vec<Course> {
    let share = || percent("our share", Between(0.3, 0.7), |it| it.share(20.0, 80.0));
    let first = || {
        percent("our share of the first 20 s", Between(0.3, 0.7), |it| {
            it.share(10.0, 30.0)
        })
    };
    vec![
        course(
            "TCP beside it, 4 Mbit/s, queue of 200 ms",
            |seed| scenarios::competing(seed, 4e6, 200),
            vec![share()],
        ),
        course(
            "TCP beside it, 4 Mbit/s, queue of 500 ms",
            |seed| scenarios::competing(seed, 4e6, 500),
            vec![share()],
        ),
        course(
            "TCP beside it, 4 Mbit/s, of which 1.6 are wanted, queue of 300 ms",
            |seed| scenarios::competing_card(seed, 4e6, 300),
            vec![share(), first()],
        ),
        course(
            "TCP beside it, 2 Mbit/s, queue of 100 ms",
            |seed| scenarios::competing(seed, 2e6, 100),
            vec![share()],
        ),
        course(
            "TCP beside it, 8 Mbit/s, queue of 100 ms",
            |seed| scenarios::competing(seed, 8e6, 100),
            vec![share()],
        ),
    ]
}

pub fn bursts() -> Course {
    course(
        "bursts of loss",
        scenarios::bursts,
        vec![
            percent("frames shown", AtLeast(0.95), Seen::share_shown),
            percent("least bitrate, of the start", AtLeast(0.6), |it| {
                it.least_target(0.0, 30.0) / START
            }),
        ],
    )
}

pub fn radio() -> Vec<Course> {
    let figures = || {
        vec![
            percent("frames shown", AtLeast(0.85), Seen::share_shown),
            seconds("95 % of the latencies", AtMost(0.5), |it| {
                it.latency(0.95, 2.0, 60.0)
            }),
            percent("link used", AtLeast(0.5), |it| it.used(5.0, 60.0)),
        ]
    };
    vec![
        course("LTE while driving", scenarios::lte, figures()),
        course("Wi-Fi at its edge", scenarios::wifi, figures()),
    ]
}

/// The rows of the table, in its order.
pub fn all() -> Vec<Course> {
    let mut all = vec![loss(), narrowing(), bufferbloat(), jitter(), outage()];
    all.extend(downloads());
    all.push(bursts());
    all.extend(radio());
    all
}

fn course(name: &'static str, scenario: fn(u64) -> Scenario, figures: Vec<Figure>) -> Course {
    Course {
        name,
        scenario,
        figures,
    }
}

fn percent(what: &'static str, aim: Aim, of: fn(&Seen) -> f64) -> Figure {
    Figure {
        what,
        aim,
        of: Of::Share(of),
    }
}

fn seconds(what: &'static str, aim: Aim, of: fn(&Seen) -> Duration) -> Figure {
    Figure {
        what,
        aim,
        of: Of::Time(of),
    }
}

impl Course {
    pub fn ours(&self, seeds: u64) -> Vec<Seen> {
        (1..=seeds)
            .map(|seed| run((self.scenario)(seed)).remove(0))
            .collect()
    }

    pub fn theirs(&self, seeds: u64) -> Vec<Seen> {
        (1..=seeds)
            .map(|seed| reference::run((self.scenario)(seed)))
            .collect()
    }
}

/// Short runs that one core makes in a second, whatever else the machine does.
pub fn runs_a_second() -> f64 {
    let spent = || {
        let spent = clock_gettime(ClockId::ThreadCPUTime);
        spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
    };
    const RUNS: u32 = 50;
    let start = spent();
    for seed in 0..RUNS {
        run(scenarios::short(seed.into()));
    }
    f64::from(RUNS) / (spent() - start)
}

impl Aim {
    /// How far from it; zero when it is met.
    pub fn missed_by(self, value: f64) -> f64 {
        match self {
            Self::AtLeast(least) => (least - value).max(0.0),
            Self::AtMost(most) => (value - most).max(0.0),
            Self::Between(least, most) => (least - value).max(value - most).max(0.0),
        }
    }

    /// The less the better.
    fn badness(self, value: f64) -> f64 {
        match self {
            Self::AtLeast(_) => -value,
            Self::AtMost(_) => value,
            Self::Between(least, most) => (value - (least + most) / 2.0).abs(),
        }
    }
}

impl Figure {
    pub fn spread(&self, seen: &[Seen]) -> Spread {
        let value = |seen: &Seen| match self.of {
            Of::Share(of) => of(seen),
            Of::Time(of) => of(seen).as_secs_f64(),
        };
        let mut all: Vec<f64> = seen.iter().map(value).collect();
        all.sort_by(|a, b| self.aim.badness(*a).total_cmp(&self.aim.badness(*b)));
        Spread {
            middle: all[all.len() / 2],
            worst: all[all.len() - 1],
        }
    }

    /// How far the middle is from the aim; zero when it is reached.
    pub fn missed_by(&self, spread: Spread) -> f64 {
        self.aim.missed_by(spread.middle)
    }

    /// In every run.
    pub fn is_reached(&self, spread: Spread) -> bool {
        self.aim.missed_by(spread.worst) == 0.0
    }

    /// Middle and worst.
    pub fn shown(&self, spread: Spread) -> String {
        format!("{} ({})", self.one(spread.middle), self.one(spread.worst))
    }

    /// Of the table.
    pub fn row(&self, course: &Course, ours: Spread, theirs: Spread) -> String {
        format!(
            "| {}: {} | {} | {} | {} |",
            course.name,
            self.what,
            self.shown(ours),
            self.shown(theirs),
            self.aim()
        )
    }

    pub fn aim(&self) -> String {
        match self.aim {
            AtLeast(least) => format!("≥ {}", self.one(least)),
            AtMost(most) => format!("≤ {}", self.one(most)),
            Between(least, most) => format!("{} to {}", self.one(least), self.one(most)),
        }
    }

    fn one(&self, value: f64) -> String {
        match self.of {
            Of::Share(_) => format!("{:.0} %", value * 100.0),
            Of::Time(_) => format!("{value:.2} s"),
        }
    }
}

pub const HEAD: &str = "| link | rovercast | str0m | aim |\n| --- | --- | --- | --- |";
