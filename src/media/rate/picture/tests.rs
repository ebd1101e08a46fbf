#![allow(clippy::disallowed_methods)] // tests need some instant to count from

use super::*;

const HD: Size = Size {
    width: 1280,
    height: 720,
};
const SECOND: Duration = Duration::from_secs(1);

fn ladder(prefer: Prefer) -> (PictureLadder, Instant) {
    let interval = Duration::from_micros(33_333);
    (
        PictureLadder::new(HD, interval, prefer, Halving::ByEncoder),
        Instant::now(),
    )
}

#[test]
fn dip_of_a_second_changes_nothing() {
    let (mut ladder, start) = ladder(Prefer::Smooth);
    assert_eq!(ladder.update(Bitrate::kbps(200), start), None);
    assert_eq!(ladder.update(Bitrate::kbps(2000), start + SECOND), None);
    assert_eq!(ladder.update(Bitrate::kbps(200), start + SECOND * 2), None);
    assert_eq!(ladder.scale(), PictureScale::FULL);
}

#[test]
fn smooth_gives_up_size_and_sharp_gives_up_frames() {
    for (prefer, words) in [
        (Prefer::Smooth, "all frames at 1/2 of the width and height"),
        (Prefer::Sharp, "every second frame at full size"),
    ] {
        let (mut ladder, start) = ladder(prefer);
        ladder.update(Bitrate::kbps(400), start);
        let scale = ladder
            .update(Bitrate::kbps(400), start + SECOND * 2)
            .unwrap();
        assert_eq!(scale.to_string(), words);
    }
}

#[test]
fn moment_that_asked_for_next_to_nothing_gives_up_no_more_than_the_rest_did() {
    let (mut ladder, start) = ladder(Prefer::Smooth);
    ladder.update(Bitrate::kbps(150), start);
    ladder.update(Bitrate::kbps(400), start + SECOND / 2);
    let scale = ladder.update(Bitrate::kbps(150), start + SECOND * 3 / 2);
    assert_eq!(
        scale.unwrap().to_string(),
        "all frames at 1/2 of the width and height"
    );
}

#[test]
fn encoder_that_cannot_make_it_smaller_gives_up_frames() {
    let interval = Duration::from_micros(33_333);
    let mut ladder = PictureLadder::new(HD, interval, Prefer::Smooth, Halving::Never);
    let start = Instant::now();
    ladder.update(Bitrate::kbps(100), start);
    let lowest = ladder.update(Bitrate::kbps(100), start + SECOND * 2);
    assert_eq!(
        lowest.unwrap().to_string(),
        "every third frame at full size"
    );
}

#[test]
fn picture_returns_rung_by_rung_when_the_link_stays_wide() {
    let (mut ladder, start) = ladder(Prefer::Sharp);
    ladder.update(Bitrate::kbps(100), start);
    let lowest = ladder.update(Bitrate::kbps(100), start + SECOND * 2);
    assert_eq!(
        lowest,
        Some(PictureScale {
            every: 3,
            divisor: 2
        })
    );

    let changes: Vec<u64> = (3..60)
        .filter(|second| {
            let now = start + SECOND * *second as u32;
            ladder.update(Bitrate::kbps(3000), now).is_some()
        })
        .collect();
    assert_eq!(changes, [11, 20, 29]);
    assert_eq!(ladder.scale(), PictureScale::FULL);
}

#[test]
fn rate_at_the_border_does_not_move_the_picture_to_and_fro() {
    let (mut ladder, start) = ladder(Prefer::Smooth);
    let changes = (0..600)
        .filter(|second| {
            let target = Bitrate::kbps(if second % 20 < 10 { 500 } else { 600 });
            ladder.update(target, start + SECOND * *second).is_some()
        })
        .count();
    assert_eq!(changes, 1);
}

/// The second of each change of the size, of which `link` says the rate.
fn resizes(prefer: Prefer, seconds: u32, link: impl Fn(u32) -> u64) -> Vec<u32> {
    let interval = Duration::from_micros(33_333);
    let mut ladder = PictureLadder::new(HD, interval, prefer, Halving::ByReopening);
    let start = Instant::now();
    let mut before = ladder.scale().divisor;
    let change = |second: &u32| {
        ladder.update(Bitrate::kbps(link(*second)), start + SECOND * *second);
        std::mem::replace(&mut before, ladder.scale().divisor) != ladder.scale().divisor
    };
    (0..seconds).filter(change).collect()
}

#[test]
fn camera_that_must_be_opened_again_for_it_is_opened_seldom() {
    let once = resizes(Prefer::Smooth, 600, |_| 200);
    assert_eq!(once, [2]);
    // Wide again soon: the first pause is for the smaller picture, which has to be worth its cost.
    let back = resizes(
        Prefer::Smooth,
        600,
        |second| if second < 5 { 200 } else { 2000 },
    );
    assert_eq!(back, [2, 32]);
    // Narrow once more.
    let again = resizes(Prefer::Smooth, 600, |second| match second {
        5..33 => 2000,
        _ => 200,
    });
    assert_eq!(again, [2, 32, 42]);
    // A link that is never the same for long.
    let to_and_fro = resizes(Prefer::Smooth, 600, |second| {
        if second % 12 < 3 { 200 } else { 2000 }
    });
    assert!(to_and_fro.len() <= 31, "{to_and_fro:?}");
}

#[test]
fn frames_are_left_out_while_the_size_may_not_change_yet() {
    let interval = Duration::from_micros(33_333);
    let mut ladder = PictureLadder::new(HD, interval, Prefer::Sharp, Halving::ByReopening);
    let start = Instant::now();
    ladder.begin_anew(start);
    ladder.resized = Some(start);
    for second in 0..9 {
        ladder.update(Bitrate::kbps(50), start + SECOND * second);
    }
    assert_eq!((ladder.scale().every, ladder.scale().divisor), (3, 1));
    for second in 9..15 {
        ladder.update(Bitrate::kbps(50), start + SECOND * second);
    }
    assert_eq!((ladder.scale().every, ladder.scale().divisor), (3, 2));
}

#[test]
fn camera_without_a_smaller_picture_goes_on_with_as_few_frames_as_the_link_needs() {
    let interval = Duration::from_micros(33_333);
    let (mut ladder, start) = ladder(Prefer::Smooth);
    ladder.update(Bitrate::kbps(300), start);
    ladder.update(Bitrate::kbps(300), start + SECOND * 2);
    let mut other = PictureLadder::new(HD, interval, Prefer::Smooth, Halving::Never);
    other.go_on_from(&ladder, Some(Bitrate::kbps(300)));
    assert_eq!(other.scale().to_string(), "every third frame at full size");
}

#[test]
fn another_encoder_goes_on_with_the_same_picture() {
    let interval = Duration::from_micros(33_333);
    let (mut ladder, start) = ladder(Prefer::Smooth);
    ladder.update(Bitrate::kbps(400), start);
    ladder.update(Bitrate::kbps(400), start + SECOND * 2);
    let mut other = PictureLadder::new(HD, interval, Prefer::Smooth, Halving::ByReopening);
    other.go_on_from(&ladder, None);
    assert_eq!(other.scale(), ladder.scale());
    other.update(Bitrate::kbps(3000), start + SECOND * 3);
    let soon = other.update(Bitrate::kbps(3000), start + SECOND * 20);
    assert_eq!(soon, None, "it was made smaller 18 s ago");
}
