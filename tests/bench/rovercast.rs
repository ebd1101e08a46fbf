//! What rovercast costs and how fast it is, as a table for the README.
//!
//! `cargo bench --bench rovercast` measures everything in about five minutes; `cargo bench --bench rovercast -- join memory` only what
//! has one of the words in its name. It needs Chromium and chromedriver, as the browser tests do, and an idle machine: browser, decoders
//! and robot share its cores. A debug build (`cargo bench --profile dev`) shows that the benchmark works, not what rovercast can do.
#![allow(clippy::disallowed_methods)] // measures real time
#![allow(clippy::print_stdout)] // the table is the product

#[path = "../common/mod.rs"]
mod common;
#[path = "proc.rs"]
mod proc;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::thread;
use std::time::Duration;

use rovercast::media::Size;
use serde_json::json;

use common::browser::{Browser, Page};
use common::http::Metrics;
use common::inbound::Inbound;
use common::process::{Rovercast, free_address};
use common::sampler::Samples;
use common::{artefact, clip, wait_for};
use proc::{Memory, ProcessorTime};

/// A name and what it measures.
type Benchmark = (&'static str, fn(&mut Table));

const BENCHMARKS: [Benchmark; 6] = [
    ("size", size),
    ("start", start),
    ("join", join),
    ("latency", latency),
    (
        "viewers of a coded stream: processor, memory",
        viewers_of_a_coded_stream,
    ),
    (
        "viewers with encode: processor, memory",
        viewers_with_encode,
    ),
];

fn main() {
    // cargo adds `--bench`.
    let words: Vec<String> = env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let mut table = Table::default();
    for (name, measure) in BENCHMARKS {
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            measure(&mut table);
        }
    }
    table.print();
}

/// Rows of "what, measured, aim".
#[derive(Debug, Default)]
struct Table(Vec<[String; 3]>);

impl Table {
    fn row(&mut self, what: &str, measured: String, aim: &str) {
        // A row at once for those who wait, the table at the end.
        println!("{what}: {measured}");
        self.0.push([what.to_owned(), measured, aim.to_owned()]);
    }

    fn print(&self) {
        let build = if cfg!(debug_assertions) {
            " (DEBUG BUILD)"
        } else {
            ""
        };
        println!("\n| what | measured{build} | aim |\n| --- | --- | --- |");
        for [what, measured, aim] in &self.0 {
            println!("| {what} | {measured} | {aim} |");
        }
    }
}

fn size(table: &mut Table) {
    let binary = fs::metadata(env!("CARGO_BIN_EXE_rovercast")).expect("cargo built the binary");
    table.row(
        "binary, stripped",
        format!("{:.1} MB", binary.len() as f64 / 1e6),
        "≤ 8 MB",
    );
}

/// From spawning the process until its address is on stdout: it listens, and its relay link is dialled.
fn start(table: &mut Table) {
    let mut starts = Vec::new();
    let mut stops = Vec::new();
    for _ in 0..ROUNDS {
        let mut robot = Rovercast::demo("bench.start", &TEST_CARD);
        starts.push(milliseconds(robot.address_after().1));
        stops.push(milliseconds(robot.terminate()));
    }
    table.row("start: process to ready", spread(starts), "≤ 150 ms");
    table.row("stop: SIGTERM to exit", spread(stops), "≤ 1 s");
}

