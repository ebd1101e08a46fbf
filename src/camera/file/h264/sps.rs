//! What a sequence parameter set tells about the pictures. ITU-T H.264, section 7.3.2.1 and Annex E.

use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::rbsp::{BitReader, decode_nal};

use crate::camera::file::clip::{DEFAULT_INTERVAL, Flaw, check_size, interval};
use crate::media::{Fourcc, PictureFormat, Size};

/// Reads an SPS, from its NAL unit header on.
pub(super) fn read_format(nal_unit: &[u8]) -> Result<PictureFormat, Flaw> {
    let refuse = |why: &dyn std::fmt::Debug| format!("its SPS cannot be read: {why:?}");
    let payload = decode_nal(nal_unit).map_err(|error| refuse(&error))?;
    let sps =
        SeqParameterSet::from_bits(BitReader::new(&payload[..])).map_err(|error| refuse(&error))?;
    let (width, height) = sps.pixel_dimensions().map_err(|error| refuse(&error))?;
    let size = Size { width, height };
    check_size(size)?;
    // A tick is a field's time, of which a frame has two (E.2.1).
    let interval = sps
        .vui_parameters
        .and_then(|vui| vui.timing_info)
        .and_then(|timing| {
            let field = u64::from(timing.num_units_in_tick);
            interval(timing.time_scale.into(), field * 2)
        });
    Ok(PictureFormat {
        fourcc: Fourcc::H264,
        size,
        stride: 0,
        interval: interval.unwrap_or(DEFAULT_INTERVAL),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 640x360 High at 25 frames a second, as x264 writes it.
    pub(in crate::camera::file) const SPS_NAL: &[u8] = &[
        0, 0, 0, 1, 0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00,
        0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
    ];

    proptest! {
        #[test]
        fn a_damaged_sps_is_harmless(at in 5..SPS_NAL.len(), bytes in proptest::collection::vec(any::<u8>(), 1..8)) {
            let mut sps = SPS_NAL.to_vec();
            sps.splice(at..(at + bytes.len()).min(SPS_NAL.len()), bytes);
            let _ = read_format(&sps[4..]);
        }
    }
}
