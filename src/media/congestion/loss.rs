//! Whether loss says that the link is full, or only that it loses packets.
//!
//! draft-ietf-rmcat-gcc-02, section 6, lowers the rate for every loss above 10 % and raises it for none above 2 %: on a radio
//! that loses 5 % whatever is sent, the rate never returns. Here the first loss beyond what the way is known to lose is tried:
//! less is sent for a moment. A full link then loses less (what it carries stays the same); a bad radio loses as before, and
//! that much counts as its nature from then on. RFC 8836, section 2, item 6 asks for it.
//!
//! ```text
//!               more than usual                  as much as before
//!   Watching ────────────────────► Trying (less) ──────────────────► Watching, knowing the loss
//!      ▲                              │ less loss
//!      └──────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct LossControl {
    /// What the way loses whatever is sent, 0 to 1.
    inherent: f64,
    trial: Option<Trial>,
    /// Packets reported since `since`.
    lost: u32,
    total: u32,
    since: Instant,
    queue: bool,
    fraction: f64,
}

/// Less is sent since a moment ago.
#[derive(Clone, Copy, Debug)]
struct Trial {
    loss: f64,
    /// By this the rate was multiplied.
    factor: f64,
}

/// What the loss of the last interval asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Nothing,
    /// Multiply the rate by this and look what happens.
    Try(f64),
    /// The link is full: this share of what is sent arrives.
    Full(f64),
    /// The trial changed nothing: divide the rate by what it was multiplied with.
    Random(f64),
}

impl LossControl {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            inherent: 0.0,
            trial: None,
            lost: 0,
            total: 0,
            since: now,
            queue: false,
            fraction: 0.0,
        }
    }

    /// `standing` is the queue that the reported packets found.
    pub(super) fn add(
        &mut self,
        lost: u32,
        arrived: u32,
        late: u32,
        standing: Duration,
        round_trip: Duration,
        now: Instant,
    ) -> Verdict {
        // A trial shows in the packets that were sent since.
        if now < self.since {
            return Verdict::Nothing;
        }
        self.lost = (self.lost + lost).saturating_sub(late);
        self.total += lost + arrived.saturating_sub(late);
        self.queue |= standing > QUEUE;
        let wanted = match self.trial {
            Some(_) => TRIAL_PACKETS,
            None => PACKETS,
        };
        if now < self.since + INTERVAL || self.total < wanted && now < self.since + LONGEST_INTERVAL
        {
            return Verdict::Nothing;
        }
        let verdict = self.judge();
        (self.lost, self.total, self.queue) = (0, 0, false);
        self.since = match verdict {
            Verdict::Nothing => now,
            Verdict::Try(_) | Verdict::Full(_) | Verdict::Random(_) => now + round_trip,
        };
        verdict
    }

    /// The rate moved for another reason: what is lost now says nothing of the trial.
    pub(super) fn give_up_trial(&mut self) {
        self.trial = None;
    }

    /// What the way loses whatever is sent, 0 to 1.
    pub(super) fn inherent(&self) -> f64 {
        self.inherent
    }

    /// Loss of the last interval, 0 to 1.
    pub(super) fn fraction(&self) -> f64 {
        self.fraction
    }

    fn judge(&mut self) -> Verdict {
        let total = f64::from(self.total.max(1));
        let loss = f64::from(self.lost) / total;
        self.fraction = loss;
        let usual = self.inherent.max(0.01);
        let noise = (usual * (1.0 - usual) / total).sqrt();
        let unusual = loss > self.inherent + TOLERATED + 2.0 * noise;
        let trial = self.trial.take();
        if !unusual {
            self.inherent += LEARNING * (loss.min(MOST_INHERENT) - self.inherent);
            return Verdict::Nothing;
        }
        let arriving = (1.0 - loss) / (1.0 - self.inherent);
        if self.queue {
            // With a queue before it the loss needs no trial.
            return Verdict::Full(arriving);
        }
        let Some(trial) = trial else {
            let factor = arriving.clamp(DEEPEST_TRIAL, SHALLOWEST_TRIAL);
            self.trial = Some(Trial { loss, factor });
            return Verdict::Try(factor);
        };
        // A full link carries what it carried: of less, more arrives.
        let if_full = 1.0 - ((1.0 - trial.loss) / trial.factor).min(1.0);
        if loss < (trial.loss + if_full) / 2.0 {
            return Verdict::Full(arriving);
        }
        self.inherent = loss.min(MOST_INHERENT);
        Verdict::Random(trial.factor)
    }
}

/// A third of a second, ten frames: shorter takes a burst for a state, longer lets a full link lose longer.
const INTERVAL: Duration = Duration::from_millis(330);

/// At a handful of packets a second an interval ends all the same.
const LONGEST_INTERVAL: Duration = Duration::from_secs(2);

/// One lost packet of fifty is 2 %, the least that counts.
const PACKETS: u32 = 50;

/// A trial compares: half as much noise.
const TRIAL_PACKETS: u32 = 100;

/// draft-ietf-rmcat-gcc-02, section 6: up to 2 % the rate may rise.
const TOLERATED: f64 = 0.02;

/// Queues of less are what a frame's own packets make.
const QUEUE: Duration = Duration::from_millis(40);

/// A fifth less shows a full link even at 5 % of noise; less of a cut, 5 %, is for little loss.
const DEEPEST_TRIAL: f64 = 0.8;
const SHALLOWEST_TRIAL: f64 = 0.95;

/// Forgets and learns what is usual in about ten intervals.
const LEARNING: f64 = 0.1;

/// A way that loses more by its nature carries no picture: go down until it does.
const MOST_INHERENT: f64 = 0.25;
