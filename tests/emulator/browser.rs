//! A browser as Chromium behaves: transport-wide feedback, NACK, PLI.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::screen::Screen;
use super::{Answer, MediaPacket, ms};

#[derive(Debug)]
pub struct Browser {
    pub screen: Screen,
    origin: Instant,
    arrivals: Arrivals,
    newest_transport: Option<u64>,
    /// The first number that the next feedback is about.
    feedback_from: Option<u64>,
    feedback_due: Instant,
    received_bytes: usize,
    rate: f64,
    rate_since: Instant,
    /// Missing media numbers: when to ask (again), and how often it was asked.
    missing: BTreeMap<u64, (Instant, u32)>,
    newest_media: Option<u64>,
    picture_lost_due: Option<Instant>,
    pub media_bytes: u64,
    pub wire_bytes: u64,
    pub padding_bytes: u64,
    pub picture_losses: u64,
    /// PLIs a second that are sent without reason.
    pub nagging: Option<Duration>,
    nag_due: Instant,
}

impl Browser {
    pub fn new(origin: Instant) -> Self {
        Self {
            screen: Screen::default(),
            origin,
            arrivals: Arrivals::default(),
            newest_transport: None,
            feedback_from: None,
            feedback_due: origin,
            received_bytes: 0,
            rate: 0.0,
            rate_since: origin,
            missing: BTreeMap::new(),
            newest_media: None,
            picture_lost_due: None,
            media_bytes: 0,
            wire_bytes: 0,
            padding_bytes: 0,
            picture_losses: 0,
            nagging: None,
            nag_due: origin,
        }
    }

    pub fn receive(&mut self, packet: &MediaPacket, now: Instant, answers: &mut Vec<Answer>) {
        self.wire_bytes += packet.bytes as u64;
        self.received_bytes += packet.bytes;
        let number = unwrap(packet.transport, self.newest_transport);
        // Arrival times have a resolution of 250 µs.
        let at = Duration::from_micros((now - self.origin).as_micros() as u64 / 250 * 250);
        self.arrivals.insert(number, at);
        self.newest_transport = self.newest_transport.max(Some(number));
        self.feedback_from = Some(self.feedback_from.map_or(number, |from| from.min(number)));
        let Some((sequence, fragment)) = packet.media else {
            self.padding_bytes += packet.bytes as u64;
            return;
        };
        self.media_bytes += fragment.payload as u64;
        self.miss(sequence, now, answers);
        self.screen.receive(sequence, fragment, now);
        self.picture_lost_due.get_or_insert(now + ms(200));
        if let Some(next) = self.screen.next() {
            while let Some(oldest) = self.missing.first_entry()
                && *oldest.key() < next
            {
                oldest.remove();
            }
        }
    }

    /// Every 10 ms.
    pub fn tick(&mut self, now: Instant, answers: &mut Vec<Answer>) {
        if now >= self.feedback_due {
            self.feed_back(now, answers);
        }
        self.ask_again(now, answers);
        // Nothing shown: 200 ms before the first picture, 3 s later on (Chromium's `max_wait_for_keyframe` and `max_wait_for_frame`).
        let wait = match self.screen.last_shown() {
            None => self.picture_lost_due.is_some_and(|due| now >= due),
            Some(shown) => {
                now >= shown + ms(3000) && self.picture_lost_due.is_some_and(|due| now >= due)
            }
        };
        if wait {
            self.lose_picture(now, answers);
        }
        if let Some(interval) = self.nagging {
            while now >= self.nag_due {
                self.nag_due += interval;
                self.picture_losses += 1;
                answers.push(Answer::PictureLost);
            }
        }
    }

    fn lose_picture(&mut self, now: Instant, answers: &mut Vec<Answer>) {
        self.picture_losses += 1;
        self.picture_lost_due = Some(now + ms(200));
        answers.push(Answer::PictureLost);
    }

    fn miss(&mut self, sequence: u64, now: Instant, answers: &mut Vec<Answer>) {
        self.missing.remove(&sequence);
        let newest = *self.newest_media.get_or_insert(sequence);
        if sequence <= newest {
            return;
        }
        self.newest_media = Some(sequence);
        let gap: Vec<u64> = (newest + 1..sequence).collect();
        if gap.is_empty() {
            return;
        }
        for missing in &gap {
            self.missing.insert(*missing, (now + NACK_AGAIN, 1));
        }
        answers.push(Answer::Missing(gap));
    }

    fn ask_again(&mut self, now: Instant, answers: &mut Vec<Answer>) {
        let mut again = Vec::new();
        for (sequence, (due, asked)) in &mut self.missing {
            if now >= *due {
                *due = now + NACK_AGAIN;
                *asked += 1;
                again.push(*sequence);
            }
        }
        if self.missing.values().any(|(_, asked)| *asked > NACKS) || self.missing.len() > 1000 {
            self.missing.clear();
            self.lose_picture(now, answers);
        }
        if !again.is_empty() {
            answers.push(Answer::Missing(again));
        }
    }

    fn feed_back(&mut self, now: Instant, answers: &mut Vec<Answer>) {
        let elapsed = (now - self.rate_since).as_secs_f64();
        if elapsed > 0.2 {
            let rate = self.received_bytes as f64 * 8.0 / elapsed;
            self.rate = if self.rate == 0.0 {
                rate
            } else {
                self.rate * 0.5 + rate * 0.5
            };
            (self.received_bytes, self.rate_since) = (0, now);
        }
        // A twentieth of the rate is for reports of 68 bytes (Chromium's `RemoteEstimatorProxy::OnBitrateChanged`).
        let interval = (68.0 * 8.0 / (0.05 * self.rate.max(1.0))).clamp(0.05, 0.25);
        self.feedback_due = now + Duration::from_secs_f64(interval);
        let (Some(from), Some(newest)) = (self.feedback_from.take(), self.newest_transport) else {
            return;
        };
        let report = (from..=newest)
            .map(|number| (number as u16, self.arrivals.get(number)))
            .collect();
        answers.push(Answer::Feedback(report));
        // What is reported missing starts the next report when it comes after all.
        let old = (now - self.origin).saturating_sub(ms(500));
        self.arrivals.forget_before(old);
    }
}

/// When packets arrived, by unwrapped transport number, half a second of them. Numbers have few gaps, and each is looked up: a map
/// takes a third of a run's time.
#[derive(Debug, Default)]
struct Arrivals {
    first: u64,
    at: VecDeque<Option<Duration>>,
}

impl Arrivals {
    fn insert(&mut self, number: u64, at: Duration) {
        if self.at.is_empty() {
            self.first = number;
        }
        while number < self.first {
            self.first -= 1;
            self.at.push_front(None);
        }
        let index = (number - self.first) as usize;
        while self.at.len() <= index {
            self.at.push_back(None);
        }
        self.at[index] = Some(at);
    }

    fn get(&self, number: u64) -> Option<Duration> {
        let index = number.checked_sub(self.first)?;
        *self.at.get(index as usize)?
    }

    fn forget_before(&mut self, old: Duration) {
        while let Some(at) = self.at.front()
            && at.is_none_or(|at| at < old)
        {
            self.at.pop_front();
            self.first += 1;
        }
    }
}

fn unwrap(number: u16, newest: Option<u64>) -> u64 {
    let newest = newest.unwrap_or(u64::from(number) + (1 << 16));
    newest.saturating_add_signed(i64::from(number.wrapping_sub(newest as u16) as i16))
}

/// Chromium asks again after a round trip; where it sends nothing it knows none and takes 100 ms.
const NACK_AGAIN: Duration = Duration::from_millis(100);
const NACKS: u32 = 10;
