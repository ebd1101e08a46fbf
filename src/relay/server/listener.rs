//! The listener: TCP, TLS when there is a certificate, HTTP/1.1, and an orderly end.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::{Router, http};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::ServerConfig;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::reread::{Files, Reread};

/// The server's certificate chain and private key, as PEM files. Read again when they change.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads both, so that what is wrong with them is told before anything is served.
    pub fn check(&self) -> Result<(), ServeError> {
        self.read().map(drop)
    }
}

impl Files for TlsFiles {
    const WHAT: &'static str = "TLS certificate or key";
    type Content = TlsAcceptor;
    type Error = ServeError;

    fn paths(&self) -> Vec<&Path> {
        vec![&self.certificate, &self.key]
    }

    fn read(&self) -> Result<TlsAcceptor, ServeError> {
        acceptor(self)
    }
}

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot read TLS certificate {}", path.display())]
    Certificate { path: PathBuf, source: pem::Error },
    #[error("cannot read TLS certificate {}: it has no certificate in PEM form", path.display())]
    NoCertificate { path: PathBuf },
    #[error("cannot read TLS key {}", path.display())]
    Key { path: PathBuf, source: pem::Error },
    #[error("cannot use TLS certificate {} with key {}", files.certificate.display(), files.key.display())]
    Pair {
        files: TlsFiles,
        source: rustls::Error,
    },
}

/// Serves `router` until `shutdown` resolves. Then no call is taken, requests under way are finished, WebSockets are told (close
/// code 1001), and after at most a second it returns.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsFiles>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let tls = tls.map(Reread::open).transpose()?;
    let (closing_sender, closing) = watch::channel(false);
    let server = Arc::new(Server {
        tls,
        router,
        handshakes: Semaphore::new(MOST_HANDSHAKES),
    });
    let seats = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    tokio::select! {
        never = accept(&listener, &server, &seats, &closing) => match never {},
        () = shutdown => {}
    }
    drop(listener);
    drop(closing);
    // The last receiver goes with the last connection.
    closing_sender.send_replace(true);
    if timeout(GRACE, closing_sender.closed()).await.is_err() {
        debug!("some connections did not end in time");
    }
    Ok(())
}

/// Lets this process open as many sockets as the system lets it: a relay needs one for each robot and each dashboard, and 1024 is
/// the limit that programs get that do not ask.
pub fn open_many_sockets() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "cannot raise the limit of open files");
    }
}

/// A connection's place among those that the server can hold. A WebSocket keeps it until it ends.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) closing: watch::Receiver<bool>,
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Resolves when the server shuts down; never when it ended without saying so.
pub(super) async fn shut_down(closing: &mut watch::Receiver<bool>) {
    if closing.wait_for(|closing| *closing).await.is_err() {
        pending::<()>().await;
    }
}

async fn accept(
    listener: &TcpListener,
    server: &Arc<Server>,
    seats: &Arc<Semaphore>,
    closing: &watch::Receiver<bool>,
) -> Infallible {
    loop {
        // When all seats are taken, callers wait in the kernel's backlog, and are refused when that is full.
        let permit = Arc::clone(seats)
            .acquire_owned()
            .await
            .expect("nobody closes this semaphore");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if is_about_one_call(&error) => continue,
            Err(error) => {
                warn!(%error, "cannot take calls");
                sleep(AFTER_FAILED_ACCEPT).await;
                continue;
            }
        };
        let seat = Seat {
            closing: closing.clone(),
            _permit: Arc::new(permit),
        };
        let server = Arc::clone(server);
        tokio::spawn(async move { server.attend(stream, seat).await });
    }
}

/// What every connection needs.
struct Server {
    tls: Option<Reread<TlsFiles>>,
    router: Router,
    handshakes: Semaphore,
}

impl Server {
    async fn attend(&self, stream: TcpStream, seat: Seat) {
        // Signalling messages are small and each is waited for; a kernel that refuses makes them later, not wrong.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.speak_http(stream, seat).await;
        };
        let tls = tls.with(TlsAcceptor::clone);
        let handshake = timeout(HANDSHAKE_DEADLINE, async {
            let _turn = self.handshakes.acquire().await;
            tls.accept(stream).await
        });
        let mut closing = seat.closing.clone();
        let handshake = tokio::select! {
            handshake = handshake => handshake,
            () = shut_down(&mut closing) => return,
        };
        drop(closing);
        match handshake {
            Ok(Ok(stream)) => self.speak_http(stream, seat).await,
            Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
            Err(_) => debug!("TLS handshake took too long"),
        }
    }

    async fn speak_http<S>(&self, stream: S, seat: Seat)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut closing = seat.closing.clone();
        let router = TowerToHyperService::new(self.router.clone());
        let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(seat.clone());
            router.call(request.map(Body::new))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_DEADLINE)
            .max_buf_size(LARGEST_HEAD)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = shut_down(&mut closing) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%error, "HTTP connection ended");
        }
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServeError> {
    let failed = |source| ServeError::Certificate {
        path: files.certificate.clone(),
        source,
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if chain.is_empty() {
        return Err(ServeError::NoCertificate {
            path: files.certificate.clone(),
        });
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| ServeError::Key {
        path: files.key.clone(),
        source,
    })?;
    let unpaired = |source| ServeError::Pair {
        files: files.clone(),
        source,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unpaired)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unpaired)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// accept(2): errors of the connection that was about to be accepted, which is gone.
fn is_about_one_call(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// Robots and dashboards of one relay, and people who look at its pages. What the process may open is often less.
const MOST_CONNECTIONS: usize = 20_000;

/// A handshake costs about a millisecond of processor; more at once only makes all of them late.
const MOST_HANDSHAKES: usize = 64;

/// The longest that a robot on a bad mobile link needs; what a caller that says nothing costs us.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Also how long an idle connection may stay between two requests.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);

/// A request's line and headers: cookies of other services on the same host count in.
const LARGEST_HEAD: usize = 32 << 10;

/// Out of file descriptors, as a rule: some must be closed before it helps to try again.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// systemd and people expect a service that was told to stop to be gone in about a second.
const GRACE: Duration = Duration::from_millis(900);
