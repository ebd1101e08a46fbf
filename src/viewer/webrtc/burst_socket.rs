//! A unit's packets in one system call (UDP GSO, `UDP_SEGMENT`, udp(7)).
//!
//! The crate batches only runs of sixteen packets of the same size, or as many as a socket can take when that is less. A unit of a
//! 2 Mbit/s stream has seven: so the socket says that it can take exactly as many as the unit has in a row.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// How many packets leave together next, as the stream tells the sockets.
#[derive(Clone, Debug, Default)]
pub(super) struct Burst(Arc<AtomicUsize>);

impl Burst {
    pub(super) fn announce(&self, packets: usize) {
        // Written and read by the viewer's one task; the order towards other memory is of no interest.
        self.0.store(packets, Ordering::Relaxed);
    }

    fn packets(&self) -> usize {
        self.0.load(Ordering::Relaxed)
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
        self.socket.poll_send(cx, transmit)
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
