//! Wiring: what the commands of [`crate::cli`] start. Parts are put together here, and decide nothing here.

mod assembly;
mod devices;
mod end;
mod ice;
pub mod inventory;
mod line;
mod link_report;
pub mod profiles;
mod robot;
mod route;
mod seat;
mod small;
mod status;
mod steering;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::info;

use self::assembly::{robot, routes, viewing};
use self::end::{end_signal, ended};
use self::profiles::FoundProfiles;
use self::robot::Robot;
use self::route::Route;
use crate::camera::CameraError;
use crate::config::{CameraConfig, Config, IcePolicy, RobotId, Source};
use crate::http::{self, PageSettings};
use crate::relay::server::{self, Relay, RelayError, RelaySettings, ServeError};
use crate::systemd;
use crate::viewer::webrtc::{OnePort, PeerSettings, UdpPorts};

pub use crate::relay::server::TlsFiles;

/// What `rovercast demo` was asked for.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    pub camera: CameraConfig,
    /// Where the viewer page and its relay are served.
    pub listen: SocketAddr,
    /// Tells the person at the terminal what to open.
    pub announce: fn(&str),
}

/// What `rovercast relay` was asked for.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    pub listen: SocketAddr,
    /// None: plain WebSocket.
    pub tls: Option<TlsFiles>,
    /// The keys that robots must show; None: every robot is let in.
    pub key_file: Option<PathBuf>,
    /// STUN and TURN servers that robots and pages are told of.
    pub ice_servers: Vec<String>,
    /// Holds `username:credential` for those that are TURN servers.
    pub turn_login_file: Option<PathBuf>,
    /// Holds the secret from which credentials for them are made.
    pub turn_secret_file: Option<PathBuf>,
    /// Web pages that may connect besides the relay's own.
    pub origins: Vec<String>,
    /// Tells the person at the terminal what to dial.
    pub announce: fn(&str),
}

