//! The link between robot and browser becomes narrow, loses packets, breaks.

use std::thread;
use std::time::{Duration, Instant};

use super::common::browser::Browser;
use super::common::narrow::Scene;
use super::common::sampler::Samples;
use super::common::shaper::Link;
use super::common::wait_for;

#[test]
fn picture_follows_a_link_that_becomes_narrow_and_wide_again() {
    let browser = Browser::open("narrow");
    let link = Link {
        rate: Some(4e6),
        ..Link::wide(Duration::from_millis(20))
    };
    let scene = Scene::open("narrow", &browser, link);
    let up = scene.until_target("more than the start", Duration::from_secs(20), |kbps| {
        kbps > 2000.0
    });

    scene.shaper.there.change(|link| link.rate = Some(5e5));
    let down = scene.until_target("less than the link", Duration::from_secs(10), |kbps| {
        kbps < 500.0
    });
    thread::sleep(Duration::from_secs(2));
    drop(Samples::take(&scene.page));
    thread::sleep(Duration::from_secs(5));
    let narrow = Samples::take(&scene.page);
    let status = scene.status();

    scene.shaper.there.change(|link| link.rate = Some(4e6));
    let again = scene.until_target("much again", Duration::from_secs(25), |kbps| kbps > 2000.0);
    println!(
        "up in {up:?}, down in {down:?}, narrow: {} pictures, ages {:.0} and {:.0} ms, up again in {again:?}; {status}",
        narrow.0.len(),
        narrow.age(0.5),
        narrow.age(0.95),
    );
    assert!(narrow.0.len() > 60, "{} pictures in 5 s", narrow.0.len());
    assert!(narrow.age(0.5) < 400.0, "{:.0} ms old", narrow.age(0.5));
}

#[test]
fn picture_is_back_soon_after_an_outage_of_three_seconds() {
    let browser = Browser::open("outage");
    let link = Link {
        rate: Some(4e6),
        ..Link::wide(Duration::from_millis(20))
    };
    let scene = Scene::open("outage", &browser, link);
    thread::sleep(Duration::from_secs(3));
    drop(Samples::take(&scene.page));

    scene.shaper.both(|link| link.is_up = false);
    thread::sleep(Duration::from_secs(3));
    scene.shaper.both(|link| link.is_up = true);
    let up = Instant::now();
    drop(Samples::take(&scene.page));
    let back = wait_for("a picture", Duration::from_secs(10), || {
        let fresh = |samples: &Samples| {
            samples
                .0
                .iter()
                .any(|it| it.age.is_some_and(|age| age < 500.0))
        };
        Some(Samples::take(&scene.page))
            .filter(fresh)
            .map(|_| up.elapsed())
    });
    println!("picture after {back:?}; {}", scene.status());
    assert!(back < Duration::from_millis(2500), "took {back:?}");
}

#[test]
fn random_loss_is_repaired_and_not_taken_for_a_full_link() {
    let browser = Browser::open("loss");
    let scene = Scene::open("loss", &browser, Link::wide(Duration::from_millis(25)));
    thread::sleep(Duration::from_secs(2));
    let before = scene.target();
    scene.shaper.both(|link| link.loss = 0.05);
    thread::sleep(Duration::from_secs(2));
    drop(Samples::take(&scene.page));
    thread::sleep(Duration::from_secs(8));
    let samples = Samples::take(&scene.page);
    let after = scene.target();
    println!(
        "target {before} to {after} kbps, {:.1} % missing, longest pause {:?}; {}",
        samples.missing() * 100.0,
        samples.longest_pause(),
        scene.status()
    );
    assert!(after > before * 0.6, "{before} to {after} kbps");
    assert!(samples.missing() < 0.1, "{:.3}", samples.missing());
}

#[test]
fn picture_becomes_smaller_on_a_very_narrow_link_and_the_page_says_so() {
    let browser = Browser::open("very_narrow");
    let link = Link {
        rate: Some(4e6),
        ..Link::wide(Duration::from_millis(20))
    };
    let scene = Scene::open_with("very_narrow", &browser, link, "640x360", "100 kbps");
    // The page must have seen the whole picture for a while.
    thread::sleep(Duration::from_secs(5));

    scene.shaper.there.change(|link| link.rate = Some(180e3));
    scene.page.wait_until(
        "document.querySelector('#pill').textContent.startsWith('Live – the network is narrow: ')",
        Duration::from_secs(25),
    );
    scene.page.wait_until(
        "document.querySelector('#pill').textContent.endsWith('smaller picture')",
        Duration::from_secs(10),
    );
    let sizes = Samples::take(&scene.page).sizes();
    let status = scene.status();
    println!("{sizes:?}; {status}");
    scene.page.screenshot("very_narrow");
    assert_eq!(sizes.last(), Some(&(320, 180)));
    assert!(
        status["picture"].as_str().expect("words").contains("1/2"),
        "{status}"
    );
}
