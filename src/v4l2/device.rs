//! One node: what it is, what it can do, and what it is asked to do.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::error::refused;
use super::ioctl::{self, FormatCall, Pix};
use super::{
    BufferType, Capabilities, Control, ControlId, EncoderCommand, Event, EventKind, Format,
    FormatRequest, FrameIntervals, FrameSizes, Identity, Rectangle, V4l2Error, abi, control,
    format, text,
};
use crate::media::{Fourcc, Size};

/// An open V4L2 node. Its descriptor does not block.
#[derive(Debug)]
pub struct Device {
    pub(super) node: Arc<OwnedFd>,
    identity: Identity,
    capabilities: Capabilities,
}

impl Device {
    /// Opens any V4L2 node: a camera, a codec, a metadata node.
    pub fn open(path: &Path) -> Result<Self, V4l2Error> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let node = rustix::fs::open(path, flags, Mode::empty()).map_err(refused("open"))?;
        let told = ioctl::capability(node.as_fd()).map_err(refused("ask who it is"))?;
        const DEVICE_CAPS: u32 = 0x8000_0000;
        let capabilities = if told.capabilities & DEVICE_CAPS != 0 {
            told.device_caps
        } else {
            told.capabilities
        };
        Ok(Self {
            node: Arc::new(node),
            identity: Identity {
                path: path.to_owned(),
                driver: text(&told.driver),
                card: text(&told.card),
                bus: text(&told.bus_info),
            },
            capabilities: Capabilities(capabilities),
        })
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// What its buffers can hold, in the driver's order.
    pub fn formats(&self, buffer_type: BufferType) -> Result<Vec<Fourcc>, V4l2Error> {
        let attempt = "list the formats";
        self.list(attempt, |index| {
            let mut entry = abi::FormatDescription {
                index,
                buffer_type: buffer_type as u32,
                ..Default::default()
            };
            ioctl::enumerate_format(self.as_fd(), &mut entry)?;
            Ok(Fourcc(entry.pixelformat))
        })
    }

    pub fn frame_sizes(&self, fourcc: Fourcc) -> Result<FrameSizes, V4l2Error> {
        let entries = self.list("list the sizes", |index| {
            let mut entry = abi::FrameSizeEntry {
                index,
                pixelformat: fourcc.0,
                ..Default::default()
            };
            ioctl::enumerate_frame_size(self.as_fd(), &mut entry)?;
            Ok(entry)
        })?;
        Ok(match entries.first() {
            None => FrameSizes::Untold,
            Some(first) if first.kind != abi::DISCRETE => {
                let [least_width, most_width, step_width, rest @ ..] = first.sizes;
                let [least_height, most_height, step_height] = rest;
                FrameSizes::Range {
                    least: Size {
                        width: least_width,
                        height: least_height,
                    },
                    most: Size {
                        width: most_width,
                        height: most_height,
                    },
                    step: Size {
                        width: step_width,
                        height: step_height,
                    },
                }
            }
            Some(_) => FrameSizes::Discrete(
                entries
                    .iter()
                    .map(|entry| Size {
                        width: entry.sizes[0],
                        height: entry.sizes[1],
                    })
                    .collect(),
            ),
        })
    }

    pub fn frame_intervals(&self, fourcc: Fourcc, size: Size) -> Result<FrameIntervals, V4l2Error> {
        let entries = self.list("list the frame rates", |index| {
            let mut entry = abi::FrameIntervalEntry {
                index,
                pixelformat: fourcc.0,
                width: size.width,
                height: size.height,
                ..Default::default()
            };
            ioctl::enumerate_frame_interval(self.as_fd(), &mut entry)?;
            Ok(entry)
        })?;
        let told: Vec<Duration> = entries
            .iter()
            .filter_map(|entry| format::interval(entry.intervals[0]))
            .collect();
        let (Some(first), Some(least)) = (entries.first(), told.first()) else {
            return Ok(FrameIntervals::Untold);
        };
        if first.kind == abi::DISCRETE {
            return Ok(FrameIntervals::Discrete(told));
        }
        Ok(FrameIntervals::Range {
            least: *least,
            most: format::interval(first.intervals[1]).unwrap_or(*least),
        })
    }

    pub fn format(&self, buffer_type: BufferType) -> Result<Format, V4l2Error> {
        let attempt = "read the format";
        Format::from_kernel(attempt, &self.pix(attempt, buffer_type)?)
    }

