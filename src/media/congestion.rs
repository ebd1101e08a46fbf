//! How much one viewer's link can take, from what the browser reports about every packet (transport-wide congestion control).
//!
//! ```text
//!   sent ──► History ◄── feedback
//!               │ acknowledged, in order of arrival; lost
//!               ├──► DelayGradient  does a queue grow?          ┐
//!               ├──► QueueDelay     how long is it?             │
//!               ├──► Gaps           whose is it?                │
//!               ├──► Acknowledged   what arrives?               ├──► RateControl ──► estimate, because
//!               ├──► LossControl    is loss a full link?        │
//!               └──► Probing        would more arrive?          ┘
//! ```
//!
//! The frame is "A Google Congestion Control Algorithm for Real-Time Communication", draft-ietf-rmcat-gcc-02; where a part differs
//! it says why. What is asked of it is RFC 8836.

mod acknowledged;
mod aimd;
mod because;
mod capacity;
mod delay;
mod gaps;
mod history;
mod loss;
mod owner;
mod probing;
mod proof;
mod queue;
mod receiver_clock;
mod regain;

use std::time::{Duration, Instant};

use tracing::debug;

use self::acknowledged::AcknowledgedRate;
use self::aimd::{RateControl, Signs};
use self::delay::DelayGradient;
use self::gaps::Gaps;
use self::history::{History, Reported};
use self::loss::{LossControl, Verdict};
use self::probing::{Outcome, Probing, Situation};
use self::proof::Proof;
use self::queue::QueueDelay;
use self::regain::Regain;
use crate::media::Bitrate;

pub use self::because::Because;
pub use self::receiver_clock::ReceiverClock;

/// What an estimate may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EstimateRange {
    pub least: Bitrate,
    pub start: Bitrate,
    /// More is never sent, so more is never asked for.
    pub most: Bitrate,
}

/// A packet that leaves now, retransmissions and padding like any other: they fill the link like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentPacket {
    /// The transport-wide sequence number, without gaps over all streams of the connection.
    pub sequence: u16,
    /// On the wire: IP, UDP, RTP header, extensions, payload and SRTP tag.
    pub bytes: usize,
    /// The part of `bytes` that is the encoder's and goes out for the first time.
    pub payload: usize,
    pub probe: Option<ProbeId>,
}

/// What the browser says about one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub sequence: u16,
    /// On the browser's clock, from any origin; see [`ReceiverClock`]. `None`: it has not arrived.
    pub at: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(u32);

/// A wish: send `bytes` at `rate`, media first and padding for the rest, every packet with the `id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    pub id: ProbeId,
    pub rate: Bitrate,
    pub bytes: usize,
}

/// The send-side estimate of one viewer's link.
#[derive(Debug)]
pub struct Estimator {
    range: EstimateRange,
    history: History,
    reported: Reported,
    gradient: DelayGradient,
    queue: QueueDelay,
    gaps: Gaps,
    acknowledged: AcknowledgedRate,
    loss: LossControl,
    probing: Probing,
    rate: RateControl,
    round_trip: Duration,
    /// The first packet since the last report.
    unanswered: Option<Instant>,
    is_silent: bool,
    /// The estimate jumped because of a probe.
    probed: Option<Instant>,
    proof: Proof,
    regain: Regain,
    /// The encoder's share of the bytes that are not padding, 0 to 1.
    payload_share: f64,
}

impl Estimator {
    pub fn new(range: EstimateRange, now: Instant) -> Self {
        let bps = |rate: Bitrate| rate.as_bps() as f64;
        Self {
            range,
            history: History::default(),
            reported: Reported::default(),
            gradient: DelayGradient::new(),
            queue: QueueDelay::new(now),
            gaps: Gaps::default(),
            acknowledged: AcknowledgedRate::default(),
            loss: LossControl::new(now),
            probing: Probing::new(now),
            rate: RateControl::new(bps(range.start), bps(range.least), bps(range.most), now),
            round_trip: FIRST_ROUND_TRIP,
            unanswered: None,
            is_silent: false,
            probed: None,
            proof: Proof::new(now),
            regain: Regain::default(),
            payload_share: FIRST_PAYLOAD_SHARE,
        }
    }

