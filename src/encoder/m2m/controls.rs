//! Controls: each is asked for first, because no two encoders have the same, and the driver's answer is what holds.

use std::time::Duration;

use tracing::{debug, warn};

use super::level::Level;
use super::profile::EncoderProfile;
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
}

impl Controls {
    /// Sets everything that must be known before buffers are allocated. Returns the bitrate that the driver took.
    pub(super) fn apply(
        device: &Device,
        profile: &EncoderProfile,
        aim: &Aim,
    ) -> Result<(Self, Bitrate), V4l2Error> {
        let level = set_level(device, profile, aim)?;
        set_profile(device, profile)?;
        if let Some(mode) = profile.rate_mode {
            set_if_there(device, ControlId::BITRATE_MODE, mode.into())?;
        }
        // Else some encoders take the bitrate for a suggestion (wave5, s5p-mfc).
        set_if_there(device, ControlId::FRAME_RC_ENABLE, 1)?;
        // WebRTC shows pictures in the order they come.
        set_if_there(device, ControlId::B_FRAMES, 0)?;
        // Units are easier to follow with their headers; where it cannot be had they are joined here.
        set_if_there(device, ControlId::HEADER_MODE, HEADERS_JOINED)?;
        set_if_there(device, ControlId::REPEAT_SEQ_HEADER, 1)?;
        // Viewers ask for the key frames that they need.
        set_if_there(device, ControlId::GOP_SIZE, GOP)?;
        for (id, value) in &profile.controls {
            set_if_there(device, *id, *value)?;
        }
        let controls = Self {
            bitrate: device.query_control(ControlId::BITRATE)?,
            has_force_key_frame: device
                .query_control(ControlId::FORCE_KEY_FRAME)?
                .is_some(),
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
        let wanted = i64::try_from(target.as_bps()).unwrap_or(i64::MAX);
        device.set_control(ControlId::BITRATE, control.nearest(wanted))?;
        let took = device.control(ControlId::BITRATE)?;
        Ok(Bitrate::bps(u64::try_from(took).unwrap_or(0)))
    }

    pub(super) fn force_key_frame(&self, device: &Device) -> Result<(), V4l2Error> {
        device.set_control(ControlId::FORCE_KEY_FRAME, 1)
    }

    /// bcm2835-codec's firmware knows better than table A-1 what it will do: it refuses to start, and the next level may do.
    pub(super) fn raise_level(&mut self, device: &Device) -> Result<bool, V4l2Error> {
        let Some(next) = self.level.and_then(Level::next) else {
            return Ok(false);
        };
        self.level = Some(next);
        if !device.has_menu_entry(ControlId::H264_LEVEL, next.entry())? {
            return Ok(false);
        }
        debug!(entry = next.entry(), "the encoder wants a higher level");
        set_if_there(device, ControlId::H264_LEVEL, next.entry().into())?;
        Ok(true)
    }

    /// For an encoder that refuses every level: three quarters of the rate.
    pub(super) fn lower_bitrate(&self, device: &Device) -> Result<bool, V4l2Error> {
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

/// Level first: some drivers look at it when the format is set.
fn set_level(
    device: &Device,
    profile: &EncoderProfile,
    aim: &Aim,
) -> Result<Option<Level>, V4l2Error> {
    if device.query_control(ControlId::H264_LEVEL)?.is_none() {
        return Ok(None);
    }
    let needed = Level::needed(aim.size, aim.interval, aim.bitrate);
    let least = Level::from_idc(profile.level_min);
    let most = Level::from_idc(profile.level_max);
    let mut level = needed.or(most).max(least);
    if level > most && most.is_some() {
        level = most;
    }
    while let Some(it) = level {
        if device.has_menu_entry(ControlId::H264_LEVEL, it.entry())? {
            set_if_there(device, ControlId::H264_LEVEL, it.entry().into())?;
            return Ok(level);
        }
        level = it.next();
    }
    Ok(None)
}

/// The first that it has. Without any it makes what it makes, and the SPS tells.
fn set_profile(device: &Device, profile: &EncoderProfile) -> Result<(), V4l2Error> {
    for entry in &profile.profile_order {
        if device.has_menu_entry(ControlId::H264_PROFILE, *entry)?
            && set_if_there(device, ControlId::H264_PROFILE, i64::from(*entry))?
        {
            return Ok(());
        }
    }
    Ok(())
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

/// `V4L2_MPEG_VIDEO_HEADER_MODE_JOINED_WITH_1ST_FRAME`
const HEADERS_JOINED: i64 = 1;

/// Ten seconds at 30 frames a second: a viewer that lost a picture asks at once, so this only heals what nobody noticed.
const GOP: i64 = 300;

/// No picture of use is coded below.
const LEAST_BITRATE: i64 = 50_000;
