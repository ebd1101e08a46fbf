//! Where the planes of a picture are in an encoder's buffers.

use crate::media::Fourcc;

/// How an encoder's buffers are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub fourcc: Fourcc,
    /// Of the first plane.
    pub stride: u32,
    /// Of the planes behind it.
    pub chroma_stride: u32,
    /// With those that pad it: where planes share a buffer, the second is behind them.
    pub lines: u32,
}

/// The memory planes of one picture; those that its format has not are empty.
pub type Buffers<'a> = [&'a mut [u8]; 3];

/// Y, U, V; or Y, UV; or one packed plane.
pub(super) type Planes<'a> = [&'a mut [u8]; 3];

impl Target {
    /// In one buffer, where one stride tells the others.
    pub fn in_one_buffer(fourcc: Fourcc, stride: u32, lines: u32) -> Self {
        let chroma_stride = if fourcc == Fourcc::YU12 {
            stride / 2
        } else {
            stride
        };
        Self {
            fourcc,
            stride,
            chroma_stride,
            lines,
        }
    }

    /// `None`: there is not room for them all.
    pub(super) fn planes<'a>(&self, [first, second, third]: Buffers<'a>) -> Option<Planes<'a>> {
        let luma = self.stride as usize * self.lines as usize;
        let chroma = self.chroma_stride as usize * (self.lines as usize / 2);
        Some(match self.fourcc {
            Fourcc::NV12 => {
                let (y, uv) = first.split_at_mut_checked(luma)?;
                [y, uv.get_mut(..chroma)?, &mut []]
            }
            Fourcc::YU12 => {
                let (y, uv) = first.split_at_mut_checked(luma)?;
                let (u, v) = uv.split_at_mut_checked(chroma)?;
                [y, u, v.get_mut(..chroma)?]
            }
            Fourcc::NM12 => [first.get_mut(..luma)?, second.get_mut(..chroma)?, &mut []],
            Fourcc::YM12 => [
                first.get_mut(..luma)?,
                second.get_mut(..chroma)?,
                third.get_mut(..chroma)?,
            ],
            _ => [first.get_mut(..luma)?, &mut [], &mut []],
        })
    }

    /// Two colours by turns in one plane.
    pub(super) fn is_interleaved(&self) -> bool {
        self.fourcc.in_one_buffer() == Fourcc::NV12
    }

    pub(super) fn has_planes(&self) -> bool {
        matches!(self.fourcc.in_one_buffer(), Fourcc::NV12 | Fourcc::YU12)
    }

    /// The least bytes of a line of the planes behind the first.
    pub(super) fn chroma_line(&self, width: u32) -> u32 {
        match (self.has_planes(), self.is_interleaved()) {
            (true, true) => width,
            (true, false) => width / 2,
            (false, _) => 0,
        }
    }
}
