//! What passes between a viewer and its connection for every packet: units in, RTP and sender reports out, RTCP back.
//!
//! The crate's own way costs a channel send, a wake-up and a clone of the negotiated parameters per packet. Here one packet a
//! unit goes that way, without a payload, and is replaced by the unit's packets at the application's end of the interceptor chain.
//! Packets that must wait leave by the connection's own timer.

mod chain;
mod handle;
mod reports;
mod wire;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc::interceptor::{Packet, TaggedPacket};
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::shared::TransportContext;
use rtc::shared::marshal::MarshalSize;
use tokio::sync::mpsc;
use tracing::debug;

use self::handle::{Shared, lock};
use self::wire::{Agreed, MediaPacket, Writer};
use super::burst_socket::Burst;
use super::clock::{NtpTime, monotonic_now, wall_now};
use super::{LinkStatistics, PeerStatistics};
use crate::media::congestion::{Arrival, Because, EstimateRange, ReceiverClock};
use crate::media::pacer::Pushed;
use crate::media::{Bitrate, MediaTime};
use crate::viewer::sending::{Departure, Sending};

pub(super) use self::handle::{Course, Report, StreamHandle};

/// When the picture was taken, so that a browser can tell how old it is.
pub(super) const CAPTURE_TIME_URI: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// How long a browser may hold pictures back to play them evenly.
pub(super) const PLAYOUT_DELAY_URI: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

/// A number for every packet, which the browser reports on.
pub(super) const TRANSPORT_CC_URI: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// The connection's end, the interceptor nearest to the application.
pub(super) struct Stream {
    shared: Arc<Mutex<Shared>>,
    reports: mpsc::Sender<Report>,
    burst: Burst,
    sending: Sending<MediaPacket>,
    writer: Writer,
    agreed: Option<Agreed>,
    /// RTP timestamps start anywhere (RFC 3550, section 5.1).
    timestamp_offset: u32,
    /// Of the newest unit.
    timestamp: Option<u32>,
    browser_clock: ReceiverClock,
    /// One report's, to be filled anew.
    arrivals: Vec<Arrival>,
    told: Course,
    sender_report_due: Option<Instant>,
    packets: u32,
    octets: u32,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl Stream {
    pub(super) fn new(
        range: EstimateRange,
        reports: mpsc::Sender<Report>,
        burst: Burst,
        now: Instant,
    ) -> (Self, StreamHandle) {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let mut random = StdRng::from_os_rng();
        let writer = Writer::new(&mut random);
        let handle = StreamHandle {
            shared: Arc::clone(&shared),
            ssrc: writer.ssrc,
            rtx_ssrc: writer.rtx_ssrc,
        };
        let stream = Self {
            shared,
            reports,
            burst,
            sending: Sending::new(range, now),
            writer,
            agreed: None,
            timestamp_offset: random.random(),
            timestamp: None,
            browser_clock: ReceiverClock::default(),
            arrivals: Vec::new(),
            told: Course::default(),
            sender_report_due: None,
            packets: 0,
            octets: 0,
            read: VecDeque::new(),
            write: VecDeque::new(),
        };
        (stream, handle)
    }

    /// Takes all units that wait, in place of the nudge.
    fn take_units(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let mut shared = lock(&shared);
        if self.agreed.is_none() {
            return;
        }
        if std::mem::take(&mut shared.route_changed) {
            self.sending.route_changed(now);
        }
        while let Some(unit) = shared.units.pop_front() {
            let timestamp = self.next_timestamp(unit.captured);
            let packets = MediaPacket::of(&unit, timestamp);
            match self.sending.push_unit(packets, unit.key_frame) {
                Pushed::Queued => {}
                Pushed::Skipped { units } => shared.course.skipped += units,
            }
        }
        self.sender_report_due
            .get_or_insert(now + FIRST_SENDER_REPORT);
    }

    /// Sends what may leave now, and tells what changed by it.
    fn depart(&mut self, now: Instant) {
        let Some(agreed) = self.agreed else {
            return;
        };
        let first = self.write.len();
        let mut ready = None;
        let (mut packets, mut bytes) = (0, 0);
        while let Some(departure) = self.sending.poll(now) {
            if let Departure::Media { packet, .. } = &departure {
                ready = ready.or(packet.lead().map(|lead| lead.ready));
            }
            let is_media = matches!(departure, Departure::Media { .. });
            let Some(packet) = self.writer.write(departure, &agreed, now) else {
                continue;
            };
            if is_media {
                packets += 1;
                bytes += packet.payload.len();
            }
            self.write.push_back(TaggedPacket {
                now,
                transport: TransportContext::default(),
                message: Packet::Rtp(packet).into(),
            });
        }
        if self.write.len() > first {
            let run = longest_run(self.write.range(first..));
            self.burst.announce(run, ready);
        }
        self.packets = self.packets.wrapping_add(packets as u32);
        self.octets = self.octets.wrapping_add(bytes as u32);
        self.tell_course(packets, bytes);
    }

    fn tell_course(&mut self, packets: usize, bytes: usize) {
        let shared = Arc::clone(&self.shared);
        let mut shared = lock(&shared);
        let statistics = &mut shared.statistics;
        statistics.packets += packets as u64;
        statistics.bytes += bytes as u64;
        statistics.repaired_packets = self.sending.repaired();
        statistics.sent_bytes = self.sending.sent_bytes();
        statistics.waits = self.sending.delay();
        statistics.link = self.sending.estimator().map(|link| LinkStatistics {
            estimate: link.estimate(),
            acknowledged: link.acknowledged(),
            queue_delay: link.queue_delay(),
            because: link.because(),
        });
        shared.course.is_silent = self.sending.is_silent();
        // Where an estimate starts is a guess, which must not cost the others their picture.
        let link = self.sending.estimator();
        let is_known = link.is_some_and(|link| link.because() != Because::Start);
        shared.course.estimate = self.sending.media().filter(|_| is_known);
        let course = shared.course;
        drop(shared);
        let is_news = course.is_silent != self.told.is_silent
            || course.skipped != self.told.skipped
            || is_another(self.told.estimate, course.estimate);
        if is_news {
            self.told = course;
            self.report(Report::CourseChanged);
        }
    }

    /// When the channel is full its reports lead to the newest course anyway, and other picture losses are in it.
    fn report(&self, report: Report) {
        if self.reports.try_send(report).is_err() {
            debug!(?report, "viewer is behind with its reports, dropping one");
        }
    }

    /// Another rendition may begin with a picture that was sent already: a browser would throw away what is not newer.
    fn next_timestamp(&mut self, captured: MediaTime) -> u32 {
        let told = self.rtp_timestamp(captured);
        let ahead = |last: &u32| (1..1 << 31).contains(&told.wrapping_sub(*last));
        let next = match self.timestamp {
            Some(last) if !ahead(&last) => last.wrapping_add(1),
            Some(_) | None => told,
        };
        self.timestamp = Some(next);
        next
    }

    fn rtp_timestamp(&self, time: MediaTime) -> u32 {
        time.rtp_timestamp().wrapping_add(self.timestamp_offset)
    }

    /// RTP timestamps are read from the capture clock, so the report pairs both clocks at one instant and is exact, however
    /// long a picture took from the camera to here.
    fn sender_report(&self) -> SenderReport {
        SenderReport {
            ssrc: self.writer.ssrc,
            ntp_time: NtpTime::from(wall_now()).bits(),
            rtp_time: self.rtp_timestamp(monotonic_now()),
            packet_count: self.packets,
            octet_count: self.octets,
            ..Default::default()
        }
    }

    fn read_report(&mut self, packet: &dyn rtcp::Packet, now: Instant) {
        let packet = packet.as_any();
        if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
            lock(&self.shared).statistics.picture_losses += 1;
            if self.sending.needs_key_frame() {
                self.report(Report::PictureLost);
            }
        } else if let Some(report) = packet.downcast_ref::<TransportLayerCc>() {
            self.arrivals.clear();
            reports::arrivals(report, &mut self.browser_clock, &mut self.arrivals);
            self.sending.report(&self.arrivals, now);
        } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            for sequence in reports::missing(nack) {
                lock(&self.shared).statistics.nacked_packets += 1;
                self.sending.nacked(self.writer.number(sequence), now);
            }
        } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            let ours = |block: &&ReceptionReport| block.ssrc == self.writer.ssrc;
            if let Some(block) = report.reports.iter().find(ours) {
                self.writer.acknowledged = true;
                let statistics = &mut lock(&self.shared).statistics;
                if let Some(measured) = reports::read_reception(block, statistics) {
                    self.sending.round_trip(measured);
                }
            }
        }
    }
}