    /// The driver's answer, which may differ in everything.
    pub fn set_format(
        &self,
        buffer_type: BufferType,
        request: &FormatRequest,
    ) -> Result<Format, V4l2Error> {
        self.negotiate("set the format", FormatCall::Set, buffer_type, request)
    }

    /// As [`Self::set_format`], and nothing changes.
    pub fn try_format(
        &self,
        buffer_type: BufferType,
        request: &FormatRequest,
    ) -> Result<Format, V4l2Error> {
        self.negotiate("try the format", FormatCall::Try, buffer_type, request)
    }

    /// The time between two frames that the driver took; `None` when it has no such setting.
    pub fn set_frame_interval(
        &self,
        buffer_type: BufferType,
        interval: Duration,
    ) -> Result<Option<Duration>, V4l2Error> {
        let mut value = parameters(buffer_type);
        match ioctl::stream_parameters(self.as_fd(), &mut value) {
            // Some encoders can only be told.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(Errno::NOTTY) => return Ok(None),
            Err(errno) => return Err(refused("read the frame rate")(errno)),
        }
        let is_output = buffer_type.is_output();
        if !is_output && value.capability & abi::TIME_PER_FRAME == 0 {
            return Ok(format::interval(value.time_per_frame));
        }
        value = parameters(buffer_type);
        value.time_per_frame = format::fraction(interval);
        match ioctl::set_stream_parameters(self.as_fd(), &mut value) {
            Ok(()) => Ok(format::interval(value.time_per_frame)),
            Err(Errno::NOTTY) => Ok(None),
            Err(errno) => Err(refused("set the frame rate")(errno)),
        }
    }

    /// `None` when the device has no such control that could be set.
    pub fn query_control(&self, id: ControlId) -> Result<Option<Control>, V4l2Error> {
        let mut value = abi::QueryExtControl {
            id: id.0,
            kind: 0,
            name: [0; 32],
            minimum: 0,
            maximum: 0,
            step: 0,
            default_value: 0,
            flags: 0,
            element_bytes: 0,
            elements: 0,
            dimensions: 0,
            extents: [0; 4],
            reserved: [0; 32],
        };
        match ioctl::query_control(self.as_fd(), &mut value) {
            Ok(()) => Ok(Control::from_kernel(&value)),
            Err(Errno::INVAL | Errno::NOTTY) => Ok(None),
            Err(errno) => Err(refused("ask for a control")(errno)),
        }
    }

