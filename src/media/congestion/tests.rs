#![allow(clippy::disallowed_methods)] // tests need some instant to count from

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const RANGE: EstimateRange = EstimateRange {
    least: Bitrate::kbps(150),
    start: Bitrate::kbps(1500),
    most: Bitrate::kbps(4000),
};
const FEEDBACK: Duration = Duration::from_millis(50);
const WAY: Duration = Duration::from_millis(25);

/// A sender at a steady rate on a way that does to packets what a test says. `tests/congestion.rs` has whole links.
struct Way {
    estimator: Estimator,
    start: Instant,
    now: Instant,
    sequence: u16,
}

impl Way {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            estimator: Estimator::new(RANGE, now),
            start: now,
            now,
            sequence: u16::MAX - 20,
        }
    }

    /// Ten packets each 50 ms, 1.9 Mbit/s; `delay` for a packet sent after so long, `None` when it is lost.
    fn run(&mut self, time: Duration, delay: impl Fn(Duration) -> Option<Duration>) {
        let end = self.now + time;
        while self.now < end {
            let mut arrivals = Vec::new();
            for _ in 0..10 {
                self.send();
                let sent = self.now - self.start;
                let at = delay(sent).map(|delay| sent + delay);
                let sequence = self.sequence;
                arrivals.push(Arrival { sequence, at });
                self.now += FEEDBACK / 10;
            }
            self.estimator.feedback(arrivals, self.now + WAY);
        }
    }

    fn send(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        let packet = SentPacket {
            sequence: self.sequence,
            bytes: 1200,
            payload: 1140,
            probe: None,
        };
        self.estimator.sent(packet, self.now);
    }
}

#[test]
fn estimate_grows_no_further_than_one_and_a_half_times_what_arrives() {
    let mut way = Way::new();
    way.run(Duration::from_secs(60), |_| Some(WAY));
    let arrives = 1.92e6;
    let estimate = way.estimator.estimate().as_bps() as f64;
    assert!((arrives..=1.55 * arrives).contains(&estimate), "{estimate}");
}

#[test]
fn growing_delay_lowers_the_estimate_below_what_arrives() {
    let mut way = Way::new();
    way.run(Duration::from_secs(5), |_| Some(WAY));
    // Of each second's packets a fifth more time is needed.
    way.run(Duration::from_secs(1), |sent| {
        Some(WAY + (sent - Duration::from_secs(5)) / 5)
    });
    assert!(way.estimator.estimate() < Bitrate::kbps(1600));
    assert!(
        way.estimator
            .because()
            .to_string()
            .ends_with("ms on the way")
    );
}

#[test]
fn pause_of_the_receiver_is_no_queue() {
    let mut way = Way::new();
    way.run(Duration::from_secs(5), |_| Some(WAY));
    let before = way.estimator.estimate();
    // What was sent in 300 ms arrives at their end.
    let end = Duration::from_millis(5300);
    way.run(Duration::from_millis(300), |sent| Some(end - sent + WAY));

    way.run(Duration::from_millis(200), |_| Some(WAY));

    let after = way.estimator.estimate();
    assert!(
        after.as_bps() > before.as_bps() * 9 / 10,
        "{before}, then {after}"
    );
}

#[test]
fn estimate_that_fell_while_little_was_sent_is_asked_for_again_at_once() {
    let mut way = Way::new();
    way.estimator.rate.set(4e6, Because::Probed, Instant::now());
    way.run(Duration::from_secs(3), |_| Some(WAY));
    while way.estimator.poll_probe(way.now).is_some() {}
    let before = way.estimator.estimate();
    // A queue of 200 ms that comes in 400 ms and goes in as many.
    way.run(Duration::from_millis(800), |sent| {
        let into = sent - Duration::from_secs(3);
        Some(WAY + into.min(Duration::from_millis(800) - into) / 2)
    });
    assert!(way.estimator.estimate().as_bps() < before.as_bps() / 2);

    way.run(Duration::from_millis(500), |_| Some(WAY));

    let probe = way
        .estimator
        .poll_probe(way.now)
        .expect("a probe is wished for");
    assert!(probe.rate.as_bps() > before.as_bps() * 4 / 5, "{probe:?}");
}

