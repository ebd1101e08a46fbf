//! Who else is on the board's network: a relay with TLS, and a Chromium that watches through it.
//!
//! Both run on the machine that emulates the board; `tests/virtual-board` starts them and says where they are. The browser is driven
//! from here, where it is known what the robot just did.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::common::browser::{Browser, Page};
use super::common::wait_for;
use super::traffic::tc;

/// What the machine says in a variable.
fn told(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("set {variable}"))
}

/// Where robot and browser find each other.
pub(crate) struct Relay {
    address: SocketAddr,
    ca_file: String,
}

impl Relay {
    pub(crate) fn outside() -> Self {
        Self {
            address: told("ROVERCAST_RELAY").parse().unwrap(),
            ca_file: told("ROVERCAST_RELAY_CA"),
        }
    }

    /// Of a robot's configuration.
    pub(crate) fn section(&self) -> String {
        format!(
            "[relay]\nurl = \"wss://{}/webrtc-relay\"\nca_file = \"{}\"\n",
            self.address, self.ca_file
        )
    }

    /// Where a person looks at the robot's camera.
    fn page(&self) -> String {
        format!("https://{}/?robot=rover-7&camera=front", self.address)
    }
}

/// The browser on the other side. Of all certificates that nobody vouches for it takes the relay's key alone.
pub(crate) fn browser(name: &str) -> Browser {
    let address = told("ROVERCAST_BROWSER").parse().unwrap();
    let key = told("ROVERCAST_BROWSER_TRUSTS");
    let flag = format!("--ignore-certificate-errors-spki-list={key}");
    Browser::open_at(address, name, &flag)
}

/// The robot's camera in a window of the browser.
pub(crate) struct Screen<'b> {
    pub(crate) page: Page<'b>,
}

impl<'b> Screen<'b> {
    /// Returns when the picture moves.
    pub(crate) fn open(browser: &'b Browser, relay: &Relay) -> Self {
        let page = browser.page(&relay.page());
        page.wait_until(
            "document.documentElement.dataset.state === 'live'",
            JOINED_WITHIN,
        );
        page.run(include_str!("screen.js"));
        Self { page }
    }

    /// What was shown since the start or the last call.
    pub(crate) fn take(&self) -> Shown {
        let shown = self.page.run("return window.screenOfTheRobot.take()");
        serde_json::from_value(shown).expect("screen.js and Shown agree")
    }

    /// The next pictures, this many at least.
    pub(crate) fn next(&self, count: u64) -> Shown {
        drop(self.take());
        let what = format!("{count} pictures");
        wait_for(&what, Duration::from_secs(60), || {
            let script = "return window.screenOfTheRobot.count() > arguments[0]";
            let enough = self.page.run_with(script, &[json!(count)]);
            enough.as_bool().filter(|enough| *enough)
        });
        self.take()
    }
}

/// What the browser says that a person saw.
#[derive(Debug, Deserialize)]
pub(crate) struct Shown {
    pub(crate) pictures: Vec<Picture>,
    /// Pictures decoded since the page was opened.
    pub(crate) decoded: u64,
    /// Packets that never came, since the page was opened.
    pub(crate) lost: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Picture {
    /// When it came to the screen, in milliseconds of the page's clock.
    at: f64,
    /// Counts what was presented, noted or not.
    presented: u64,
    /// When it was taken: RTP's clock, 90 kHz.
    taken: u32,
    /// It differs from the one before.
    moved: bool,
    width: u32,
    height: u32,
}

impl Shown {
    pub(crate) fn seconds(&self) -> f64 {
        let (first, last) = self.ends();
        (last.at - first.at) / 1000.0
    }

    /// Pictures a second.
    pub(crate) fn fps(&self) -> f64 {
        let (first, last) = self.ends();
        (last.presented - first.presented) as f64 / self.seconds()
    }

    /// Of the last picture.
    pub(crate) fn size(&self) -> (u32, u32) {
        let (_, last) = self.ends();
        (last.width, last.height)
    }

    /// The longest time that one picture stood still.
    pub(crate) fn longest_pause(&self) -> Duration {
        let pauses = self.pictures.windows(2).map(|pair| pair[1].at - pair[0].at);
        Duration::from_secs_f64(pauses.fold(0.0, f64::max) / 1000.0)
    }

    /// Time goes forward, and most pictures differ from the one before.
    pub(crate) fn assert_moving(&self) {
        for pair in self.pictures.windows(2) {
            let step = pair[1].taken.wrapping_sub(pair[0].taken);
            assert!(
                (1..90_000 * 60).contains(&step),
                "the picture's time went by {step}"
            );
        }
        let moved = self.pictures.iter().filter(|it| it.moved).count();
        println!("{moved} of {} pictures moved", self.pictures.len());
        assert!(
            2 * moved > self.pictures.len(),
            "the picture stands still: {moved} of {} moved",
            self.pictures.len()
        );
    }

    fn ends(&self) -> (&Picture, &Picture) {
        match &*self.pictures {
            [first, .., last] => (first, last),
            few => panic!("no more than {} pictures", few.len()),
        }
    }
}

/// The handshakes' cryptography is emulated, and the browser has the same processors.
const JOINED_WITHIN: Duration = Duration::from_secs(60);

/// The board's way out, as traffic control shapes it. It is as it was when this value goes.
pub(crate) struct ShapedLink;

impl ShapedLink {
    pub(crate) fn of_kbps(kbps: f64) -> Self {
        let link = Self;
        link.become_kbps(kbps);
        link
    }

    /// What waits longer than 300 ms is thrown away.
    pub(crate) fn become_kbps(&self, kbps: f64) {
        tc(&format!(
            "qdisc replace dev eth0 root tbf rate {kbps}kbit burst 4kb latency 300ms"
        ));
    }

    /// As wide as it gets.
    pub(crate) fn become_lossy(&self, percent: u32) {
        tc(&format!(
            "qdisc replace dev eth0 root netem loss {percent}%"
        ));
    }
}

impl Drop for ShapedLink {
    fn drop(&mut self) {
        tc("qdisc del dev eth0 root");
    }
}
