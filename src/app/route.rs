//! Which relays the robot dials, and as whom.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use url::Url;

use crate::config::{self, CameraConfig, Config, RelayConfig, RobotId};
use crate::relay::client::{Auth, KeySource, LinkSettings};
use crate::relay::server;
use crate::relay::session::SessionSettings;

/// A relay that the robot dials, once a camera.
pub(super) struct Route {
    pub(super) url: Url,
    /// What may be shown of it.
    pub(super) shown: String,
    configured: Option<RelayConfig>,
}

impl Route {
    pub(super) fn configured(relay: &RelayConfig) -> Self {
        Self {
            url: relay.url.clone(),
            shown: relay.url.to_string(),
            configured: Some(relay.clone()),
        }
    }

    /// The reference relay in this process.
    pub(super) fn local(address: SocketAddr) -> Self {
        let mut dialed = address;
        if address.ip().is_unspecified() {
            dialed.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let shown = format!("ws://{dialed}{}", server::PATH);
        let url = shown.parse().expect("an address and a path make a URL");
        Self {
            url,
            shown,
            configured: None,
        }
    }

    pub(super) fn link(&self, robot: &RobotId, camera: &CameraConfig) -> LinkSettings {
        let mut link = LinkSettings::new(self.url.clone(), robot.as_str());
        link.camera_id = camera.id.as_ref().map(|id| id.as_str().to_owned());
        if let Some(relay) = &self.configured {
            link.api_key = relay.api_key_file.clone().map(KeySource::File);
            link.auth = match relay.auth {
                config::Auth::Query => Auth::Query,
                config::Auth::Bearer => Auth::Bearer,
            };
            link.ca_file.clone_from(&relay.ca_file);
            if let Some(certificate) = &relay.client_certificate {
                link.client_cert_file = Some(certificate.cert_file.clone());
                link.client_key_file = Some(certificate.key_file.clone());
            }
        }
        link
    }

    pub(super) fn session(&self, config: &Config) -> SessionSettings {
        let mut session = SessionSettings {
            max_viewers: config.webrtc.max_viewers as usize,
            ..SessionSettings::default()
        };
        if let Some(relay) = &self.configured {
            session.ping_interval = relay.ping_interval;
            session.backoff_first = relay.backoff.first;
            session.backoff_max = relay.backoff.max;
            session.backoff_reset_after = relay.backoff.reset_after;
        }
        session
    }
}
