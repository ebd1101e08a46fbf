//! What the configuration says, put together: routes, viewing and the robot.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::sync::mpsc;
use tracing::error;

use super::AppError;
use super::line::Line;
use super::profiles::FoundProfiles;
use super::robot::Robot;
use super::route::Route;
use super::seat::Seat;
use crate::config::Config;
use crate::http::{self, PageSettings};
use crate::relay::client::Link;
use crate::relay::server::{self, Relay, RelaySettings};
use crate::relay::session::Session;
use crate::supervisor::{Supervisor, SupervisorSettings};
use crate::systemd;
use crate::viewer::IceServer;
use crate::viewer::webrtc::PeerSettings;

/// One route for each relay: who configures the relay that this process serves has it once.
pub(super) fn routes(configured: Option<Route>, local: Option<Route>) -> Vec<Route> {
    let mut routes: Vec<_> = configured.into_iter().collect();
    let known = |local: &Route| routes.iter().any(|route| route.url == local.url);
    routes.extend(local.filter(|local| !known(local)));
    routes
}

/// The page, and the relay that it and the robot dial.
pub(super) fn viewing(
    config: &Config,
    address: SocketAddr,
    ice_servers: Vec<IceServer>,
) -> Result<Router, AppError> {
    let settings = RelaySettings {
        listen: address,
        key_file: None,
        ice_servers,
        turn_secret_file: None,
        origins: Vec::new(),
    };
    let cameras = config
        .cameras
        .iter()
        .filter_map(|camera| camera.id.as_ref());
    let page = PageSettings {
        robot: config.robot.id.to_string(),
        cameras: cameras.map(|id| id.as_str().to_owned()).collect(),
        relay: server::PATH.into(),
    };
    Ok(Relay::new(settings)?.router().merge(http::page(&page)))
}

/// The robot with a seat for each camera and in each a line for each route, and where to ask it how it goes.
pub(super) fn robot(
    config: &Config,
    peers: &PeerSettings,
    routes: &[Route],
    known: FoundProfiles,
    started: Instant,
) -> Result<(Robot, mpsc::Sender<http::Question>), AppError> {
    for problem in &known.problems {
        error!("{problem}");
    }
    let known = &Arc::new(known);
    let mut seats = Vec::new();
    for (index, camera) in config.cameras.iter().enumerate() {
        let mut seat = Seat::new(camera.clone(), peers.clone(), known);
        for route in routes {
            let (tell, events) = mpsc::channel(LINK_EVENTS);
            let link = Link::new(route.link(&config.robot.id, camera), tell);
            let session = Session::new(&route.session(config, index), seed()?);
            seat.lines
                .push(Line::new(route.shown.clone(), session, link, events));
        }
        seats.push(seat);
    }
    let keep_warm: Vec<_> = config
        .cameras
        .iter()
        .map(|camera| camera.keep_warm)
        .collect();
    let settings = SupervisorSettings {
        watchdog: systemd::watchdog_interval(),
        seed: seed()?,
    };
    let supervisor = Supervisor::new(settings, &keep_warm, started);
    let (asked, questions) = mpsc::channel(QUESTIONS);
    Ok((
        Robot::new(
            config.robot.id.to_string(),
            seats,
            supervisor,
            questions,
            started,
        ),
        asked,
    ))
}

fn seed() -> Result<u64, AppError> {
    OsRng.try_next_u64().map_err(AppError::Random)
}

/// A relay's messages that wait for the loop; when full, the link reads no more and the relay waits.
const LINK_EVENTS: usize = 64;

/// Questions that wait for the loop; more than a dozen scrapers a turn must wait in their own connections.
const QUESTIONS: usize = 16;
