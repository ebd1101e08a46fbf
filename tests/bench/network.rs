//! What a person sees over a bad link, as a table for the README: rovercast with a real Chromium over a shaped loopback, and beside it
//! the emulator's figures for rovercast's sender and for str0m's on the same links.
//!
//! `cargo bench --bench network` takes about six minutes; `cargo bench --bench network -- loss outage` only those with one of the words
//! in their name, `-- emulator` the second table alone. It needs Chromium and chromedriver, as the browser tests do, and an idle machine.
#![allow(clippy::disallowed_methods)] // measures real time
#![allow(clippy::print_stdout)] // the table is the product
#![allow(unreachable_pub)] // the emulator is a module of this benchmark

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)] // the tests look at more of it
#[path = "../emulator/mod.rs"]
mod emulator;

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use common::browser::Browser;
use common::narrow::Scene;
use common::sampler::{Sample, Samples};
use common::shaper::Link;
use emulator::seen::Seen;
use emulator::world::Scenario;
use emulator::{reference, scenarios};

/// A link, and how it changes.
struct Course {
    name: &'static str,
    link: Link,
    back: Link,
    seconds: f64,
    /// At which second what happens.
    changes: &'static [(f64, Change)],
    emulated: fn(u64) -> Scenario,
}

#[derive(Clone, Copy)]
enum Change {
    Rate(f64),
    Up(bool),
}

fn courses() -> [Course; 5] {
    let wide = Link {
        rate: Some(10e6),
        ..Link::wide(WAY)
    };
    let lossy = Link { loss: 0.05, ..wide };
    let narrow = Link {
        rate: Some(4e6),
        ..wide
    };
    [
        Course {
            name: "5 % loss both ways",
            link: lossy,
            back: lossy,
            seconds: 30.0,
            changes: &[],
            emulated: scenarios::lossy,
        },
        Course {
            name: "4 to 0.5 to 4 Mbit/s",
            link: narrow,
            back: wide,
            seconds: 60.0,
            changes: &[(15.0, Change::Rate(0.5e6)), (35.0, Change::Rate(4e6))],
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
            emulated: scenarios::bufferbloat,
        },
        Course {
            name: "jitter of 20 ms",
            link: Link {
                jitter: Duration::from_millis(20),
                ..wide
            },
            back: wide,
            seconds: 30.0,
            changes: &[],
            emulated: scenarios::jitter,
        },
        Course {
            name: "outage of 3 s",
            link: narrow,
            back: wide,
            seconds: 30.0,
            changes: &[(10.0, Change::Up(false)), (13.0, Change::Up(true))],
            emulated: scenarios::outage,
        },
    ]
}

fn main() {
    // cargo adds `--bench`.
    let words: Vec<String> = env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let is_wanted =
        |name: &str| words.is_empty() || words.iter().any(|word| name.contains(&**word));
    println!("Chromium, 1280x720 test card at 30 fps, 1.5 Mbit/s at the start, 4 at most:\n");
    println!(
        "| link | frames shown | frozen, s | latency 50 %, 95 %, worst, ms | arrived, kbit/s | target, kbit/s: least, last |"
    );
    println!("|---|---|---|---|---|---|");
    for course in courses().iter().filter(|course| is_wanted(course.name)) {
        println!("| {} | {}", course.name, watched(course));
    }
    println!("\nThe emulator, mean of {SEEDS} runs:\n");
    println!("| link | whose | frames shown | frozen, s | latency 95 %, ms | media, kbit/s |");
    println!("|---|---|---|---|---|---|");
    for course in &courses() {
        if !is_wanted(course.name) && !is_wanted("emulator") {
            continue;
        }
        let ours: Vec<Seen> = (1..=SEEDS)
            .map(|seed| emulator::world::run((course.emulated)(seed)).remove(0))
            .collect();
        let theirs: Vec<Seen> = (1..=SEEDS)
            .map(|seed| reference::run((course.emulated)(seed)))
            .collect();
        println!(
            "| {} | rovercast | {}",
            course.name,
            emulated(&ours, course.seconds)
        );
        println!(
            "| {} | str0m | {}",
            course.name,
            emulated(&theirs, course.seconds)
        );
    }
}

/// One run in Chromium.
fn watched(course: &Course) -> String {
    let name = format!("bench.{}", course.name.replace([' ', ',', '%'], "_"));
    let browser = Browser::open(&name);
    let scene = Scene::open_with(&name, &browser, course.link, "1280x720", "150 kbps");
    scene.shaper.back.change(|link| *link = course.back);
    let start = Instant::now();
    drop(Samples::take(&scene.page));
    let bytes = scene.shaper.there.bytes();
    let mut changes = course.changes.iter().peekable();
    let (mut samples, mut targets) = (Vec::new(), Vec::new());
    loop {
        let at = start.elapsed().as_secs_f64();
        if at >= course.seconds {
            break;
        }
        while let Some((_, change)) = changes.next_if(|(when, _)| *when <= at) {
            match *change {
                Change::Rate(rate) => scene.shaper.there.change(|link| link.rate = Some(rate)),
                Change::Up(is_up) => scene.shaper.both(|link| link.is_up = is_up),
            }
        }
        thread::sleep(STEP);
        samples.extend(Samples::take(&scene.page).0);
        if at > 2.0 {
            targets.push(scene.target());
        }
    }
    scene.page.screenshot(&name);
    let arrived = (scene.shaper.there.bytes() - bytes) as f64 * 8.0 / 1e3 / course.seconds;
    let least = targets.iter().copied().fold(f64::MAX, f64::min);
    let last = targets.last().copied().unwrap_or_default();
    let samples = Samples(samples);
    format!(
        "{:.1} % | {:.2} | {:.0}, {:.0}, {:.0} | {arrived:.0} | {least:.0}, {last:.0} |",
        100.0 * (1.0 - samples.missing()),
        frozen(&samples.0).as_secs_f64(),
        samples.age(0.5),
        samples.age(0.95),
        samples.age(1.0),
    )
}

/// All standstills that a person notices.
fn frozen(samples: &[Sample]) -> Duration {
    let pauses = samples.windows(2).map(|pair| pair[1].at - pair[0].at);
    Duration::from_secs_f64(pauses.filter(|ms| *ms > NOTICED_MS).sum::<f64>() / 1e3)
}

fn emulated(seen: &[Seen], end: f64) -> String {
    let mean =
        |figure: &dyn Fn(&Seen) -> f64| seen.iter().map(figure).sum::<f64>() / seen.len() as f64;
    format!(
        "{:.1} % | {:.2} | {:.0} | {:.0} |",
        100.0 * mean(&Seen::share_shown),
        mean(&|it| it.frozen(0.5, end).as_secs_f64()),
        1e3 * mean(&|it| it.latency(0.95, 2.0, end).as_secs_f64()),
        mean(&|it| it.media_bytes as f64 * 8.0 / 1e3 / it.samples.len() as f64 * 20.0),
    )
}

/// Each way.
const WAY: Duration = Duration::from_millis(25);

const STEP: Duration = Duration::from_millis(100);

/// As Chromium counts freezes, and the emulator: 150 ms more than a frame time.
const NOTICED_MS: f64 = 183.0;

const SEEDS: u64 = 4;
