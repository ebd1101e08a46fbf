//! Trying whether more would arrive: a short burst at a higher rate, and what came of it.
//!
//! Growing alone takes 30 s from 0.5 to 4 Mbit/s (8 % a second). A burst of 20 ms tells in one round trip.

use std::time::{Duration, Instant};

use super::history::Acknowledged;
use super::{Probe, ProbeId};
use crate::media::Bitrate;

#[derive(Debug)]
pub(super) struct Probing {
    next: u32,
    running: Option<Running>,
    /// The wish that nobody took yet.
    wish: Option<Probe>,
    /// What it may show is all that is ever wanted: there is no more to ask for at once.
    is_most: bool,
    due: Instant,
    interval: Duration,
}

#[derive(Debug)]
struct Running {
    probe: Probe,
    started: Instant,
    sent: (Instant, Instant),
    arrived: (Duration, Duration),
    first_bytes: u32,
    last_bytes: u32,
    bytes: u64,
    packets: u32,
}

/// What a probe showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    /// In bits per second.
    pub(super) rate: f64,
    /// It arrived slower than it was sent: this is what the link carries.
    pub(super) is_limit: bool,
}

/// What the planner must know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    pub(super) rate: f64,
    pub(super) most: f64,
    /// No queue, no unusual loss, somebody answers.
    pub(super) calm: bool,
    /// Much less is sent than the estimate allows.
    pub(super) idle: bool,
}

impl Probing {
    /// The first wish is there at once: nothing is known, and the first seconds are what a person sees first.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: 0,
            running: None,
            wish: None,
            is_most: false,
            due: now,
            interval: FIRST_INTERVAL,
        }
    }

    /// Takes the wish: packets of it are sent with its id from now on.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Probe> {
        let probe = self.wish.take()?;
        self.running = Some(Running {
            probe,
            started: now,
            sent: (now, now),
            arrived: (Duration::ZERO, Duration::ZERO),
            first_bytes: 0,
            last_bytes: 0,
            bytes: 0,
            packets: 0,
        });
        Some(probe)
    }

    pub(super) fn plan(&mut self, situation: Situation, now: Instant) {
        if let Some(running) = &self.running
            && now > running.started + PATIENCE
        {
            self.running = None;
            self.back_off(now);
        }
        if !situation.calm {
            self.wish = None;
            self.due = self.due.max(now + CALM);
            return;
        }
        if self.running.is_some() || self.wish.is_some() || now < self.due {
            return;
        }
        // With nothing to prove above, an idle link is asked whether the estimate still holds.
        let is_proof = situation.rate >= situation.most * ENOUGH;
        let (target, interval) = match (is_proof, situation.idle) {
            (false, _) => (situation.rate * STEP, self.interval),
            (true, true) => (situation.rate, PROOF_INTERVAL),
            (true, false) => return,
        };
        self.due = now + interval;
        self.is_most = target >= situation.most || is_proof;
        self.wish(target.min(situation.most));
    }

    /// Asks for `rate`, whatever was due.
    pub(super) fn ask(&mut self, rate: f64, now: Instant) {
        self.running = None;
        self.is_most = false;
        self.due = now + self.interval;
        self.wish(rate);
    }

    /// Something was just lowered: wait before asking for more.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.wish = None;
        self.running = None;
        self.due = self.due.max(now + AFTER_DECREASE);
    }

    /// A probe led too far: the next comes later.
    pub(super) fn back_off(&mut self, now: Instant) {
        self.interval = (self.interval * 2).min(LONGEST_INTERVAL);
        self.due = self.due.max(now + self.interval);
    }

    /// In order of arrival. Tells what the probe showed as soon as enough of it arrived.
    pub(super) fn add(&mut self, packet: &Acknowledged, now: Instant) -> Option<Outcome> {
        let running = self.running.as_mut()?;
        if packet.probe != Some(running.probe.id) {
            return None;
        }
        if running.packets == 0 {
            running.sent = (packet.sent, packet.sent);
            running.arrived = (packet.arrived, packet.arrived);
            running.first_bytes = packet.bytes;
        }
        running.sent.0 = running.sent.0.min(packet.sent);
        if packet.sent >= running.sent.1 {
            running.sent.1 = packet.sent;
            running.last_bytes = packet.bytes;
        }
        running.arrived.1 = packet.arrived;
        running.bytes += u64::from(packet.bytes);
        running.packets += 1;
        let enough = running.bytes as f64 >= running.probe.bytes as f64 * ENOUGH_ARRIVED;
        if !enough || running.packets < FEWEST_PACKETS {
            return None;
        }
        let outcome = running.outcome();
        let probe = running.probe;
        self.running = None;
        match outcome {
            Some(outcome) if outcome.rate >= probe.rate.as_bps() as f64 * GOOD => {
                // There may be more: ask again at once.
                self.interval = FIRST_INTERVAL;
                if !self.is_most {
                    self.due = now;
                }
            }
            Some(_) | None => self.back_off(now),
        }
        outcome
    }

    fn wish(&mut self, rate: f64) {
        self.next = self.next.wrapping_add(1);
        let bytes = (rate / 8.0 * DURATION.as_secs_f64()) as usize;
        self.wish = Some(Probe {
            id: ProbeId(self.next),
            rate: Bitrate::bps(rate as u64),
            bytes: bytes.max(FEWEST_BYTES),
        });
    }
}

