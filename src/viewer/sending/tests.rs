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
    at_rate(Bitrate::kbps(4000), is_reported, start)
}

fn at_rate(rate: Bitrate, is_reported: bool, start: Instant) -> Sending<Packet> {
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

#[test]
fn padding_is_as_large_as_the_packet_that_it_repeats() {
    #[derive(Clone, Copy, Debug)]
    struct Small;
    impl Payload for Small {
        fn bytes(&self) -> usize {
            300
        }
    }
    let start = Instant::now();
    let range = EstimateRange {
        least: Bitrate::kbps(100),
        start: Bitrate::kbps(1000),
        most: Bitrate::kbps(4000),
    };
    let mut sending = Sending::new(range, start);
    sending.agree(true, true);
    assert_eq!(sending.push_unit([Small], true), Pushed::Queued);
    let (mut packets, mut padding) = (0, 0);
    for ms in 0..100 {
        while let Some(departure) = sending.poll(start + Duration::from_millis(ms)) {
            packets += 1;
            padding += u64::from(matches!(departure, Departure::Padding { .. }));
        }
    }
    assert!(padding > 10, "a probe of 7200 bytes has {padding} packets");
    assert_eq!(sending.sent_bytes(), packets * (300 + HEADERS as u64));
}

#[test]
fn key_frame_that_goes_on_leaving_is_repaired_although_what_follows_is_given_up() {
    let start = Instant::now();
    let mut sending = at_rate(Bitrate::kbps(300), true, start);
    let unit = |frame: u32| (0..20).map(move |index| Packet(frame * 20 + index));
    assert_eq!(sending.push_unit(unit(0), true), Pushed::Queued);
    let mut transports = Vec::new();
    let mut now = start;
    while transports.len() < 10 {
        now += Duration::from_millis(1);
        if let Some(Departure::Media { transport, .. }) = sending.poll(now) {
            transports.push(transport);
        }
    }
    let skipped = (1..5).any(|frame| sending.push_unit(unit(frame), false) != Pushed::Queued);
    assert!(skipped, "more than waits for the key frame");

    sending.report(&report(&transports, now - start, 3), now);
    let mut again = Vec::new();
    let mut left = Vec::new();
    for ms in 0..600 {
        match sending.poll(now + Duration::from_millis(ms)) {
            Some(Departure::Repair { packet, .. }) => again.push(packet.0),
            Some(Departure::Media { packet, .. }) => left.push(packet.0),
            Some(Departure::Padding { .. }) | None => {}
        }
    }
    again.dedup();
    assert_eq!(again, [3]);
    assert_eq!(left, (10..20).collect::<Vec<_>>(), "the key frame alone");
}

#[test]
fn much_that_is_lost_at_once_is_repaired_and_the_next_picture_is_taken() {
    let start = Instant::now();
    let (mut sending, mut now) = lossy(start);
    let mut lost = Vec::new();
    for frame in 0..3 {
        lost.extend(leave(&mut sending, FRAMES + frame, now, 50));
        now += Duration::from_millis(50);
    }
    let before = sending.repaired();
    let lost: Vec<_> = lost
        .iter()
        .map(|sequence| Arrival {
            sequence: *sequence,
            at: None,
        })
        .collect();
    sending.report(&lost, now);
    leave(&mut sending, FRAMES + 3, now, 200);
    assert!(sending.repaired() - before >= 60);
}

#[test]
fn browser_without_rtx_sees_the_picture_again_after_a_silence() {
    let start = Instant::now();
    let mut sending = sending(true, start);
    sending.agree(true, false);
    let late = start + Duration::from_secs(3);
    leave(&mut sending, 0, start, 50);
    let sent = leave(&mut sending, 1, late, 50);
    assert_eq!(sent.len(), 20, "the picture is what it would answer to");
    assert!(!sending.is_silent());
}

const FRAMES: u32 = 20;
