//! H.264 byte streams: where one access unit ends and the next begins. ITU-T H.264, Annex B and section 7.4.1.2.

mod sps;

use super::clip::{self, Clip, Flaw, Span};
use crate::media::PictureFormat;

/// True when the first bytes of a file are a start code and the header of a NAL unit that may come first.
pub(super) fn begins(head: &[u8]) -> bool {
    let zeros = head.iter().take_while(|byte| **byte == 0).count();
    match head.get(zeros..) {
        // The forbidden bit is what tells it from MPEG-2; parameter sets and IDR slices are always reference data, SEI and
        // delimiters never are, which tells it from H.265.
        Some([1, header, ..]) if zeros >= 2 && header & 0x80 == 0 => {
            let is_reference = header & 0x60 != 0;
            match header & 0x1f {
                NON_IDR | PARTITION_A => true,
                IDR | SPS | PPS => is_reference,
                SEI | DELIMITER => !is_reference,
                _ => false,
            }
        }
        _ => false,
    }
}

/// Finds the access units in a file that comes in pieces.
///
/// A delimiter, SEI, SPS or PPS after a slice begins the next one, and so does a slice with the picture's first macroblock: all
/// that encoders without arbitrary slice order need. What comes before the first IDR picture that brings its SPS and PPS
/// along is left out: a decoder cannot start there.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// How much of the file has been seen.
    at: u64,
    /// Zero bytes just seen.
    zeros: u64,
    /// Where the start code of the current NAL unit is.
    start: u64,
    place: Place,
    /// The current SPS as far as it has come, from its header on.
    sps: Vec<u8>,
    format: Option<PictureFormat>,
    unit: Option<Unit>,
    units: Vec<Span>,
    /// Access units before the first that can be decoded.
    left_out: u64,
    has_pps: bool,
    has_idr: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// Before the first start code, or in a NAL unit of which nothing more is needed.
    #[default]
    Elsewhere,
    Header,
    /// Behind the header of a slice: `first_mb_in_slice` comes first.
    Slice {
        kind: u8,
    },
    Sps,
}

/// An access unit as far as it has come.
#[derive(Clone, Copy, Debug, Default)]
struct Unit {
    start: u64,
    has_slice: bool,
    has_idr: bool,
    has_sps: bool,
    has_pps: bool,
}

impl Scanner {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        for byte in bytes {
            self.at += 1;
            if *byte == 1 && self.zeros >= 2 {
                self.end_nal_unit()?;
                // A fourth byte, when there is one, belongs to the start code (B.1.1, zero_byte).
                self.start = self.at - 1 - self.zeros.min(3);
                self.place = Place::Header;
            } else {
                self.step(*byte)?;
            }
            self.zeros = if *byte == 0 { self.zeros + 1 } else { 0 };
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Clip, Flaw> {
        self.end_nal_unit()?;
        self.end_access_unit(self.at)?;
        let missing = |what: &str| Err(format!("its H.264 stream has no {what}").into());
        let Some(format) = self.format else {
            return missing("SPS");
        };
        if !self.has_pps {
            return missing("PPS");
        }
        if !self.has_idr {
            return missing("IDR picture");
        }
        if self.units.is_empty() {
            return missing("IDR picture with SPS and PPS in front of it");
        }
        let left_out = self.left_out;
        Ok(Clip {
            format,
            pictures: self.units,
            leftover: (left_out > 0)
                .then(|| format!("{left_out} pictures before the first key frame")),
        })
    }

    fn step(&mut self, byte: u8) -> Result<(), Flaw> {
        match self.place {
            Place::Elsewhere => {}
            Place::Header => match byte & 0x1f {
                kind @ (NON_IDR | PARTITION_A | IDR) => self.place = Place::Slice { kind },
                kind => {
                    self.begin_nal_unit(kind, false)?;
                    self.sps.clear();
                    self.sps.push(byte);
                    self.place = if kind == SPS {
                        Place::Sps
                    } else {
                        Place::Elsewhere
                    };
                }
            },
            Place::Slice { kind } => {
                // `first_mb_in_slice`, then `slice_type`, both Exp-Golomb (9.1): 0 is a 1, 1 is 010, 6 is 00111.
                if matches!(byte, 0x9c..=0xaf) {
                    return Err(format!(
                        "its picture at byte {} is a B picture when expecting I and P pictures only \
                         (ffmpeg -bf 0 makes them)",
                        self.start
                    )
                    .into());
                }
                self.begin_nal_unit(kind, byte & 0x80 != 0)?;
                self.place = Place::Elsewhere;
            }
            Place::Sps if self.sps.len() < MAX_SPS => self.sps.push(byte),
            Place::Sps => {
                return Err(format!("its SPS is longer than {MAX_SPS} bytes").into());
            }
        }
        Ok(())
    }

