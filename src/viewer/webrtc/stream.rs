//! What passes between a viewer and its connection for every packet: units in, RTP and sender reports out, RTCP back.
//!
//! The crate's own way costs a channel send, a wake-up and a clone of the negotiated parameters per packet. Here one packet a
//! unit goes that way, without a payload, and is replaced by the unit's packets at the application's end of the interceptor chain.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::rtp;
use rtc::rtp::header::{EXTENSION_PROFILE_ONE_BYTE, Extension, Header};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::PeerStatistics;
use super::burst_socket::Burst;
use super::clock::{NtpTime, monotonic_now, wall_now};
use crate::media::{Bitrate, MediaTime};
use crate::viewer::packetizer::PackedUnit;

/// When the picture was taken, so that a browser can tell how old it is.
pub(super) const CAPTURE_TIME_URI: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// How long a browser may hold pictures back to play them evenly.
pub(super) const PLAYOUT_DELAY_URI: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

/// What the browser says about the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Report {
    PictureLost,
    Estimate(Bitrate),
}

/// The viewer's end: takes units, tells what became of them.
#[derive(Debug)]
pub(super) struct StreamHandle {
    shared: Arc<Mutex<Shared>>,
    pub(super) ssrc: u32,
    pub(super) rtx_ssrc: u32,
}

#[derive(Debug, Default)]
struct Shared {
    units: VecDeque<Arc<PackedUnit>>,
    /// The payload type that the browser took, once it took one.
    payload_type: Option<u8>,
    statistics: PeerStatistics,
}

impl StreamHandle {
    /// Queues `unit`; the next [`nudge`](Self::nudge) through the connection sends it.
    pub(super) fn push(&self, unit: Arc<PackedUnit>) {
        lock(&self.shared).units.push_back(unit);
    }

    /// The packet that carries nothing and makes the connection call for the units. `None` while no codec is agreed.
    pub(super) fn nudge(&self) -> Option<rtp::Packet> {
        let payload_type = lock(&self.shared).payload_type?;
        Some(rtp::Packet {
            header: Header {
                version: 2,
                payload_type,
                ssrc: self.ssrc,
                ..Default::default()
            },
            payload: Bytes::new(),
        })
    }

    pub(super) fn statistics(&self) -> PeerStatistics {
        lock(&self.shared).statistics
    }
}

