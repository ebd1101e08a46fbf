//! The words of the relay protocol: JSON texts over a WebSocket, both ways.
//!
//! Compatible with the relay that robots of the mecha10 family use. Ours, and optional: `viewer_id` on any message, `bye`,
//! `welcome.ice_servers`, `welcome.features`, `error.code`, `error.retry_after_s`.
//!
//! A relay passes on what a dashboard says, so a dashboard's messages read as [`FromRelay`], and what a dashboard hears
//! reads as [`ToRelay`]. Unknown kinds are kept as such: a newer peer must be able to say more than we understand.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Map, Value};

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
                code: fields.optional_string("code")?,
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
                ice_servers: ice_servers.iter().map(WireIceServer::from).collect(),
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
            Self::Unknown { kind } => Wire::new(kind, &ViewerId::anonymous()).to_json(),
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
            | Self::Bye { viewer } => viewer.clone_from(named),
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
                code: fields.optional_string("code")?,
            },
            "bye" => Self::Bye {
                viewer: fields.viewer()?,
                reason: fields.optional_string("reason")?,
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
            Self::Unknown { kind } => Wire::new(kind, &ViewerId::anonymous()).to_json(),
        }
    }

    /// The viewer it is about; `None` for a kind that we do not know.
    pub fn viewer(&self) -> Option<&ViewerId> {
        match self {
            Self::Offer { viewer, .. }
            | Self::IceCandidate { viewer, .. }
            | Self::Error { viewer, .. }
            | Self::Bye { viewer, .. } => Some(viewer),
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
    #[error(transparent)]
    Viewer(#[from] ViewerIdError),
}

/// A message's fields, taken one by one. `null` counts as absent: browsers write `null` for what they do not know.
struct Fields(Map<String, Value>);

impl Fields {
    fn read(text: &str) -> Result<(String, Self), MessageError> {
        if text.len() > MESSAGE_LIMIT {
            return Err(MessageError::TooLong { bytes: text.len() });
        }
        let value = serde_json::from_str(text).map_err(MessageError::NotJson)?;
        let Value::Object(fields) = value else {
            return Err(MessageError::NoType);
        };
        let mut fields = Self(fields);
        let kind = fields
            .optional_string("type")?
            .ok_or(MessageError::NoType)?;
        Ok((kind, fields))
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field).filter(|value| !value.is_null())
    }

    fn optional_string(&mut self, field: &'static str) -> Result<Option<String>, MessageError> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(MessageError::WrongType {
                field,
                got: kind_of(&other),
                expected: "a string",
            }),
        }
    }

    fn string(&mut self, field: &'static str) -> Result<String, MessageError> {
        self.optional_string(field)?.ok_or(MessageError::Missing {
            field,
            expected: "string",
        })
    }

    fn viewer(&mut self) -> Result<ViewerId, MessageError> {
        match self.optional_string("viewer_id")? {
            Some(name) => Ok(ViewerId::named(name)?),
            None => Ok(ViewerId::anonymous()),
        }
    }

    /// Also reads `sdpMid` and `sdpMLineIndex`, which is how a browser's own `toJSON` spells them.
    fn candidate(&mut self) -> Result<IceCandidate, MessageError> {
        let sdp_mid = match self.optional_string("sdp_mid")? {
            Some(mid) => Some(mid),
            None => self.optional_string("sdpMid")?,
        };
        let index = self
            .take("sdp_mline_index")
            .or_else(|| self.take("sdpMLineIndex"));
        let sdp_mline_index = match index {
            None => None,
            Some(value) => Some(
                value
                    .as_u64()
                    .and_then(|index| u16::try_from(index).ok())
                    .ok_or(MessageError::WrongType {
                        field: "sdp_mline_index",
                        got: kind_of(&value),
                        expected: "a number from 0 to 65535",
                    })?,
            ),
        };
        Ok(IceCandidate {
            candidate: self.string("candidate")?,
            sdp_mid,
            sdp_mline_index,
        })
    }

    fn ice_servers(&mut self) -> Result<Vec<IceServer>, MessageError> {
        match self.take("ice_servers") {
            None => Ok(Vec::new()),
            Some(Value::Array(servers)) => servers.into_iter().map(ice_server).collect(),
            Some(other) => Err(MessageError::WrongType {
                field: "ice_servers",
                got: kind_of(&other),
                expected: "a list",
            }),
        }
    }

    /// Names that are not texts are of a later version, and none of ours.
    fn features(&mut self) -> Vec<String> {
        let Some(Value::Array(features)) = self.take("features") else {
            return Vec::new();
        };
        features
            .into_iter()
            .filter_map(|feature| match feature {
                Value::String(name) => Some(name),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => None,
            })
            .collect()
    }

    /// A hint that is no time span is no hint; the error's text matters more.
    fn retry_after(&mut self) -> Option<Duration> {
        let seconds = self.take("retry_after_s")?.as_f64()?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// `urls` is one text or a list of them (W3C WebRTC, section 4.2.3).
fn ice_server(value: Value) -> Result<IceServer, MessageError> {
    let Value::Object(fields) = value else {
        return Err(MessageError::WrongType {
            field: "ice_servers",
            got: kind_of(&value),
            expected: "a list of objects",
        });
    };
    let mut fields = Fields(fields);
    let urls = match fields.take("urls") {
        Some(Value::String(url)) => vec![url],
        Some(Value::Array(urls)) => urls
            .iter()
            .map(|url| {
                url.as_str()
                    .map(str::to_owned)
                    .ok_or(MessageError::WrongType {
                        field: "urls",
                        got: kind_of(url),
                        expected: "a list of strings",
                    })
            })
            .collect::<Result<_, _>>()?,
        Some(other) => {
            return Err(MessageError::WrongType {
                field: "urls",
                got: kind_of(&other),
                expected: "a list of strings",
            });
        }
        None => {
            return Err(MessageError::Missing {
                field: "urls",
                expected: "list of strings",
            });
        }
    };
    Ok(IceServer {
        urls,
        username: fields.optional_string("username")?,
        credential: fields
            .optional_string("credential")?
            .map(SecretString::from),
    })
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn shortened(mut kind: String) -> String {
    kind.truncate(kind.floor_char_boundary(LONGEST_KIND));
    kind
}

/// Every message on the wire, with what it does not use left out.
#[derive(Serialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    viewer_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdp_mid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdp_mline_index: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ice_servers: Vec<WireIceServer<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    features: &'a [String],
}

impl<'a> Wire<'a> {
    fn new(kind: &'a str, viewer: &'a ViewerId) -> Self {
        Self {
            kind,
            viewer_id: viewer.as_wire(),
            sdp: None,
            candidate: None,
            sdp_mid: None,
            sdp_mline_index: None,
            message: None,
            code: None,
            retry_after_s: None,
            reason: None,
            ice_servers: Vec::new(),
            features: &[],
        }
    }

    fn candidate(viewer: &'a ViewerId, candidate: &'a IceCandidate) -> Self {
        Self {
            candidate: Some(&candidate.candidate),
            sdp_mid: candidate.sdp_mid.as_deref(),
            sdp_mline_index: candidate.sdp_mline_index,
            ..Self::new("ice_candidate", viewer)
        }
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers always have a JSON form")
    }
}

#[derive(Serialize)]
struct WireIceServer<'a> {
    urls: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
}

