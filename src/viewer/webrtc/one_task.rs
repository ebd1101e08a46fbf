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

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tokio, except that the connection's loop comes out of [`OneTask::new`]'s receiver.
pub(super) struct OneTask {
    connection_loop: Mutex<Option<oneshot::Sender<Boxed<'static, ()>>>>,
    burst: Burst,
}

impl OneTask {
    /// `burst` reaches every socket that the connection opens.
    pub(super) fn new(burst: Burst) -> (Arc<Self>, oneshot::Receiver<Boxed<'static, ()>>) {
        let (sender, receiver) = oneshot::channel();
        let runtime = Self {
            connection_loop: Mutex::new(Some(sender)),
            burst,
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
        Ok(Arc::new(BurstSocket {
            socket: TokioRuntime.wrap_udp_socket(socket)?,
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

/// The loop ends with the viewer's task, so there is nothing to detach or abort.
struct PolledByTheViewer;

impl JoinHandle for PolledByTheViewer {
    fn detach(&self) {}

    fn abort(&self) {}

    fn is_finished(&self) -> bool {
        false
    }
}
