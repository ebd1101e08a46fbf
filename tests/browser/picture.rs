//! The picture itself: smooth, complete, one encode for all who watch.

use std::thread;
use std::time::Duration;

use super::common::browser::Browser;
use super::common::http::Metrics;
use super::common::inbound::Inbound;
use super::common::process::Rovercast;
use super::common::sampler::Samples;
use super::{TEST_CARD, watch};

#[test]
fn test_card_plays_for_twenty_seconds_without_a_freeze() {
    let browser = Browser::open("twenty_seconds");
    let mut robot = Rovercast::demo("twenty_seconds", &TEST_CARD);
    let page = watch(&browser, &format!("http://{}/", robot.address()));

    let before = Inbound::read(&page);
    thread::sleep(Duration::from_secs(20));
    let after = Inbound::read(&page);
    let samples = Samples::take(&page);
    page.screenshot("twenty_seconds");

    let rate = after.rate_since(&before);
    assert!(rate >= 28.0, "decoded only {rate:.1} pictures a second");
    assert_eq!(after.freeze_count, before.freeze_count, "{after:?}");
    assert_eq!(after.packets_lost, before.packets_lost, "{after:?}");
    let sizes = samples.sizes();
    assert_eq!(sizes, [(640, 360)]);
    let frames = samples.frames();
    assert_eq!(frames.len(), samples.0.len(), "a strip could not be read");
    assert!(
        frames.is_sorted_by(|earlier, later| earlier < later),
        "out of order: {frames:?}"
    );
    let missing = samples.missing();
    assert!(
        missing <= 0.01,
        "{:.1} % of the frames were never shown",
        100.0 * missing
    );
    let pause = samples.longest_pause();
    assert!(
        pause < Duration::from_millis(250),
        "the picture stood still for {pause:?}"
    );
    let age = samples.age(0.5);
    assert!(
        (0.0..500.0).contains(&age),
        "half of the pictures were older than {age:.0} ms"
    );
}

#[test]
fn four_viewers_share_one_encode() {
    let browser = Browser::open("four_viewers");
    let mut robot = Rovercast::demo("four_viewers", &TEST_CARD);
    let address = robot.address();
    let pages = [(); 4].map(|()| watch(&browser, &format!("http://{address}/")));

    let encoded = || Metrics::read(address).value("rovercast_encoder_frames_total");
    let before = pages.each_ref().map(Inbound::read);
    let encoded_before = encoded();
    thread::sleep(Duration::from_secs(10));
    let encoded = encoded() - encoded_before;
    let after = pages.each_ref().map(Inbound::read);

    // 30 a second, a busy machine fewer. Each for itself would be four times as many.
    assert!(
        (100.0..=330.0).contains(&encoded),
        "encoded {encoded} pictures in 10 s"
    );
    for (number, page) in pages.iter().enumerate() {
        let decoded = after[number].frames_decoded - before[number].frames_decoded;
        assert!(
            decoded as f64 > encoded * 0.8,
            "page {number} decoded {decoded} of {encoded}: {:?}",
            after[number]
        );
        let frames = Samples::take(page).frames();
        assert!(
            frames.len() > 50,
            "page {number} showed only {} pictures",
            frames.len()
        );
        assert!(
            frames.is_sorted_by(|earlier, later| earlier < later),
            "page {number}: {frames:?}"
        );
    }
}

#[test]
fn late_viewer_starts_at_once_with_a_key_frame() {
    let browser = Browser::open("late_viewer");
    let mut robot = Rovercast::demo("late_viewer", &TEST_CARD);
    let url = format!("http://{}/", robot.address());
    let _early = watch(&browser, &url);
    thread::sleep(Duration::from_secs(3));

    let late = watch(&browser, &url);

    let first = late.run("return window.rovercast.timeline.firstFrameDecoded");
    let first = first.as_f64().expect("the page saw a frame");
    // The aim of 300 ms is the benchmark's to judge: this is a debug build among other programs.
    assert!(first < 1500.0, "the first frame came after {first:.0} ms");
    let inbound = Inbound::read(&late);
    assert!(inbound.key_frames_decoded >= 1, "{inbound:?}");
    // A receiver that is given anything but a key frame first has to ask for one.
    assert_eq!(inbound.pli_count, 0, "{inbound:?}");
}
