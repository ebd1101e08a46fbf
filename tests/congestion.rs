//! The estimate, the pacer, repair and the shared rate against emulated links, in simulated time.
//!
//! `cargo test --test congestion -- --nocapture` prints what is reached on each link.

#![allow(clippy::disallowed_methods)] // tests need some instant to count from
#![allow(clippy::print_stdout)] // the table is the point
#![allow(unreachable_pub)] // the emulator is a module of this test

mod emulator;

use std::time::Duration;

use emulator::link::{LinkSettings, Loss};
use emulator::scenarios::{self, MOST, START};
use emulator::seen::Seen;
use emulator::traces::Trace;
use emulator::world::{Scenario, run};
use emulator::{ms, reference};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// One run for each seed; what the first viewer saw.
fn runs(scenario: impl Fn(u64) -> Scenario) -> Vec<Seen> {
    runs_of(10, |seed| run(scenario(seed)).remove(0))
}

fn runs_of(seeds: u64, run: impl Fn(u64) -> Seen) -> Vec<Seen> {
    (1..=seeds).map(run).collect()
}

/// The middle and the worst of all seeds, printed.
fn report(link: &str, what: &str, of: &[Seen], figure: impl Fn(&Seen) -> f64) -> Figures {
    let mut all: Vec<f64> = of.iter().map(figure).collect();
    all.sort_by(f64::total_cmp);
    let figures = Figures {
        least: all[0],
        middle: all[all.len() / 2],
        most: all[all.len() - 1],
    };
    println!(
        "{link:12} {what:42} least {:8.3} middle {:8.3} most {:8.3}",
        figures.least, figures.middle, figures.most
    );
    figures
}

struct Figures {
    least: f64,
    middle: f64,
    most: f64,
}

#[test]
fn random_loss_is_not_taken_for_a_full_link() {
    let seen = runs(scenarios::lossy);
    let shown = report("loss", "frames shown, of 1", &seen, Seen::share_shown);
    let frozen = report("loss", "frozen, s of 30", &seen, |it| {
        it.frozen(0.5, 30.0).as_secs_f64()
    });
    let target = report("loss", "least target, of the start", &seen, |it| {
        it.least_target(0.0, 30.0) / START
    });
    assert!(shown.least >= 0.98);
    // Half a second is wanted and not reached for sure: 0.4 s in the middle of these seeds, 0.6 s of ten others. What is left
    // are losses of the browser's NACK together with the last packet of a frame.
    assert!(frozen.middle <= 0.75);
    assert!(target.least >= 0.6);
}

#[test]
fn bursts_of_loss_leave_the_rate_usable() {
    let seen = runs(scenarios::bursts);
    let shown = report("bursts", "frames shown, of 1", &seen, Seen::share_shown);
    let target = report("bursts", "least target, of the start", &seen, |it| {
        it.least_target(0.0, 30.0) / START
    });
    assert!(shown.least >= 0.95);
    assert!(target.least >= 0.6);
}

#[test]
fn picture_follows_a_link_that_narrows_and_widens() {
    let seen = runs(scenarios::narrowing);
    let late = report(
        "4-0.5-4",
        "worst latency 2 s after the drop, s",
        &seen,
        |it| it.latency(1.0, 17.0, 35.0).as_secs_f64(),
    );
    let ever = report(
        "4-0.5-4",
        "worst latency of a shown frame, s",
        &seen,
        |it| it.latency(1.0, 1.0, 60.0).as_secs_f64(),
    );
    report("4-0.5-4", "oldest picture on the screen, s", &seen, |it| {
        it.oldest_picture(1.0, 60.0).as_secs_f64()
    });
    let used = report("4-0.5-4", "narrow link used, of 1", &seen, |it| {
        it.used(17.0, 35.0)
    });
    let back = report(
        "4-0.5-4",
        "until 80 % of the wide link again, s",
        &seen,
        |it| it.reached(35.0, 0.8 * 4e6).as_secs_f64(),
    );
    assert!(late.most <= 0.3);
    assert!(ever.most <= 1.0);
    assert!(used.least >= 0.85);
    assert!(back.most <= 10.0);
}

#[test]
fn long_queue_of_a_modem_stays_empty() {
    let seen = runs(scenarios::bufferbloat);
    let standing = report("bufferbloat", "standing queue, s", &seen, |it| {
        it.standing_queue(5.0, 60.0).as_secs_f64()
    });
    let queue = report("bufferbloat", "95 % of all queues, s", &seen, |it| {
        it.queue(0.95, 5.0, 60.0).as_secs_f64()
    });
    let used = report("bufferbloat", "link used, of 1", &seen, |it| {
        it.used(5.0, 60.0)
    });
    assert!(standing.most <= 0.1);
    assert!(queue.most <= 0.1);
    assert!(used.least >= 0.85);
}