/// Why the service or one of its relatives ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Camera(#[from] CameraError),
    #[error("cannot read the credential of ice server {server} from {}", path.display())]
    IceCredential {
        server: String,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot use the TURN login in {}: it has no colon when expecting username:credential", path.display())]
    TurnLogin { path: PathBuf },
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error(transparent)]
    Tls(#[from] Box<ServeError>),
    #[error("cannot serve on {address}")]
    Serve {
        address: SocketAddr,
        source: Box<ServeError>,
    },
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    #[error("cannot get random bytes from the kernel")]
    Random(#[source] rand::rand_core::OsError),
    #[error("the HTTP server ended before the robot did")]
    HttpEnded,
}

/// Runs the service until SIGTERM or SIGINT. Profiles with mistakes are told in the log, and left out.
pub async fn run(config: Config, known: FoundProfiles) -> Result<(), AppError> {
    let started = now();
    let end = end_signal()?;
    let listener = match config.http.listen {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let local = match &listener {
        Some((_, address)) if config.http.viewer => Some(*address),
        Some(_) | None => None,
    };
    let peers = PeerSettings {
        ice_servers: ice::configured(&config)?,
        loopback: local.is_some(),
        relay_only: config.webrtc.ice_policy == IcePolicy::Relay,
        udp_ports: config
            .webrtc
            .udp_ports
            .map_or(UdpPorts::Any, |range| match range.ports() {
                1 => UdpPorts::One(OnePort::new(range.first)),
                _ => UdpPorts::Range(range.first, range.last),
            }),
        ..PeerSettings::default()
    };
    let routes = routes(
        config.relay.as_ref().map(Route::configured),
        local.map(Route::local),
    );
    let (robot, questions) = robot(&config, &peers, &routes, known, started)?;

    let mut router = http::observation(questions);
    if let Some(address) = local {
        router = router.merge(viewing(&config, address, peers.ice_servers)?);
    }
    info!(robot = %config.robot.id, cameras = config.cameras.len(), "rovercast {} runs", env!("CARGO_PKG_VERSION"));
    live(robot, listener, router, end, || {}).await
}

/// Camera, encoder, relay and viewer page in one process, until SIGTERM or SIGINT.
///
/// The picture takes the way it takes on a robot: the robot dials the relay, and the page does.
pub async fn demo(options: DemoOptions) -> Result<(), AppError> {
    let started = now();
    let end = end_signal()?;
    // A person waits: what cannot be opened is told here and not in a log.
    let whereabouts = devices::whereabouts(&options.camera);
    drop(devices::camera(&options.camera, &whereabouts)?);
    let (listener, address) = listen(options.listen).await?;
    let id = "demo".parse::<RobotId>().expect("it is a robot's id");
    let mut config = Config::new(id);
    config.cameras = vec![options.camera];
    let peers = PeerSettings {
        loopback: true,
        ..PeerSettings::default()
    };
    let (robot, questions) = robot(
        &config,
        &peers,
        &[Route::local(address)],
        FoundProfiles::read(None),
        started,
    )?;
    let router = http::observation(questions).merge(viewing(&config, address, Vec::new())?);
    let shown = match &config.cameras[0].source {
        Source::Auto | Source::TestCard => "the test card".to_owned(),
        Source::File(path) => path.display().to_string(),
        Source::Device(path) => path.display().to_string(),
    };
    let tell = || {
        (options.announce)(&format!(
            "showing {shown}: open http://{address}/ in a browser (Ctrl-C ends it)"
        ));
    };
    live(robot, Some((listener, address)), router, end, tell).await
}

/// The reference relay alone, until SIGTERM or SIGINT.
pub async fn relay(options: RelayOptions) -> Result<(), AppError> {
    let mut end = end_signal()?;
    if let Some(tls) = &options.tls {
        tls.check().map_err(Box::new)?;
    }
    server::open_many_sockets();
    let (listener, address) = listen(options.listen).await?;
    let relay = Relay::new(RelaySettings {
        listen: address,
        key_file: options.key_file,
        ice_servers: ice::told(options.ice_servers, options.turn_login_file)?,
        turn_secret_file: options.turn_secret_file,
        origins: options.origins,
    })?;
    let scheme = if options.tls.is_some() { "wss" } else { "ws" };
    let page_scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    (options.announce)(&format!(
        "robots dial {scheme}://{address}{}, people open {page_scheme}://{address}/?robot=ID&camera=ID",
        server::PATH
    ));
    systemd::ready();
    let page = PageSettings {
        robot: String::new(),
        cameras: Vec::new(),
        relay: server::PATH.into(),
    };
    let router = relay
        .router()
        .merge(relay.observation())
        .merge(http::page(&page));
    let ended = async move { ended(&mut end).await };
    server::serve(listener, options.tls, router, ended)
        .await
        .map_err(|source| AppError::Serve {
            address,
            source: Box::new(source),
        })
}

/// Robot and HTTP server side by side. The server ends after the robot, so that viewers of the page hear its good-bye.
async fn live(
    robot: Robot,
    listener: Option<(TcpListener, SocketAddr)>,
    router: Router,
    mut end: watch::Receiver<bool>,
    ready: impl FnOnce(),
) -> Result<(), AppError> {
    let (left, has_left) = watch::channel(false);
    let serving = async {
        let Some((listener, address)) = listener else {
            return std::future::pending().await;
        };
        let mut has_left = has_left;
        server::serve(
            listener,
            None,
            router,
            async move { ended(&mut has_left).await },
        )
        .await
        .map_err(|source| AppError::Serve {
            address,
            source: Box::new(source),
        })
    };
    let serving = tokio::spawn(serving);
    ready();
    robot.run(async move { ended(&mut end).await }).await;
    let serving_ended_first = serving.is_finished();
    left.send_replace(true);
    drop(left);
    if serving_ended_first {
        return serving
            .await
            .unwrap_or(Ok(()))
            .and(Err(AppError::HttpEnded));
    }
    let _ = tokio::time::timeout(LAST_ANSWERS, serving).await;
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
    let told = |source| AppError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(told)?;
    let bound = listener.local_addr().map_err(told)?;
    Ok((listener, bound))
}

/// An error and all that caused it, in one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}

#[allow(clippy::disallowed_methods)] // the one reading at the start
fn now() -> Instant {
    Instant::now()
}

/// Connections of the page get their good-bye within this.
const LAST_ANSWERS: std::time::Duration = std::time::Duration::from_millis(150);