#[test]
fn browser_that_answers_nothing_is_noticed_and_its_first_answer_too() {
    let mut way = Way::new();
    way.run(Duration::from_secs(5), |_| Some(WAY));
    let before = way.estimator.estimate();
    way.send();
    let (due, _why) = way.estimator.poll_timeout().unwrap();
    way.estimator.handle_timeout(due - Duration::from_millis(1));
    assert!(!way.estimator.is_silent());
    way.estimator.handle_timeout(due);
    assert!(way.estimator.is_silent());
    assert_eq!(way.estimator.because(), Because::Silence);

    way.now = due + Duration::from_secs(3);
    way.run(FEEDBACK, |_| Some(WAY));
    assert!(!way.estimator.is_silent());
    assert!(way.estimator.estimate() < before);
}

#[test]
fn new_route_starts_anew_and_not_above_the_start() {
    let mut way = Way::new();
    way.run(Duration::from_secs(20), |_| Some(WAY));
    assert!(way.estimator.estimate() > RANGE.start);
    way.estimator.route_changed(way.now);
    assert_eq!(way.estimator.estimate(), RANGE.start);
    assert_eq!(way.estimator.because(), Because::RouteChanged);
    // Reports about packets of the old route count for nothing.
    let old = way.sequence;
    let arrival = Arrival {
        sequence: old,
        at: Some(Duration::ZERO),
    };
    way.estimator.feedback([arrival], way.now);
    assert_eq!(way.estimator.acknowledged(), None);
}

#[test]
fn probe_is_wished_for_at_once_and_taken_once() {
    let start = Instant::now();
    let mut estimator = Estimator::new(RANGE, start);
    estimator.handle_timeout(start);
    let probe = estimator.poll_probe(start).unwrap();
    assert_eq!(probe.rate, Bitrate::kbps(3000));
    assert_eq!(estimator.poll_probe(start), None);
}

#[test]
fn headers_and_repair_are_not_the_encoders() {
    let mut way = Way::new();
    for repair in 0..2000 {
        way.send();
        way.sequence = way.sequence.wrapping_add(1);
        let packet = SentPacket {
            sequence: way.sequence,
            bytes: if repair % 10 == 0 { 1200 } else { 0 },
            payload: 0,
            probe: None,
        };
        way.estimator.sent(packet, way.now);
    }
    let share = way.estimator.media().as_bps() as f64 / way.estimator.estimate().as_bps() as f64;
    // 1140 of 1200, and a tenth of repairs.
    assert!((0.84..0.89).contains(&share), "{share}");
}

#[derive(Clone, Debug)]
enum Step {
    Send(u16),
    Report(u16, Vec<Option<u32>>),
    RoundTrip(u64),
    Timeout,
    Route,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u16..3).prop_map(Step::Send),
        4 => (any::<u16>(), vec(proptest::option::of(any::<u32>()), 0..40))
            .prop_map(|(from, arrivals)| Step::Report(from, arrivals)),
        1 => (0u64..100_000).prop_map(Step::RoundTrip),
        2 => Just(Step::Timeout),
        1 => Just(Step::Route),
    ]
}

proptest! {
    /// A browser may report what it likes: the estimate stays in its range, and nothing panics.
    #[test]
    fn nonsense_from_the_browser_keeps_the_estimate_in_its_range(
        steps in vec((step(), 0u64..2_000), 1..200),
    ) {
        let mut now = Instant::now();
        let mut estimator = Estimator::new(RANGE, now);
        let mut sequence = 0u16;
        for (step, elapsed) in steps {
            now += Duration::from_millis(elapsed);
            match step {
                Step::Send(gap) => {
                    sequence = sequence.wrapping_add(1 + gap);
                    let probe = estimator.poll_probe(now).map(|probe| probe.id);
                    let packet = SentPacket { sequence, bytes: 1200, payload: 1100, probe };
                    estimator.sent(packet, now);
                }
                Step::Report(from, arrivals) => {
                    // Near what was sent, so that some of it is of use.
                    let from = sequence.wrapping_sub(from % 60);
                    let arrivals = arrivals.iter().enumerate().map(|(index, at)| Arrival {
                        sequence: from.wrapping_add(index as u16),
                        at: at.map(|at| Duration::from_micros(u64::from(at) * 1000)),
                    });
                    estimator.feedback(arrivals, now);
                }
                Step::RoundTrip(ms) => estimator.round_trip(Duration::from_millis(ms)),
                Step::Timeout => estimator.handle_timeout(now),
                Step::Route => estimator.route_changed(now),
            }
            prop_assert!((RANGE.least..=RANGE.most).contains(&estimator.estimate()));
            prop_assert!(estimator.media() <= estimator.estimate());
            prop_assert!(!estimator.because().to_string().is_empty());
        }
    }
}