#[test]
fn jitter_is_not_taken_for_a_queue() {
    let seen = runs(scenarios::jitter);
    let start = report("jitter", "least estimate, of the start", &seen, |it| {
        it.least_estimate(0.0, 30.0) / START
    });
    let later = report(
        "jitter",
        "least estimate from 5 s on, of the most",
        &seen,
        |it| it.least_estimate(5.0, 30.0) / MOST,
    );
    assert!(start.least >= 0.7);
    assert!(later.least >= 0.7);
}

#[test]
fn picture_is_back_within_a_second_of_an_outage() {
    let seen = runs(scenarios::outage);
    let picture = report("outage", "until a picture, s", &seen, |it| {
        it.first_shown_after(13.0).as_secs_f64()
    });
    let rate = report("outage", "until 80 % of the rate, s", &seen, |it| {
        it.reached(14.0, 0.8 * MOST).as_secs_f64()
    });
    assert!(picture.most <= 1.0);
    assert!(rate.most <= 10.0);
}

#[test]
fn download_beside_it_and_the_picture_share_the_link() {
    let mut shares = Vec::new();
    for (bps, queue) in [(4e6, 200), (4e6, 500), (8e6, 100), (2e6, 100)] {
        let seen = runs_of(4, |seed| {
            run(scenarios::competing(seed, bps, queue)).remove(0)
        });
        let link = format!("tcp {}M {queue}", bps / 1e6);
        shares.push(report(&link, "our share, of 1", &seen, |it| {
            it.share(20.0, 80.0)
        }));
        report(&link, "latency in the middle, s", &seen, |it| {
            it.latency(0.5, 20.0, 80.0).as_secs_f64()
        });
    }
    assert!(shares[0].least >= 0.3 && shares[0].most <= 0.7);
    // Where the queue is shorter than the round trip, or we want no more than half of the link, TCP takes more.
    assert!(shares.iter().all(|it| it.least >= 0.1 && it.most <= 0.7));
}

#[test]
fn viewer_with_a_poor_link_harms_nobody() {
    let alone = runs_of(4, |seed| run(scenarios::three_and(seed, None)).remove(0));
    for (name, other) in [
        ("poor fourth", scenarios::poor()),
        ("200 PLI/s", scenarios::nagging()),
    ] {
        let with = runs_of(4, |seed| {
            run(scenarios::three_and(seed, Some(other.clone()))).remove(0)
        });
        let rate = |it: &Seen| it.media_bytes as f64 * 8.0 / 30.0 / 1e6;
        let latency = |it: &Seen| it.latency(0.95, 2.0, 30.0).as_secs_f64();
        let before = report("three alone", "media, Mbit/s", &alone, rate);
        let after = report(name, "media, Mbit/s", &with, rate);
        let shown = report(name, "frames shown, of 1", &with, Seen::share_shown);
        let frozen = report(name, "frozen, s of 30", &with, |it| {
            it.frozen(0.5, 30.0).as_secs_f64()
        });
        report("three alone", "95 % of the latencies, s", &alone, latency);
        let late = report(name, "95 % of the latencies, s", &with, latency);
        assert!(after.least >= 0.95 * before.least);
        assert!(shown.least >= 0.98);
        assert!(frozen.middle <= 0.2);
        // 70 ms alone: a key frame every two seconds for the other viewer is what remains of it.
        assert!(late.most <= 0.15);
    }
}

#[test]
fn picture_lives_on_radio_links() {
    for (name, seen) in [
        ("lte", runs(scenarios::lte)),
        ("wifi", runs(scenarios::wifi)),
    ] {
        let shown = report(name, "frames shown, of 1", &seen, Seen::share_shown);
        let used = report(name, "link used, of 1", &seen, |it| it.used(5.0, 60.0));
        let late = report(name, "95 % of the latencies, s", &seen, |it| {
            it.latency(0.95, 2.0, 60.0).as_secs_f64()
        });
        report(name, "frozen, s of 60", &seen, |it| {
            it.frozen(0.5, 60.0).as_secs_f64()
        });
        assert!(shown.least >= 0.9);
        assert!(used.least >= 0.5);
        assert!(late.most <= 0.5);
    }
}

#[test]
fn still_picture_does_not_lose_what_the_link_was_proven_to_carry() {
    let seen = runs(|seed| {
        let mut scenario = scenarios::one(seed, scenarios::link(Trace::constant(6e6), 300), 60);
        // Motion, then a still scene, then motion again.
        scenario.scene = |second| {
            if (15.0..45.0).contains(&second) {
                300e3
            } else {
                f64::MAX
            }
        };
        scenario
    });
    let estimate = report("still scene", "least estimate, of the most", &seen, |it| {
        it.least_estimate(15.0, 60.0) / MOST
    });
    let padding = report("still scene", "padding, of all", &seen, |it| {
        it.padding_bytes as f64 / it.wire_bytes as f64
    });
    assert!(estimate.least >= 0.8);
    assert!(padding.most <= 0.05);
}

