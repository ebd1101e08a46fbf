//! Makes every key frame a place to start: parameter sets in front, and nothing in it that RTP must not carry.

use std::ops::Range;

use bytes::{BufMut, BytesMut};
use h264_reader::rbsp::{BitRead, BitReader, ByteReader};

use super::annex_b::nal_ranges;
use super::parameter_sets::{Kept, ParameterSets};
use super::{H264Error, NalType, ProfileLevelId, START_CODE};

/// Stands behind every encoder and looks at each access unit once.
///
/// Parameter sets are taken out of the stream wherever they are and put in front of each IDR picture, once. When they change
/// they also go in front of the next picture, whatever it is.
#[derive(Debug, Default)]
pub struct Conditioner {
    sets: ParameterSets,
    /// A parameter set is new since the last picture.
    changed: bool,
    profile_level_id: Option<ProfileLevelId>,
    /// The NAL units of the current access unit that go out. Kept here so that its memory is used again.
    sent: Vec<Range<usize>>,
    surprise: Option<Surprise>,
    told_b_pictures: bool,
}

/// What became of an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditioned {
    /// It has an IDR picture, with SPS and PPS in front.
    pub key_frame: bool,
    /// False when there were only headers: they are kept for the next picture, and nothing was written.
    pub has_picture: bool,
}

/// Something about the source that viewers may see, but that does not stop it. Told once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Surprise {
    /// It is sent as it is.
    #[error("cannot read the sps, so decoders may hold pictures back: {found}")]
    UnreadableSps { found: String },
    /// WebRTC has no way to show pictures in another order than they are sent in.
    #[error("source has b pictures: they may be shown in the wrong order")]
    BPictures,
}

impl Conditioner {
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends to `out` what is to be sent of one coded access unit.
    ///
    /// On an error nothing is appended; parameter sets in front of what was wrong are kept.
    pub fn condition(
        &mut self,
        annex_b: &[u8],
        out: &mut BytesMut,
    ) -> Result<Conditioned, H264Error> {
        self.sent.clear();
        let mut conditioned = Conditioned {
            key_frame: false,
            has_picture: false,
        };
        let mut is_byte_stream = false;
        for range in nal_ranges(annex_b) {
            is_byte_stream = true;
            let nal = &annex_b[range.clone()];
            match NalType::of(nal[0]) {
                NalType::Sps => {
                    self.keep_sps(nal)?;
                    continue;
                }
                NalType::Pps => {
                    self.keep_pps(nal)?;
                    continue;
                }
                NalType::NotSent => continue,
                NalType::Sei => {}
                slice @ (NalType::Slice | NalType::IdrSlice) => {
                    conditioned.has_picture = true;
                    conditioned.key_frame |= slice == NalType::IdrSlice;
                    self.look_at_slice(nal, slice);
                }
            }
            if self.sent.len() == MOST_NAL_UNITS {
                return Err(H264Error::TooManyNalUnits {
                    limit: MOST_NAL_UNITS,
                });
            }
            self.sent.push(range);
        }
        if !is_byte_stream {
            return Err(H264Error::NoStartCode {
                bytes: annex_b.len(),
            });
        }
        if !conditioned.has_picture {
            return Ok(conditioned);
        }
        if conditioned.key_frame {
            self.sets.require_both()?;
        }

        let repeats_sets = conditioned.key_frame || self.changed;
        self.changed = false;
        let sets = if repeats_sets { self.sets.bytes() } else { 0 };
        let units = self.sent.iter().map(|unit| START_CODE.len() + unit.len());
        out.reserve(sets + units.sum::<usize>());
        if repeats_sets {
            self.sets.append_to(out);
        }
        for unit in &self.sent {
            out.put_slice(&START_CODE);
            out.put_slice(&annex_b[unit.clone()]);
        }
        Ok(conditioned)
    }

