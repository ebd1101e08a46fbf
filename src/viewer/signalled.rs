//! What signalling says of a viewer: who it is, and how its packets could reach us.

use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

/// Which browser: the name that the relay gave it, or the one anonymous viewer of a relay that gives no names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewerId(Option<Arc<str>>);

impl ViewerId {
    /// The only viewer that a relay without `viewer_id` knows.
    pub const fn anonymous() -> Self {
        Self(None)
    }

    /// `name` is 1 to 128 printable ASCII characters, so that it can stand in a log line or a metric's label.
    pub fn named(name: impl Into<String>) -> Result<Self, ViewerIdError> {
        let name = name.into();
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(ViewerIdError::Length { bytes: name.len() });
        }
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ViewerIdError::NotPrintable);
        }
        Ok(Self(Some(name.into())))
    }

    /// What stands in a message's `viewer_id`; an anonymous viewer's messages have none.
    pub fn as_wire(&self) -> Option<&str> {
        self.0.as_deref()
    }

    pub fn is_anonymous(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for ViewerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_wire().unwrap_or("anonymous"))
    }
}

/// Why a text cannot name a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewerIdError {
    #[error("got a viewer_id of {bytes} bytes when expecting 1 to {LONGEST_NAME}")]
    Length { bytes: usize },
    #[error("got a viewer_id with characters other than printable ASCII without spaces")]
    NotPrintable,
}

/// One address at which a peer might be reached, as trickled (RFC 8838). An empty `candidate` says that there are no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IceCandidate {
    pub candidate: String,
    pub sdp_mid: Option<String>,
    pub sdp_mline_index: Option<u16>,
}

/// A STUN or TURN server. The same as `RTCIceServer` in a browser.
#[derive(Clone, Debug)]
pub struct IceServer {
    pub urls: Vec<String>,
    pub username: Option<String>,
    pub credential: Option<SecretString>,
}

impl PartialEq for IceServer {
    fn eq(&self, other: &Self) -> bool {
        let exposed = |server: &Self| {
            server
                .credential
                .as_ref()
                .map(|secret| secret.expose_secret().to_owned())
        };
        self.urls == other.urls
            && self.username == other.username
            && exposed(self) == exposed(other)
    }
}

impl Eq for IceServer {}

/// Relays name viewers with UUIDs (36) or session tokens; beyond this it is not a name.
const LONGEST_NAME: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_that_would_break_a_log_line_is_refused() {
        assert_eq!(ViewerId::named("a\nb"), Err(ViewerIdError::NotPrintable),);
        assert_eq!(
            ViewerId::named("x".repeat(129)),
            Err(ViewerIdError::Length { bytes: 129 }),
        );
        assert_eq!(ViewerId::named(""), Err(ViewerIdError::Length { bytes: 0 }));
    }

    #[test]
    fn credential_of_a_turn_server_stays_out_of_debug_output() {
        let server = IceServer {
            urls: vec!["turn:turn.example.com".into()],
            username: Some("rover".into()),
            credential: Some("hunter2".into()),
        };
        assert!(!format!("{server:?}").contains("hunter2"));
    }
}