#[test]
fn estimate_falls_when_a_link_narrows_under_a_still_picture() {
    let seen = runs(|seed| {
        let rate = Trace::steps(&[(0.0, 6e6), (20.0, 1e6)]);
        let mut scenario = scenarios::one(seed, scenarios::link(rate, 300), 60);
        scenario.scene = |second| if second > 15.0 { 300e3 } else { f64::MAX };
        scenario
    });
    let estimate = report(
        "still, narrow",
        "estimate at the end, of the link",
        &seen,
        |it| it.mean_estimate(55.0, 60.0) / 1e6,
    );
    assert!(estimate.most <= 1.5);
}

proptest! {
    // The same forty links every time, so that a change of the estimator is what changes the outcome.
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(40),
        ..ProptestConfig::default()
    })]

    /// On any steady link the estimate comes to rest near what the link carries: it does not starve, does not stay above, and does
    /// not swing for ever.
    #[test]
    fn estimate_comes_to_rest_near_what_the_link_carries(
        seed in 0u64..1_000_000,
        kbps in 300f64..6000.0,
        queue in 100u64..1500,
        delay in 2u64..120,
        jitter in 0u64..15,
        loss in prop_oneof![Just(0.0), 0.0..0.06],
    ) {
        let mut there = scenarios::link(Trace::constant(kbps * 1e3), queue);
        there.delay = ms(delay);
        there.jitter = ms(jitter);
        there.loss = if loss > 0.0 { Loss::Random(loss) } else { Loss::None };
        let mut scenario = scenarios::one(seed, there, 60);
        scenario.viewers[0].back = LinkSettings::fast(ms(delay));
        let seen = &run(scenario)[0];
        let carries = (kbps * 1e3).min(MOST);

        let late: Vec<f64> = seen.between(30.0, 60.0).map(|it| it.estimate / carries).collect();
        let mean = late.iter().sum::<f64>() / late.len() as f64;
        let swing = (late.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / late.len() as f64).sqrt();
        let longest_above = late
            .split(|share| *share <= 1.1)
            .map(|above| ms(50) * above.len() as u32)
            .max()
            .unwrap_or_default();

        prop_assert!(mean >= 0.6, "starves: {mean:.2} of the link");
        prop_assert!(longest_above <= Duration::from_secs(2), "above the link for {longest_above:?}");
        prop_assert!(swing / mean <= 0.3, "swings by {:.2} around {mean:.2}", swing / mean);
        let queue = seen.standing_queue(30.0, 60.0);
        prop_assert!(queue <= ms(150), "a queue of {queue:?} stands");
    }
}

/// The README's table. str0m runs with its own pacer, repair and receiver; see `emulator/reference.rs`.
#[test]
fn no_link_is_worse_than_with_str0m() {
    type Link = (&'static str, fn(u64) -> Scenario, f64);
    let links: [Link; 10] = [
        ("5 % loss", scenarios::lossy, 30.0),
        ("bursts", scenarios::bursts, 30.0),
        ("4-0.5-4", scenarios::narrowing, 60.0),
        ("bufferbloat", scenarios::bufferbloat, 60.0),
        ("jitter", scenarios::jitter, 30.0),
        ("outage", scenarios::outage, 30.0),
        (
            "tcp 4M 200",
            |seed| scenarios::competing(seed, 4e6, 200),
            80.0,
        ),
        (
            "tcp 2M 100",
            |seed| scenarios::competing(seed, 2e6, 100),
            80.0,
        ),
        ("lte", scenarios::lte, 60.0),
        ("wifi", scenarios::wifi, 60.0),
    ];
    println!("| link | frames shown | frozen, s | latency 95 %, ms | media, kbit/s | share |");
    for (name, scenario, end) in links {
        let ours = row(&runs_of(4, |seed| run(scenario(seed)).remove(0)), end);
        let theirs = row(&runs_of(4, |seed| reference::run(scenario(seed))), end);
        println!("| {name}, ours | {ours}");
        println!("| {name}, str0m | {theirs}");
        // A picture that stands still is worse than a small one.
        assert!(ours.shown >= theirs.shown - 0.01, "{name} shows less");
        assert!(
            ours.frozen <= theirs.frozen + 0.2,
            "{name} stands still longer"
        );
    }
}

/// The mean of all runs.
struct Row {
    shown: f64,
    frozen: f64,
    latency: f64,
    media: f64,
    share: f64,
}

fn row(seen: &[Seen], end: f64) -> Row {
    let mean =
        |figure: &dyn Fn(&Seen) -> f64| seen.iter().map(figure).sum::<f64>() / seen.len() as f64;
    Row {
        shown: mean(&Seen::share_shown),
        frozen: mean(&|it| it.frozen(0.5, end).as_secs_f64()),
        latency: mean(&|it| it.latency(0.95, 2.0, end).as_secs_f64()) * 1e3,
        media: mean(&|it| it.media_bytes as f64 * 8.0 / 1e3 / it.samples.len() as f64 * 20.0),
        share: mean(&|it| it.share(20.0, end)),
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            shown,
            frozen,
            latency,
            media,
            share,
        } = self;
        write!(
            f,
            "{:.1} % | {frozen:.2} | {latency:.0} | {media:.0} | {share:.2} |",
            shown * 100.0
        )
    }
}
