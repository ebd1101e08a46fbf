//! The words of the relay protocol: JSON texts over a WebSocket, both ways.
//!
//! Compatible with the relay that robots of the mecha10 family use. Ours, and optional: `viewer_id` on any message, `bye`,
//! `welcome.ice_servers`, `welcome.features`, `error.code`, `error.retry_after_s`, and `link`:
//!
//! ```text
//!  dashboard ─► robot  {"type":"link","viewer_id":…}                          how does my link do?
//!  robot ─► dashboard  {"type":"link","viewer_id":…,"estimate_kbps":812,…}    so: see LinkReport
//! ```
//!
//! Nobody is told unasked, for each word costs a mobile link something; and a robot or a relay that does not know the question
//! says nothing to it. Who asks more often than the robot answers is answered as often as it does.
//!
//! A relay passes on what a dashboard says, so a dashboard's messages read as [`FromRelay`], and what a dashboard hears
//! reads as [`ToRelay`]. Unknown kinds are kept as such: a newer peer must be able to say more than we understand.

mod fields;
mod link;
mod wire;

use std::time::Duration;

use self::fields::Fields;
pub use self::link::{ANOTHER, LinkReport, OWN};
use self::wire::Wire;
use crate::viewer::{IceCandidate, IceServer, ViewerId, ViewerIdError};

/// What a robot hears: from the relay itself, or from a dashboard through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromRelay {
    Welcome {
        /// Short-lived TURN credentials, as a rule; empty when the relay has none to give.
        ice_servers: Vec<IceServer>,
        features: Vec<String>,
    },
    Error {
        message: String,
        code: Option<String>,
        retry_after: Option<Duration>,
    },
    /// A viewer waits for an offer. On the wire `ready`, or `dashboard_ready`.
    Ready {
        viewer: ViewerId,
    },
    Answer {
        viewer: ViewerId,
        sdp: String,
    },
    IceCandidate {
        viewer: ViewerId,
        candidate: IceCandidate,
    },
    /// The robot makes the offers; this one is only read so that it can be refused by name.
    Offer {
        viewer: ViewerId,
    },
    Bye {
        viewer: ViewerId,
    },
    /// The viewer wants to know how its link does.
    Link {
        viewer: ViewerId,
    },
    Unknown {
        kind: String,
    },
}

impl FromRelay {
    /// Reads one text message of at most [`MESSAGE_LIMIT`] bytes.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        let (kind, mut fields) = Fields::read(text)?;
        Ok(match kind.as_str() {
            "welcome" => Self::Welcome {
                ice_servers: fields.ice_servers()?,
                features: fields.features(),
            },
            "error" => Self::Error {
                message: fields.optional_string("message")?.unwrap_or_default(),
                code: fields.optional_string("code")?.map(shortened),
                retry_after: fields.retry_after(),
            },
            "ready" | "dashboard_ready" => Self::Ready {
                viewer: fields.viewer()?,
            },
            "answer" => Self::Answer {
                viewer: fields.viewer()?,
                sdp: fields.string("sdp")?,
            },
            "ice_candidate" => Self::IceCandidate {
                viewer: fields.viewer()?,
                candidate: fields.candidate()?,
            },
            "offer" => Self::Offer {
                viewer: fields.viewer()?,
            },
            "bye" => Self::Bye {
                viewer: fields.viewer()?,
            },
            "link" => Self::Link {
                viewer: fields.viewer()?,
            },
            _ => Self::Unknown {
                kind: shortened(kind),
            },
        })
    }

    pub fn to_json(&self) -> String {
        match self {
            Self::Welcome {
                ice_servers,
                features,
            } => Wire {
                ice_servers: wire::ice_servers(ice_servers),
                features,
                ..Wire::new("welcome", &ViewerId::anonymous())
            }
            .to_json(),
            Self::Error {
                message,
                code,
                retry_after,
            } => Wire {
                message: Some(message),
                code: code.as_deref(),
                retry_after_s: retry_after.map(|delay| delay.as_secs_f64()),
                ..Wire::new("error", &ViewerId::anonymous())
            }
            .to_json(),
            Self::Ready { viewer } => Wire::new("ready", viewer).to_json(),
            Self::Answer { viewer, sdp } => Wire {
                sdp: Some(sdp),
                ..Wire::new("answer", viewer)
            }
            .to_json(),
            Self::IceCandidate { viewer, candidate } => {
                Wire::candidate(viewer, candidate).to_json()
            }
            Self::Offer { viewer } => Wire::new("offer", viewer).to_json(),
            Self::Bye { viewer } => Wire::new("bye", viewer).to_json(),
            Self::Link { viewer } => Wire::new("link", viewer).to_json(),
            Self::Unknown { kind } => Wire::new(kind, &ViewerId::anonymous()).to_json(),
        }
    }

    /// The viewer it is about, if any.
    pub fn viewer(&self) -> Option<&ViewerId> {
        match self {
            Self::Ready { viewer }
            | Self::Answer { viewer, .. }
            | Self::IceCandidate { viewer, .. }
            | Self::Offer { viewer }
            | Self::Bye { viewer }
            | Self::Link { viewer } => Some(viewer),
            Self::Welcome { .. } | Self::Error { .. } | Self::Unknown { .. } => None,
        }
    }

    /// The same message about `viewer`: the relay names the dashboard that spoke. Messages about no viewer stay as they are.
    #[must_use]
    pub fn about(mut self, named: &ViewerId) -> Self {
        match &mut self {
            Self::Ready { viewer }
            | Self::Answer { viewer, .. }
            | Self::IceCandidate { viewer, .. }
            | Self::Offer { viewer }
            | Self::Bye { viewer }
            | Self::Link { viewer } => viewer.clone_from(named),
            Self::Welcome { .. } | Self::Error { .. } | Self::Unknown { .. } => {}
        }
        self
    }
}