    pub fn range(&self) -> EstimateRange {
        self.range
    }

    /// A packet leaves. In the order of the sequence numbers.
    pub fn sent(&mut self, packet: SentPacket, now: Instant) {
        self.history.sent(packet, now);
        self.unanswered.get_or_insert(now);
        let is_padding = packet.probe.is_some() && packet.payload == 0;
        if !is_padding && packet.bytes > 0 {
            let share = packet.payload as f64 / packet.bytes as f64;
            let weight = packet.bytes as f64 * 8.0 / (self.rate.rate() * SHARE_SECONDS);
            self.payload_share += weight.min(1.0) * (share - self.payload_share);
        }
    }

    /// The browser's report: one entry for each packet that it covers.
    pub fn feedback(&mut self, arrivals: impl IntoIterator<Item = Arrival>, now: Instant) {
        let mut reported = std::mem::take(&mut self.reported);
        self.history.report(arrivals, &mut reported);
        if !reported.acknowledged.is_empty() {
            self.unanswered = None;
            self.read(&reported, now);
        }
        self.reported = reported;
    }

    /// A round trip from elsewhere (reception reports, ICE checks). Feedback itself tells it too, a little too long.
    pub fn round_trip(&mut self, measured: Duration) {
        self.round_trip = (self.round_trip * 7 + measured.min(LONGEST_ROUND_TRIP)) / 8;
    }

    /// The packets go another way from now on (another candidate pair, another network): what was known of the old says nothing.
    pub fn route_changed(&mut self, now: Instant) {
        let start = self.range.start.min(self.estimate());
        *self = Self::new(
            EstimateRange {
                start,
                ..self.range
            },
            now,
        );
        self.rate
            .set(start.as_bps() as f64, Because::RouteChanged, now);
    }

    /// To be called by `poll_timeout`, or anyway every 100 ms.
    pub fn handle_timeout(&mut self, now: Instant) {
        let silent = self
            .unanswered
            .is_some_and(|since| now >= since + self.patience());
        if silent && !self.is_silent {
            debug!(waited = ?self.patience(), "browser answers nothing");
            self.is_silent = true;
            self.probing.postpone(now);
            self.rate.set(self.rate.rate(), Because::Silence, now);
        }
        self.plan_probe(now);
    }

