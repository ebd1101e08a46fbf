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
use rovercast::media::rate::{EncoderLimits, RateMethod};

fn scenario(seed: u64, there: LinkSettings, back: LinkSettings, seconds: u64) -> Scenario {
    Scenario {
        seed,
        length: Duration::from_secs(seconds),
        range: EstimateRange {
            least: Bitrate::kbps(150),
            start: Bitrate::kbps(1500),
            most: Bitrate::kbps(4000),
        },
        limits: EncoderLimits {
            least: Bitrate::kbps(150),
            most: Bitrate::kbps(4000),
            step: Bitrate::kbps(10),
            interval: ms(100),
            method: RateMethod::Control,
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

#[test]
fn figures() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let fast = || LinkSettings::fast(ms(25));
    let lossy = |mut it: LinkSettings, share| {
        it.loss = Loss::Random(share);
        it
    };
    let seeds: Vec<u64> = std::env::var("SEED").map_or((1..=10).collect(), |it| vec![it.parse().unwrap()]);
    for seed in seeds {
        let is = |name: &str| only.is_empty() || only == name;
        let started = std::time::Instant::now();
        let mut took = |name: &str| println!("{seed} {name} took {:?}", started.elapsed());
        if is("random") {
            let seen = &run(scenario(seed, lossy(link(Trace::constant(10e6), 300), 0.05), lossy(fast(), 0.05), 30))[0];
            for pair in seen.screen.shown.windows(2) {
                if pair[1].0 - pair[0].0 > ms(150) {
                    println!("{seed} gap at {:?} of {:?} frames {} {}", pair[0].0 - seen.origin, pair[1].0 - pair[0].0, pair[0].2, pair[1].2);
                }
            }
            println!("{seed} random: shown {:.3} frozen {:?} min target {:.2}", seen.share_shown(), seen.frozen(0.5, 30.0), seen.least_target(0.0, 30.0) / 1500e3);
        }
        if is("drop") {
            let seen = &run(scenario(seed, link(Trace::steps(&[(0.0, 4e6), (15.0, 0.5e6), (35.0, 4e6)]), 300), fast(), 60))[0];
            println!("{seed} drop: worst latency after 2 s {:?} p99 {:?} p95 {:?} oldest {:?} worst {:?} used {:.2} back in {:?} used {:.2} frozen {:?}", seen.worst_latency(17.0, 35.0), seen.latency(0.99, 17.0, 35.0), seen.latency(0.95, 17.0, 35.0), seen.oldest_picture(0.5, 60.0), seen.worst_latency(0.5, 60.0), seen.used(17.0, 35.0), seen.reached(35.0, 3.2e6), seen.used(45.0, 60.0), seen.frozen(0.5, 60.0));
        }
        if is("bloat") {
            let seen = &run(scenario(seed, link(Trace::constant(1e6), 1000), fast(), 60))[0];
            println!("{seed} bloat: standing {:?} p95 {:?} used {:.2}", seen.standing_queue(5.0, 60.0), seen.queue(0.95, 5.0, 60.0), seen.used(5.0, 60.0));
        }
        if is("jitter") {
            let mut jitter = scenario(seed, link(Trace::constant(10e6), 300), fast(), 30);
            jitter.viewers[0].there.jitter = ms(20);
            jitter.viewers[0].back.jitter = ms(20);
            let seen = &run(jitter)[0];
            println!("{seed} jitter: least {:.2} later {:.2}", seen.least_estimate(0.0, 30.0) / 1.5e6, seen.least_estimate(5.0, 30.0) / 4e6);
        }
        if is("outage") {
            let mut outage = scenario(seed, link(Trace::constant(4e6), 300), fast(), 30);
            outage.viewers[0].there.outages = vec![(Duration::from_secs(10), Duration::from_secs(13))];
            outage.viewers[0].back.outages = vec![(Duration::from_secs(10), Duration::from_secs(13))];
            let seen = &run(outage)[0];
            println!("{seed} outage: picture after {:?} back in {:?}", seen.first_shown_after(13.0), seen.reached(13.0, 3.2e6));
        }
        if is("tcp") {
            for (bps, queue) in [(4e6, 200), (2e6, 100), (4e6, 500), (8e6, 100)] {
                let mut tcp = scenario(seed, link(Trace::constant(bps), queue), fast(), 90);
                tcp.viewers[0].neighbour = Some((Duration::from_secs(10), Duration::from_secs(80)));
                let seen = &run(tcp)[0];
                println!("{seed} tcp {bps} {queue}: share {:.2} later {:.2} latency p50 {:?} p95 {:?} frozen {:?}", seen.share(15.0, 80.0), seen.share(40.0, 80.0), seen.latency(0.5, 15.0, 80.0), seen.latency(0.95, 15.0, 80.0), seen.frozen(10.0, 80.0));
            }
        }
        if is("four") || is("nagging") {
            let wide = ViewerSettings { there: link(Trace::constant(6e6), 300), back: fast(), neighbour: None, nagging: None };
            let mut narrow = wide.clone();
            narrow.there = lossy(link(Trace::constant(300e3), 300), 0.05);
            narrow.back = lossy(fast(), 0.05);
            let mut nagging = wide.clone();
            nagging.nagging = Some(ms(5));
            let with = |other: Option<ViewerSettings>| {
                let mut four = scenario(seed, wide.there.clone(), fast(), 30);
                four.limits.least = Bitrate::kbps(300);
                four.viewers = vec![wide.clone(), wide.clone(), wide.clone()];
                four.viewers.extend(other);
                run(four)
            };
            for (name, other) in [("three", None), ("four", Some(narrow)), ("nagging", Some(nagging))] {
                let all = with(other);
                let seen = &all[0];
                println!("{seed} {name}: target {:.0}k shown {:.3} frozen {:?} latency p50 {:?} p95 {:?} max {:?} keys {} media {}k; last shown {:.3} frozen {:?}", seen.between(5.0, 30.0).map(|it| it.target).sum::<f64>() / seen.between(5.0, 30.0).count() as f64 / 1e3, seen.share_shown(), seen.frozen(0.5, 30.0), seen.latency(0.5, 1.0, 30.0), seen.latency(0.95, 1.0, 30.0), seen.latency(1.0, 1.0, 30.0), seen.key_frames, seen.media_bytes * 8 / 30 / 1000, all.last().unwrap().share_shown(), all.last().unwrap().frozen(0.5, 30.0));
            }
        }
        took("all");
    }
}