/// What a robot says: to one viewer through the relay, or to the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToRelay {
    Offer {
        viewer: ViewerId,
        sdp: String,
    },
    IceCandidate {
        viewer: ViewerId,
        candidate: IceCandidate,
    },
    Error {
        viewer: ViewerId,
        message: String,
        code: Option<String>,
    },
    Bye {
        viewer: ViewerId,
        reason: Option<String>,
    },
    /// Boxed: most messages are none.
    Link {
        viewer: ViewerId,
        report: Box<LinkReport>,
    },
    Unknown {
        kind: String,
    },
}

impl ToRelay {
    /// Reads one text message of at most [`MESSAGE_LIMIT`] bytes.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        let (kind, mut fields) = Fields::read(text)?;
        Ok(match kind.as_str() {
            "offer" => Self::Offer {
                viewer: fields.viewer()?,
                sdp: fields.string("sdp")?,
            },
            "ice_candidate" => Self::IceCandidate {
                viewer: fields.viewer()?,
                candidate: fields.candidate()?,
            },
            "error" => Self::Error {
                viewer: fields.viewer()?,
                message: fields.optional_string("message")?.unwrap_or_default(),
                code: fields.optional_string("code")?.map(shortened),
            },
            "bye" => Self::Bye {
                viewer: fields.viewer()?,
                reason: fields.optional_string("reason")?,
            },
            "link" => Self::Link {
                viewer: fields.viewer()?,
                report: Box::new(fields.link_report()?),
            },
            _ => Self::Unknown {
                kind: shortened(kind),
            },
        })
    }

    pub fn to_json(&self) -> String {
        match self {
            Self::Offer { viewer, sdp } => Wire {
                sdp: Some(sdp),
                ..Wire::new("offer", viewer)
            }
            .to_json(),
            Self::IceCandidate { viewer, candidate } => {
                Wire::candidate(viewer, candidate).to_json()
            }
            Self::Error {
                viewer,
                message,
                code,
            } => Wire {
                message: Some(message),
                code: code.as_deref(),
                ..Wire::new("error", viewer)
            }
            .to_json(),
            Self::Bye { viewer, reason } => Wire {
                reason: reason.as_deref(),
                ..Wire::new("bye", viewer)
            }
            .to_json(),
            Self::Link { viewer, report } => Wire {
                report: Some(report),
                ..Wire::new("link", viewer)
            }
            .to_json(),
            Self::Unknown { kind } => Wire::new(kind, &ViewerId::anonymous()).to_json(),
        }
    }

    /// The viewer it is about; `None` for a kind that we do not know.
    pub fn viewer(&self) -> Option<&ViewerId> {
        match self {
            Self::Offer { viewer, .. }
            | Self::IceCandidate { viewer, .. }
            | Self::Error { viewer, .. }
            | Self::Bye { viewer, .. }
            | Self::Link { viewer, .. } => Some(viewer),
            Self::Unknown { .. } => None,
        }
    }
}

/// Why a message could not be read. It is reported and dropped; the connection goes on.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error("message of {bytes} bytes is over the limit of {MESSAGE_LIMIT}")]
    TooLong { bytes: usize },
    #[error("message is not JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("message has no \"type\" when expecting an object such as {{\"type\":\"ready\"}}")]
    NoType,
    #[error("message has no \"{field}\" when expecting a {expected}")]
    Missing {
        field: &'static str,
        expected: &'static str,
    },
    #[error("message has {got} as \"{field}\" when expecting {expected}")]
    WrongType {
        field: &'static str,
        got: &'static str,
        expected: &'static str,
    },
    #[error("message is no report of a link: {0}")]
    NoLinkReport(serde_json::Error),
    #[error(transparent)]
    Viewer(#[from] ViewerIdError),
}

fn shortened(mut word: String) -> String {
    word.truncate(word.floor_char_boundary(LONGEST_WORD));
    word
}

/// Bytes in one message. A browser's answer with many candidates has 20 KiB; beyond this somebody feeds us.
pub const MESSAGE_LIMIT: usize = 256 * 1024;

/// What stands in an error's `code`. Texts are for people and may change; these are for programs and do not.
pub mod code {
    /// The robot serves as many viewers as it may.
    pub const MAX_VIEWERS: &str = "max_viewers";
    /// The message is about a viewer that the robot does not have (any more).
    pub const UNKNOWN_VIEWER: &str = "unknown_viewer";
    /// Robots make the offers.
    pub const UNEXPECTED_OFFER: &str = "unexpected_offer";
    /// There is no offer that this could answer.
    pub const UNEXPECTED_ANSWER: &str = "unexpected_answer";
    /// From the relay: the key is wrong.
    pub const UNAUTHORIZED: &str = "unauthorized";
}

/// Bytes that are kept of an unknown kind or of an error's code: both are short words, and go into log lines.
const LONGEST_WORD: usize = 64;

#[cfg(test)]
mod tests;
