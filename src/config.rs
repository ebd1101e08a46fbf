//! The configuration: TOML and environment in, checked types out.
//!
//! Pure: callers read the files. What is wrong is told all at once, each with its place:
//!
//! ```text
//! /etc/rovercast/rovercast.toml:7:1: camera[0].fps: got "thirty" when expecting a whole number from 1 to 240
//! ROVERCAST_RELAY__URL: relay.url: got the scheme "ftp" when expecting one of wss, ws, https, http
//! ```
//!
//! Each key can be set by a variable: `ROVERCAST_`, then the key's path in capitals, one level down at each `__`, entries of
//! lists by their index: `ROVERCAST_RELAY__URL`, `ROVERCAST_CAMERA__0__SOURCE`, `ROVERCAST_WEBRTC__ICE_SERVERS__0__URLS__0`.
//! The index behind the last adds an entry. Lists and inline tables are written as in the file: `[{ urls = ["stun:…"] }]`.
//! An empty variable changes nothing.

mod effective;
mod files;
mod sections;
mod text;
mod variables;
mod words;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::document;
use crate::document::problem::{Findings, Places};
use crate::media::rate::Prefer;
use crate::media::{Bitrate, Size};

pub use crate::document::{DocumentError, Problem};
pub use files::FoundFile;
pub use text::ice_url;
pub use words::{Auth, CameraId, EncoderChoice, IcePolicy, PortRange, RobotId, Source};

/// What a robot maker can choose, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub robot: RobotConfig,
    /// Never empty: without a `[[camera]]` block there is one with all defaults.
    pub cameras: Vec<CameraConfig>,
    /// None: nobody is dialled, and viewers come through the page served here, if at all.
    pub relay: Option<RelayConfig>,
    pub webrtc: WebrtcConfig,
    pub http: HttpConfig,
    places: Places,
    strange_variables: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RobotConfig {
    pub id: RobotId,
}

/// One camera, its encoder, and what becomes of their pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraConfig {
    /// The name that the relay and its dashboards know; a lone camera needs none, and then none is sent.
    pub id: Option<CameraId>,
    pub source: Source,
    /// What the camera is asked for; it may answer with the nearest it has.
    pub size: Size,
    /// The time between two frames.
    pub frame_interval: Duration,
    pub encoder: EncoderChoice,
    pub bitrate: BitrateRange,
    /// What to give up first when the viewers' links are too narrow.
    pub prefer: Prefer,
    /// How many encodes of its pictures there may be at a time.
    pub renditions: Renditions,
    /// Camera and encoder run even when nobody watches: viewers join faster, and the robot pays for it.
    pub keep_warm: bool,
}

/// How many encodes of a camera's pictures there may be at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renditions {
    #[default]
    One,
    /// A second, smaller one while some viewers' links are much slower than others'.
    Two,
}

impl Renditions {
    pub fn count(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// `min` ≤ `start` ≤ `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitrateRange {
    pub min: Bitrate,
    pub start: Bitrate,
    pub max: Bitrate,
}

/// The one outbound connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// Scheme `ws` or `wss`, no user, no query: free of secrets.
    pub url: Url,
    pub api_key_file: Option<PathBuf>,
    pub auth: Auth,
    /// Trusted instead of the system's roots.
    pub ca_file: Option<PathBuf>,
    pub client_certificate: Option<ClientCertificate>,
    /// The way to the relay, where only a proxy has one.
    pub proxy: Option<ProxyConfig>,
    pub ping_interval: Duration,
    pub backoff: BackoffConfig,
}

/// An HTTP proxy that passes on what it cannot read (`CONNECT`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Scheme `http`, no user, no path: free of secrets.
    pub url: Url,
    /// Holds `user:password`.
    pub login_file: Option<PathBuf>,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// `first` ≤ `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffConfig {
    pub first: Duration,
    pub max: Duration,
    /// So long must a connection have lasted before the delays start small again.
    pub reset_after: Duration,
}

#[derive(Clone, Debug)]
pub struct WebrtcConfig {
    pub max_viewers: u32,
    pub ice_policy: IcePolicy,
    /// The ports that viewers come to, each to another one, or all to the only one; None: any that is free.
    pub udp_ports: Option<PortRange>,
    pub ice_servers: Vec<IceServerConfig>,
}

