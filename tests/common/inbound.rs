//! What the browser's receiver counts: `inbound-rtp` of webrtc-stats.

use serde::Deserialize;

use super::browser::Page;

/// One reading of the video receiver's counters.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Inbound {
    /// When the counters were read, milliseconds.
    pub(crate) timestamp: f64,
    pub(crate) frames_decoded: u64,
    pub(crate) key_frames_decoded: u64,
    pub(crate) pli_count: u64,
    pub(crate) freeze_count: u64,
    /// RFC 3550, section 6.4.1: duplicates make it negative.
    pub(crate) packets_lost: i64,
}

impl Inbound {
    /// Reads the counters of the peer on the page's screen.
    pub(crate) fn read(page: &Page<'_>) -> Self {
        let report = page.run(
            "const report = await window.rovercast.peer().getStats();
             return [...report.values()].find(entry => entry.type === 'inbound-rtp' && entry.kind === 'video');",
        );
        serde_json::from_value(report.clone())
            .unwrap_or_else(|error| panic!("cannot read {report}: {error}"))
    }

    /// Pictures decoded per second between an earlier reading and this one.
    pub(crate) fn rate_since(&self, earlier: &Self) -> f64 {
        let seconds = (self.timestamp - earlier.timestamp) / 1000.0;
        (self.frames_decoded - earlier.frames_decoded) as f64 / seconds
    }
}
