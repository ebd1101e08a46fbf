//! The sequence parameter set: what it says about itself, and a promise added that no picture waits for another.

use h264_reader::nal::sps::{BitstreamRestrictions, SeqParameterSet};
use h264_reader::nal::{NalHeader, WritableNal};
use h264_reader::rbsp::{BitReader, decode_nal};

/// Writes the SPS `nal` anew, saying in its VUI that pictures are shown in the order in which they are coded.
///
/// Without `max_num_reorder_frames` a decoder must expect as much reordering as its picture buffer has room for (E.2.1), and
/// many hold that many pictures back before they show the first. `max_dec_frame_buffering` becomes the least that E.2.1
/// allows, `max_num_ref_frames`. Everything else that the SPS says stays.
pub(super) fn without_reordering(nal: &[u8]) -> Result<Vec<u8>, String> {
    // With a profile and a level other than zero no emulation prevention can stand before the level.
    let (header, level) = match nal {
        &[header, profile, _, level, ..] if profile != 0 && level != 0 => (header, level),
        _ => return Err("found no profile and level".into()),
    };
    // Many encoders state a level that is too low for what they send. The parser refuses that, browsers do not.
    let mut leveled = nal.to_vec();
    leveled[LEVEL_AT] = UNKNOWN_LEVEL;
    let rbsp = decode_nal(&leveled).map_err(|error| error.to_string())?;
    let mut sps = SeqParameterSet::from_bits(BitReader::new(&rbsp[..]))
        .map_err(|error| format!("{error:?}"))?;
    sps.level_idc = level;
    if sps.max_num_ref_frames > MOST_FRAMES {
        return Err(format!("found {} reference frames", sps.max_num_ref_frames));
    }

    let vui = sps.vui_parameters.get_or_insert_default();
    let restrictions = vui
        .bitstream_restrictions
        .get_or_insert(UNRESTRICTED.clone());
    restrictions.max_num_reorder_frames = 0;
    // A decoder has room for one picture at any level, and some take zero for "not known".
    restrictions.max_dec_frame_buffering = sps.max_num_ref_frames.max(1);

    let header = NalHeader::new(header).map_err(|error| format!("{error:?}"))?;
    Ok(sps.to_vec_with_header(header))
}

/// What a decoder must assume when an SPS has no bitstream restriction. E.2.1.
const UNRESTRICTED: BitstreamRestrictions = BitstreamRestrictions {
    motion_vectors_over_pic_boundaries_flag: true,
    max_bytes_per_pic_denom: 2,
    max_bits_per_mb_denom: 1,
    log2_max_mv_length_horizontal: 16,
    log2_max_mv_length_vertical: 16,
    max_num_reorder_frames: 0,
    max_dec_frame_buffering: 0,
};

/// Behind the header, `profile_idc` and the constraint flags. 7.3.2.1.1.
const LEVEL_AT: usize = 3;

/// A `level_idc` that no level has: the parser then checks no limits of a level.
const UNKNOWN_LEVEL: u8 = 0xff;

/// The largest `MaxDpbFrames` of any level. A.3.1.
const MOST_FRAMES: u32 = 16;

#[cfg(test)]
mod tests {
    use h264_reader::nal::sps::{
        AspectRatioInfo, ChromaInfo, ConstraintFlags, CpbSpec, FrameCropping, FrameMbsFlags,
        HrdParameters, PicOrderCntType, ScalingLists4x4, ScalingLists8x8, SeqParamSetId,
        SeqScalingMatrix, TimingInfo, VuiParameters,
    };
    use proptest::array::uniform6;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::annex_b::nal_units;
    use super::*;

    fn parse(nal: &[u8]) -> SeqParameterSet {
        let rbsp = decode_nal(nal).unwrap();
        SeqParameterSet::from_bits(BitReader::new(&rbsp[..])).unwrap()
    }

    /// Asserts that the SPS says the same as before but for its promise about reordering, and returns that.
    fn rewritten(nal: &[u8]) -> BitstreamRestrictions {
        let (before, mut after) = (parse(nal), parse(&without_reordering(nal).unwrap()));
        let vui = after.vui_parameters.as_mut().unwrap();
        let restrictions = vui.bitstream_restrictions.take().unwrap();
        let mut expected = before.clone();
        let expected_vui = expected.vui_parameters.get_or_insert_default();
        expected_vui.bitstream_restrictions = None;
        assert_eq!(after, expected);
        assert_eq!(
            after.pixel_dimensions().unwrap(),
            before.pixel_dimensions().unwrap()
        );
        restrictions
    }

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn x264_main_with_b_pictures_no_longer_announces_reordering() {
        // x264, main, 640x360@30: max_num_reorder_frames 2, max_dec_frame_buffering 4.
        let sps = bytes("674d401eeca05017fcb80880000003008000001e078b16cb");
        let restrictions = rewritten(&sps);
        assert_eq!(restrictions.max_num_reorder_frames, 0);
        assert_eq!(restrictions.max_dec_frame_buffering, 4);
        // What the encoder promised about motion vectors stays.
        assert_eq!(restrictions.log2_max_mv_length_horizontal, 10);
    }

