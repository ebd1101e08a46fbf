#![allow(clippy::disallowed_methods)] // tests need some instant to count from

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::media::congestion::{EstimateRange, Estimator};

const RATE: Bitrate = Bitrate::kbps(1000);
const PACKET_BYTES: usize = 1200;

fn unit(packets: usize) -> Vec<(usize, usize)> {
    (0..packets).map(|index| (index, PACKET_BYTES)).collect()
}

/// Everything that leaves until `until`, and when; timers are late by up to 1 ms.
fn drain(
    pacer: &mut Pacer<usize>,
    from: Instant,
    until: Instant,
) -> Vec<(Instant, Departure<usize>)> {
    let mut left = Vec::new();
    let mut now = from;
    while now <= until {
        while let Some(departure) = pacer.poll(now) {
            left.push((now, departure));
        }
        now += Duration::from_millis(1);
    }
    left
}

#[test]
fn key_frame_leaves_over_time_and_not_as_one_burst() {
    let start = Instant::now();
    let mut pacer = Pacer::new(RATE, start);
    // 20 packets are 192 kbit: 96 ms at twice the rate.
    assert_eq!(pacer.push_unit(unit(20), true), Pushed::Queued);

    let left = drain(&mut pacer, start, start + Duration::from_millis(200));

    assert_eq!(left.len(), 20);
    let last = left.last().unwrap().0 - start;
    assert!((80..=100).contains(&last.as_millis()), "{last:?}");
    let at_once = left.iter().filter(|(at, _)| *at == start).count();
    assert!(at_once <= 2, "{at_once} packets in the first burst");
}

#[test]
fn packets_keep_their_distance_beside_somebody_else() {
    let start = Instant::now();
    let mut pacer = Pacer::new(RATE, start);
    pacer.set_estimate(RATE, Room::Contended);
    assert_eq!(pacer.push_unit(unit(10), false), Pushed::Queued);

    let left = drain(&mut pacer, start, start + Duration::from_millis(100));

    // 6.4 ms at one and a half times the rate, and timers of 1 ms.
    let times: Vec<u128> = left
        .iter()
        .map(|(at, _)| (*at - start).as_millis())
        .collect();
    assert!(
        times
            .windows(2)
            .all(|pair| (5..=8).contains(&(pair[1] - pair[0])))
    );
    assert!((54..=60).contains(&times[9]), "{times:?}");
}

#[test]
fn late_timers_do_not_slow_what_keeps_its_distance() {
    let start = Instant::now();
    let mut pacer = Pacer::new(RATE, start);
    pacer.set_estimate(RATE, Room::Contended);
    assert_eq!(pacer.push_unit(unit(10), false), Pushed::Queued);

    let (mut now, mut left) = (start, 0);
    while let Some(at) = pacer.poll_timeout() {
        now = at.max(now) + Duration::from_millis(3);
        left += std::iter::from_fn(|| pacer.poll(now)).count();
    }
    assert_eq!(left, 10);
    assert!(now < start + Duration::from_millis(65), "{:?}", now - start);
}

#[test]
fn viewer_that_cannot_keep_up_goes_on_with_a_key_frame() {
    let start = Instant::now();
    let mut pacer = Pacer::new(RATE, start);
    let skipped = (0..20)
        .map(|_| pacer.push_unit(unit(4), false))
        .find(|pushed| *pushed != Pushed::Queued);
    let Some(Pushed::Skipped { units }) = skipped else {
        panic!("nothing was skipped");
    };
    assert!(units > 1);
    assert_eq!(pacer.delay(), Duration::ZERO);
    assert_eq!(pacer.push_unit(unit(20), true), Pushed::Queued);
}

#[test]
fn key_frame_that_is_leaving_is_let_go_whatever_comes() {
    let start = Instant::now();
    let mut pacer = Pacer::new(Bitrate::kbps(100), start);
    // Four seconds of the link.
    assert_eq!(pacer.push_unit(unit(40), true), Pushed::Queued);
    for _ in 0..60 {
        let _ = pacer.push_unit(unit(40), true);
        let _ = pacer.push_unit(unit(10), false);
    }
    let left = drain(&mut pacer, start, start + Duration::from_secs(5));
    let key_frame: Vec<usize> = left
        .iter()
        .take(40)
        .map(|(_, departure)| match departure {
            Departure::Packet { packet, .. } => *packet,
            Departure::Padding { .. } => panic!("padding without a probe"),
        })
        .collect();
    assert_eq!(key_frame, (0..40).collect::<Vec<_>>());
}

