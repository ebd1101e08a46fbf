//! Writing: one shape for every message.

use secrecy::ExposeSecret;
use serde::Serialize;

use super::LinkReport;
use crate::viewer::{IceCandidate, IceServer, ViewerId};

/// Every message on the wire, with what it does not use left out.
#[derive(Serialize)]
pub(super) struct Wire<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) viewer_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sdp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) candidate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sdp_mid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sdp_mline_index: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_after_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ice_servers: Vec<WireIceServer<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) features: &'a [String],
    #[serde(flatten)]
    pub(super) report: Option<&'a LinkReport>,
}

impl<'a> Wire<'a> {
    pub(super) fn new(kind: &'a str, viewer: &'a ViewerId) -> Self {
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
            report: None,
        }
    }

    pub(super) fn candidate(viewer: &'a ViewerId, candidate: &'a IceCandidate) -> Self {
        Self {
            candidate: Some(&candidate.candidate),
            sdp_mid: candidate.sdp_mid.as_deref(),
            sdp_mline_index: candidate.sdp_mline_index,
            ..Self::new("ice_candidate", viewer)
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers always have a JSON form")
    }
}

pub(super) fn ice_servers(servers: &[IceServer]) -> Vec<WireIceServer<'_>> {
    servers.iter().map(WireIceServer::from).collect()
}

#[derive(Serialize)]
pub(super) struct WireIceServer<'a> {
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