/// As the page itself counts it, from navigation to the first picture decoded.
fn join(table: &mut Table) {
    let browser = Browser::open("bench.join");
    let mut robot = Rovercast::demo("bench.join", &TEST_CARD);
    let address = robot.address();
    // Chromium would end with its last window.
    let _idle = browser.page(&format!("http://{address}/healthz"));
    let watch = || {
        let page = browser.page(&format!("http://{address}/"));
        page.wait_until("window.rovercast?.timeline.firstFrameDecoded", PATIENCE);
        let after = page.run("return window.rovercast.timeline.firstFrameDecoded");
        (page, after.as_f64().expect("it was there"))
    };
    let join_and_leave = || {
        let (page, after) = watch();
        page.close();
        after
    };

    let asleep = (0..ROUNDS).map(|_| {
        wait_for("the camera to sleep", PATIENCE, || {
            (Metrics::read(address).value("rovercast_pipeline_running") == 0.0).then_some(())
        });
        join_and_leave()
    });
    table.row(
        "join: page opened to first picture, camera asleep",
        spread(asleep.collect()),
        "≤ 300 ms",
    );
    let (_watching, _) = watch();
    let running = (0..ROUNDS).map(|_| join_and_leave());
    table.row(
        "join: the same, camera running",
        spread(running.collect()),
        "≤ 300 ms",
    );
}

/// One viewer of the test card: what rovercast adds, and what a person sees.
fn latency(table: &mut Table) {
    let browser = Browser::open("bench.latency");
    let mut robot = Rovercast::demo("bench.latency", &TEST_CARD);
    let address = robot.address();
    let page = browser.page(&format!("http://{address}/"));
    page.wait_until(
        "document.documentElement.dataset.state === 'live'",
        PATIENCE,
    );
    thread::sleep(SETTLE);
    Samples::start(&page);

    let before = Metrics::read(address);
    let received_before = Inbound::read(&page);
    thread::sleep(MEASURE);
    let after = Metrics::read(address);
    let received = Inbound::read(&page);
    let samples = Samples::take(&page);
    page.screenshot("bench.latency");

    for (what, name, aim) in [
        (
            "capture to wire without the encoder's time",
            "rovercast_capture_to_wire_seconds",
            "p50 ≤ 1 ms, p99 ≤ 4 ms",
        ),
        (
            "the encoder's time, 640x360",
            "rovercast_encode_seconds",
            "",
        ),
    ] {
        let [p50, p99] = [0.5, 0.99].map(|part| 1000.0 * quantile(&before, &after, name, part));
        table.row(what, format!("p50 {p50:.2} ms, p99 {p99:.2} ms"), aim);
    }
    let (p50, p99) = (samples.age(0.5), samples.age(0.99));
    table.row(
        "capture to displayed, from the strip",
        format!("p50 {p50:.0} ms, p99 {p99:.0} ms"),
        "",
    );
    table.row(
        "the picture behind these numbers",
        format!(
            "{:?}, {:.1} decoded a second, {:.1} % never shown, longest pause {:.0} ms; {} freezes, {} key frames, {} PLI, {} packets lost",
            samples.sizes(),
            received.rate_since(&received_before),
            100.0 * samples.missing(),
            milliseconds(samples.longest_pause()),
            received.freeze_count,
            received.key_frames_decoded,
            received.pli_count,
            received.packets_lost,
        ),
        "",
    );
    let unread = samples.0.len() - samples.frames().len();
    assert_eq!(unread, 0, "{unread} strips could not be read");
}

fn viewers_of_a_coded_stream(table: &mut Table) {
    const BITS_PER_SECOND: u32 = 2_000_000;
    let path = artefact("bench.h264");
    let picture = Size {
        width: 1280,
        height: 720,
    };
    let clip = clip::h264(picture, 10 * clip::FRAMES_PER_SECOND, BITS_PER_SECOND);
    let mbps = clip.len() as f64 * 8.0 / 10.0 / 1e6;
    fs::write(&path, clip).expect("target is writable");
    let what = format!("{mbps:.1} Mbit/s coded stream");
    measure_viewers(
        table,
        &what,
        &format!("file:{}", path.display()),
        "≤ 0.25 % of a core per added viewer",
    );
}

fn viewers_with_encode(table: &mut Table) {
    measure_viewers(table, "640x360 test card, encode included", "test-card", "");
}

