//! The estimate against emulated links.

#![allow(clippy::disallowed_methods)] // tests need some instant to count from
#![allow(unreachable_pub)]

mod emulator;

use std::time::Duration;

use emulator::link::{LinkSettings, Loss};
use emulator::traces::Trace;
use emulator::world::{Scenario, Seen, ViewerSettings, run};
use emulator::ms;
use rovercast::media::Bitrate;
use rovercast::media::congestion::EstimateRange;

fn scenario(seed: u64, there: LinkSettings, back: LinkSettings, seconds: u64) -> Scenario {
    Scenario {
        seed,
        length: Duration::from_secs(seconds),
        range: EstimateRange {
            least: Bitrate::kbps(150),
            start: Bitrate::kbps(1500),
            most: Bitrate::kbps(4000),
        },
        viewers: vec![ViewerSettings {
            there,
            back,
            neighbour: None,
            nagging: None,
        }],
        scene: |_| f64::MAX,
    }
}

fn link(rate: Trace, queue: u64) -> LinkSettings {
    LinkSettings {
        rate,
        queue: ms(queue),
        ..LinkSettings::fast(ms(25))
    }
}

fn print(name: &str, seen: &Seen, verbose: bool) {
    let end = seen.samples.last().unwrap().at.as_secs_f64();
    println!(
        "{name}: shown {:.1}% frozen {:?} est {:.0}k min target {:.0}k used {:.2} queue p50/p95/max {:?}/{:?}/{:?} latency p50/p95/max {:?}/{:?}/{:?} skipped {} repaired {} keys {} plis {} padding {:.1}%",
        seen.share_shown() * 100.0,
        seen.frozen(0.5, end),
        seen.mean_estimate(0.0, end) / 1e3,
        seen.least_target(0.0, end) / 1e3,
        seen.used(0.0, end),
        seen.queue(0.5, 0.0, end),
        seen.queue(0.95, 0.0, end),
        seen.queue(1.0, 0.0, end),
        seen.latency(0.5, 0.0, end),
        seen.latency(0.95, 0.0, end),
        seen.latency(1.0, 0.0, end),
        seen.skipped,
        seen.repaired,
        seen.key_frames,
        seen.picture_losses,
        seen.padding_bytes as f64 / seen.wire_bytes as f64 * 100.0,
    );
    if verbose {
        for sample in seen.samples.iter().step_by(4) {
            println!(
                "  {:5.2} link {:5.0} est {:5.0} target {:5.0} queue {:4} {}",
                sample.at.as_secs_f64(),
                sample.link / 1e3,
                sample.estimate / 1e3,
                sample.target / 1e3,
                sample.queue.as_millis(),
                sample.because
            );
        }
    }
}

#[test]
fn explore() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let verbose = !only.is_empty();
    let seed = std::env::var("SEED").map_or(1, |it| it.parse().unwrap());
    let fast = || LinkSettings::fast(ms(25));
    let lossy = |mut it: LinkSettings, loss| {
        it.loss = loss;
        it
    };
    let mut all = vec![
        ("clean", scenario(seed, link(Trace::constant(10e6), 300), fast(), 30)),
        ("random5", scenario(seed, lossy(link(Trace::constant(10e6), 300), Loss::Random(0.05)), lossy(fast(), Loss::Random(0.05)), 30)),
        ("bursty", scenario(seed, lossy(link(Trace::constant(10e6), 300), Loss::Bursty { worse: 0.01, better: 0.15, lost: 0.7 }), fast(), 30)),
        ("drop", scenario(seed, link(Trace::steps(&[(0.0, 4e6), (15.0, 0.5e6), (35.0, 4e6)]), 300), fast(), 60)),
        ("bloat", scenario(seed, link(Trace::constant(1e6), 1000), fast(), 30)),
        ("narrow", scenario(seed, link(Trace::constant(0.5e6), 300), fast(), 30)),
        ("lte", scenario(seed, link(Trace::lte(2e6, Duration::from_secs(60), seed), 1000), fast(), 60)),
        ("wifi", scenario(seed, link(Trace::wifi(5e6, Duration::from_secs(60), seed), 200), fast(), 60)),
    ];
    let mut jitter = scenario(seed, link(Trace::constant(10e6), 300), fast(), 30);
    jitter.viewers[0].there.jitter = ms(20);
    jitter.viewers[0].back.jitter = ms(20);
    all.push(("jitter", jitter.clone()));
    jitter.viewers[0].there.reorders = true;
    all.push(("jitter-reorder", jitter));
    let mut outage = scenario(seed, link(Trace::constant(4e6), 300), fast(), 30);
    outage.viewers[0].there.outages = vec![(Duration::from_secs(10), Duration::from_secs(13))];
    outage.viewers[0].back.outages = vec![(Duration::from_secs(10), Duration::from_secs(13))];
    all.push(("outage", outage));
    let mut tcp = scenario(seed, link(Trace::constant(4e6), 200), fast(), 90);
    tcp.viewers[0].neighbour = Some((Duration::from_secs(10), Duration::from_secs(80)));
    all.push(("tcp", tcp));
    for (name, scenario) in all {
        if !only.is_empty() && only != name {
            continue;
        }
        let started = std::time::Instant::now();
        let seen = run(scenario);
        print(name, &seen[0], verbose);
        if name == "tcp" {
            println!("   share {:.2}", seen[0].share(15.0, 80.0));
        }
        println!("   took {:?}", started.elapsed());
    }
}
