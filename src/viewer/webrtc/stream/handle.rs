//! The viewer's end of a stream: units go in, and what became of them is read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use rtc::rtp;
use rtc::rtp::header::Header;

use super::PeerStatistics;
use crate::media::Bitrate;
use crate::viewer::packetizer::PackedUnit;

/// The viewer's end: takes units, tells what became of them.
#[derive(Debug)]
pub(in crate::viewer::webrtc) struct StreamHandle {
    pub(super) shared: Arc<Mutex<Shared>>,
    pub(in crate::viewer::webrtc) ssrc: u32,
    pub(in crate::viewer::webrtc) rtx_ssrc: u32,
}

impl StreamHandle {
    /// Queues `unit`; the next [`nudge`](Self::nudge) through the connection sends it.
    pub(in crate::viewer::webrtc) fn push(&self, unit: Arc<PackedUnit>) {
        lock(&self.shared).units.push_back(unit);
    }

    /// The packet that carries nothing and makes the connection call for the units. `None` while no codec is agreed.
    pub(in crate::viewer::webrtc) fn nudge(&self) -> Option<rtp::Packet> {
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

    /// The browser is reached in another way from now on.
    pub(in crate::viewer::webrtc) fn route_changed(&self) {
        lock(&self.shared).route_changed = true;
    }

    pub(in crate::viewer::webrtc) fn statistics(&self) -> PeerStatistics {
        lock(&self.shared).statistics
    }

    pub(in crate::viewer::webrtc) fn course(&self) -> Course {
        lock(&self.shared).course
    }
}

/// What there is to hear about the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::viewer::webrtc) enum Report {
    PictureLost,
    /// [`StreamHandle::course`] tells.
    CourseChanged,
}

/// How the sending goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::viewer::webrtc) struct Course {
    /// The browser answers nothing.
    pub(in crate::viewer::webrtc) is_silent: bool,
    /// Units that were given up since the stream began, because they would have come too late.
    pub(in crate::viewer::webrtc) skipped: u64,
    /// What an encoder may fill; `None` while nothing is known.
    pub(in crate::viewer::webrtc) estimate: Option<Bitrate>,
}

/// What both ends know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) units: VecDeque<Arc<PackedUnit>>,
    /// The payload type that the browser took, once it took one.
    pub(super) payload_type: Option<u8>,
    pub(super) route_changed: bool,
    pub(super) statistics: PeerStatistics,
    pub(super) course: Course,
}

pub(super) fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Counters and a queue: a panic elsewhere leaves nothing half done.
    shared
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