/// Processor and memory at 0, 1, 4 and 16 viewers, of whom one decodes.
fn measure_viewers(table: &mut Table, what: &str, source: &str, aim: &str) {
    let browser = Browser::open("bench.viewers");
    let address = free_address();
    let robot = Rovercast::run("bench.viewers", source, address, address);
    // A page that loads nothing of its own, from the address that the relay accepts dashboards of.
    let page = browser.page(&format!("http://{address}/healthz"));

    let mut used = BTreeMap::new();
    for count in [0_u32, 1, 4, 16] {
        open_viewers(&page, count);
        thread::sleep(SETTLE);
        let before = ProcessorTime::read(robot.id());
        let bytes_before = Metrics::read(address).value("rovercast_encoder_bytes_total");
        thread::sleep(MEASURE);
        let percent = ProcessorTime::read(robot.id()).percent_since(&before);
        let bytes = Metrics::read(address).value("rovercast_encoder_bytes_total") - bytes_before;
        let mbps = bytes * 8.0 / 1e6 / MEASURE.as_secs_f64();
        let memory = Memory::read(robot.id());
        used.insert(count, percent);

        let each = if count > 0 {
            format!(", {:.2} % each", percent / f64::from(count))
        } else {
            String::new()
        };
        table.row(
            &format!("{what}, {count} viewers: processor"),
            format!("{percent:.2} % of a core{each}, at {mbps:.1} Mbit/s"),
            "",
        );
        table.row(
            &format!("{what}, {count} viewers: memory"),
            format!(
                "{:.1} MB resident, {:.1} MB of it anonymous",
                memory.resident, memory.anonymous
            ),
            match count {
                1 => "≤ 14 MB",
                16 => "≤ 20 MB",
                _ => "",
            },
        );
    }
    let added = (used[&16] - used[&1]) / 15.0;
    table.row(
        &format!("{what}: each added viewer"),
        format!("{added:.2} % of a core"),
        aim,
    );
}

fn open_viewers(page: &Page<'_>, count: u32) {
    const DECODING: u32 = 1;
    let open = page.run_with(include_str!("viewers.js"), &[json!(count), json!(DECODING)]);
    assert_eq!(open, count, "not all viewers came");
}

/// Between two readings of a histogram: the value that `part` of the observations did not exceed, even within its bucket.
fn quantile(before: &Metrics, after: &Metrics, name: &str, part: f64) -> f64 {
    let name = format!("{name}_bucket");
    let limit = |labels: &str| {
        let (_, rest) = labels.split_once("le=\"").expect("buckets have a limit");
        rest.trim_end_matches('"')
            .parse::<f64>()
            .expect("a number or +Inf")
    };
    let buckets: Vec<(f64, f64)> = after
        .samples(&name)
        .zip(before.samples(&name))
        .map(|((labels, after), (_, before))| (limit(labels), after - before))
        .collect();
    let total = buckets.last().expect("the histogram has buckets").1;
    assert!(total > 0.0, "nothing was observed in {name}");
    let wanted = part * total;
    let mut below = (0.0, 0.0);
    for (limit, count) in buckets {
        if count >= wanted && limit.is_finite() {
            return below.0 + (limit - below.0) * (wanted - below.1) / (count - below.1).max(1.0);
        }
        below = (limit, count);
    }
    f64::INFINITY
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Median and extremes of some milliseconds.
fn spread(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let (least, most) = (times[0], times[times.len() - 1]);
    format!(
        "median {:.0} ms ({least:.0} to {most:.0}, {} times)",
        times[times.len() / 2],
        times.len()
    )
}

const TEST_CARD: [&str; 6] = ["--camera", "test-card", "--size", "640x360", "--fps", "30"];

/// How often a single moment is measured: an odd number has a median.
const ROUNDS: usize = 11;

/// Start-up costs (DTLS, first key frames, the browser's own) are not the running costs.
const SETTLE: Duration = Duration::from_secs(5);

/// Long enough that 0.01 % of a core is 2 ms.
const MEASURE: Duration = Duration::from_secs(20);

const PATIENCE: Duration = Duration::from_secs(20);
