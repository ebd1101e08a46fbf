//! The link between robot and browser becomes narrow, loses packets, breaks.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::common::browser::{Browser, Page};
use super::common::narrow::{Robot, Scene};
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
fn status_says_during_an_outage_that_the_viewer_is_away_and_gets_next_to_nothing() {
    let browser = Browser::open("away");
    let link = Link::wide(Duration::from_millis(20));
    let scene = Scene::open("away", &browser, link);
    let until = |what: &str, is_so: fn(&Value) -> bool| {
        wait_for(what, Duration::from_secs(20), || {
            Some(scene.status()["viewers"][0].take()).filter(is_so)
        })
    };
    let gets_much = |viewer: &Value| viewer["sent_kbps"].as_f64() > Some(200.0);
    until("a picture", gets_much);

    scene.shaper.both(|link| link.is_up = false);
    let silent = until("silence", |viewer| {
        viewer["link"]["because"] == "the browser answers nothing"
    });
    let away = until("absence", |viewer| viewer["connected"] == false);
    scene.shaper.both(|link| link.is_up = true);
    until("a connection", |viewer| viewer["connected"] == true);
    until("a picture", gets_much);

    println!("{silent} and {away}");
    assert!(away["sent_kbps"].as_f64() < Some(50.0), "{away}");
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

#[test]
fn page_that_joins_while_the_picture_is_small_for_another_says_so_at_once() {
    let browser = Browser::open("joins_small");
    let robot = Robot::start("joins_small", "640x360", "100 kbps");
    let there = |rate| Link {
        rate: Some(rate),
        ..Link::wide(Duration::from_millis(20))
    };
    let slow = robot.watched(&browser, there(1e6), 1);
    slow.shaper.there.change(|link| link.rate = Some(220e3));
    wait_for("a smaller picture", Duration::from_secs(25), || {
        let words = robot.status()["picture"].to_string();
        words.contains("1/2").then_some(())
    });

    // Wide enough for the whole, and not so wide that the other would count no more.
    let joined = robot.watched(&browser, there(1.2e6), 2);

    let page = &joined.page;
    let says = |words: &str| {
        format!("document.querySelector('#pill').textContent.startsWith('Live – {words}: ')")
    };
    page.wait_until(
        &says("another viewer’s network is narrow"),
        Duration::from_secs(5),
    );
    let pill = page.run("return document.querySelector('#pill').textContent");
    slow.page
        .wait_until(&says("the network is narrow"), Duration::from_secs(5));
    println!("{pill}; {}", robot.status());
    assert!(pill.to_string().contains("smaller picture"), "{pill}");

    page.run("document.querySelector('#stats-button').click()");
    until_told(page, "Estimate", "bit/s – ");
    until_told(
        page,
        "Target",
        "bit/s – another viewer has the slowest link",
    );
    until_told(page, "Picture", "1/2 of the width and height");
    let size = "[...document.querySelectorAll('#picture-rows dd')].some((it) => it.textContent.endsWith(' of 640 × 360'))";
    page.wait_until(size, Duration::from_secs(5));
    let said = page.run("return rovercast.link()");
    names_nobody_else(&said, &robot.status());
    fits(page, "joins_small.panel");
    let phone = json!({ "width": 360, "height": 640, "deviceScaleFactor": 2, "mobile": true });
    page.devtools("Emulation.setDeviceMetricsOverride", &phone);
    fits(page, "joins_small.phone");
}

/// Waits for words in a row of what the robot says.
fn until_told(page: &Page<'_>, row: &str, words: &str) {
    let told = format!(
        "[...document.querySelectorAll('#told-rows dt')].some((it) => it.textContent === '{row}' \
         && it.nextSibling.textContent.includes('{words}'))"
    );
    page.wait_until(&told, Duration::from_secs(10));
}

fn names_nobody_else(said: &Value, status: &Value) {
    let viewers = status["viewers"].as_array().expect("a list");
    assert_eq!(viewers.len(), 2, "{status}");
    let own = &said["viewer_id"];
    for viewer in viewers.iter().filter(|viewer| viewer["id"] != *own) {
        let id = viewer["id"].as_str().expect("a name");
        assert!(!said.to_string().contains(id), "{said} names {id}");
    }
}

/// Nothing sticks out of the window or has to be moved sideways.
fn fits(page: &Page<'_>, name: &str) {
    page.run("document.querySelector('#statistics').scrollTop = 1e6");
    page.screenshot(name);
    let sticks_out = "return [...document.querySelectorAll('#statistics, #statistics *, #pill')].filter((it) => {
        const { left, right } = it.getBoundingClientRect();
        return left < 0 || right > innerWidth || it.scrollWidth > it.clientWidth + 1 && it.clientWidth > 0;
    }).map((it) => it.outerHTML.slice(0, 80))";
    assert_eq!(page.run(sticks_out), json!([]), "{name}");
    let covers = "const [pill, place] = ['#pill', '#place'].map((it) => document.querySelector(it).getBoundingClientRect());
        return pill.left < place.right && pill.top < place.bottom";
    assert_eq!(page.run(covers), false, "{name}");
}

#[test]
fn page_says_fewer_frames_when_the_robot_sends_fewer_and_not_when_the_camera_does() {
    let browser = Browser::open("fewer_frames");
    let robot = Robot::with("fewer_frames", "640x360", "100 kbps", r#"prefer = "sharp""#);
    let link = Link {
        rate: Some(4e6),
        ..Link::wide(Duration::from_millis(20))
    };
    let seat = robot.watched(&browser, link, 1);
    let heard = "rovercast.link() !== null && narrowness.now !== null";
    seat.page.wait_until(heard, Duration::from_secs(10));

    // As if the camera had given twice as many before it became dark.
    seat.page
        .run("narrowness.most.fps = 60; narrowness.slow = 2");
    let guessed = "return narrowness.guessedWords().said";
    assert_eq!(seat.page.run(guessed), "Live – the network is narrow");
    seat.page.run("refresh()");
    let pill = "return document.querySelector('#pill').textContent";
    assert_eq!(seat.page.run(pill), "Live");

    seat.shaper.there.change(|link| link.rate = Some(200e3));
    let fewer = "/^Live – the network is narrow: .*fewer frames$/.test(document.querySelector('#pill').textContent)";
    seat.page.wait_until(fewer, Duration::from_secs(25));
    println!("{}; {}", seat.page.run(pill), robot.status());
}

#[test]
fn robot_that_does_not_know_the_question_is_asked_three_times_and_the_page_guesses() {
    let browser = Browser::open("asks_in_vain");
    let robot = Robot::start("asks_in_vain", "640x360", "300 kbps");
    let in_vain = "const send = WebSocket.prototype.send;
        window.asked = 0;
        WebSocket.prototype.send = function (text) {
            if (JSON.parse(text).type === 'link') window.asked++;
            else send.call(this, text);
        };";
    let page = browser.page_after(in_vain, &format!("http://{}/?robot=rover-7", robot.http));
    page.wait_until("window.asked === 3", Duration::from_secs(20));

    page.run(
        "for (let second = 0; second < 60; second++) told.ask(performance.now() + second * 1000)",
    );

    assert_eq!(page.run("return window.asked"), 3);
    assert_eq!(page.run("return rovercast.link()"), Value::Null);
    page.run("narrowness.most.width = 1280; refresh()");
    let guesses =
        "document.querySelector('#pill').textContent.startsWith('Live – the network is narrow: ')";
    page.wait_until(guesses, Duration::from_secs(5));
}
