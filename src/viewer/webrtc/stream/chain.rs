//! The stream's place in the connection's chain of interceptors: which packets are its own, and which pass.

use std::time::{Duration, Instant};

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;
use tracing::debug;

use super::Stream;
use super::handle::lock;
use super::wire::Agreed;

impl Protocol<TaggedPacket, TaggedPacket, ()> for Stream {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &message.message.packet {
            for packet in packets {
                self.read_report(packet.as_ref(), message.now);
            }
            self.depart(message.now);
        }
        self.read.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(packet) = &message.message.packet
            && packet.header.ssrc == self.writer.ssrc
        {
            self.take_units(message.now);
            self.depart(message.now);
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
        self.depart(now);
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        [self.sender_report_due, self.sending.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Interceptor for Stream {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        if info.ssrc != self.writer.ssrc {
            return;
        }
        let agreed = Agreed::from(info);
        self.sending.agree(
            agreed.transport_cc_id.is_some(),
            agreed.rtx_payload_type.is_some(),
        );
        lock(&self.shared).payload_type = Some(agreed.payload_type);
        debug!(?agreed, "browser takes the stream");
        self.agreed = Some(agreed);
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        if info.ssrc == self.writer.ssrc {
            lock(&self.shared).payload_type = None;
            self.agreed = None;
        }
    }

    fn bind_remote_stream(&mut self, _: &StreamInfo) {}

    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

/// What browsers do themselves for video.
const SENDER_REPORT_INTERVAL: Duration = Duration::from_secs(1);