/// The connection's end, the interceptor nearest to the application.
pub(super) struct Stream {
    shared: Arc<Mutex<Shared>>,
    reports: mpsc::Sender<Report>,
    burst: Burst,
    ssrc: u32,
    sequence_number: u16,
    /// RTP timestamps start anywhere (RFC 3550, section 5.1).
    timestamp_offset: u32,
    capture_time_id: Option<u8>,
    playout_delay_id: Option<u8>,
    /// The browser has reported on this stream, so it has seen what the first packets carried.
    acknowledged: bool,
    capture_time_due: Option<Instant>,
    sender_report_due: Option<Instant>,
    packets: u32,
    octets: u32,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl Stream {
    pub(super) fn new(reports: mpsc::Sender<Report>, burst: Burst) -> (Self, StreamHandle) {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let mut random = StdRng::from_os_rng();
        let handle = StreamHandle {
            shared: Arc::clone(&shared),
            ssrc: random.random(),
            rtx_ssrc: random.random(),
        };
        let stream = Self {
            shared,
            reports,
            burst,
            ssrc: handle.ssrc,
            sequence_number: random.random::<u16>() & FIRST_SEQUENCE_NUMBER_MASK,
            timestamp_offset: random.random(),
            capture_time_id: None,
            playout_delay_id: None,
            acknowledged: false,
            capture_time_due: None,
            sender_report_due: None,
            packets: 0,
            octets: 0,
            read: VecDeque::new(),
            write: VecDeque::new(),
        };
        (stream, handle)
    }

    /// Replaces the nudge by all packets of all units that wait.
    fn send_units(&mut self, now: Instant, transport: TransportContext) {
        let shared = Arc::clone(&self.shared);
        let mut shared = lock(&shared);
        let Some(payload_type) = shared.payload_type else {
            return;
        };
        while let Some(unit) = shared.units.pop_front() {
            let last = unit.payloads.len().saturating_sub(1);
            self.burst
                .announce(longest_run(&unit.payloads), ready(&unit));
            for (index, payload) in unit.payloads.iter().enumerate() {
                let mut header = Header {
                    version: 2,
                    marker: index == last,
                    payload_type,
                    sequence_number: self.sequence_number,
                    timestamp: self.rtp_timestamp(unit.captured),
                    ssrc: self.ssrc,
                    ..Default::default()
                };
                if index == 0 {
                    self.extend(&mut header, &unit, now);
                }
                self.sequence_number = self.sequence_number.wrapping_add(1);
                self.write.push_back(TaggedPacket {
                    now,
                    transport,
                    message: Packet::Rtp(rtp::Packet {
                        header,
                        payload: payload.clone(),
                    })
                    .into(),
                });
            }
            self.packets = self.packets.wrapping_add(unit.payloads.len() as u32);
            self.octets = self.octets.wrapping_add(unit.bytes as u32);
            shared.statistics.packets += unit.payloads.len() as u64;
            shared.statistics.bytes += unit.bytes as u64;
        }
        self.sender_report_due
            .get_or_insert(now + FIRST_SENDER_REPORT);
    }

    /// The extensions of a unit's first packet. Most units have none: equal packets travel together (UDP GSO).
    fn extend(&mut self, header: &mut Header, unit: &PackedUnit, now: Instant) {
        let announce = unit.key_frame || !self.acknowledged;
        if let Some(id) = self.capture_time_id
            && (announce || self.capture_time_due.is_none_or(|due| now >= due))
        {
            self.capture_time_due = Some(now + CAPTURE_TIME_INTERVAL);
            add_extension(header, id, capture_time(unit.captured));
        }
        if let Some(id) = self.playout_delay_id
            && announce
        {
            add_extension(header, id, Bytes::from_static(&PLAYOUT_DELAY));
        }
    }

    fn rtp_timestamp(&self, time: MediaTime) -> u32 {
        time.rtp_timestamp().wrapping_add(self.timestamp_offset)
    }

    /// RTP timestamps are read from the capture clock, so the report pairs both clocks at one instant and is exact, however
    /// long a picture took from the camera to here.
    fn sender_report(&self) -> SenderReport {
        SenderReport {
            ssrc: self.ssrc,
            ntp_time: NtpTime::from(wall_now()).bits(),
            rtp_time: self.rtp_timestamp(monotonic_now()),
            packet_count: self.packets,
            octet_count: self.octets,
            ..Default::default()
        }
    }

    fn read_report(&mut self, packet: &dyn rtcp::Packet) {
        let packet = packet.as_any();
        let mut shared = lock(&self.shared);
        let statistics = &mut shared.statistics;
        let report = if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
            statistics.picture_losses += 1;
            Report::PictureLost
        } else if let Some(estimate) = packet.downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
            // Saturates: a browser that knows no limit sends the largest number it can.
            Report::Estimate(Bitrate::bps(estimate.bitrate as u64))
        } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            let missing = |pair: &rtcp::transport_feedbacks::transport_layer_nack::NackPair| {
                1 + u64::from(pair.lost_packets.count_ones())
            };
            statistics.nacked_packets += nack.nacks.iter().map(missing).sum::<u64>();
            return;
        } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            for block in report
                .reports
                .iter()
                .filter(|block| block.ssrc == self.ssrc)
            {
                self.acknowledged = true;
                read_reception(block, statistics);
            }
            return;
        } else {
            return;
        };
        drop(shared);
        if self.reports.try_send(report).is_err() {
            debug!(?report, "viewer is behind with its reports, dropping one");
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Stream {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &message.message.packet {
            for packet in packets {
                self.read_report(packet.as_ref());
            }
        }
        self.read.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(packet) = &message.message.packet
            && packet.header.ssrc == self.ssrc
        {
            self.send_units(message.now, message.transport);
        } else {
            self.write.push_back(message);
        }
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.sender_report_due.is_some_and(|due| now >= due) {
            self.sender_report_due = Some(now + SENDER_REPORT_INTERVAL);
            self.write.push_back(TaggedPacket {
                now,
                transport: TransportContext::default(),
                message: Packet::Rtcp(vec![Box::new(self.sender_report())]).into(),
            });
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.sender_report_due
    }
}

impl Interceptor for Stream {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        if info.ssrc != self.ssrc {
            return;
        }
        let id = |uri: &str| {
            let extension = info
                .rtp_header_extensions
                .iter()
                .find(|extension| extension.uri == uri)?;
            // One-byte headers have ids 1 to 14 (RFC 8285, section 4.2).
            u8::try_from(extension.id)
                .ok()
                .filter(|id| (1..=14).contains(id))
        };
        self.capture_time_id = id(CAPTURE_TIME_URI);
        self.playout_delay_id = id(PLAYOUT_DELAY_URI);
        lock(&self.shared).payload_type = Some(info.payload_type);
        debug!(
            payload_type = info.payload_type,
            rtx = ?info.payload_type_rtx,
            capture_time = ?self.capture_time_id,
            playout_delay = ?self.playout_delay_id,
            "browser takes the stream"
        );
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        if info.ssrc == self.ssrc {
            lock(&self.shared).payload_type = None;
        }
    }

    fn bind_remote_stream(&mut self, _: &StreamInfo) {}

    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

/// How many of a unit's packets can leave as one: those of the largest size in a row, and a smaller one behind them.
fn longest_run(payloads: &[Bytes]) -> usize {
    let largest = payloads.iter().map(Bytes::len).max().unwrap_or(0);
    let full = payloads.iter().filter(|payload| payload.len() == largest);
    let shorter_last = payloads.last().is_some_and(|last| last.len() < largest);
    full.count() + usize::from(shorter_last)
}

fn add_extension(header: &mut Header, id: u8, payload: Bytes) {
    header.extension = true;
    header.extension_profile = EXTENSION_PROFILE_ONE_BYTE;
    header.extensions.push(Extension { id, payload });
}

/// NTP time of the capture, and the estimated offset of the capture clock from ours: none, it is ours.
fn capture_time(captured: MediaTime) -> Bytes {
    let age = monotonic_now().since(captured);
    let mut payload = BytesMut::with_capacity(16);
    payload.put_u64(NtpTime::from(wall_now() - age).bits());
    payload.put_i64(0);
    payload.freeze()
}

/// RFC 3550, section 6.4.1.
fn read_reception(block: &ReceptionReport, statistics: &mut PeerStatistics) {
    statistics.fraction_lost = f32::from(block.fraction_lost) / 256.0;
    statistics.lost_packets = u64::from(block.total_lost);
    statistics.jitter = Duration::from_micros(u64::from(block.jitter) * 100 / 9);
    if block.last_sender_report != 0 {
        let now = NtpTime::from(wall_now()).middle();
        let elapsed = now
            .wrapping_sub(block.last_sender_report)
            .wrapping_sub(block.delay);
        // A wall clock that was set in between, or a browser that counts wrong, gives nonsense.
        if elapsed < LONGEST_ROUND_TRIP {
            statistics.round_trip = Some(Duration::from_micros(
                u64::from(elapsed) * 1_000_000 / 65536,
            ));
        } else {
            warn!(elapsed, "browser reports a round trip that cannot be");
        }
    }
}

/// When `unit` could have been on the wire at the earliest: captured and encoded.
fn ready(unit: &PackedUnit) -> MediaTime {
    MediaTime::from_monotonic(unit.captured.since_boot() + unit.encoding)
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Counters and a queue: a panic elsewhere leaves nothing half done.
    shared
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A first number below 2^15 keeps a lost first packet from being taken for a wrap by SRTP receivers (RFC 3711, section 3.3.1).
const FIRST_SEQUENCE_NUMBER_MASK: u16 = 0x7fff;

/// Soon, for a browser cannot tell a capture time before it has one.
const FIRST_SENDER_REPORT: Duration = Duration::from_millis(100);

/// What browsers do themselves for video.
const SENDER_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Receivers interpolate between capture times; the extension's specification asks for one a second.
const CAPTURE_TIME_INTERVAL: Duration = Duration::from_secs(1);

/// Minimum and maximum delay, 12 bits each, in 10 ms: show a picture when it is there. A maximum above zero would let Chromium
/// pace pictures over its compositor's frames, smoother on jittery links and a frame or more later: wrong for driving a robot.
const PLAYOUT_DELAY: [u8; 3] = [0, 0, 0];

/// In 1/65536 s: a minute.
const LONGEST_ROUND_TRIP: u32 = 60 << 16;
