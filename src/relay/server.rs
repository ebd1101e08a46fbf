//! The reference relay: brings robots and browsers together for the demo, on a LAN, and in tests.
//!
//! Robots and dashboards call the WebSocket endpoint [`PATH`]; only the words go through here, pictures are peer-to-peer.
//!
//! - A robot: `?type=robot&robot_id=…&api_key=…[&camera_id=…]`, or its key as `Authorization: Bearer …`. It hears `welcome`, a
//!   `ready` for each session that a dashboard wants, and the dashboard's `answer`, `ice_candidate`, `link` and `bye`, each with the
//!   `viewer_id` that the relay gave. One robot per id and camera: the newest wins, the old one hears `error` with the code
//!   `replaced` and is closed (4000).
//! - A dashboard: `?type=dashboard&robot_id=…[&camera_id=…][&token=…]`. It hears `welcome`, then `{"type":"robot","online":…}`
//!   now and at every change (again `true` when the robot reconnects), and the robot's `offer`, `ice_candidate`, `error` and
//!   `bye`. It says `ready` whenever it wants a new session: that is passed on, or kept until the robot is here. Whatever
//!   `viewer_id` it writes is replaced by its own. A robot that knows no `viewer_id` serves the latest dashboard; the one
//!   before hears `bye` with the code `taken_over`, and does well not to ask again by itself.
//! - A dashboard that says `link` hears the robot's `link` about itself, if the robot knows that word.
//! - A dashboard that says `bye` or closes its WebSocket ends its session. One that is lost does not: the picture may be running.
//!
//! Callers are refused with a JSON text: 400 for a query that cannot be understood, 401 for a wrong key or token, 403 for a web
//! page of another origin, 426 for what is no WebSocket. Too fast is closed with 1008, too large with 1009, a full relay with
//! 1013. When the relay ends, everyone hears `error` with the code `restarting` and a `retry_after_s` of its own, and 1001. What is no message gets `error` with the code `bad_message`.

mod allowance;
mod caller;
mod connection;
mod keys;
mod listener;
mod reread;
mod rooms;
mod switchboard;
mod turn;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use rand::TryRngCore;
use rand::rand_core::OsError;
use rand::rngs::OsRng;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role as WebSocketRole;
use tracing::{debug, warn};

use self::caller::{Caller, CallerError};
use self::connection::{Connection, Liveness, websocket_config};
use self::keys::KeyFile;
pub use self::keys::KeyFileError;
use self::listener::Seat;
pub use self::listener::{ServeError, TlsFiles, open_many_sockets, serve};
use self::rooms::{ConnectionId, Rooms};
use self::switchboard::{Counters, Event, Switchboard};
use self::turn::IceServers;
pub use self::turn::TurnSecretError;
use crate::viewer::IceServer;

/// Where robots and dashboards call.
pub const PATH: &str = "/webrtc-relay";

/// How a relay is set up.
#[derive(Clone, Debug)]
pub struct RelaySettings {
    /// Where it will be served; without a key file, anything but loopback deserves a warning.
    pub listen: SocketAddr,
    /// Robots' keys and dashboards' tokens; without it, any caller may be any robot. Read again when it changes.
    pub key_file: Option<PathBuf>,
    /// Given to robots and dashboards in `welcome`.
    pub ice_servers: Vec<IceServer>,
    /// What the relay shares with those of them that are TURN servers. With it, each robot and dashboard gets credentials that
    /// last a day, and others in a new `welcome` before that. Read again when it changes.
    pub turn_secret_file: Option<PathBuf>,
    /// Web pages that may connect besides the relay's own, as browsers write them: `https://fleet.example.com`.
    pub origins: Vec<String>,
}

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error(transparent)]
    TurnSecret(#[from] TurnSecretError),
    #[error("cannot get random bytes from the kernel to name viewers with")]
    Random(#[source] OsError),
}

/// What a relay counted since it started, and who is here now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayCounts {
    pub robots: usize,
    pub dashboards: usize,
    /// From robots and dashboards, passed on or not.
    pub messages: u64,
    /// Callers refused and connections cut.
    pub rejected: u64,
}

/// A relay. Clones are the same relay; it ends when the last of them and of its connections is gone.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keys: Option<KeyFile>,
    origins: Vec<String>,
    events: mpsc::Sender<Event>,
    counters: Arc<Counters>,
    connections: AtomicU64,
}

impl Relay {
    /// Starts the switchboard as a task: call it within a tokio runtime.
    pub fn new(settings: RelaySettings) -> Result<Self, RelayError> {
        let keys = settings.key_file.map(KeyFile::open).transpose()?;
        if keys.is_none() && !settings.listen.ip().is_loopback() {
            warn!("no key file: whoever reaches this relay may be any robot and watch any robot");
        }
        let counters = Arc::new(Counters::default());
        let seed = OsRng.try_next_u64().map_err(RelayError::Random)?;
        let ice_servers = IceServers::new(settings.ice_servers, settings.turn_secret_file)?;
        let (sender, events) = mpsc::channel(Switchboard::QUEUE);
        let switchboard = Switchboard::new(Rooms::new(seed), ice_servers, Arc::clone(&counters));
        tokio::spawn(switchboard.run(events));
        Ok(Self(Arc::new(Shared {
            keys,
            origins: settings.origins,
            events: sender,
            counters,
            connections: AtomicU64::new(0),
        })))
    }

