//! Controls: each is asked for first, because no two encoders have the same, and the driver's answer is what holds.

use std::time::Duration;

use tracing::{debug, warn};

use crate::board::{EncoderProfile, H264Profile, Level, LevelRemedy, RateMode};
use crate::encoder::level;
use crate::media::{Bitrate, Size};
use crate::v4l2::{Control, ControlId, Device, V4l2Error};

/// The controls that are turned while it runs, as the driver described them.
#[derive(Debug)]
pub(super) struct Controls {
    bitrate: Option<Control>,
    pub(super) has_force_key_frame: bool,
    level: Option<Level>,
}

/// What the stream will be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim {
    pub(super) size: Size,
    pub(super) interval: Duration,
    pub(super) bitrate: Bitrate,
    /// What it may become later.
    pub(super) ceiling: Bitrate,
}

impl Controls {
    /// Sets everything that must be known before buffers are allocated. Returns the bitrate that the driver took.
    pub(super) fn apply(
        device: &Device,
        profile: &EncoderProfile,
        aim: &Aim,
    ) -> Result<(Self, Bitrate), V4l2Error> {
        let level = set_level(device, profile, aim)?;
        set_first(device, ControlId::H264_PROFILE, &profile.profiles, |it| {
            menu_profile(*it)
        })?;
        set_first(
            device,
            ControlId::BITRATE_MODE,
            &profile.rate.modes,
            |mode| menu_mode(*mode),
        )?;
        for (control, value) in &profile.controls {
            set_if_there(device, (*control).into(), i64::from(*value))?;
        }
        if let Some(time) = profile.key_frames.refresh {
            refresh_piece_by_piece(device, time, aim)?;
        }
        let controls = Self {
            bitrate: device.query_control(ControlId::BITRATE)?,
            has_force_key_frame: device.query_control(ControlId::FORCE_KEY_FRAME)?.is_some(),
            level,
        };
        let took = controls.set_bitrate(device, aim.bitrate)?;
        Ok((controls, took))
    }

    /// The nearest that it has; what it reads back.
    pub(super) fn set_bitrate(
        &self,
        device: &Device,
        target: Bitrate,
    ) -> Result<Bitrate, V4l2Error> {
        let Some(control) = &self.bitrate else {
            return Ok(target);
        };
        let most = self.level.and_then(level::highest_bitrate);
        let target = most.map_or(target, |most| target.min(most));
        let wanted = i64::try_from(target.as_bps()).unwrap_or(i64::MAX);
        device.set_control(ControlId::BITRATE, control.nearest(wanted))?;
        let took = device.control(ControlId::BITRATE)?;
        Ok(Bitrate::bps(u64::try_from(took).unwrap_or(0)))
    }

    pub(super) fn force_key_frame(&self, device: &Device) -> Result<(), V4l2Error> {
        device.set_control(ControlId::FORCE_KEY_FRAME, 1)
    }