    /// From the SPS of the newest key frame; before the first, from the first SPS.
    pub fn profile_level_id(&self) -> Option<ProfileLevelId> {
        self.profile_level_id
    }

    /// Takes what was noticed since the last call.
    pub fn take_surprise(&mut self) -> Option<Surprise> {
        self.surprise.take()
    }

    fn keep_sps(&mut self, nal: &[u8]) -> Result<(), H264Error> {
        match self.sets.keep_sps(nal)? {
            Kept::Known => return Ok(()),
            Kept::New => {}
            Kept::NewAsItIs { found } => self.surprise = Some(Surprise::UnreadableSps { found }),
        }
        self.profile_level_id = self.profile_level_id.or(ProfileLevelId::of_sps(nal));
        self.changed = true;
        Ok(())
    }

    fn keep_pps(&mut self, nal: &[u8]) -> Result<(), H264Error> {
        self.changed |= self.sets.keep_pps(nal)? == Kept::New;
        Ok(())
    }

    fn look_at_slice(&mut self, nal: &[u8], slice: NalType) {
        let Some(header) = SliceHeader::read(nal) else {
            return;
        };
        if header.is_b && !self.told_b_pictures {
            self.told_b_pictures = true;
            self.surprise = Some(Surprise::BPictures);
        }
        if slice == NalType::IdrSlice {
            let active = self.sets.profile_level_id(header.pps_id);
            self.profile_level_id = active.or(self.profile_level_id);
        }
    }
}

/// The first fields of a slice header. 7.3.3.
struct SliceHeader {
    is_b: bool,
    pps_id: u32,
}

impl SliceHeader {
    fn read(nal: &[u8]) -> Option<Self> {
        let mut bits = BitReader::new(ByteReader::skipping_h264_header(nal));
        bits.read_ue("first_mb_in_slice").ok()?;
        let slice_type = bits.read_ue("slice_type").ok()?;
        let pps_id = bits.read_ue("pic_parameter_set_id").ok()?;
        Some(Self {
            // 6 says that all slices of the picture are such. Table 7-6.
            is_b: matches!(slice_type, 1 | 6),
            pps_id,
        })
    }
}