    fn begin_nal_unit(&mut self, kind: u8, first_macroblock: bool) -> Result<(), Flaw> {
        let begins_picture = match kind {
            SEI | SPS | PPS | DELIMITER | PREFIX..=LAST_RESERVED => true,
            NON_IDR | PARTITION_A | IDR => first_macroblock,
            _ => false,
        };
        if begins_picture && self.unit.is_some_and(|unit| unit.has_slice) {
            self.end_access_unit(self.start)?;
        }
        let unit = self.unit.get_or_insert(Unit {
            start: self.start,
            ..Unit::default()
        });
        match kind {
            NON_IDR | PARTITION_A => unit.has_slice = true,
            IDR => (unit.has_slice, unit.has_idr) = (true, true),
            SPS => unit.has_sps = true,
            PPS => unit.has_pps = true,
            _ => {}
        }
        self.has_idr |= unit.has_idr;
        self.has_pps |= unit.has_pps;
        Ok(())
    }

    fn end_access_unit(&mut self, end: u64) -> Result<(), Flaw> {
        let Some(unit) = self.unit.take().filter(|unit| unit.has_slice) else {
            return Ok(());
        };
        let can_start = unit.has_idr && unit.has_sps && unit.has_pps;
        if self.units.is_empty() && !can_start {
            self.left_out += 1;
            return Ok(());
        }
        clip::add(&mut self.units, clip::coded_span(unit.start, end)?)
    }

    fn end_nal_unit(&mut self) -> Result<(), Flaw> {
        let is_sps = matches!(self.place, Place::Sps);
        self.place = Place::Elsewhere;
        if !is_sps {
            return Ok(());
        }
        // Zeros behind a NAL unit are not part of it: its last bit is a one (B.1.1, 7.3.2.11).
        while self.sps.last() == Some(&0) {
            self.sps.pop();
        }
        let format = sps::read_format(&self.sps)?;
        let first = *self.format.get_or_insert(format);
        if format.size != first.size {
            return Err(format!(
                "its picture size changes from {} to {} at byte {}",
                first.size, format.size, self.start
            )
            .into());
        }
        Ok(())
    }
}

/// Kinds of NAL units. ITU-T H.264, table 7-1.
const NON_IDR: u8 = 1;
const PARTITION_A: u8 = 2;
const IDR: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const PREFIX: u8 = 14;
const LAST_RESERVED: u8 = 18;

/// Real ones have some 30 bytes; scaling lists and HRD parameters may add a few hundred.
const MAX_SPS: usize = 1024;

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::sps::tests::SPS_NAL;
    use super::*;