    #[test]
    fn sps_without_vui_gets_one() {
        // x264, constrained baseline, 640x360.
        let mut sps = parse(&bytes("6742c01ed900a02ff970110000030001000003003c8f162e48"));
        sps.vui_parameters = None;
        let nal = sps.to_vec_with_header(NalHeader::new(0x67).unwrap());
        let expected = BitstreamRestrictions {
            max_dec_frame_buffering: sps.max_num_ref_frames,
            ..UNRESTRICTED
        };
        assert_eq!(rewritten(&nal), expected);
    }

    #[test]
    fn openh264_promises_what_it_does() {
        // openh264 2.x, constrained baseline, 640x360, BT.601: restricted by the encoder itself.
        let sps = bytes("6742c01e8c680a02ff966a02020c0f08846a");
        assert_eq!(without_reordering(&sps).unwrap(), sps);
    }

    #[test]
    fn high_profile_with_scaling_lists_hrd_and_cropping_is_kept() {
        // x264: high with the JVT matrices and NAL HRD; 1920x1080 cut from 1088 lines, with aspect ratio and colour; high
        // 4:4:4 with matrices, interlaced, 100x70.
        for hex in [
            "6764001eacb201405ff2e02200000300020000030078c4c001e848003d09498600f162e480",
            "6742c028da01e0089f97ff000300046a02020280000003008000001e078c1950",
            "67f40015919c83b78d8ec044000003000400000300787c50a920",
        ] {
            assert_eq!(rewritten(&bytes(hex)).max_num_reorder_frames, 0);
        }
    }

    #[test]
    fn level_that_is_too_low_for_the_picture_stays_as_it_is() {
        let mut sps = bytes("674d401eeca05017fcb80880000003008000001e078b16cb");
        sps[LEVEL_AT] = 10;
        let after = without_reordering(&sps).unwrap();
        assert_eq!(after[1..4], [0x4d, 0x40, 10]);
    }

    #[test]
    fn garbage_is_refused_with_what_was_found() {
        assert_eq!(
            without_reordering(&[0x67, 0x42]).unwrap_err(),
            "found no profile and level"
        );
        assert!(without_reordering(&[0x67, 0x42, 0, 0x1e, 0x80]).is_err());
    }

