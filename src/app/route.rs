//! Which relays the robot dials, and as whom.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use url::Url;

use crate::config::{self, CameraConfig, Config, RelayConfig, RobotId};
use crate::relay::client::{Auth, KeySource, LinkSettings, Proxy};
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
            link.proxy = relay.proxy.as_ref().map(|proxy| Proxy {
                url: proxy.url.clone(),
                login: proxy.login_file.clone().map(KeySource::File),
            });
        }
        link
    }

    pub(super) fn session(&self, config: &Config, camera: usize) -> SessionSettings {
        let mut session = SessionSettings {
            max_viewers: config.webrtc.max_viewers as usize,
            start_after: DIAL_STAGGER * camera.try_into().unwrap_or(u32::MAX),
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

/// Between the first dials of two cameras: a TLS handshake keeps a small board's core busy for some tens of milliseconds.
const DIAL_STAGGER: Duration = Duration::from_millis(100);