    /// When the browser's silence becomes one.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let since = self.unanswered.filter(|_| !self.is_silent)?;
        Some((since + self.patience(), "the browser answers nothing"))
    }

    /// A probe to send, if one is wanted. It is taken with this.
    pub fn poll_probe(&mut self, now: Instant) -> Option<Probe> {
        self.probing.poll(now)
    }

    /// What the link takes, headers, repair and padding included.
    pub fn estimate(&self) -> Bitrate {
        Bitrate::bps(self.rate.rate() as u64)
    }

    /// What of it an encoder may fill.
    pub fn media(&self) -> Bitrate {
        Bitrate::bps((self.rate.rate() * self.payload_share.max(LEAST_PAYLOAD_SHARE)) as u64)
    }

    pub fn because(&self) -> Because {
        self.rate.because()
    }

    /// Somebody else fills the queue of the link.
    pub fn is_competing(&self) -> bool {
        self.rate.is_competing()
    }

    /// Nobody answers: what is sent now is thrown away, or waits somewhere and makes the picture late afterwards. Send one packet
    /// from time to time to notice the end.
    pub fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// What every packet waits at least.
    pub fn queue_delay(&self) -> Duration {
        self.queue.standing()
    }

    pub fn acknowledged(&self) -> Option<Bitrate> {
        let rate = self.acknowledged.rate()?;
        Some(Bitrate::bps(rate as u64))
    }

    /// Loss lately, 0 to 1.
    pub fn loss(&self) -> f64 {
        self.loss.fraction()
    }

    /// What the way loses whatever is sent, 0 to 1.
    pub fn random_loss(&self) -> f64 {
        self.loss.inherent()
    }

    /// What of the next packets will be lost although the link is not full, 0 to 1: until a trial has shown it, what is lost without
    /// a queue.
    pub fn likely_random_loss(&self) -> f64 {
        match self.queue.standing() < PROBE_QUEUE {
            true => self.loss.inherent().max(self.loss.fraction()),
            false => self.loss.inherent(),
        }
    }

    /// The smoothed round trip, 100 ms until one is known.
    pub fn smoothed_round_trip(&self) -> Duration {
        self.round_trip
    }

    fn read(&mut self, reported: &Reported, now: Instant) {
        if std::mem::take(&mut self.is_silent) {
            self.resume(now);
        }
        let forget = self.rate.is_growing() && !self.rate.is_shared(now);
        let mut outcome = None;
        for packet in &reported.acknowledged {
            self.gradient.add(packet);
            if self.queue.add(packet, forget) {
                debug!("the way is longer than it was");
                self.rate.start_anew();
            }
            self.gaps.add(packet, self.queue.least());
            self.acknowledged.add(packet);
            outcome = self.probing.add(packet, now).or(outcome);
        }
        self.queue.settle();
        if let Some(newest) = reported.acknowledged.last() {
            self.round_trip(now.saturating_duration_since(newest.sent));
        }
        let was = self.rate.rate();
        self.judge_loss(reported, now);
        if let Some(outcome) = outcome {
            self.judge_probe(outcome, now);
        }
        self.control(reported, now);
        // What only fades waits for a probe: it is not put off.
        if self.rate.rate() < was * 0.98 && self.because() != Because::NotProven {
            if self.sends_less_than(was) && !self.rate.is_shared(now) {
                self.regain.fell(was, now);
            }
            self.lowered(now);
        }
        self.plan_probe(now);
    }

    fn control(&mut self, reported: &Reported, now: Instant) {
        let total = reported.lost as usize + reported.acknowledged.len();
        let usual = self.loss.inherent() * total as f64;
        let signs = Signs {
            arrivals: &self.acknowledged,
            usage: self.gradient.usage(),
            standing: self.queue.standing(),
            acknowledged: self.acknowledged.rate(),
            recent: self.acknowledged.recent(),
            round_trip: self.round_trip,
            whose: self.gaps.whose(),
            lost: f64::from(reported.lost) > usual + 2.0 * usual.sqrt(),
        };
        self.rate.update(&signs, now);
        let Some(acknowledged) = self.acknowledged.rate() else {
            return;
        };
        let rate = self.rate.rate();
        if acknowledged > rate * USED {
            self.proof.used(now);
        } else if let Some(faded) = self.proof.fade(rate, acknowledged, now) {
            self.rate.set(faded, Because::NotProven, now);
        }
    }

    fn judge_loss(&mut self, reported: &Reported, now: Instant) {
        let verdict = self.loss.add(
            reported.lost,
            reported.acknowledged.len() as u32,
            reported.late,
            self.queue.standing(),
            self.round_trip,
            now,
        );
        if self.rate.is_shared(now) {
            // Loss is how two share a full queue: the rate control reads it itself.
            self.loss.give_up_trial();
            return;
        }
        let fraction = self.loss.fraction();
        let rate = self.rate.rate();
        match verdict {
            Verdict::Nothing => {}
            Verdict::Try(factor) => self
                .rate
                .set(rate * factor, Because::Loss { fraction }, now),
            Verdict::Full(arriving) => {
                let arrives = self.acknowledged.rate().unwrap_or(rate * arriving);
                let cut = (rate * arriving).max(arrives * LOSS_CUT).min(rate);
                self.rate.set(cut, Because::Loss { fraction }, now);
            }
            Verdict::Random(factor) => self.rate.set(rate / factor, Because::RandomLoss, now),
        }
    }

    fn judge_probe(&mut self, outcome: Outcome, now: Instant) {
        let rate = self.rate.rate();
        let most = self.range.most.as_bps() as f64;
        debug!(?outcome, rate, "probe came back");
        let (shown, because) = match outcome.is_limit {
            true => (outcome.rate * PROBE_LIMIT_SHARE, Because::ProbeLimit),
            false => (outcome.rate, Because::Probed),
        };
        if self.rate.is_growing() && shown > rate {
            self.probed = Some(now);
            self.rate.set(shown.min(most), because, now);
        }
        self.proof.probed(outcome, rate, now);
    }

    fn resume(&mut self, now: Instant) {
        debug!("browser answers again");
        self.gradient = DelayGradient::new();
        self.queue = QueueDelay::new(now);
        self.gaps = Gaps::default();
        self.acknowledged = AcknowledgedRate::default();
        self.loss = LossControl::new(now);
        self.rate.start_anew();
        self.rate
            .set(self.rate.rate() * AFTER_SILENCE, Because::Resumed, now);
        self.probing = Probing::new(now);
    }

    /// Much less is sent than `rate`.
    fn sends_less_than(&self, rate: f64) -> bool {
        self.acknowledged
            .rate()
            .is_some_and(|acknowledged| acknowledged < rate * USED)
    }

    fn lowered(&mut self, now: Instant) {
        if self
            .probed
            .take()
            .is_some_and(|probed| now < probed + PROBE_BLAME)
        {
            self.probing.back_off(now);
        }
        self.probing.postpone(now);
    }

    fn plan_probe(&mut self, now: Instant) {
        let rate = self.rate.rate();
        let situation = Situation {
            rate,
            most: self.range.most.as_bps() as f64,
            calm: !self.is_silent
                && self.rate.is_growing()
                && self.queue.standing() < PROBE_QUEUE
                && self.loss.fraction() < self.loss.inherent() + PROBE_LOSS,
            idle: self.sends_less_than(rate),
        };
        if situation.calm
            && let Some(rate) = self.regain.take(rate, now)
        {
            self.probing.ask(rate, now);
        }
        self.probing.plan(situation, now);
    }

    /// Chromium reports every 50 to 250 ms, if anything arrives.
    fn patience(&self) -> Duration {
        SILENCE.max(self.round_trip * 3)
    }
}

