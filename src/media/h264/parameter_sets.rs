//! The parameter sets that a decoder needs before it can start, as the source sent them last.

use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};
use h264_reader::rbsp::{BitRead, BitReader, ByteReader};

use super::sps::without_reordering;
use super::{H264Error, ProfileLevelId, START_CODE};

#[derive(Debug, Default)]
pub(super) struct ParameterSets {
    sequence: BTreeMap<u32, SequenceSet>,
    /// By their id; the SPS that they belong to is in their second field.
    picture: BTreeMap<u32, Vec<u8>>,
}

#[derive(Debug)]
struct SequenceSet {
    /// As the source sent it: encoders repeat it with each key frame, and it is rewritten only once.
    source: Vec<u8>,
    rewritten: Vec<u8>,
}

/// What came of keeping a parameter set.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The same was there before.
    Known,
    New,
    /// An SPS that cannot be rewritten, with what was found: it is sent as it is.
    NewAsItIs {
        found: String,
    },
}

impl ParameterSets {
    pub(super) fn keep_sps(&mut self, nal: &[u8]) -> Result<Kept, H264Error> {
        let refuse = |found: &str| H264Error::ParameterSet {
            kind: "sps",
            bytes: nal.len(),
            found: found.into(),
        };
        let id = sps_id(nal).ok_or_else(|| refuse("found no id from 0 to 31"))?;
        let before = self.sequence.get(&id);
        if before.is_some_and(|set| set.source == nal) {
            return Ok(Kept::Known);
        }
        let freed = before.map_or(0, |set| set.rewritten.len());
        if self.bytes() - freed + nal.len() > MOST_BYTES {
            return Err(refuse("found too many parameter sets before it"));
        }
        let (rewritten, kept) = match without_reordering(nal) {
            Ok(rewritten) => (rewritten, Kept::New),
            Err(found) => (nal.to_vec(), Kept::NewAsItIs { found }),
        };
        let source = nal.to_vec();
        self.sequence.insert(id, SequenceSet { source, rewritten });
        Ok(kept)
    }

    pub(super) fn keep_pps(&mut self, nal: &[u8]) -> Result<Kept, H264Error> {
        let refuse = |found: &str| H264Error::ParameterSet {
            kind: "pps",
            bytes: nal.len(),
            found: found.into(),
        };
        let (id, _) = pps_ids(nal).ok_or_else(|| refuse("found no id from 0 to 255"))?;
        let before = self.picture.get(&id);
        if before.is_some_and(|set| set == nal) {
            return Ok(Kept::Known);
        }
        let freed = before.map_or(0, Vec::len);
        if self.bytes() - freed + nal.len() > MOST_BYTES {
            return Err(refuse("found too many parameter sets before it"));
        }
        self.picture.insert(id, nal.to_vec());
        Ok(Kept::New)
    }

    /// An error when one of the two kinds is missing altogether.
    pub(super) fn require_both(&self) -> Result<(), H264Error> {
        let missing = match (self.sequence.is_empty(), self.picture.is_empty()) {
            (false, false) => return Ok(()),
            (true, true) => "sps and pps",
            (true, false) => "sps",
            (false, true) => "pps",
        };
        Err(H264Error::NoParameterSets { missing })
    }

    /// From the SPS that pictures with this PPS use.
    pub(super) fn profile_level_id(&self, pps_id: u32) -> Option<ProfileLevelId> {
        let (_, sps_id) = pps_ids(self.picture.get(&pps_id)?)?;
        ProfileLevelId::of_sps(&self.sequence.get(&sps_id)?.source)
    }

    /// How much `append_to` appends.
    pub(super) fn bytes(&self) -> usize {
        self.all().map(|set| START_CODE.len() + set.len()).sum()
    }

    pub(super) fn append_to(&self, out: &mut BytesMut) {
        for set in self.all() {
            out.put_slice(&START_CODE);
            out.put_slice(set);
        }
    }

    /// Every SPS and then every PPS: pictures behind a key frame may use any of them.
    fn all(&self) -> impl Iterator<Item = &[u8]> {
        let sequence = self.sequence.values().map(|set| &set.rewritten);
        sequence.chain(self.picture.values()).map(Vec::as_slice)
    }
}

/// 7.4.2.1.1.
fn sps_id(nal: &[u8]) -> Option<u32> {
    let mut bits = BitReader::new(ByteReader::skipping_h264_header(nal));
    bits.skip(24, "profile_idc to level_idc").ok()?;
    let id = bits.read_ue("seq_parameter_set_id").ok()?;
    (id <= LARGEST_SPS_ID).then_some(id)
}

/// Its own id, and that of its SPS. 7.4.2.2.
fn pps_ids(nal: &[u8]) -> Option<(u32, u32)> {
    let mut bits = BitReader::new(ByteReader::skipping_h264_header(nal));
    let id = bits.read_ue("pic_parameter_set_id").ok()?;
    let sps_id = bits.read_ue("seq_parameter_set_id").ok()?;
    (id <= LARGEST_PPS_ID && sps_id <= LARGEST_SPS_ID).then_some((id, sps_id))
}

const LARGEST_SPS_ID: u32 = 31;
const LARGEST_PPS_ID: u32 = 255;

/// Encoders send one SPS and one to four PPS, together under 200 bytes. Each key frame carries all of it, so a broken source
/// that makes up new ids must not make every key frame large.
pub(super) const MOST_BYTES: usize = 8 * 1024;