#[test]
fn what_piled_up_behind_a_key_frame_leaves_after_it() {
    let start = Instant::now();
    let mut pacer = Pacer::new(RATE, start);
    assert_eq!(pacer.push_unit(unit(20), true), Pushed::Queued);
    // 346 ms of the link.
    for _ in 0..9 {
        assert_eq!(pacer.push_unit(unit(4), false), Pushed::Queued);
    }
    let left = drain(&mut pacer, start, start + Duration::from_millis(100));
    assert!(left.len() >= 20, "the key frame is still leaving");
    assert_eq!(pacer.push_unit(unit(4), false), Pushed::Queued);
    // Once it is gone no more than usual may wait.
    drain(&mut pacer, start, start + Duration::from_millis(400));
    let skipped = (0..9).any(|_| pacer.push_unit(unit(4), false) != Pushed::Queued);
    assert!(skipped);
}

#[test]
fn repair_overtakes_the_picture() {
    let start = Instant::now();
    let mut pacer = Pacer::new(RATE, start);
    assert_eq!(pacer.push_unit(unit(3), false), Pushed::Queued);
    assert!(pacer.push_repair(99, PACKET_BYTES));
    let first = pacer.poll(start);
    assert_eq!(
        first,
        Some(Departure::Packet {
            packet: 99,
            probe: None
        })
    );
}

#[test]
fn probe_keeps_its_rate_although_timers_are_late() {
    let start = Instant::now();
    let range = EstimateRange {
        least: RATE,
        start: RATE,
        most: Bitrate::kbps(4000),
    };
    let mut estimator = Estimator::new(range, start);
    estimator.handle_timeout(start);
    let probe = estimator.poll_probe(start).unwrap();
    let mut pacer: Pacer<usize> = Pacer::new(RATE, start);
    // A second without a packet is not made up for.
    pacer.start_probe(probe, start + Duration::from_secs(1));

    let (mut now, mut left) = (start + Duration::from_secs(1), Vec::new());
    while pacer.poll_timeout().is_some() {
        while pacer.poll(now).is_some() {
            left.push(now - start);
        }
        now += Duration::from_millis(8);
    }

    let together = |at: &Duration| left.iter().filter(|it| *it == at).count();
    let most = left.iter().map(together).max().unwrap();
    let took = *left.last().unwrap() - left[0];
    let wanted = time_of(probe.bytes, probe.rate);
    assert!(most <= 2, "{most} of {} packets together", left.len());
    assert!(
        took <= wanted + Duration::from_millis(8),
        "took {took:?}, not {wanted:?}"
    );
}

#[test]
fn nothing_waits_for_a_browser_that_answers_nothing() {
    let start = Instant::now();
    let mut pacer = Pacer::new(RATE, start);
    assert_eq!(pacer.push_unit(unit(3), false), Pushed::Queued);
    pacer.hold(true);
    assert_eq!(
        pacer.push_unit(unit(3), false),
        Pushed::Skipped { units: 2 }
    );
    assert_eq!(pacer.poll(start), None);
    assert_eq!(pacer.poll_timeout(), None);
    pacer.hold(false);
    assert_eq!(pacer.push_unit(unit(3), true), Pushed::Queued);
}

proptest! {
    /// Whatever comes, the queue stays short but for one key frame, and nothing leaves faster than it may.
    #[test]
    fn queue_is_bounded_and_pace_is_kept(
        frames in vec((1usize..40, prop::bool::weighted(0.1), 0usize..5, 5u64..60), 1..80),
        kbps in 100u64..5000,
    ) {
        let start = Instant::now();
        let mut now = start;
        let rate = Bitrate::kbps(kbps);
        let mut pacer = Pacer::new(rate, now);
        let mut left = 0;
        for (packets, key_frame, repairs, ms) in frames {
            let _ = pacer.push_unit(unit(packets), key_frame);
            for _ in 0..repairs {
                let _ = pacer.push_repair(0, PACKET_BYTES);
            }
            // One key frame, a frame above the limit, and the repairs since.
            let most = QUEUE * 2 + time_of(90 * PACKET_BYTES, rate);
            prop_assert!(pacer.delay() <= most, "{:?} wait", pacer.delay());
            for _ in 0..ms {
                while pacer.poll(now).is_some() {
                    left += PACKET_BYTES;
                }
                now += Duration::from_millis(1);
            }
        }
        let seconds = (now - start + BURST).as_secs_f64();
        let may = rate.as_bps() as f64 * PACE / 8.0 * seconds + PACKET_BYTES as f64;
        prop_assert!(left as f64 <= may * 1.01, "{left} bytes left, {may} may");
    }
}
