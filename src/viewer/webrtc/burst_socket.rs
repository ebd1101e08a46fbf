//! A unit's packets in one system call (UDP GSO, `UDP_SEGMENT`, udp(7)).
//!
//! The crate batches only runs of sixteen packets of the same size, or as many as a socket can take when that is less. A unit of a
//! 2 Mbit/s stream has seven: so the socket says that it can take exactly as many as the unit has in a row.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::clock::monotonic_now;
use crate::media::MediaTime;
use crate::metrics::CameraMetrics;

/// What leaves next, as the stream tells the sockets.
#[derive(Clone, Debug)]
pub(super) struct Burst(Arc<Next>);

#[derive(Debug)]
struct Next {
    /// How many packets leave together.
    packets: AtomicUsize,
    /// Since when they could have left, in ns on the capture clock; 0 once they have.
    ready: AtomicU64,
    metrics: Arc<CameraMetrics>,
}

// Written and read by the viewer's one task; the order towards other memory is of no interest.
impl Burst {
    pub(super) fn new(metrics: Arc<CameraMetrics>) -> Self {
        Self(Arc::new(Next {
            packets: AtomicUsize::new(0),
            ready: AtomicU64::new(0),
            metrics,
        }))
    }

    /// `ready` is `None` when a unit's first packet is not among them.
    pub(super) fn announce(&self, packets: usize, ready: Option<MediaTime>) {
        self.0.packets.store(packets, Ordering::Relaxed);
        // 584 years of uptime fit.
        let ready = ready.map_or(0, |ready| ready.since_boot().as_nanos() as u64);
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    fn packets(&self) -> usize {
        self.0.packets.load(Ordering::Relaxed)
    }

    /// The kernel took the first of them.
    fn left(&self) {
        let ready = Duration::from_nanos(self.0.ready.swap(0, Ordering::Relaxed));
        if !ready.is_zero() {
            let took = monotonic_now().since(MediaTime::from_monotonic(ready));
            self.0.metrics.capture_to_wire.observe(took);
        }
    }
}

#[derive(Debug)]
pub(super) struct BurstSocket {
    pub(super) socket: Arc<dyn AsyncUdpSocket>,
    pub(super) burst: Burst,
}

impl AsyncUdpSocket for BurstSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = ready!(self.socket.poll_send(cx, transmit));
        if sent.is_ok() {
            self.burst.left();
        }
        Poll::Ready(sent)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(cx, buffers, meta)
    }

    fn max_gso_segments(&self) -> usize {
        self.burst
            .packets()
            .clamp(1, self.socket.max_gso_segments().max(1))
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}