    /// The endpoint, to be merged with other pages. Under another server than [`serve`] its WebSockets do not hear of a shutdown.
    pub fn router(&self) -> Router {
        Router::new()
            .route(PATH, get(call))
            .with_state(self.clone())
    }

    /// `/healthz` and `/metrics`, for a relay that has a server of its own.
    pub fn observation(&self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "healthy\n" }))
            .route("/metrics", get(metrics))
            .with_state(self.clone())
    }

    pub fn counts(&self) -> RelayCounts {
        let counters = &self.0.counters;
        RelayCounts {
            robots: counters.robots.load(Ordering::Relaxed),
            dashboards: counters.dashboards.load(Ordering::Relaxed),
            messages: counters.messages.load(Ordering::Relaxed),
            rejected: counters.rejected.load(Ordering::Relaxed),
        }
    }

    fn admit(&self, request: &Request) -> Result<(Caller, HeaderValue), Refusal> {
        let headers = request.headers();
        let caller = Caller::read(request.uri(), headers)?;
        if !self.trusts_origin(headers) {
            return Err(Refusal::Origin);
        }
        if let Some(keys) = &self.0.keys
            && !keys.admits(&caller)
        {
            warn!(robot = %caller.room, role = ?caller.role, "caller refused: wrong key");
            return Err(Refusal::Key);
        }
        let accept = websocket_accept(headers).ok_or(Refusal::NotWebSocket)?;
        Ok((caller, accept))
    }

    /// Browsers let any web page open a WebSocket to anywhere, loopback and LAN included, and say which page it was
    /// (RFC 6455, section 10.2). Callers that are no browsers send no `Origin`.
    fn trusts_origin(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let own = origin.split_once("://").map(|(_, authority)| authority);
        (own.is_some() && own == host) || self.0.origins.iter().any(|listed| listed == origin)
    }

    fn reject(&self) {
        self.0.counters.rejected.fetch_add(1, Ordering::Relaxed);
    }
}

/// The text format of Prometheus, version 0.0.4. It names no robot.
async fn metrics(State(relay): State<Relay>) -> Response {
    let counts = relay.counts();
    let text = format!(
        "# HELP rovercast_relay_connections Who is here now.\n\
         # TYPE rovercast_relay_connections gauge\n\
         rovercast_relay_connections{{role=\"robot\"}} {}\n\
         rovercast_relay_connections{{role=\"dashboard\"}} {}\n\
         # HELP rovercast_relay_messages_total Heard from robots and dashboards, passed on or not.\n\
         # TYPE rovercast_relay_messages_total counter\n\
         rovercast_relay_messages_total {}\n\
         # HELP rovercast_relay_rejected_total Callers refused and connections cut.\n\
         # TYPE rovercast_relay_rejected_total counter\n\
         rovercast_relay_rejected_total {}\n",
        counts.robots, counts.dashboards, counts.messages, counts.rejected
    );
    let kind = "text/plain; version=0.0.4";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn call(State(relay): State<Relay>, mut request: Request) -> Response {
    let (caller, accept) = match relay.admit(&request) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            debug!(%refusal, "caller refused");
            relay.reject();
            return refusal.into_response();
        }
    };
    let seat = request.extensions().get::<Seat>().cloned();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let stream = match upgrade.await {
            Ok(stream) => TokioIo::new(stream),
            Err(error) => return debug!(%error, "caller left before the upgrade"),
        };
        let socket = WebSocketStream::from_raw_socket(
            stream,
            WebSocketRole::Server,
            Some(websocket_config()),
        )
        .await;
        let connection = Connection {
            id: ConnectionId(relay.0.connections.fetch_add(1, Ordering::Relaxed)),
            role: caller.role,
            room: caller.room,
            events: relay.0.events.clone(),
            closing: seat
                .as_ref()
                .map_or_else(|| watch::channel(false).1, |seat| seat.closing.clone()),
            liveness: Liveness::USUAL,
            counters: Arc::clone(&relay.0.counters),
        };
        if connection.run(socket).await.is_rejection() {
            relay.reject();
        }
        drop(seat);
    });
    switching(accept)
}

fn switching(accept: HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// What answers the caller's `Sec-WebSocket-Key`, when all that a WebSocket needs is there. RFC 6455, section 4.2.1.
fn websocket_accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name, wanted: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    let asks = has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && has(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks)?;
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()
}

/// Why a caller is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Caller(#[from] CallerError),
    #[error("key or token is not right for this robot")]
    Key,
    #[error("web page is of another origin than this relay")]
    Origin,
    #[error("request is no WebSocket handshake of version 13")]
    NotWebSocket,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Caller(_) => StatusCode::BAD_REQUEST,
            Self::Key => StatusCode::UNAUTHORIZED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::NotWebSocket => StatusCode::UPGRADE_REQUIRED,
        };
        let text = serde_json::json!({ "error": self.to_string() }).to_string();
        let mut response = (status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        match self {
            Self::Key => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::NotWebSocket => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(
                    header::SEC_WEBSOCKET_VERSION,
                    HeaderValue::from_static("13"),
                );
            }
            Self::Caller(_) | Self::Origin => {}
        }
        response
    }
}