/// How many of the packets can leave as one: those of the same size in a row, and a smaller one behind them.
fn longest_run<'a>(packets: impl Iterator<Item = &'a TaggedPacket>) -> usize {
    let size = |packet: &TaggedPacket| match &packet.message.packet {
        Packet::Rtp(packet) => packet.marshal_size(),
        Packet::Rtcp(_) | _ => 0,
    };
    let (mut longest, mut run, mut of) = (0, 0, 0);
    for size in packets.map(size) {
        run = if run > 0 && size <= of { run + 1 } else { 1 };
        longest = longest.max(run);
        if size != of && run > 1 {
            // A smaller one is the last of its run.
            run = 0;
        }
        of = size;
    }
    longest
}

/// Different enough to tell: an encoder is not moved for less.
fn is_another(told: Option<Bitrate>, estimate: Option<Bitrate>) -> bool {
    match (told, estimate) {
        (Some(told), Some(estimate)) => {
            told.as_bps().abs_diff(estimate.as_bps()) * WORTH_TELLING > told.as_bps()
        }
        (told, estimate) => told.is_some() != estimate.is_some(),
    }
}

/// A hundredth.
const WORTH_TELLING: u64 = 100;

/// Soon, for a browser cannot tell a capture time before it has one.
const FIRST_SENDER_REPORT: Duration = Duration::from_millis(100);

/// Receivers interpolate between capture times; the extension's specification asks for one a second.
const CAPTURE_TIME_INTERVAL: Duration = Duration::from_secs(1);

/// Minimum and maximum delay, 12 bits each, in 10 ms: show a picture when it is there. A maximum above zero would let Chromium
/// pace pictures over its compositor's frames, smoother on jittery links and a frame or more later: wrong for driving a robot.
const PLAYOUT_DELAY: [u8; 3] = [0, 0, 0];
