//! Ten thousand robots lose their relay together, and it stays away: how many dial in each second?
//!
//! The sessions are the real ones, the time is simulated. `ROVERCAST_WRITE=1` draws `tests/stampede.svg` anew.
#![allow(clippy::unwrap_used)] // a test from end to end: clippy knows only functions marked #[test] as such
#![allow(clippy::disallowed_methods)] // simulated time starts somewhere

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use rovercast::relay::session::{Action, Input, LinkEnd, LinkFailure, Session, SessionSettings};

const ROBOTS: u64 = 10_000;
const WATCHED: Duration = Duration::from_secs(90);

#[test]
fn ten_thousand_robots_that_lost_their_relay_together_come_back_apart() {
    let ours = dials();
    // The seed dials every five seconds, and all of it in step: it lost the relay in the same moment.
    let fixed: Vec<_> = (1..=WATCHED.as_secs() / 5)
        .flat_map(|nth| std::iter::repeat_n(Duration::from_secs(5 * nth), ROBOTS as usize))
        .collect();
    let (ours, fixed) = (per_second(&ours), per_second(&fixed));
    println!(
        "a second after 1, 10, 60 s: {:?}",
        [1, 10, 60].map(|at| ours[at])
    );

    let most = |from: usize, to: usize| *ours[from..to].iter().max().unwrap();
    assert!(most(9, 12) <= 3000, "{}", most(9, 12));
    assert!(most(58, 63) <= 500, "{}", most(58, 63));
    assert_eq!(*fixed.iter().max().unwrap(), ROBOTS as u32);

    let drawn = draw(&ours, &fixed);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stampede.svg");
    if std::env::var_os("ROVERCAST_WRITE").is_some() {
        fs::write(file, &drawn).unwrap();
    }
    assert_eq!(
        fs::read_to_string(file).unwrap(),
        drawn,
        "ROVERCAST_WRITE=1 draws it anew"
    );
}

/// When each robot dialed; every dial is refused at once.
fn dials() -> Vec<Duration> {
    let start = Instant::now();
    let refused = |class| {
        Input::LinkEnded(LinkEnd {
            class,
            message: String::new(),
            retry_after: None,
        })
    };
    let mut due = BTreeSet::new();
    let mut sessions: Vec<_> = (0..ROBOTS)
        .map(|seed| {
            let mut session = Session::new(&SessionSettings::default(), seed);
            session.handle(Input::Start, start);
            session.handle(Input::LinkOpened { from: None }, start);
            session.handle(refused(LinkFailure::Unreachable), start);
            due.insert((session.poll_timeout().unwrap().0, seed));
            session
        })
        .collect();
    let mut dials = Vec::new();
    while let Some((now, robot)) = due.pop_first()
        && now < start + WATCHED
    {
        let session = &mut sessions[robot as usize];
        while session.poll_action().is_some() {}
        session.handle(Input::Timeout, now);
        if let Some(Action::Dial) = session.poll_action() {
            dials.push(now - start);
            session.handle(refused(LinkFailure::Refused), now);
        }
        due.insert((session.poll_timeout().unwrap().0, robot));
    }
    dials
}

fn per_second(dials: &[Duration]) -> Vec<u32> {
    let mut counts = vec![0; WATCHED.as_secs() as usize + 1];
    for dial in dials {
        counts[dial.as_secs() as usize] += 1;
    }
    counts
}

/// Two lines over 90 s, ours before the seed's spikes; the axis goes to what the seed needs.
fn draw(ours: &[u32], fixed: &[u32]) -> String {
    let (width, height) = (900.0, 300.0);
    let line = |counts: &[u32]| {
        let mut points = String::new();
        for (second, count) in counts.iter().enumerate() {
            let x = 60.0 + width * second as f64 / 90.0;
            let y = 20.0 + height * (1.0 - f64::from(*count).min(40_000.0).sqrt() / 200.0);
            write!(points, "{x:.0},{y:.0} ").unwrap();
        }
        points
    };
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1000 370\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <rect width=\"1000\" height=\"370\" fill=\"white\"/>\n",
    );
    for count in [100, 1000, 10_000, 40_000] {
        let y = 20.0 + height * (1.0 - f64::from(count).sqrt() / 200.0);
        writeln!(
            svg,
            "<path d=\"M60 {y:.0}h900\" stroke=\"#ddd\"/><text x=\"8\" y=\"{:.0}\">{count}</text>",
            y + 5.0
        )
        .unwrap();
    }
    for second in [0, 10, 60, 90] {
        let x = 60.0 + width * f64::from(second) / 90.0;
        writeln!(svg, "<text x=\"{x:.0}\" y=\"340\">{second} s</text>").unwrap();
    }
    for (counts, color) in [(fixed, "#c44"), (ours, "#06c")] {
        writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" points=\"{}\"/>",
            line(counts).trim_end()
        )
        .unwrap();
    }
    svg.push_str(
        "<text x=\"330\" y=\"362\">dials a second of 10,000 robots whose relay went away (root scale)</text>\n\
         <text x=\"700\" y=\"40\" fill=\"#06c\">rovercast</text><text x=\"790\" y=\"40\" fill=\"#c44\">every 5 s, in step</text>\n\
         </svg>\n",
    );
    svg
}
