#![allow(clippy::disallowed_methods)] // tests need some instant to count from

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Packet(u32);

impl Payload for Packet {
    fn bytes(&self) -> usize {
        1000
    }
}

fn sending(is_reported: bool, start: Instant) -> Sending<Packet> {
    let rate = Bitrate::kbps(4000);
    let range = EstimateRange {
        least: rate,
        start: rate,
        most: rate,
    };
    let mut sending = Sending::new(range, start);
    sending.agree(is_reported, true);
    sending
}

/// A viewer whose way loses every tenth packet, as it reports every 50 ms, up to now.
fn lossy(start: Instant) -> (Sending<Packet>, Instant) {
    let mut sending = sending(true, start);
    let mut now = start;
    for frame in 0..FRAMES {
        let transports = leave(&mut sending, frame, now, 50);
        now += Duration::from_millis(50);
        sending.report(&report(&transports, now - start, 0), now);
    }
    assert!(sending.likely_loses());
    (sending, now)
}

/// The transport-wide numbers of a frame of twenty packets, and of whatever leaves with it in so many milliseconds.
fn leave(sending: &mut Sending<Packet>, frame: u32, now: Instant, ms: u64) -> Vec<u16> {
    let unit = (0..20).map(|index| Packet(frame * 20 + index));
    assert_eq!(sending.push_unit(unit, frame == 0), Pushed::Queued);
    let mut transports = Vec::new();
    for ms in 0..ms {
        let now = now + Duration::from_millis(ms);
        while let Some(departure) = sending.poll(now) {
            transports.push(match departure {
                Departure::Media { transport, .. }
                | Departure::Repair { transport, .. }
                | Departure::Padding { transport, .. } => transport,
            });
        }
    }
    transports
}

/// Every tenth is lost, from the one with this place on.
fn report(transports: &[u16], at: Duration, lost: usize) -> Vec<Arrival> {
    transports
        .iter()
        .enumerate()
        .map(|(place, sequence)| Arrival {
            sequence: *sequence,
            at: (place % 10 != lost).then_some(at),
        })
        .collect()
}

#[test]
fn what_a_lost_report_was_about_is_sent_again_with_the_next_report() {
    let start = Instant::now();
    let (mut sending, now) = lossy(start);
    let before = sending.repaired();
    let unreported = leave(&mut sending, FRAMES, now, 25);
    let reported = leave(
        &mut sending,
        FRAMES + 1,
        now + Duration::from_millis(25),
        25,
    );
    let now = now + Duration::from_millis(50);
    // So far a report is not late.
    let pending = sending.repaired() - before;
    sending.report(&report(&reported, now - start, usize::MAX), now);
    leave(&mut sending, FRAMES + 2, now, 50);
    let again = (sending.repaired() - before - pending) as usize;
    assert!(
        again * 2 >= unreported.len(),
        "{again} of {}",
        unreported.len()
    );
}

#[test]
fn picture_lost_while_a_key_frame_is_on_its_way_needs_no_other() {
    let start = Instant::now();
    let mut sending = sending(true, start);
    assert!(sending.needs_key_frame(), "there was none yet");

    let key_frame = leave(&mut sending, 0, start, 60);
    assert!(!sending.needs_key_frame());
    let now = start + Duration::from_millis(60);
    let (first, rest) = key_frame.split_at(10);
    sending.report(&report(first, now - start, usize::MAX), now);
    assert!(!sending.needs_key_frame(), "half of it is still on its way");
    sending.report(&report(rest, now - start, 9), now);
    assert!(sending.needs_key_frame(), "it is there, or lost");

    leave(&mut sending, 0, now, 60);
    assert!(!sending.needs_key_frame());
    sending.route_changed(now);
    assert!(sending.needs_key_frame(), "it went the old way");
}

#[test]
fn browser_that_reports_nothing_gets_each_key_frame_it_asks_for() {
    let start = Instant::now();
    let mut sending = sending(false, start);
    leave(&mut sending, 0, start, 60);
    assert!(sending.needs_key_frame());
}

const FRAMES: u32 = 20;