/// One slice for each row of macroblocks of the tallest picture (8192 lines) is the most that encoders make.
const MOST_NAL_UNITS: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::annex_b::nal_units;
    use super::super::parameter_sets::MOST_BYTES;
    use super::*;

    // x264, main profile, level 3.0, 640x360.
    const SPS: &[u8] = &[
        0x67, 0x4d, 0x40, 0x1e, 0xec, 0xa0, 0x50, 0x17, 0xfc, 0xb8, 0x08, 0x80, 0x00, 0x00, 0x03,
        0x00, 0x80, 0x00, 0x00, 0x1e, 0x07, 0x8b, 0x16, 0xcb,
    ];
    const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x20];
    const AUD: &[u8] = &[0x09, 0xf0];
    const SEI: &[u8] = &[0x06, 0x05, 0x01, 0xaa, 0x80];
    // first_mb_in_slice 0, slice_type 7, pic_parameter_set_id 0.
    const IDR: &[u8] = &[0x65, 0x88, 0x84, 0x21];
    // first_mb_in_slice 0, slice_type 5, pic_parameter_set_id 0.
    const P: &[u8] = &[0x41, 0x9a, 0x24, 0x6c];
    // first_mb_in_slice 0, slice_type 1 (B), pic_parameter_set_id 0.
    const B: &[u8] = &[0x01, 0xa8, 0x84, 0x21];
    // Layer extension: 20 is also no RTP packet type, 24 is STAP-A.
    const LAYER: &[u8] = &[0x74, 0x11];
    const UNSPECIFIED: &[u8] = &[0x78, 0x11];

    fn stream(nals: &[&[u8]]) -> Vec<u8> {
        nals.iter()
            .flat_map(|nal| [&START_CODE[..], nal].concat())
            .collect()
    }

    fn condition(
        conditioner: &mut Conditioner,
        nals: &[&[u8]],
    ) -> (Result<Conditioned, H264Error>, Vec<u8>) {
        let mut out = BytesMut::new();
        let result = conditioner.condition(&stream(nals), &mut out);
        (result, nal_units(&out).map(|nal| nal[0] & 0x1f).collect())
    }

    const PICTURE: Conditioned = Conditioned {
        key_frame: false,
        has_picture: true,
    };
    const KEY_FRAME: Conditioned = Conditioned {
        key_frame: true,
        has_picture: true,
    };
    const HEADERS: Conditioned = Conditioned {
        key_frame: false,
        has_picture: false,
    };

    #[test]
    fn every_key_frame_gets_its_parameter_sets_once() {
        let mut conditioner = Conditioner::new();
        let with_sets = condition(&mut conditioner, &[AUD, SPS, PPS, SPS, SEI, IDR, IDR]);
        assert_eq!(with_sets, (Ok(KEY_FRAME), vec![7, 8, 6, 5, 5]));
        let without_sets = condition(&mut conditioner, &[AUD, IDR]);
        assert_eq!(without_sets, (Ok(KEY_FRAME), vec![7, 8, 5]));
    }

    #[test]
    fn headers_of_their_own_are_held_for_the_next_picture() {
        let mut conditioner = Conditioner::new();
        let headers = condition(&mut conditioner, &[SPS, PPS]);
        assert_eq!(headers, (Ok(HEADERS), vec![]));
        let picture = condition(&mut conditioner, &[IDR]);
        assert_eq!(picture, (Ok(KEY_FRAME), vec![7, 8, 5]));
    }

    #[test]
    fn repeated_parameter_sets_are_dropped_and_changed_ones_sent_at_once() {
        let mut conditioner = Conditioner::new();
        condition(&mut conditioner, &[SPS, PPS, IDR]).0.unwrap();
        let repeated = condition(&mut conditioner, &[SPS, PPS, P]);
        assert_eq!(repeated, (Ok(PICTURE), vec![1]));
        let changed_pps = [PPS, &[0x77]].concat();
        let changed = condition(&mut conditioner, &[&changed_pps, P]);
        assert_eq!(changed, (Ok(PICTURE), vec![7, 8, 1]));
        assert_eq!(condition(&mut conditioner, &[P]), (Ok(PICTURE), vec![1]));
    }

    #[test]
    fn units_that_rtp_would_take_for_its_own_are_dropped() {
        let mut conditioner = Conditioner::new();
        let (result, sent) = condition(&mut conditioner, &[UNSPECIFIED, LAYER, P, &[0x0c, 0xff]]);
        assert_eq!((result, sent), (Ok(PICTURE), vec![1]));
    }

    #[test]
    fn profile_level_id_is_that_of_the_real_sps() {
        let mut conditioner = Conditioner::new();
        assert_eq!(conditioner.profile_level_id(), None);
        condition(&mut conditioner, &[SPS, PPS, IDR]).0.unwrap();
        let id = conditioner.profile_level_id().unwrap();
        assert_eq!(id.to_string(), "4d401e");

        // The camera changes its profile in the middle of the stream.
        let mut high_level = SPS.to_vec();
        high_level[3] = 0x1f;
        condition(&mut conditioner, &[&high_level, PPS, IDR])
            .0
            .unwrap();
        let id = conditioner.profile_level_id().unwrap();
        assert_eq!(id.to_string(), "4d401f");
    }

    #[test]
    fn key_frame_before_any_parameter_set_is_an_error() {
        let (result, _) = condition(&mut Conditioner::new(), &[IDR]);
        assert_eq!(
            result.unwrap_err().to_string(),
            "cannot send a key frame: found no sps and pps before it"
        );
    }

    #[test]
    fn stream_without_start_codes_is_an_error() {
        let mut out = BytesMut::new();
        // Length-prefixed, as in MP4.
        let result = Conditioner::new().condition(&[0, 0, 0, 2, 0x65, 0x88], &mut out);
        assert_eq!(
            result.unwrap_err().to_string(),
            "cannot read an access unit of 6 bytes: found no start code when expecting the byte stream format of annex b"
        );
    }

    #[test]
    fn sps_that_cannot_be_read_is_sent_as_it_is_and_told_once() {
        let mut conditioner = Conditioner::new();
        let odd_sps = &[0x67, 0x42, 0xc0, 0x1e, 0x80][..];
        let mut out = BytesMut::new();
        conditioner
            .condition(&stream(&[odd_sps, PPS, IDR]), &mut out)
            .unwrap();
        assert_eq!(nal_units(&out).next(), Some(odd_sps));
        assert!(matches!(
            conditioner.take_surprise(),
            Some(Surprise::UnreadableSps { .. })
        ));
        condition(&mut conditioner, &[odd_sps, PPS, IDR]).0.unwrap();
        assert_eq!(conditioner.take_surprise(), None);
    }

    #[test]
    fn b_pictures_are_told_once() {
        let mut conditioner = Conditioner::new();
        condition(&mut conditioner, &[SPS, PPS, IDR]).0.unwrap();
        condition(&mut conditioner, &[P]).0.unwrap();
        assert_eq!(conditioner.take_surprise(), None);
        condition(&mut conditioner, &[B]).0.unwrap();
        assert_eq!(conditioner.take_surprise(), Some(Surprise::BPictures));
        condition(&mut conditioner, &[B]).0.unwrap();
        assert_eq!(conditioner.take_surprise(), None);
    }

    #[test]
    fn source_that_makes_up_parameter_sets_is_stopped() {
        let mut conditioner = Conditioner::new();
        let large = [PPS, &[0x55; 5000]].concat();
        condition(&mut conditioner, &[SPS, &large]).0.unwrap();
        // pic_parameter_set_id 1, seq_parameter_set_id 0.
        let another = [&[0x68, 0b0101_1000][..], &[0x55; 5000]].concat();
        let (result, _) = condition(&mut conditioner, &[&another, IDR]);
        assert_eq!(
            result.unwrap_err().to_string(),
            "cannot keep a pps of 5002 bytes: found too many parameter sets before it"
        );
        condition(&mut conditioner, &[IDR]).0.unwrap();
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic_and_cost_little_memory(
            units in vec(vec(prop_oneof![4 => Just(0u8), 2 => Just(1u8), 3 => 0x61..0x69u8, 1 => any::<u8>()], 0..200), 1..8)
        ) {
            let mut conditioner = Conditioner::new();
            for unit in units {
                let mut out = BytesMut::new();
                let result = conditioner.condition(&unit, &mut out);
                prop_assert!(result.is_ok_and(|it| it.has_picture) || out.is_empty());
                prop_assert!(conditioner.sets.bytes() <= MOST_BYTES + 64);
            }
        }

        #[test]
        fn pictures_go_through_unchanged(kinds in vec(0usize..7, 1..12)) {
            let all = [AUD, SPS, PPS, SEI, IDR, P, UNSPECIFIED];
            let nals: Vec<&[u8]> = kinds.iter().map(|&kind| all[kind]).collect();
            let mut conditioner = Conditioner::new();
            condition(&mut conditioner, &[SPS, PPS]).0.unwrap();
            let mut out = BytesMut::new();
            let result = conditioner.condition(&stream(&nals), &mut out).unwrap();
            let sent = |nal: &&[u8]| [SEI, IDR, P].contains(nal);
            let expected: Vec<&[u8]> = nals.into_iter().filter(sent).filter(|_| result.has_picture).collect();
            let units: Vec<&[u8]> = nal_units(&out).collect();
            let sets = if result.has_picture { 2 } else { 0 };
            prop_assert_eq!(&units[sets..], expected);
        }
    }
}
