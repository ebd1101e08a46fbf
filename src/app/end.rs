//! How a command is asked to end.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info};

use super::AppError;

/// Turns true at SIGTERM or SIGINT; a second signal ends the process at once.
pub(super) fn end_signal() -> Result<watch::Receiver<bool>, AppError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Signals)?;
    let (end, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let signal = either(&mut terminate, &mut interrupt).await;
        info!(signal, "asked to end");
        end.send_replace(true);
        let signal = either(&mut terminate, &mut interrupt).await;
        error!(signal, "asked twice, ending without good-bye");
        std::process::exit(1);
    });
    Ok(receiver)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// Waits until it is true, or nobody can say so any more.
pub(super) async fn ended(end: &mut watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await;
}