impl Running {
    fn outcome(&self) -> Option<Outcome> {
        let sending = self.sent.1.saturating_duration_since(self.sent.0);
        let arriving = self.arrived.1.saturating_sub(self.arrived.0);
        if sending < SHORTEST || sending > LONGEST || arriving > LONGEST {
            return None;
        }
        // n packets make n - 1 distances: the last was not sent in them, the first did not arrive in them.
        let sent = (self.bytes - u64::from(self.last_bytes)) as f64 * 8.0 / sending.as_secs_f64();
        let arriving = arriving.max(sending / 2).as_secs_f64();
        let arrived = (self.bytes - u64::from(self.first_bytes)) as f64 * 8.0 / arriving;
        let is_limit = arrived < sent * LIMITED;
        Some(Outcome {
            rate: sent.min(arrived),
            is_limit,
        })
    }
}

/// Twice the rate that is known to arrive: the queue that a probe leaves on a link without room is 20 ms.
const STEP: f64 = 2.0;

/// Long enough that a radio's 10 ms slots do not decide, short enough that no frame comes visibly later.
const DURATION: Duration = Duration::from_millis(20);

/// Six full packets; at 0.5 Mbit/s they take 100 ms of the link, so probes come seldom there.
const FEWEST_BYTES: usize = 6 * 1200;
const FEWEST_PACKETS: u32 = 5;

/// A probe with loss still tells; with half of it lost it does not.
const ENOUGH_ARRIVED: f64 = 0.8;

/// Chromium's values: below 0.9 of the rate sent the link is the limit; from 0.7 of the rate wanted on the next probe is worth it.
const LIMITED: f64 = 0.9;
const GOOD: f64 = 0.7;

/// Sent faster than this, packets were one burst; slower, and the source was the limit.
const SHORTEST: Duration = Duration::from_millis(3);
const LONGEST: Duration = Duration::from_secs(1);

/// Longer than any feedback takes on a way that carries video.
const PATIENCE: Duration = Duration::from_secs(1);

const FIRST_INTERVAL: Duration = Duration::from_secs(2);

/// A link that widened is noticed after this at the latest; the price is 2 % of a link of 0.5 Mbit/s.
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);

/// 4 Mbit/s are proven by 10 kB: 16 kbit/s of padding while the picture stands still.
const PROOF_INTERVAL: Duration = Duration::from_secs(5);

/// So long must nothing be wrong before a probe.
const CALM: Duration = Duration::from_millis(500);

const AFTER_DECREASE: Duration = Duration::from_millis(1500);

/// Nearer to the most than this, growing gets there.
const ENOUGH: f64 = 0.95;
