//! H.264 as it comes from encoders and goes to decoders: byte streams, parameter sets, key frames.
//!
//! Section numbers are those of ITU-T H.264 (08/2021).

mod annex_b;
mod conditioner;
mod parameter_sets;
mod sps;

pub use annex_b::nal_units;
pub use conditioner::{Conditioned, Conditioner, Surprise};

use std::fmt;

/// What a NAL unit carries: `nal_unit_type` of its first byte. Table 7-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NalType {
    /// A slice of a picture that needs others before it (1), or a partition of one (2 to 4).
    Slice,
    /// A slice of a picture that a decoder can start at (5).
    IdrSlice,
    /// Supplemental enhancement information (6).
    Sei,
    /// Sequence parameter set (7).
    Sps,
    /// Picture parameter set (8).
    Pps,
    /// Delimiters (9 to 11), filler (12), layers and views of extensions (14, 15, 20, 21), and whatever is reserved or for
    /// applications. RTP uses 24 and up for its own packets (RFC 6184, section 5.2), so none of these may be sent.
    NotSent,
}

impl NalType {
    /// The type of a NAL unit that starts with `header`.
    pub const fn of(header: u8) -> Self {
        match header & 0x1f {
            1..=4 => Self::Slice,
            5 => Self::IdrSlice,
            6 => Self::Sei,
            7 => Self::Sps,
            8 => Self::Pps,
            _ => Self::NotSent,
        }
    }
}

/// True when the access unit is an IDR picture: a decoder can start here.
pub fn is_key_frame(annex_b: &[u8]) -> bool {
    nal_units(annex_b).any(|nal| NalType::of(nal[0]) == NalType::IdrSlice)
}

/// `profile_idc`, the constraint flags and `level_idc` of a sequence parameter set, as SDP shows them. RFC 6184, section 8.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileLevelId(pub [u8; 3]);

impl ProfileLevelId {
    /// From the first SPS of an access unit. Key frames have one.
    pub fn of(annex_b: &[u8]) -> Option<Self> {
        nal_units(annex_b)
            .find(|nal| NalType::of(nal[0]) == NalType::Sps)
            .and_then(Self::of_sps)
    }

    /// Whether who agreed to this can decode a stream of `other`: each profile's decoders read those before it (Annex A.2). Baseline counts
    /// as constrained, for no encoder of a board makes what the two differ in. Levels are left out: browsers decode any size that they can.
    pub fn covers(self, other: Self) -> bool {
        const BASELINE_MAIN_HIGH: [u8; 3] = [66, 77, 100];
        let place = |id: Self| BASELINE_MAIN_HIGH.iter().position(|it| *it == id.0[0]);
        match (place(self), place(other)) {
            (Some(agreed), Some(made)) => made <= agreed,
            (Some(_), None) | (None, Some(_)) | (None, None) => self.0[0] == other.0[0],
        }
    }

    /// The bytes behind the header of an SPS. 7.3.2.1.1.
    fn of_sps(nal: &[u8]) -> Option<Self> {
        nal.get(1..4)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for ProfileLevelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [profile, constraints, level] = self.0;
        write!(f, "{profile:02x}{constraints:02x}{level:02x}")
    }
}

/// Why an access unit cannot be sent. The next one may be fine.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum H264Error {
    #[error(
        "cannot read an access unit of {bytes} bytes: found no start code when expecting the byte stream format of annex b"
    )]
    NoStartCode { bytes: usize },
    #[error("cannot send an access unit: found more than {limit} nal units")]
    TooManyNalUnits { limit: usize },
    #[error("cannot keep a {kind} of {bytes} bytes: {found}")]
    ParameterSet {
        kind: &'static str,
        bytes: usize,
        found: String,
    },
    /// The source sent an IDR picture before its parameter sets.
    #[error("cannot send a key frame: found no {missing} before it")]
    NoParameterSets { missing: &'static str },
}

/// Four bytes, as parameter sets and the first NAL unit of an access unit must have. B.1.2.
const START_CODE: [u8; 4] = [0, 0, 0, 1];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_level_id_reads_as_in_sdp() {
        assert_eq!(ProfileLevelId([0x42, 0xe0, 0x0b]).to_string(), "42e00b");
    }

    #[test]
    fn profile_level_id_is_found_in_a_key_frame_and_not_in_others() {
        let key_frame = [0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0x8c, 0, 0, 1, 0x65, 0x88];
        let id = ProfileLevelId([0x42, 0xc0, 0x1e]);
        assert_eq!(ProfileLevelId::of(&key_frame), Some(id));
        assert_eq!(ProfileLevelId::of(&[0, 0, 1, 0x41, 0x9a]), None);
        assert_eq!(ProfileLevelId::of(&[0, 0, 1, 0x67, 0x42]), None);
    }

    #[test]
    fn key_frame_is_told_from_its_slices_not_from_its_headers() {
        assert!(is_key_frame(&[0, 0, 0, 1, 0x67, 0x42, 0, 0, 1, 0x65, 0x88]));
        assert!(!is_key_frame(&[0, 0, 1, 0x67, 0x42, 0, 0, 1, 0x41, 0x9a]));
        assert!(!is_key_frame(&[]));
    }

    #[test]
    fn types_that_rtp_uses_for_its_own_packets_are_never_sent() {
        for header in 24..32 {
            assert_eq!(NalType::of(0x60 | header), NalType::NotSent);
        }
    }

    #[test]
    fn who_agreed_to_a_profile_decodes_those_before_it_at_any_level() {
        let covers = |agreed, made| ProfileLevelId(agreed).covers(ProfileLevelId(made));
        let [baseline, constrained, main, high] = [
            [0x42, 0x00, 0x1f],
            [0x42, 0xe0, 0x28],
            [0x4d, 0x40, 0x1f],
            [0x64, 0x00, 0x0b],
        ];
        for (agreed, made) in [(constrained, main), (baseline, high), (main, high)] {
            assert!(!covers(agreed, made), "{agreed:x?} {made:x?}");
            assert!(covers(made, agreed), "{made:x?} {agreed:x?}");
        }
        assert!(covers(baseline, constrained) && covers(constrained, baseline));
        let extended = [0x58, 0x00, 0x1f];
        assert!(
            covers(extended, extended) && !covers(extended, baseline) && !covers(high, extended)
        );
    }
}
