//! Three viewers in Chromium, each behind its own link, and perhaps a fourth who is a burden.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::browser::Browser;
use crate::common::http::Metrics;
use crate::common::narrow::{Robot, Seat};
use crate::common::sampler::Samples;
use crate::common::shaper::Link;
use crate::course::{WAY, Watched};
use crate::table::Figure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Burden {
    None,
    /// 300 kbit/s, and 5 % loss both ways.
    Poor,
    /// 200 PLIs a second.
    Nagging,
}

pub(crate) fn run(burden: Burden, seed: u64) -> Vec<Figure> {
    let name = format!("bench.viewers.{burden:?}");
    let browser = Browser::open(&name);
    let robot = Robot::start(&name, "640x360", "300 kbps");
    let good = Link {
        rate: Some(6e6),
        ..Link::wide(WAY)
    };
    let seats: Vec<Seat<'_>> = (0..3)
        .map(|number| robot.watched(&browser, good, seed + 10 * number))
        .collect();
    let poor = Link {
        rate: Some(300e3),
        loss: 0.05,
        ..good
    };
    let fourth = match burden {
        Burden::None => None,
        Burden::Poor => Some(robot.watched(&browser, poor, seed + 30)),
        Burden::Nagging => {
            let seat = robot.watched(&browser, good, seed + 30);
            seat.nag();
            Some(seat)
        }
    };
    let key_frames = || Metrics::read(robot.http).value("rovercast_encoder_key_frames_total");
    let before = key_frames();
    let start = Instant::now();
    let mut watched: Vec<Watched> = seats
        .iter()
        .map(|seat| Watched::from_now(&seat.page))
        .collect();
    let (mut targets, mut looks) = (0.0, 0);
    while start.elapsed().as_secs_f64() < SECONDS {
        thread::sleep(Duration::from_millis(500));
        for (watched, seat) in watched.iter_mut().zip(&seats) {
            watched.samples.extend(Samples::take(&seat.page).0);
        }
        targets += robot.target();
        looks += 1;
    }
    if let Some(seat) = &fourth {
        let nagged = seat.page.run("return window.nagged ?? 0");
        eprintln!("  {}; asked {nagged} times", robot.status());
    }
    seats[0].page.screenshot(&name);
    let worst = |figure: &dyn Fn(&Watched) -> Figure, worse: fn(f64, f64) -> f64| {
        let figures = watched.iter().map(figure);
        let worst = figures.reduce(|one, other| Figure {
            value: worse(one.value, other.value),
            ..one
        });
        worst.expect("there are three")
    };
    vec![
        worst(&Watched::shown, f64::min),
        worst(&Watched::frozen, f64::max),
        worst(&|it| it.latency(0.5, 0.0), f64::max),
        worst(&|it| it.latency(0.95, 0.0), f64::max),
        Figure::new("target", "kbit/s", targets / f64::from(looks)),
        Figure::new(
            "key frames a minute",
            "",
            (key_frames() - before) / start.elapsed().as_secs_f64() * 60.0,
        ),
    ]
}

pub(crate) const SECONDS: f64 = 30.0;
