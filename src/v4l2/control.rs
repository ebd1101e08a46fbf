//! Controls: a number with a range. Compound controls (matrices, structs) are not ours.

use super::abi;
use crate::board::EncoderControl;

/// `V4L2_CID_*`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControlId(pub u32);

impl ControlId {
    pub const MIN_BUFFERS_FOR_OUTPUT: Self = Self(0x98_0928);
    pub const GOP_SIZE: Self = Self(0x99_09cb);
    pub const B_FRAMES: Self = Self(0x99_09ca);
    pub const BITRATE_MODE: Self = Self(0x99_09ce);
    pub const BITRATE: Self = Self(0x99_09cf);
    pub const BITRATE_PEAK: Self = Self(0x99_09d0);
    pub const CYCLIC_INTRA_REFRESH_MB: Self = Self(0x99_09d6);
    pub const FRAME_RC_ENABLE: Self = Self(0x99_09d7);
    pub const HEADER_MODE: Self = Self(0x99_09d8);
    pub const VBV_SIZE: Self = Self(0x99_09de);
    pub const REPEAT_SEQ_HEADER: Self = Self(0x99_09e2);
    pub const FORCE_KEY_FRAME: Self = Self(0x99_09e5);
    pub const AU_DELIMITER: Self = Self(0x99_09e7);
    pub const INTRA_REFRESH_PERIOD: Self = Self(0x99_09ec);
    pub const INTRA_REFRESH_PERIOD_TYPE: Self = Self(0x99_09ed);
    pub const H264_MIN_QP: Self = Self(0x99_0a61);
    pub const H264_MAX_QP: Self = Self(0x99_0a62);
    pub const H264_8X8_TRANSFORM: Self = Self(0x99_0a63);
    pub const H264_ENTROPY_MODE: Self = Self(0x99_0a65);
    pub const H264_I_PERIOD: Self = Self(0x99_0a66);
    pub const H264_LEVEL: Self = Self(0x99_0a67);
    pub const H264_PROFILE: Self = Self(0x99_0a6b);
    pub const PREPEND_SPSPPS_TO_IDR: Self = Self(0x99_0b84);
}

impl From<EncoderControl> for ControlId {
    fn from(control: EncoderControl) -> Self {
        match control {
            EncoderControl::AuDelimiter => Self::AU_DELIMITER,
            EncoderControl::BFrames => Self::B_FRAMES,
            EncoderControl::FrameRcEnable => Self::FRAME_RC_ENABLE,
            EncoderControl::GopSize => Self::GOP_SIZE,
            EncoderControl::H264Transform8x8 => Self::H264_8X8_TRANSFORM,
            EncoderControl::H264IPeriod => Self::H264_I_PERIOD,
            EncoderControl::H264MaxQp => Self::H264_MAX_QP,
            EncoderControl::H264MinQp => Self::H264_MIN_QP,
            EncoderControl::HeaderMode => Self::HEADER_MODE,
            EncoderControl::PrependSpsPpsToIdr => Self::PREPEND_SPSPPS_TO_IDR,
            EncoderControl::RepeatSeqHeader => Self::REPEAT_SEQ_HEADER,
            EncoderControl::VbvSize => Self::VBV_SIZE,
        }
    }
}

/// What a driver says of one of its controls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    pub id: ControlId,
    pub name: String,
    pub least: i64,
    pub most: i64,
    pub step: u64,
    pub default: i64,
    /// Values are entries of a menu, not all of which need exist.
    pub is_menu: bool,
}