impl<'a> From<&'a IceServer> for WireIceServer<'a> {
    fn from(server: &'a IceServer) -> Self {
        Self {
            urls: &server.urls,
            username: server.username.as_deref(),
            credential: server
                .credential
                .as_ref()
                .map(|credential| credential.expose_secret()),
        }
    }
}

/// Bytes in one message. A browser's answer with many candidates has 20 KiB; beyond this somebody feeds us.
pub const MESSAGE_LIMIT: usize = 256 * 1024;

/// Bytes of an unknown kind that are kept, for the log line that names it.
const LONGEST_KIND: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(name: &str) -> ViewerId {
        ViewerId::named(name).unwrap()
    }

    #[test]
    fn seed_relay_speaks_without_extensions() {
        let viewer = ViewerId::anonymous();
        let cases = [
            (
                r#"{"type":"welcome"}"#,
                FromRelay::Welcome {
                    ice_servers: vec![],
                    features: vec![],
                },
            ),
            (
                r#"{"type":"error","message":"robot unknown"}"#,
                FromRelay::Error {
                    message: "robot unknown".into(),
                    code: None,
                    retry_after: None,
                },
            ),
            (
                r#"{"type":"ready"}"#,
                FromRelay::Ready {
                    viewer: viewer.clone(),
                },
            ),
            (
                r#"{"type":"dashboard_ready"}"#,
                FromRelay::Ready {
                    viewer: viewer.clone(),
                },
            ),
            (
                r#"{"type":"answer","sdp":"v=0\r\n"}"#,
                FromRelay::Answer {
                    viewer: viewer.clone(),
                    sdp: "v=0\r\n".into(),
                },
            ),
            (
                r#"{"type":"ice_candidate","candidate":"candidate:1","sdp_mid":"0","sdp_mline_index":0}"#,
                FromRelay::IceCandidate {
                    viewer: viewer.clone(),
                    candidate: IceCandidate {
                        candidate: "candidate:1".into(),
                        sdp_mid: Some("0".into()),
                        sdp_mline_index: Some(0),
                    },
                },
            ),
            (
                r#"{"type":"offer","sdp":"v=0"}"#,
                FromRelay::Offer { viewer },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(FromRelay::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn robot_speaks_to_the_seed_relay_without_extensions() {
        let viewer = ViewerId::anonymous();
        let offer = ToRelay::Offer {
            viewer: viewer.clone(),
            sdp: "v=0".into(),
        };
        assert_eq!(offer.to_json(), r#"{"type":"offer","sdp":"v=0"}"#);
        let candidate = ToRelay::IceCandidate {
            viewer: viewer.clone(),
            candidate: IceCandidate {
                candidate: "candidate:1".into(),
                sdp_mid: Some("0".into()),
                sdp_mline_index: Some(0),
            },
        };
        assert_eq!(
            candidate.to_json(),
            r#"{"type":"ice_candidate","candidate":"candidate:1","sdp_mid":"0","sdp_mline_index":0}"#
        );
        let error = ToRelay::Error {
            viewer,
            message: "no camera".into(),
            code: None,
        };
        assert_eq!(error.to_json(), r#"{"type":"error","message":"no camera"}"#);
    }

    #[test]
    fn welcome_brings_turn_credentials_and_an_error_its_hint() {
        let welcome = FromRelay::parse(
            r#"{"type":"welcome","features":["bye",7],"ice_servers":[
                {"urls":"turn:t.example.com","username":"u","credential":"c"},
                {"urls":["stun:s.example.com"]}]}"#,
        );
        let expected = FromRelay::Welcome {
            ice_servers: vec![
                IceServer {
                    urls: vec!["turn:t.example.com".into()],
                    username: Some("u".into()),
                    credential: Some("c".into()),
                },
                IceServer {
                    urls: vec!["stun:s.example.com".into()],
                    username: None,
                    credential: None,
                },
            ],
            features: vec!["bye".into()],
        };
        assert_eq!(welcome.unwrap(), expected);
        let error = FromRelay::parse(
            r#"{"type":"error","message":"restarting","code":"restart","retry_after_s":2.5}"#,
        );
        let expected = FromRelay::Error {
            message: "restarting".into(),
            code: Some("restart".into()),
            retry_after: Some(Duration::from_millis(2500)),
        };
        assert_eq!(error.unwrap(), expected);
    }

    #[test]
    fn hint_that_is_no_time_span_is_ignored() {
        for hint in ["-1", "1e300", "\"soon\"", "null"] {
            let text = format!(r#"{{"type":"error","message":"x","retry_after_s":{hint}}}"#);
            let FromRelay::Error { retry_after, .. } = FromRelay::parse(&text).unwrap() else {
                panic!("{text} is an error");
            };
            assert_eq!(retry_after, None, "{text}");
        }
    }

    #[test]
    fn candidate_in_a_browsers_own_spelling_is_read() {
        let text = r#"{"type":"ice_candidate","viewer_id":"a","candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":1,"usernameFragment":"x"}"#;
        let expected = FromRelay::IceCandidate {
            viewer: named("a"),
            candidate: IceCandidate {
                candidate: "candidate:1".into(),
                sdp_mid: Some("0".into()),
                sdp_mline_index: Some(1),
            },
        };
        assert_eq!(FromRelay::parse(text).unwrap(), expected);
    }

    #[test]
    fn kind_of_a_later_version_is_kept() {
        let unknown = FromRelay::parse(r#"{"type":"teleport","to":"mars"}"#).unwrap();
        assert_eq!(
            unknown,
            FromRelay::Unknown {
                kind: "teleport".into()
            }
        );
    }

    #[test]
    fn bad_messages_say_what_is_wrong() {
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(MESSAGE_LIMIT));
        let cases = [
            (
                long.as_str(),
                "message of 262155 bytes is over the limit of 262144",
            ),
            (
                "ready",
                "message is not JSON: expected value at line 1 column 1",
            ),
            (
                "[]",
                r#"message has no "type" when expecting an object such as {"type":"ready"}"#,
            ),
            (
                r#"{"type":"answer"}"#,
                r#"message has no "sdp" when expecting a string"#,
            ),
            (
                r#"{"type":"answer","sdp":7}"#,
                r#"message has a number as "sdp" when expecting a string"#,
            ),
            (
                r#"{"type":"ready","viewer_id":"a b"}"#,
                "got a viewer_id with characters other than printable ASCII without spaces",
            ),
            (
                r#"{"type":"ice_candidate","candidate":"c","sdp_mline_index":65536}"#,
                r#"message has a number as "sdp_mline_index" when expecting a number from 0 to 65535"#,
            ),
            (
                r#"{"type":"welcome","ice_servers":[{"urls":[1]}]}"#,
                r#"message has a number as "urls" when expecting a list of strings"#,
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(FromRelay::parse(text).unwrap_err().to_string(), expected);
        }
    }

    fn viewer() -> impl Strategy<Value = ViewerId> {
        prop_oneof![
            Just(ViewerId::anonymous()),
            "[!-~]{1,128}".prop_map(|name| named(&name)),
        ]
    }

    fn candidate() -> impl Strategy<Value = IceCandidate> {
        (
            any::<String>(),
            any::<Option<String>>(),
            any::<Option<u16>>(),
        )
            .prop_map(|(candidate, sdp_mid, sdp_mline_index)| IceCandidate {
                candidate,
                sdp_mid,
                sdp_mline_index,
            })
    }

    fn ice_server() -> impl Strategy<Value = IceServer> {
        (
            any::<Vec<String>>(),
            any::<Option<String>>(),
            any::<Option<String>>(),
        )
            .prop_map(|(urls, username, credential)| IceServer {
                urls,
                username,
                credential: credential.map(SecretString::from),
            })
    }

    fn from_relay() -> impl Strategy<Value = FromRelay> {
        prop_oneof![
            (
                proptest::collection::vec(ice_server(), 0..4),
                any::<Vec<String>>()
            )
                .prop_map(|(ice_servers, features)| FromRelay::Welcome {
                    ice_servers,
                    features
                }),
            (
                any::<String>(),
                any::<Option<String>>(),
                any::<Option<u32>>()
            )
                .prop_map(|(message, code, seconds)| FromRelay::Error {
                    message,
                    code,
                    retry_after: seconds.map(|seconds| Duration::from_secs(seconds.into())),
                }),
            viewer().prop_map(|viewer| FromRelay::Ready { viewer }),
            (viewer(), any::<String>()).prop_map(|(viewer, sdp)| FromRelay::Answer { viewer, sdp }),
            (viewer(), candidate())
                .prop_map(|(viewer, candidate)| FromRelay::IceCandidate { viewer, candidate }),
            viewer().prop_map(|viewer| FromRelay::Offer { viewer }),
            viewer().prop_map(|viewer| FromRelay::Bye { viewer }),
        ]
    }

    fn to_relay() -> impl Strategy<Value = ToRelay> {
        prop_oneof![
            (viewer(), any::<String>()).prop_map(|(viewer, sdp)| ToRelay::Offer { viewer, sdp }),
            (viewer(), candidate())
                .prop_map(|(viewer, candidate)| ToRelay::IceCandidate { viewer, candidate }),
            (viewer(), any::<String>(), any::<Option<String>>()).prop_map(
                |(viewer, message, code)| ToRelay::Error {
                    viewer,
                    message,
                    code
                }
            ),
            (viewer(), any::<Option<String>>())
                .prop_map(|(viewer, reason)| ToRelay::Bye { viewer, reason }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_said_is_what_is_heard(message in from_relay()) {
            prop_assert_eq!(FromRelay::parse(&message.to_json()).unwrap(), message);
        }

        #[test]
        fn what_a_robot_says_is_what_the_relay_hears(message in to_relay()) {
            prop_assert_eq!(ToRelay::parse(&message.to_json()).unwrap(), message);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            let text = String::from_utf8_lossy(&bytes);
            let _ = FromRelay::parse(&text);
            let _ = ToRelay::parse(&text);
        }

        #[test]
        fn any_fields_of_any_kind_are_read_or_refused(
            kind in "welcome|error|ready|answer|ice_candidate|offer|bye|[a-z]{80}",
            field in "viewer_id|sdp|candidate|sdp_mid|sdpMLineIndex|ice_servers|retry_after_s|code",
            value in "null|true|-1|1e400|7|\"\"|\"\\\\ud800\"|\\[\\]|\\[null\\]|\\[\\{\\}\\]|\\{\\}",
        ) {
            let text = format!(r#"{{"type":"{kind}","{field}":{value}}}"#);
            let _ = FromRelay::parse(&text);
            let _ = ToRelay::parse(&text);
        }
    }
}
