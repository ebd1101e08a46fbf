//! (being written)

pub mod packetizer;
pub mod webrtc;