impl Control {
    /// `None` for controls that are switched off, read-only or compound.
    pub(super) fn from_kernel(told: &abi::QueryExtControl) -> Option<Self> {
        const TYPES_OF_NUMBERS: std::ops::RangeInclusive<u32> = 1..=5;
        const TYPE_MENU: u32 = 3;
        const TYPE_BITMASK: u32 = 8;
        const TYPE_INTEGER_MENU: u32 = 9;
        const FLAG_DISABLED: u32 = 0x1;
        const FLAG_READ_ONLY: u32 = 0x4;

        let is_number = TYPES_OF_NUMBERS.contains(&told.kind)
            || told.kind == TYPE_BITMASK
            || told.kind == TYPE_INTEGER_MENU;
        if !is_number || told.flags & (FLAG_DISABLED | FLAG_READ_ONLY) != 0 {
            return None;
        }
        Some(Self {
            id: ControlId(told.id),
            name: super::text(&told.name),
            least: told.minimum,
            most: told.maximum,
            step: told.step,
            default: told.default_value,
            is_menu: told.kind == TYPE_MENU || told.kind == TYPE_INTEGER_MENU,
        })
    }

    /// The value nearest to `wanted` that the range and the step allow. Menus may still have a gap there.
    pub fn nearest(&self, wanted: i64) -> i64 {
        let (least, most) = (self.least, self.most.max(self.least));
        let inside = i128::from(wanted.clamp(least, most)) - i128::from(least);
        let room = i128::from(most) - i128::from(least);
        let step = i128::from(self.step.max(1));
        let steps = ((inside + step / 2) / step).min(room / step);
        // Between `least` and `most`, so it fits.
        (i128::from(least) + steps * step) as i64
    }
}

/// A value as the kernel's union has it: 32 or 64 bits from the same address on.
pub(super) fn to_kernel(id: ControlId, value: i64) -> abi::ExtControl {
    abi::ExtControl {
        id: id.0,
        size: 0,
        reserved: 0,
        value: value.to_ne_bytes(),
    }
}

/// The value of a 32-bit control.
pub(super) fn from_kernel(control: &abi::ExtControl) -> i64 {
    let [a, b, c, d, ..] = control.value;
    i64::from(i32::from_ne_bytes([a, b, c, d]))
}

/// Else the 32-bit half of a 64-bit value would stand behind the other one.
const _: () = assert!(
    cfg!(target_endian = "little"),
    "control values are written for little-endian machines"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(kind: u32, flags: u32) -> abi::QueryExtControl {
        let mut name = [0; 32];
        name[..7].copy_from_slice(b"Bitrate");
        abi::QueryExtControl {
            id: ControlId::BITRATE.0,
            kind,
            name,
            minimum: 25_000,
            maximum: 25_000_000,
            step: 25_000,
            default_value: 10_000_000,
            flags,
            element_bytes: 4,
            elements: 1,
            dimensions: 0,
            extents: [0; 4],
            reserved: [0; 32],
        }
    }

    #[test]
    fn a_bitrate_is_rounded_to_the_step_of_the_raspberry_pi() {
        let bitrate = Control::from_kernel(&told(1, 0)).unwrap();
        assert_eq!(bitrate.name, "Bitrate");
        assert_eq!(bitrate.nearest(1_000_000), 1_000_000);
        assert_eq!(bitrate.nearest(1_013_000), 1_025_000);
        assert_eq!(bitrate.nearest(1), 25_000);
        assert_eq!(bitrate.nearest(i64::MAX), 25_000_000);
    }

    #[test]
    fn what_cannot_be_set_is_no_control() {
        assert_eq!(Control::from_kernel(&told(1, 0x1)), None);
        assert_eq!(Control::from_kernel(&told(1, 0x4)), None);
        // V4L2_CTRL_TYPE_HDR10_CLL_INFO, on which crates have panicked.
        assert_eq!(Control::from_kernel(&told(0x0110, 0)), None);
    }

    #[test]
    fn a_negative_value_comes_back_negative() {
        assert_eq!(from_kernel(&to_kernel(ControlId::BITRATE, -1)), -1);
    }

    proptest! {
        #[test]
        fn any_range_gives_a_value_in_it(least: i64, most: i64, step: u64, wanted: i64) {
            let control = Control {
                id: ControlId::BITRATE,
                name: String::new(),
                least,
                most,
                step,
                default: 0,
                is_menu: false,
            };
            prop_assert!((least..=most.max(least)).contains(&control.nearest(wanted)));
        }
    }
}
