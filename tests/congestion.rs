//! The estimate, the pacer, repair and the shared rate against emulated links, in simulated time.
//!
//! `cargo test --test congestion -- --nocapture` prints what is reached on each link.

#![allow(clippy::disallowed_methods)] // tests need some instant to count from
#![allow(clippy::print_stdout)] // the table is the point
#![allow(unreachable_pub)] // the emulator is a module of this test

mod emulator;

use std::time::Duration;

use emulator::figures::{self, Course};
use emulator::link::{LinkSettings, Loss};
use emulator::ms;
use emulator::scenarios::{self, MOST};
use emulator::seen::Seen;
use emulator::traces::Trace;
use emulator::world::{Scenario, run};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// One run for each seed; what the first viewer saw.
fn runs(scenario: impl Fn(u64) -> Scenario) -> Vec<Seen> {
    runs_of(10, |seed| run(scenario(seed)).remove(0))
}

fn runs_of(seeds: u64, run: impl Fn(u64) -> Seen) -> Vec<Seen> {
    (1..=seeds).map(run).collect()
}

/// The aims are reached.
fn reaches(course: &Course) {
    let seen = course.ours(SEEDS);
    for figure in &course.figures {
        let spread = figure.spread(&seen);
        let line = format!(
            "{}: {}: {}, aim {}",
            course.name,
            figure.what,
            figure.shown(spread),
            figure.aim()
        );
        println!("{line}");
        assert!(figure.is_reached(spread), "{line}");
    }
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
    reaches(&figures::loss());
}

#[test]
fn bursts_of_loss_leave_the_rate_usable() {
    reaches(&figures::bursts());
}

#[test]
fn picture_follows_a_link_that_narrows_and_widens() {
    reaches(&figures::narrowing());
}

#[test]
fn long_queue_of_a_modem_stays_empty() {
    reaches(&figures::bufferbloat());
}

/// A model of an encoder hides what a real one does: key frames that become no smaller, a rate that is followed late, pictures left out.
#[cfg(feature = "software-encoder")]
mod with_openh264 {
    use super::*;
    use emulator::encoder::Kind;

    fn coded(scenario: impl Fn(u64) -> Scenario) -> Vec<Seen> {
        runs_of(2, |seed| {
            let mut scenario = scenario(seed);
            scenario.encoder = Kind::OpenH264;
            scenario.lateness = BUSY;
            run(scenario).remove(0)
        })
    }

    /// Of all but the last half second, which is still on its way.
    fn missing(seen: &Seen) -> f64 {
        let all = seen.frames - 15;
        let is_early = |(_, _, frame): &&(_, _, u32)| *frame <= all;
        let shown = seen.screen.shown.iter().filter(is_early).count();
        f64::from(all) - shown as f64
    }

    #[test]
    fn first_queue_on_a_narrow_link_is_drained_without_a_picture_left_out() {
        for kbps in [1000, 600] {
            let seen = coded(|seed| {
                let rate = Trace::constant(f64::from(kbps) * 1e3);
                scenarios::one(seed, scenarios::link(rate, 1000), 6)
            });
            let link = format!("{kbps} kbit/s");
            let missing = report(&link, "pictures that are missing", &seen, missing);
            let still = report(&link, "standing still, s of 6", &seen, |it| {
                it.frozen(0.5, 6.0).as_secs_f64()
            });
            let queue = report(&link, "standing queue after 3 s, s", &seen, |it| {
                it.standing_queue(3.0, 6.0).as_secs_f64()
            });
            let used = report(&link, "link used after 3 s", &seen, |it| it.used(3.0, 6.0));
            assert!(used.least >= 0.8);
            assert!(missing.most < 1.0);
            assert!(still.most <= 0.2);
            assert!(queue.most <= 0.1);
        }
    }

    #[test]
    fn link_that_narrows_is_followed_with_few_pictures_left_out() {
        let seen = coded(|seed| {
            let rate = Trace::steps(&[(0.0, 4e6), (1.0, 0.5e6)]);
            scenarios::one(seed, scenarios::link(rate, 300), 6)
        });
        let latency = report("narrows", "latency from 2 s after it on, s", &seen, |it| {
            it.latency(1.0, 3.0, 6.0).as_secs_f64()
        });
        let still = report("narrows", "standing still, s of 6", &seen, |it| {
            it.frozen(0.5, 6.0).as_secs_f64()
        });
        let used = report("narrows", "link used after 2 s", &seen, |it| {
            it.used(3.0, 6.0)
        });
        assert!(used.least >= 0.8);
        assert!(latency.most <= 0.3);
        assert!(still.most <= 1.0);
    }
}

#[test]
fn jitter_is_not_taken_for_a_queue() {
    reaches(&figures::jitter());
}

#[test]
fn picture_is_back_within_a_second_of_an_outage() {
    reaches(&figures::outage());
}

#[test]
fn way_that_became_longer_is_not_taken_for_a_queue_for_long() {
    let seen = runs(scenarios::longer);
    let latency = report(
        "longer",
        "latency from 2 s after the drop on, s",
        &seen,
        |it| it.latency(1.0, 22.0, 30.0).as_secs_f64(),
    );
    let used = report("longer", "narrow link used", &seen, |it| {
        it.used(22.0, 30.0)
    });
    let again = report("longer", "80 % of the wide link again, s", &seen, |it| {
        it.reached(30.0, 0.8 * 4e6).as_secs_f64()
    });
    assert!(latency.middle <= 0.3);
    assert!(used.least >= 0.8);
    assert!(again.most <= 10.0);

    let seen = runs(scenarios::longer_after_an_outage);
    let used = report("longer, out", "link used", &seen, |it| it.used(20.0, 30.0));
    assert!(used.least >= 0.8);
}