/// STUN and TURN servers that share one login.
#[derive(Clone, Debug)]
pub struct IceServerConfig {
    /// `stun:host[:port]` or `turn:host[:port]`, spoken over UDP; never empty.
    pub urls: Vec<String>,
    /// There when one of the URLs is a TURN server.
    pub login: Option<TurnLogin>,
}

#[derive(Clone, Debug)]
pub struct TurnLogin {
    pub username: String,
    pub credential: Credential,
}

/// A secret, or the file that holds it. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub enum Credential {
    Inline(SecretString),
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Health, metrics and status; None when turned off.
    pub listen: Option<SocketAddr>,
    /// Serves the viewer page and a relay for it, too.
    pub viewer: bool,
}

impl Config {
    /// Reads the configuration `source`, which came from a file that messages call `file`, under `variables`: the whole
    /// environment, out of which only `ROVERCAST_…` counts.
    pub fn read(
        file: &str,
        source: &[u8],
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, DocumentError> {
        let mut findings = Findings::new(file, source);
        let mut table = document::parse(source, &mut findings);
        if !findings.is_empty() {
            // Half a document lacks keys that are there: one true message beats ten wrong ones.
            return Err(findings.into_error());
        }
        let strange_variables = variables::apply_variables(&mut table, variables, &mut findings);
        let mut config = sections::read(table, &mut findings);
        if !findings.is_empty() {
            return Err(findings.into_error());
        }
        config.places = findings.into_places();
        config.strange_variables = strange_variables;
        Ok(config)
    }

    /// All defaults, in no file.
    pub fn new(id: RobotId) -> Self {
        Self {
            robot: RobotConfig { id },
            cameras: vec![CameraConfig::default()],
            relay: None,
            webrtc: WebrtcConfig::default(),
            http: HttpConfig::default(),
            places: Places::none("configuration"),
            strange_variables: Vec::new(),
        }
    }

    /// What is allowed and unwise.
    pub fn warnings(&self) -> Vec<Problem> {
        let mut warnings: Vec<Problem> = self
            .strange_variables
            .iter()
            .map(|name| {
                let what = "sets nothing: below ROVERCAST_ a key has its section and two underscores, \
                            such as ROVERCAST_RELAY__URL";
                Places::none(name).problem("", what)
            })
            .collect();
        match &self.relay {
            Some(relay) => {
                let is_clear = relay.url.scheme() == "ws" && text::leaves_this_machine(&relay.url);
                if is_clear && relay.api_key_file.is_some() {
                    let what = "the key crosses the network in clear text: use wss://";
                    warnings.push(self.places.problem("relay.url", what));
                }
            }
            None if !self.http.viewer => {
                let what = "nobody can watch: there is neither a [relay] nor http.viewer = true";
                warnings.push(self.places.problem("", what));
            }
            None => {}
        }
        warnings
    }
}

impl CameraConfig {
    /// What people and log fields call it: its id, or `camera` for a lone camera without one.
    pub fn name(&self) -> &str {
        self.id.as_ref().map_or("camera", CameraId::as_str)
    }
}

impl Default for CameraConfig {
    fn default() -> Self {
        Self {
            id: None,
            source: Source::Auto,
            size: Size {
                width: 1280,
                height: 720,
            },
            frame_interval: frame_interval(30),
            encoder: EncoderChoice::Auto,
            bitrate: BitrateRange::default(),
            prefer: Prefer::default(),
            renditions: Renditions::default(),
            keep_warm: false,
        }
    }
}

impl BitrateRange {
    /// The default range, cut at `max` or stretched to it.
    pub fn up_to(max: Bitrate) -> Self {
        let default = Self::default();
        Self {
            min: default.min.min(max),
            start: default.start.min(max),
            max,
        }
    }
}

/// From what 320x240 still needs to what 1280x720 can use.
impl Default for BitrateRange {
    fn default() -> Self {
        Self {
            min: Bitrate::kbps(300),
            start: Bitrate::kbps(1500),
            max: Bitrate::kbps(4000),
        }
    }
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            max: Duration::from_secs(60),
            reset_after: Duration::from_secs(60),
        }
    }
}

impl Default for WebrtcConfig {
    fn default() -> Self {
        Self {
            max_viewers: 8,
            ice_policy: IcePolicy::All,
            udp_ports: None,
            ice_servers: Vec::new(),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 8081))),
            viewer: false,
        }
    }
}

/// The time between two frames at so many a second.
pub fn frame_interval(fps: u32) -> Duration {
    Duration::from_secs(1) / fps.max(1)
}

#[cfg(test)]
mod tests;