    fn optional<T: std::fmt::Debug + Clone>(
        value: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Option<T>> {
        proptest::option::of(value)
    }

    fn scaling_matrix() -> impl Strategy<Value = Box<SeqScalingMatrix>> {
        // A zero ends a list: what stands behind it is not coded.
        fn list<const N: usize>() -> impl Strategy<Value = Option<[u8; N]>> {
            optional((any::<u8>(), 0..=N).prop_map(|(value, length)| {
                std::array::from_fn(|index| if index < length { value } else { 0 })
            }))
        }
        (uniform6(list::<16>()), list::<64>(), list::<64>()).prop_map(|(small, intra, inter)| {
            Box::new(SeqScalingMatrix {
                scaling_lists4x4: ScalingLists4x4(small),
                scaling_lists8x8: ScalingLists8x8::Y([intra, inter]),
            })
        })
    }

    fn hrd() -> impl Strategy<Value = HrdParameters> {
        let spec = (0..u32::MAX - 1, 0..u32::MAX - 1, any::<bool>()).prop_map(
            |(bit_rate_value_minus1, cpb_size_value_minus1, cbr_flag)| CpbSpec {
                bit_rate_value_minus1,
                cpb_size_value_minus1,
                cbr_flag,
            },
        );
        (vec(spec, 1..4), 0u8..16, 0u8..32).prop_map(|(cpb_specs, scale, length)| HrdParameters {
            bit_rate_scale: scale,
            cpb_size_scale: scale,
            cpb_specs,
            initial_cpb_removal_delay_length_minus1: length,
            cpb_removal_delay_length_minus1: length,
            dpb_output_delay_length_minus1: length,
            time_offset_length: length,
        })
    }

    fn vui() -> impl Strategy<Value = VuiParameters> {
        let timing = (any::<u32>(), any::<u32>(), any::<bool>()).prop_map(
            |(num_units_in_tick, time_scale, fixed_frame_rate_flag)| TimingInfo {
                num_units_in_tick,
                time_scale,
                fixed_frame_rate_flag,
            },
        );
        let aspect =
            (any::<u16>(), any::<u16>()).prop_map(|(w, h)| AspectRatioInfo::Extended(w, h));
        (optional(aspect), optional(timing), optional(hrd()), 0u32..5).prop_map(
            |(aspect_ratio_info, timing_info, nal_hrd_parameters, reorder)| VuiParameters {
                aspect_ratio_info,
                timing_info,
                low_delay_hrd_flag: nal_hrd_parameters.as_ref().map(|_| true),
                nal_hrd_parameters,
                bitstream_restrictions: (reorder > 0).then_some(BitstreamRestrictions {
                    max_num_reorder_frames: reorder,
                    max_dec_frame_buffering: MOST_FRAMES,
                    ..UNRESTRICTED
                }),
                ..VuiParameters::default()
            },
        )
    }

    fn any_sps() -> impl Strategy<Value = SeqParameterSet> {
        let order = prop_oneof![
            (0u8..=12).prop_map(
                |log2_max_pic_order_cnt_lsb_minus4| PicOrderCntType::TypeZero {
                    log2_max_pic_order_cnt_lsb_minus4
                }
            ),
            vec(-1000..1000i32, 0..6).prop_map(|offsets_for_ref_frame| PicOrderCntType::TypeOne {
                delta_pic_order_always_zero_flag: false,
                offset_for_non_ref_pic: 0,
                offset_for_top_to_bottom_field: -1,
                offsets_for_ref_frame,
            }),
            Just(PicOrderCntType::TypeTwo),
        ];
        let crop = (0u32..4, 0u32..4).prop_map(|(right_offset, bottom_offset)| FrameCropping {
            right_offset,
            bottom_offset,
            ..FrameCropping::default()
        });
        let shape = (0u32..60, 0u32..60, optional(crop), any::<bool>());
        let head = (any::<bool>(), any::<u8>(), 0u32..32, 0u32..=MOST_FRAMES);
        (
            head,
            shape,
            order,
            optional(scaling_matrix()),
            optional(vui()),
        )
            .prop_map(
                |((high, flags, id, frames), (width, height, crop, fields), order, matrix, vui)| {
                    SeqParameterSet {
                        profile_idc: if high { 100 } else { 77 }.into(),
                        constraint_flags: ConstraintFlags::from(flags),
                        level_idc: 62,
                        seq_parameter_set_id: SeqParamSetId::from_u32(id).unwrap(),
                        chroma_info: ChromaInfo {
                            scaling_matrix: matrix.filter(|_| high),
                            ..ChromaInfo::default()
                        },
                        log2_max_frame_num_minus4: 4,
                        pic_order_cnt: order,
                        max_num_ref_frames: frames,
                        gaps_in_frame_num_value_allowed_flag: false,
                        pic_width_in_mbs_minus1: width,
                        pic_height_in_map_units_minus1: height,
                        frame_mbs_flags: if fields {
                            FrameMbsFlags::Fields {
                                mb_adaptive_frame_field_flag: true,
                            }
                        } else {
                            FrameMbsFlags::Frames
                        },
                        direct_8x8_inference_flag: true,
                        frame_cropping: crop,
                        vui_parameters: vui,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn every_sps_keeps_what_it_says_and_promises_no_reordering(sps in any_sps()) {
            let nal = sps.to_vec_with_header(NalHeader::new(0x67).unwrap());
            let restrictions = rewritten(&nal);
            prop_assert_eq!(restrictions.max_num_reorder_frames, 0);
            prop_assert_eq!(restrictions.max_dec_frame_buffering, sps.max_num_ref_frames.max(1));
        }

        #[test]
        fn rewritten_sps_has_no_start_code_in_it(sps in any_sps()) {
            let nal = without_reordering(&sps.to_vec_with_header(NalHeader::new(0x67).unwrap())).unwrap();
            let stream = [&[0, 0, 1][..], &nal].concat();
            prop_assert_eq!(nal_units(&stream).collect::<Vec<_>>(), [&nal[..]]);
        }

        #[test]
        fn any_bytes_are_rewritten_or_refused(payload in vec(any::<u8>(), 0..80)) {
            let _ = without_reordering(&[&[0x67][..], &payload].concat());
            // With a head that parses, so that the rest is reached.
            let _ = without_reordering(&[&[0x67, 0x64, 0, 0x1e][..], &payload].concat());
        }
    }
}
