//! Wiring: what the commands of [`crate::cli`] start.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{CameraConfig, Config};

/// What `rovercast demo` was asked for.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    pub camera: CameraConfig,
    /// Where the viewer page and its relay are served.
    pub listen: SocketAddr,
}

/// What `rovercast relay` was asked for.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    pub listen: SocketAddr,
    /// None: plain WebSocket.
    pub tls: Option<TlsFiles>,
    /// The keys that robots must show; None: every robot is let in.
    pub key_file: Option<PathBuf>,
}

/// PEM files of a server.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// Why the service or one of its relatives ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("cannot start what is not built yet")]
    NotBuilt,
}

/// Runs until it is told to stop (SIGTERM, SIGINT).
pub async fn run(_config: Config) -> Result<(), AppError> {
    Err(AppError::NotBuilt)
}

/// Camera, encoder, relay and viewer page in one process, until it is told to stop.
pub async fn demo(_options: DemoOptions) -> Result<(), AppError> {
    Err(AppError::NotBuilt)
}

/// The reference relay alone, until it is told to stop.
pub async fn relay(_options: RelayOptions) -> Result<(), AppError> {
    Err(AppError::NotBuilt)
}