/// Between seven and nine tenths of the most a probe always finds the link, and never the most.
#[test]
fn still_picture_on_a_link_that_carries_nearly_the_most_is_not_filled_up_with_probes() {
    let seen = runs(|seed| {
        let mut scenario = scenarios::one(seed, scenarios::link(Trace::constant(3.2e6), 300), 40);
        scenario.scene = |_| 300e3;
        scenario
    });
    let padding = report("nearly most", "padding, kbit/s", &seen, |it| {
        it.padding_bytes as f64 * 8.0 / 40.0 / 1e3
    });
    assert!(padding.most <= 100.0);
}

#[test]
fn download_beside_it_and_the_picture_share_the_link() {
    for course in figures::downloads() {
        reaches(&course);
    }
}

#[test]
fn picture_lives_on_radio_links() {
    for course in figures::radio() {
        reaches(&course);
    }
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

/// Their key frames take two seconds of the poor link each, and are lost in part: it sees a slide show, and not nothing.
#[test]
fn viewer_with_a_poor_link_sees_the_key_frames_of_the_others() {
    let seen = runs_of(4, |seed| {
        let scenario = scenarios::three_and(seed, Some(scenarios::poor()));
        run(scenario).remove(3)
    });
    let shown = report(
        "poor fourth",
        "pictures that it sees in 30 s",
        &seen,
        |it| it.screen.shown.len() as f64,
    );
    assert!(shown.least >= 6.0);
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
fn three_keep_their_target_on_a_busy_robot_although_the_picture_needs_little() {
    for (name, other) in [
        ("three alone", None),
        ("poor fourth", Some(scenarios::poor())),
    ] {
        let seen = runs_of(SEEDS, |seed| {
            let mut scenario = scenarios::three_and(seed, other.clone());
            scenario.length = Duration::from_secs(60);
            scenario.lateness = BUSY;
            scenario.scene = |_| 1e6;
            run(scenario).remove(0)
        });
        let target = report(name, "least target, of the most", &seen, |it| {
            it.least_target(10.0, 60.0) / MOST
        });
        // Bursts whose packets leave late tell what the link carries to a fifth.
        assert!(target.middle >= 0.8 && target.least >= 0.7);
    }
}

#[test]
fn estimate_holds_while_another_viewer_keeps_what_is_sent_low() {
    let seen = runs_of(SEEDS, |seed| {
        let good = scenarios::viewer(scenarios::link(Trace::constant(6e6), 300));
        let slow = scenarios::viewer(scenarios::link(Trace::constant(1e6), 300));
        let mut scenario = scenarios::of_viewers(seed, vec![good, slow], 60);
        scenario.lateness = BUSY;
        run(scenario).remove(0)
    });
    // A moment's queue lowers it for less than a second.
    let estimate = report(
        "held down",
        "estimate but for 5 % of the time",
        &seen,
        |it| it.estimate(0.05, 10.0, 60.0) / MOST,
    );
    assert!(estimate.middle >= 0.8 && estimate.least >= 0.7);
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

/// The README's table: in the middle, and at worst. str0m runs with its own pacer, repair and receiver; see `emulator/reference.rs`.
#[test]
fn no_link_is_worse_than_with_str0m() {
    println!("{}", figures::HEAD);
    for course in figures::all() {
        let (ours, theirs) = (course.ours(SEEDS), course.theirs(REFERENCE_SEEDS));
        for figure in &course.figures {
            let (our, their) = (figure.spread(&ours), figure.spread(&theirs));
            let row = figure.row(&course, our, their);
            println!("{row}");
            assert!(figure.missed_by(our) <= figure.missed_by(their), "{row}");
        }
        // A picture that stands still is worse than a small one.
        let shown = mean(&ours, Seen::share_shown) - mean(&theirs, Seen::share_shown);
        assert!(shown > -0.01, "{} shows less", course.name);
        let still = |it: &Seen| it.frozen(0.5, f64::from(it.frames) / 30.0).as_secs_f64();
        let longer = mean(&ours, still) - mean(&theirs, still);
        assert!(longer < 0.2, "{} stands still longer", course.name);
    }
}

/// A change of the estimator is tried on many links, or on few.
#[test]
fn runs_are_cheap() {
    let runs = figures::runs_a_second();
    let seconds = scenarios::SHORT;
    println!("{runs:.0} runs of {seconds} s in a second of one core");
    // Optimised it is five times as many.
    assert!(runs > 60.0);
}

fn mean(seen: &[Seen], figure: impl Fn(&Seen) -> f64) -> f64 {
    seen.iter().map(figure).sum::<f64>() / seen.len() as f64
}

/// Enough to meet what happens once in ten runs, and a few seconds of one core for all links.
const SEEDS: u64 = 20;

/// How late the timers of a robot are that encodes in software for Chromium on the same two cores.
const BUSY: Duration = ms(5);

/// str0m's packets are real ones: each run takes as long as five of ours.
const REFERENCE_SEEDS: u64 = 4;
