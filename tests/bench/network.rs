//! What a person sees over a bad link, as tables for the README: rovercast and str0m, each with a real Chromium over a shaped loopback;
//! several viewers of whom one is a burden; and the emulator's figures for both senders on the same links.
//!
//! `cargo bench --bench network` takes about twelve minutes; `cargo bench --bench network -- loss outage 3` only what has one of the
//! words in its name, three times. `-- rovercast` or `-- str0m` leaves the other out; `-- emulator` is the last table, of the links that are named. It needs
//! Chromium and chromedriver, as the browser tests do, and an idle machine.
#![allow(clippy::disallowed_methods)] // measures real time
#![allow(clippy::print_stdout, clippy::print_stderr)] // the table is the product, and how far it is
#![allow(unreachable_pub)] // the emulator is a module of this benchmark

#[path = "../common/mod.rs"]
mod common;
#[path = "network/course.rs"]
mod course;
#[path = "network/crowd.rs"]
mod crowd;
#[allow(dead_code)] // the tests look at more of it
#[path = "../emulator/mod.rs"]
mod emulator;
#[path = "rival.rs"]
mod rival;
#[path = "network/table.rs"]
mod table;

use std::env;

use course::{Sender, courses};
use crowd::Burden;
use emulator::seen::Seen;
use emulator::world::Scenario;
use emulator::{figures, scenarios};
use table::Figure;

fn main() {
    let wishes = Wishes::read();
    let courses: Vec<_> = courses()
        .into_iter()
        .filter(|course| wishes.want(course.name))
        .collect();
    if !courses.is_empty() && !wishes.has("emulator") {
        println!("\n1280x720 test card at 30 fps, 1.5 Mbit/s at the start, 4 at most:\n");
        println!("| link, figure | rovercast | str0m | aim |\n| --- | --- | --- | --- |");
    }
    for course in &courses {
        if wishes.has("emulator") {
            break;
        }
        let [ours, theirs] = [Sender::Rovercast, Sender::Str0m].map(|sender| {
            let runs = if wishes.want_of(sender) {
                wishes.runs
            } else {
                0
            };
            let run = |run: usize| {
                let (name, seconds) = (course.name, course.seconds);
                eprintln!("{name}: {sender:?}, run {run} of {runs}, {seconds} s");
                course.run(sender, run as u64)
            };
            (1..=runs).map(run).collect::<Vec<_>>()
        });
        table::print(course.name, &[&ours, &theirs]);
    }
    if wishes.want("viewers") {
        println!(
            "\nThree viewers of a 640x360 test card, and perhaps a fourth (the worst of the three counts):\n"
        );
        println!(
            "| figure | three | one more at 300 kbit/s with 5 % loss | one more with 200 PLIs a second | aim |"
        );
        println!("| --- | --- | --- | --- | --- |");
        let all = [Burden::None, Burden::Poor, Burden::Nagging].map(|burden| {
            let run = |run: usize| {
                eprintln!(
                    "viewers: {burden:?}, run {run} of {}, {} s",
                    wishes.runs,
                    crowd::SECONDS
                );
                crowd::run(burden, run as u64)
            };
            (1..=wishes.runs).map(run).collect::<Vec<Vec<Figure>>>()
        });
        table::print("the three", &[&all[0], &all[1], &all[2]]);
    }
    if !wishes.has("emulator") && !wishes.words.is_empty() {
        return;
    }
    if !courses.is_empty() {
        println!("\nThe emulator, mean of {SEEDS} runs:\n");
        println!("| link | whose | frames shown | frozen, s | latency 95 %, ms | media, kbit/s |");
        println!("| --- | --- | --- | --- | --- | --- |");
    }
    for course in &courses {
        for sender in [Sender::Rovercast, Sender::Str0m] {
            if wishes.want_of(sender) {
                let seen = emulate(course.emulated, sender);
                println!(
                    "| {} | {sender:?} | {}",
                    course.name,
                    emulated(&seen, course.seconds)
                );
            }
        }
    }
    println!(
        "\n{:.0} emulated runs of {} s of rovercast in a second of one core",
        figures::runs_a_second(),
        scenarios::SHORT
    );
}

/// What is asked for on the command line.
struct Wishes {
    words: Vec<String>,
    runs: usize,
}

impl Wishes {
    fn read() -> Self {
        // cargo adds `--bench`.
        let words = env::args().skip(1).filter(|word| !word.starts_with("--"));
        let (numbers, words): (Vec<_>, Vec<_>) =
            words.partition(|word| word.parse::<usize>().is_ok());
        let runs = numbers.first().and_then(|word| word.parse().ok());
        Self {
            words,
            runs: runs.unwrap_or(1),
        }
    }

    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|it| it == word)
    }

    fn want_of(&self, sender: Sender) -> bool {
        let others = match sender {
            Sender::Rovercast => "str0m",
            Sender::Str0m => "rovercast",
        };
        !self.has(others)
    }

    fn want(&self, name: &str) -> bool {
        let mut links = self
            .words
            .iter()
            .filter(|it| !matches!(&***it, "rovercast" | "str0m" | "emulator"))
            .peekable();
        links.peek().is_none() || links.any(|word| name.contains(&**word))
    }
}

fn emulate(scenario: fn(u64) -> Scenario, sender: Sender) -> Vec<Seen> {
    let run = |seed| match sender {
        Sender::Rovercast => emulator::world::run(scenario(seed)).remove(0),
        Sender::Str0m => emulator::reference::run(scenario(seed)),
    };
    (1..=SEEDS).map(run).collect()
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

const SEEDS: u64 = 4;
