//! Reading: JSON's fields, one by one, so that each error names its field.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{LinkReport, MESSAGE_LIMIT, MessageError};
use crate::viewer::{IceCandidate, IceServer, ViewerId};

/// A message's fields, taken one by one. `null` counts as absent: browsers write `null` for what they do not know.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn read(text: &str) -> Result<(String, Self), MessageError> {
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

    pub(super) fn optional_string(
        &mut self,
        field: &'static str,
    ) -> Result<Option<String>, MessageError> {
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

    pub(super) fn string(&mut self, field: &'static str) -> Result<String, MessageError> {
        self.optional_string(field)?.ok_or(MessageError::Missing {
            field,
            expected: "string",
        })
    }

    pub(super) fn viewer(&mut self) -> Result<ViewerId, MessageError> {
        match self.optional_string("viewer_id")? {
            Some(name) => Ok(ViewerId::named(name)?),
            None => Ok(ViewerId::anonymous()),
        }
    }

    /// All that is left.
    pub(super) fn link_report(mut self) -> Result<LinkReport, MessageError> {
        self.0.retain(|_, value| !value.is_null());
        serde_json::from_value(Value::Object(self.0)).map_err(MessageError::NoLinkReport)
    }

    /// Also reads `sdpMid` and `sdpMLineIndex`, which is how a browser's own `toJSON` spells them.
    pub(super) fn candidate(&mut self) -> Result<IceCandidate, MessageError> {
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

    pub(super) fn ice_servers(&mut self) -> Result<Vec<IceServer>, MessageError> {
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
    pub(super) fn features(&mut self) -> Vec<String> {
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
    pub(super) fn retry_after(&mut self) -> Option<Duration> {
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