/// Until a round trip is known.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// A report that comes later tells of an outage, not of the way.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(2);

/// Packets of 1140 bytes with 60 of headers.
const FIRST_PAYLOAD_SHARE: f64 = 0.93;

/// Headers and repair are averaged over the packets of about a second.
const SHARE_SECONDS: f64 = 1.0;

/// A burst of repairs is over before the encoder followed it down.
const LEAST_PAYLOAD_SHARE: f64 = 0.6;

/// Twice the longest distance between two reports of Chromium. Sooner, a lost report would stop the picture; later, an outage
/// fills the queue of the modem with pictures that nobody wants any more.
const SILENCE: Duration = Duration::from_millis(500);

/// After an outage half as much: the network may be another, and one probe tells.
const AFTER_SILENCE: f64 = 0.5;

/// Of the estimate, sent: what uses more proves it.
const USED: f64 = 0.65;

/// Of what arrives: less than the growth of a round trip above it.
const LOSS_CUT: f64 = 0.95;

/// Chromium's value: of a probe that found the limit, a little is left for the queue to go.
const PROBE_LIMIT_SHARE: f64 = 0.9;

/// A queue so soon after a probe is the probe's fault.
const PROBE_BLAME: Duration = Duration::from_secs(2);

const PROBE_QUEUE: Duration = Duration::from_millis(40);
const PROBE_LOSS: f64 = 0.1;

#[cfg(test)]
mod tests;
