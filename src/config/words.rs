//! Values that are one word in the file: names and choices.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::document::quoted;
use crate::document::text as common;

use super::text;

/// Where pictures come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The first camera found, else the test card.
    Auto,
    TestCard,
    /// Replays a `.y4m`, `.mjpeg` or `.h264` file at its own pace.
    File(PathBuf),
    /// A V4L2 capture device below `/dev`.
    Device(PathBuf),
}

/// What makes H.264 of pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncoderChoice {
    /// The hardware encoder that fits, else the software encoder.
    Auto,
    Software,
    /// A V4L2 encoder device below `/dev`.
    Device(PathBuf),
}

/// How the key travels to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `api_key=…` in the URL.
    Query,
    /// `Authorization: Bearer …`.
    Bearer,
}

/// What the robot is called at the relay: 1 to 64 characters out of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RobotId(String);

/// What a camera is called at the relay: 1 to 64 characters out of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CameraId(String);

/// Reads `auto`, `test-card`, `file:clip.mjpeg`, `/dev/video0`.
impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(Self::Auto),
            "test-card" => return Ok(Self::TestCard),
            _ => {}
        }
        if let Some(path) = text.strip_prefix("file:") {
            return common::path(path).map(Self::File);
        }
        text::device(text).map(Self::Device).ok_or_else(|| {
            format!(
                "got {} when expecting one of auto, test-card, file:PATH, or a device below /dev",
                quoted(text)
            )
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::TestCard => f.write_str("test-card"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Device(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Reads `auto`, `software`, `/dev/video11`.
impl FromStr for EncoderChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "software" => Ok(Self::Software),
            _ => text::device(text).map(Self::Device).ok_or_else(|| {
                format!(
                    "got {} when expecting one of auto, software, or a device below /dev",
                    quoted(text)
                )
            }),
        }
    }
}

impl fmt::Display for EncoderChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Software => f.write_str("software"),
            Self::Device(path) => write!(f, "{}", path.display()),
        }
    }
}

impl FromStr for Auth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "query" => Ok(Self::Query),
            "bearer" => Ok(Self::Bearer),
            _ => Err(format!(
                "got {} when expecting one of query, bearer",
                quoted(text)
            )),
        }
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Query => "query",
            Self::Bearer => "bearer",
        })
    }
}

/// Which ways to a browser are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcePolicy {
    All,
    /// Through TURN servers only: nobody learns the robot's own addresses.
    Relay,
}

impl FromStr for IcePolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "relay" => Ok(Self::Relay),
            _ => Err(format!(
                "got {} when expecting one of all, relay",
                quoted(text)
            )),
        }
    }
}

impl fmt::Display for IcePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Relay => "relay",
        })
    }
}

/// UDP ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    pub fn ports(self) -> usize {
        usize::from(self.last - self.first) + 1
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ports = text.split_once('-').map(|(first, last)| {
            let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
            port(first).zip(port(last))
        });
        match ports {
            Some(Some((first, last))) if first <= last => Ok(Self { first, last }),
            Some(_) | None => Err(format!(
                "got {} when expecting a range of ports such as \"50000-50100\"",
                quoted(text)
            )),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for RobotId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        common::name(text).map(Self)
    }
}

impl RobotId {
    /// Stands in for an id that was reported as wrong, so that the rest can be checked.
    pub(super) fn unreadable() -> Self {
        Self(String::new())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RobotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CameraId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        common::name(text).map(Self)
    }
}

impl CameraId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
