//! What a robot says of one viewer's link, when that viewer asks.

use serde::{Deserialize, Serialize};

/// What `/status` says of one viewer and of what it watches, under the same names; nothing of others. Numbers are whole, and what is
/// not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkReport {
    /// What its link carries. Absent when its browser reports nothing about packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate_kbps: Option<u64>,
    /// Why the estimate last moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_kbps: Option<u64>,
    /// What every packet waits on the way at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_delay_ms: Option<u64>,
    /// No picture of use fits into its link.
    pub is_behind: bool,
    pub sent_kbps: u64,
    /// How long the newest packet waits before it leaves.
    pub waits_ms: u64,
    pub repaired_packets: u64,
    pub skipped_units: u64,
    /// large or small.
    pub rendition: String,
    /// What its rendition's encoder is asked for; absent when that is a camera's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_kbps: Option<u64>,
    /// Why that last moved, in words that name nobody.
    pub target_because: String,
    /// Whose link holds the target down: [`OWN`] or [`ANOTHER`]. Absent when none does, or nothing is known yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<String>,
    /// How many frames, how large, in words.
    pub picture: String,
    /// The same in numbers: every so many frames of the camera one is sent,
    pub picture_every: u32,
    /// and its width and height are divided by this.
    pub picture_divisor: u32,
    /// Before that, such as "640x360"; absent while nothing is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole_size: Option<String>,
}

/// What `limited_by` says; a later version may say more.
pub const OWN: &str = "own";
pub const ANOTHER: &str = "another";