    /// Whether a menu control has this entry.
    pub fn has_menu_entry(&self, id: ControlId, entry: u32) -> Result<bool, V4l2Error> {
        let mut value = abi::QueryMenu {
            id: id.0,
            index: entry,
            name: [0; 32],
            reserved: 0,
        };
        match ioctl::query_menu(self.as_fd(), &mut value) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOTTY) => Ok(false),
            Err(errno) => Err(refused("ask for a menu's entry")(errno)),
        }
    }

    /// Drivers round and clamp silently: [`Self::control`] tells what they took.
    pub fn set_control(&self, id: ControlId, value: i64) -> Result<(), V4l2Error> {
        let mut controls = [control::to_kernel(id, value)];
        ioctl::set_controls(self.as_fd(), &mut controls)
            .map_err(|(errno, _)| refused("set a control")(errno))
    }

    pub fn control(&self, id: ControlId) -> Result<i64, V4l2Error> {
        let mut controls = [control::to_kernel(id, 0)];
        match ioctl::controls(self.as_fd(), &mut controls) {
            Ok(()) => Ok(control::from_kernel(&controls[0])),
            Err((errno, _)) => Err(refused("read a control")(errno)),
        }
    }

    pub fn command_encoder(&self, command: EncoderCommand) -> Result<(), V4l2Error> {
        ioctl::encoder_command(self.as_fd(), command as u32).map_err(refused("command the encoder"))
    }

    /// Whether the driver knows the command at all (venus before Linux 6.4 does not).
    pub fn knows_encoder_command(&self, command: EncoderCommand) -> bool {
        ioctl::try_encoder_command(self.as_fd(), command as u32).is_ok()
    }

    /// False when the driver has no such events.
    pub fn subscribe(&self, kind: EventKind) -> Result<bool, V4l2Error> {
        match ioctl::subscribe(self.as_fd(), kind as u32) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOTTY) => Ok(false),
            Err(errno) => Err(refused("subscribe to events")(errno)),
        }
    }

    pub fn try_event(&self) -> Result<Option<Event>, V4l2Error> {
        match ioctl::dequeue_event(self.as_fd()) {
            Ok(event) => Ok(Some(match event.kind {
                kind if kind == EventKind::EndOfStream as u32 => Event::EndOfStream,
                kind if kind == EventKind::SourceChange as u32 => Event::SourceChange,
                kind => Event::Other(kind),
            })),
            Err(Errno::NOENT | Errno::AGAIN) => Ok(None),
            Err(errno) => Err(refused("take an event")(errno)),
        }
    }

    /// Tells an encoder which part of its padded buffers is the picture; returns what the driver took.
    pub fn set_crop(
        &self,
        buffer_type: BufferType,
        part: Rectangle,
    ) -> Result<Rectangle, V4l2Error> {
        let mut value = crop(buffer_type);
        value.left = part.left;
        value.top = part.top;
        value.width = part.size.width;
        value.height = part.size.height;
        ioctl::set_selection(self.as_fd(), &mut value)
            .map_err(refused("set the crop rectangle"))?;
        Ok(rectangle(&value))
    }

    pub fn crop(&self, buffer_type: BufferType) -> Result<Rectangle, V4l2Error> {
        let mut value = crop(buffer_type);
        ioctl::selection(self.as_fd(), &mut value).map_err(refused("read the crop rectangle"))?;
        Ok(rectangle(&value))
    }

    fn negotiate(
        &self,
        attempt: &'static str,
        call: FormatCall,
        buffer_type: BufferType,
        request: &FormatRequest,
    ) -> Result<Format, V4l2Error> {
        let mut pix = self.pix(attempt, buffer_type)?;
        request.apply(&mut pix);
        ioctl::format(self.as_fd(), call, buffer_type, &mut pix).map_err(refused(attempt))?;
        Format::from_kernel(attempt, &pix)
    }

    fn pix(&self, attempt: &'static str, buffer_type: BufferType) -> Result<Pix, V4l2Error> {
        let mut pix = if buffer_type.is_multi_planar() {
            Pix::Multi(abi::PixFormatMplane::default())
        } else {
            Pix::Single(abi::PixFormat::default())
        };
        ioctl::format(self.as_fd(), FormatCall::Ask, buffer_type, &mut pix)
            .map_err(refused(attempt))?;
        Ok(pix)
    }

    /// Everything up to the first index that the driver does not have.
    fn list<T>(
        &self,
        attempt: &'static str,
        entry: impl Fn(u32) -> Result<T, Errno>,
    ) -> Result<Vec<T>, V4l2Error> {
        let mut list = Vec::new();
        for index in 0..LIST_AT_MOST {
            match entry(index) {
                Ok(entry) => list.push(entry),
                Err(Errno::INVAL | Errno::NOTTY) => break,
                Err(errno) => return Err(refused(attempt)(errno)),
            }
        }
        Ok(list)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.node.as_fd()
    }
}

fn parameters(buffer_type: BufferType) -> abi::StreamParameters {
    abi::StreamParameters {
        buffer_type: buffer_type as u32,
        capability: 0,
        mode: 0,
        time_per_frame: abi::Fraction::default(),
        extended_mode: 0,
        buffers: 0,
        reserved: [0; 4],
        rest: [0; _],
    }
}

/// The selection calls take the single-planar type for both planarities.
fn crop(buffer_type: BufferType) -> abi::Selection {
    let buffer_type = match buffer_type {
        BufferType::VideoCapture | BufferType::VideoCaptureMplane => BufferType::VideoCapture,
        BufferType::VideoOutput | BufferType::VideoOutputMplane => BufferType::VideoOutput,
    };
    // Target 0 is V4L2_SEL_TGT_CROP.
    abi::Selection {
        buffer_type: buffer_type as u32,
        ..Default::default()
    }
}

fn rectangle(selection: &abi::Selection) -> Rectangle {
    Rectangle {
        left: selection.left,
        top: selection.top,
        size: Size {
            width: selection.width,
            height: selection.height,
        },
    }
}

/// A driver that never ends a list would hold us for ever; the longest real one (sizes of a webcam) has about forty.
const LIST_AT_MOST: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_device_is_refused_in_words() {
        let error = Device::open(Path::new("/dev/null")).unwrap_err();
        // The second is qemu-user's, which runs tests that are built for boards and passes no call of V4L2 on.
        let told = [
            "cannot ask who it is: the driver does not have this call (errno 25)",
            "cannot ask who it is: Function not implemented (os error 38)",
        ];
        assert!(told.contains(&error.to_string().as_str()), "{error}");
        let error = Device::open(Path::new("/dev/no-such-camera")).unwrap_err();
        assert!(error.is_missing());
    }
}