    /// What may make a firmware start that refused the level. False: nothing is left.
    pub(super) fn ease(
        &mut self,
        device: &Device,
        remedies: &[LevelRemedy],
    ) -> Result<bool, V4l2Error> {
        for remedy in remedies {
            let is_easier = match remedy {
                LevelRemedy::RaiseLevel => self.raise_level(device)?,
                LevelRemedy::LowerBitrate => self.lower_bitrate(device)?,
            };
            if is_easier {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// bcm2835-codec's firmware knows better than table A-1 what it will do: it refuses to start, and the next level may do.
    fn raise_level(&mut self, device: &Device) -> Result<bool, V4l2Error> {
        while let Some(next) = self.level.and_then(level::next) {
            self.level = Some(next);
            if set_menu_level(device, next)? {
                debug!(level = %next, "the encoder wants a higher level");
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// For an encoder that refuses every level: three quarters of the rate.
    fn lower_bitrate(&self, device: &Device) -> Result<bool, V4l2Error> {
        let Some(control) = &self.bitrate else {
            return Ok(false);
        };
        let now = device.control(ControlId::BITRATE)?;
        let lower = control.nearest(now / 4 * 3);
        if lower >= now || lower < LEAST_BITRATE {
            return Ok(false);
        }
        warn!(from = now, to = lower, "the encoder refuses its bitrate");
        device.set_control(ControlId::BITRATE, lower)?;
        Ok(true)
    }
}

/// The lowest that allows the stream, and that the profile and the driver have.
fn set_level(
    device: &Device,
    profile: &EncoderProfile,
    aim: &Aim,
) -> Result<Option<Level>, V4l2Error> {
    let rules = &profile.level;
    let needed = level::needed(aim.size, aim.interval, aim.ceiling).unwrap_or(rules.most);
    let mut level = Some(needed.clamp(rules.least, rules.most));
    while let Some(it) = level {
        if set_menu_level(device, it)? {
            return Ok(level);
        }
        level = level::next(it);
    }
    Ok(None)
}

/// Intra macroblocks in every frame, in place of key frames that nobody asked for. A driver without goes on as before.
fn refresh_piece_by_piece(device: &Device, time: Duration, aim: &Aim) -> Result<(), V4l2Error> {
    let (frames, macroblocks) = refresh(aim.size, aim.interval, time);
    let has_period = set_if_there(device, ControlId::INTRA_REFRESH_PERIOD, frames)?;
    if has_period {
        set_entry(device, ControlId::INTRA_REFRESH_PERIOD_TYPE, CYCLIC)?;
    }
    if !has_period && !set_if_there(device, ControlId::CYCLIC_INTRA_REFRESH_MB, macroblocks)? {
        debug!("the encoder cannot refresh the picture piece by piece");
        return Ok(());
    }
    for group in [ControlId::GOP_SIZE, ControlId::H264_I_PERIOD] {
        set_if_there(device, group, i64::MAX)?;
    }
    Ok(())
}

/// In how many frames, and how many macroblocks in each.
fn refresh(size: Size, interval: Duration, time: Duration) -> (i64, i64) {
    let frames = (time.as_secs_f64() / interval.as_secs_f64().max(1e-3)).round();
    let frames = (frames as i64).max(1);
    let macroblocks = i64::from(size.width.div_ceil(16)) * i64::from(size.height.div_ceil(16));
    (frames, (macroblocks + frames - 1) / frames)
}

fn set_menu_level(device: &Device, level: Level) -> Result<bool, V4l2Error> {
    let Some(entry) = level::menu_entry(level) else {
        return Ok(false);
    };
    set_entry(device, ControlId::H264_LEVEL, entry)
}

/// The first of these that the driver has. Without any it does what it does.
fn set_first<T>(
    device: &Device,
    id: ControlId,
    wanted: &[T],
    entry: impl Fn(&T) -> u32,
) -> Result<(), V4l2Error> {
    for it in wanted {
        if set_entry(device, id, entry(it))? {
            break;
        }
    }
    Ok(())
}

fn set_entry(device: &Device, id: ControlId, entry: u32) -> Result<bool, V4l2Error> {
    Ok(device.has_menu_entry(id, entry)? && set_if_there(device, id, entry.into())?)
}

/// `enum v4l2_mpeg_video_h264_profile`
fn menu_profile(profile: H264Profile) -> u32 {
    match profile {
        H264Profile::Baseline => 0,
        H264Profile::ConstrainedBaseline => 1,
        H264Profile::Main => 2,
        H264Profile::High => 4,
    }
}

/// `enum v4l2_mpeg_video_bitrate_mode`
fn menu_mode(mode: RateMode) -> u32 {
    match mode {
        RateMode::Vbr => 0,
        RateMode::Cbr => 1,
    }
}

/// Whether the driver has it and took it. Only what ends everything is an error: an encoder without a knob encodes too.
fn set_if_there(device: &Device, id: ControlId, value: i64) -> Result<bool, V4l2Error> {
    let Some(control) = device.query_control(id)? else {
        return Ok(false);
    };
    let value = control.nearest(value);
    match device.set_control(id, value) {
        Ok(()) => Ok(true),
        Err(error) if error.is_unplugged() || error.is_broken() => Err(error),
        Err(error) => {
            debug!(control = control.name, value, %error, "the encoder keeps its own value");
            Ok(false)
        }
    }
}

/// `V4L2_CID_MPEG_VIDEO_INTRA_REFRESH_PERIOD_TYPE_CYCLIC`: every macroblock has its turn.
const CYCLIC: u32 = 1;

/// No picture of use is coded below.
const LEAST_BITRATE: i64 = 50_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_macroblock_has_its_turn_within_the_time() {
        let hd = Size {
            width: 1280,
            height: 720,
        };
        let interval = Duration::from_secs(1) / 30;
        let (frames, macroblocks) = refresh(hd, interval, Duration::from_secs(2));
        assert_eq!((frames, macroblocks), (60, 60));
        assert!(frames * macroblocks >= 80 * 45);
        let slow = refresh(hd, Duration::from_secs(1), Duration::from_millis(100));
        assert_eq!(slow, (1, 3600), "each frame is one");
    }
}