    const PPS_NAL: &[u8] = &[0, 0, 1, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
    const IDR_NAL: &[u8] = &[0, 0, 1, 0x65, 0x88, 0x84, 0, 3];
    const SLICE_NAL: &[u8] = &[0, 0, 1, 0x41, 0x9a, 0x24];
    const SECOND_SLICE_NAL: &[u8] = &[0, 0, 1, 0x41, 0x46, 0x24];
    const SEI_NAL: &[u8] = &[0, 0, 1, 0x06, 5, 1, 0, 0x80];
    const DELIMITER_NAL: &[u8] = &[0, 0, 0, 1, 0x09, 0xf0];

    /// Access units of a real encoder, the first one a key frame, 64x64.
    #[cfg(feature = "software-encoder")]
    pub(in crate::camera::file) fn encoded(units: u8) -> Vec<Vec<u8>> {
        use openh264::encoder::Encoder;
        use openh264::formats::YUVBuffer;

        let mut encoder = Encoder::new().unwrap();
        (0..units)
            .map(|unit| {
                let ramp = |at: usize| (at % 64) as u8 + unit * 5;
                let picture = (0..64 * 64 * 3 / 2).map(ramp).collect();
                let picture = YUVBuffer::from_vec(picture, 64, 64);
                encoder.encode(&picture).unwrap().to_vec()
            })
            .collect()
    }

    fn scan(bytes: &[u8], piece: usize) -> Result<Clip, Flaw> {
        let mut scanner = Scanner::default();
        for piece in bytes.chunks(piece) {
            scanner.push(piece)?;
        }
        scanner.finish()
    }

    fn found(nal_units: &[&[u8]]) -> String {
        match scan(&nal_units.concat(), 1000) {
            Err(Flaw::NotPlayable(found)) => found,
            other => panic!("{other:?}"),
        }
    }

    fn lengths(clip: &Clip) -> Vec<u32> {
        clip.pictures.iter().map(|span| span.length).collect()
    }

    #[test]
    fn a_slice_of_the_same_picture_stays_with_it() {
        let units = [
            [DELIMITER_NAL, SPS_NAL, PPS_NAL, SEI_NAL, IDR_NAL].concat(),
            [SLICE_NAL, SECOND_SLICE_NAL].concat(),
            SLICE_NAL.to_vec(),
            [SEI_NAL, SLICE_NAL, SECOND_SLICE_NAL].concat(),
            [DELIMITER_NAL, SLICE_NAL].concat(),
        ];
        let expected: Vec<_> = units.iter().map(|unit| unit.len() as u32).collect();
        for piece in [1, 3, 1000] {
            let clip = scan(&units.concat(), piece).unwrap();
            assert_eq!(lengths(&clip), expected);
            assert_eq!(clip.format.size.to_string(), "640x360");
            assert_eq!(clip.format.interval.as_millis(), 40);
            assert_eq!(clip.leftover, None);
        }
    }

    #[test]
    fn what_no_decoder_can_start_with_is_left_out() {
        let recording = [SLICE_NAL, SLICE_NAL, SPS_NAL, PPS_NAL, IDR_NAL, SLICE_NAL].concat();
        let clip = scan(&recording, 1000).unwrap();
        assert_eq!(clip.pictures.len(), 2);
        assert_eq!(clip.pictures[0].offset, 12);
        assert_eq!(
            clip.leftover.unwrap(),
            "2 pictures before the first key frame"
        );
    }

    #[test]
    fn streams_that_cannot_be_played_say_why() {
        for (nal_units, expected) in [
            (&[PPS_NAL, IDR_NAL][..], "its H.264 stream has no SPS"),
            (&[SPS_NAL, IDR_NAL], "its H.264 stream has no PPS"),
            (
                &[SPS_NAL, PPS_NAL, SLICE_NAL],
                "its H.264 stream has no IDR picture",
            ),
            (
                &[SPS_NAL, PPS_NAL, SLICE_NAL, IDR_NAL],
                "its H.264 stream has no IDR picture with SPS and PPS in front of it",
            ),
            (
                &[SPS_NAL, PPS_NAL, IDR_NAL, &[0, 0, 1, 0x01, 0x9e]],
                "its picture at byte 47 is a B picture when expecting I and P pictures only (ffmpeg -bf 0 makes them)",
            ),
        ] {
            assert_eq!(found(nal_units), expected);
        }
        let endless = [SPS_NAL, &[7; 2000]].concat();
        assert_eq!(found(&[&endless]), "its SPS is longer than 1024 bytes");
        assert!(found(&[&SPS_NAL[..9]]).starts_with("its SPS cannot be read: "));
    }

    #[test]
    fn h264_is_told_from_other_start_codes() {
        assert!(begins(SPS_NAL));
        assert!(begins(DELIMITER_NAL));
        assert!(begins(&[0, 0, 0, 0, 0, 1, 0x67]));
        let mpeg2 = [0, 0, 1, 0xb3];
        let h265_parameters = [0, 0, 0, 1, 0x40, 0x01];
        let h265_delimiter = [0, 0, 0, 1, 0x46, 0x01];
        for other in [&mpeg2[..], &h265_parameters, &h265_delimiter, &[0; 16], &[]] {
            assert!(!begins(other), "{other:?}");
        }
    }

    #[cfg(feature = "software-encoder")]
    #[test]
    fn units_of_a_real_encoder_are_told_apart() {
        let units = encoded(8);
        let clip = scan(&units.concat(), 100).unwrap();
        let expected: Vec<_> = units.iter().map(|unit| unit.len() as u32).collect();
        assert_eq!(lengths(&clip), expected);
    }

    proptest! {
        #[test]
        fn any_nal_units_are_harmless_in_any_pieces(
            nal_units in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..40),
                    Just(SPS_NAL.to_vec()),
                    Just(PPS_NAL.to_vec()),
                    Just(IDR_NAL.to_vec()),
                    Just(SLICE_NAL.to_vec()),
                    Just(vec![0, 0, 1]),
                ],
                0..12,
            ),
            piece in 1..40usize,
        ) {
            let bytes = nal_units.concat();
            let spans = |clip: Result<Clip, Flaw>| clip.map(|clip| clip.pictures).ok();
            prop_assert_eq!(spans(scan(&bytes, piece)), spans(scan(&bytes, 1000)));
        }
    }
}
