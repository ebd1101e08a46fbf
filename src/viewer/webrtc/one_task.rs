//! The connection's own loop, polled by the viewer's task instead of running as a second one.
//!
//! A unit then costs one wake-up: the task hands it to the connection, and the same poll encrypts and sends it.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime,
};

use super::burst_socket::{Burst, BurstSocket};
use super::one_port::Place;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tokio, except that the connection's loop comes out of [`OneTask::new`]'s receiver.
pub(super) struct OneTask {
    connection_loop: Mutex<Option<oneshot::Sender<Boxed<'static, ()>>>>,
    burst: Burst,
    place: Option<Arc<Place>>,
}

impl OneTask {
    /// `burst` reaches every socket that the connection opens; with a `place` these are shares of the common ones.
    pub(super) fn new(
        burst: Burst,
        place: Option<Arc<Place>>,
    ) -> (Arc<Self>, oneshot::Receiver<Boxed<'static, ()>>) {
        let (sender, receiver) = oneshot::channel();
        let runtime = Self {
            connection_loop: Mutex::new(Some(sender)),
            burst,
            place,
        };
        (Arc::new(runtime), receiver)
    }
}

impl fmt::Debug for OneTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneTask").finish_non_exhaustive()
    }
}

impl Runtime for OneTask {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    /// The crate spawns its loop here, and nothing else, when the builder's reactor pool is on.
    fn spawn_reactor(&self, _pool_size: usize, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        let sender = self
            .connection_loop
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take();
        // Without a receiver the viewer's task is gone, and the loop goes with it.
        if let Some(sender) = sender {
            drop(sender.send(future));
        }
        Box::new(PolledByTheViewer)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let socket: Arc<dyn AsyncUdpSocket> = match &self.place {
            Some(place) if is_reached_by_browsers(&socket)? => Arc::new(place.socket(socket)?),
            Some(_) | None => TokioRuntime.wrap_udp_socket(socket)?,
        };
        Ok(Arc::new(BurstSocket {
            socket,
            burst: self.burst.clone(),
        }))
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote: SocketAddr,
    ) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async move { TokioRuntime.connect_tcp(remote).await })
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { TokioRuntime.resolve_host(host).await })
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        TokioRuntime.yield_now()
    }
}

/// The socket that asks for browsers' hidden names is bound to the wildcard, and so is that of a family without an address.
fn is_reached_by_browsers(socket: &UdpSocket) -> io::Result<bool> {
    Ok(!socket.local_addr()?.ip().is_unspecified())
}

/// The loop ends with the viewer's task, so there is nothing to detach or abort.
struct PolledByTheViewer;

impl JoinHandle for PolledByTheViewer {
    fn detach(&self) {}

    fn abort(&self) {}

    fn is_finished(&self) -> bool {
        false
    }
}
