//! What is known of an encoder before it is opened.

use std::time::Duration;

use super::ladder::Rung;
use super::pairing::ZeroCopyPath;
use crate::media::Bitrate;
use crate::v4l2::ControlId;

#[derive(Clone, Debug)]
pub struct EncoderProfile {
    pub prefer: Vec<ZeroCopyPath>,
    pub contiguous: bool,
    pub data_offset: bool,
    pub fill_length: bool,
    pub raw_buffers: u32,
    pub raw_in_flight: usize,
    pub coded_buffers: u32,
    pub coded_bytes_min: u32,
    pub fragmented: bool,
    pub output_first: bool,
    pub profile_order: Vec<u32>,
    pub level_min: u8,
    pub level_max: u8,
    pub rate: Change,
    pub rate_floor: Bitrate,
    pub rate_min_interval: Duration,
    pub reopen_min_interval: Duration,
    pub reopen_min_change: f64,
    pub rate_mode: Option<u32>,
    pub key_frame: KeyFrameMethod,
    pub key_frame_min_interval: Duration,
    pub controls: Vec<(ControlId, i64)>,
    pub drain: bool,
    pub drain_deadline: Duration,
    pub ladder: Vec<Rung>,
    pub first_unit: Duration,
    pub unit: Duration,
    pub ioctl: Duration,
    pub qbuf_einval_fatal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Live,
    Reopen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFrameMethod {
    Control,
    ResetCapture,
    Reopen,
}

impl Default for EncoderProfile {
    fn default() -> Self {
        Self {
            prefer: ZeroCopyPath::ALL.to_vec(),
            contiguous: true,
            data_offset: false,
            fill_length: true,
            raw_buffers: 4,
            raw_in_flight: 2,
            coded_buffers: 4,
            coded_bytes_min: 1 << 20,
            fragmented: true,
            output_first: true,
            profile_order: vec![1, 0, 2],
            level_min: 31,
            level_max: 51,
            rate: Change::Live,
            rate_floor: Bitrate::kbps(100),
            rate_min_interval: Duration::from_millis(300),
            reopen_min_interval: Duration::from_secs(5),
            reopen_min_change: 0.3,
            rate_mode: Some(1),
            key_frame: KeyFrameMethod::Control,
            key_frame_min_interval: Duration::from_millis(300),
            controls: Vec::new(),
            drain: true,
            drain_deadline: Duration::from_millis(500),
            ladder: vec![Rung::ResetCapture, Rung::RestartBoth, Rung::Reopen],
            first_unit: Duration::from_secs(2),
            unit: Duration::from_secs(1),
            ioctl: Duration::from_secs(3),
            qbuf_einval_fatal: false,
        }
    }
}
