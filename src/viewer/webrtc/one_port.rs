//! One UDP port for all viewers of a robot: one socket an address of this machine, there for as long as a viewer is.
//!
//! The crate binds sockets of its own. Each is closed at once and stands for its viewer's share of the common one: the crate goes
//! on to know its way by the port that it was given first, and the browser is told the common port.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::debug;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Runtime, TokioRuntime, Transmit};

use super::demultiplexer::{Demultiplexer, Seat, is_stun, is_turn};

/// The port. Clones are the same.
#[derive(Clone)]
pub struct OnePort(Arc<Port>);

struct Port {
    number: u16,
    demultiplexer: Mutex<Demultiplexer>,
    /// Also held while a socket is closed, so that nobody finds its port taken by a socket that is about to go.
    sockets: Mutex<BTreeMap<IpAddr, Weak<CommonSocket>>>,
}

impl OnePort {
    pub fn new(number: u16) -> Self {
        Self(Arc::new(Port {
            number,
            demultiplexer: Mutex::default(),
            sockets: Mutex::default(),
        }))
    }

    /// A viewer's place. `uses_turn`: a TURN server knows its clients by their ports (RFC 8656, section 3.2), so that what goes to
    /// one leaves through a socket of the viewer's own.
    pub(super) fn enter(&self, uses_turn: bool) -> Arc<Place> {
        Arc::new(Place {
            port: Arc::clone(&self.0),
            seat: lock(&self.0.demultiplexer).enter(),
            uses_turn,
        })
    }
}

impl fmt::Debug for OnePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnePort").field(&self.0.number).finish()
    }
}

impl Port {
    fn socket(self: &Arc<Self>, address: IpAddr) -> io::Result<Arc<CommonSocket>> {
        let mut sockets = lock(&self.sockets);
        if let Some(socket) = sockets.get(&address).and_then(Weak::upgrade) {
            return Ok(socket);
        }
        sockets.retain(|_, socket| socket.strong_count() > 0);
        let at = SocketAddr::new(address, self.number);
        let bound = UdpSocket::bind(at).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot bind UDP {at}: {error}"))
        })?;
        let inner = TokioRuntime.wrap_udp_socket(bound)?;
        let (open, closed) = oneshot::channel();
        let blocked = Arc::new(Blocked::default());
        let socket = Arc::new(CommonSocket {
            address,
            inner,
            inboxes: Mutex::default(),
            everyone: Waker::from(Arc::clone(&blocked)),
            blocked,
            _open: open,
        });
        let receiving = receive(Arc::clone(self), Arc::downgrade(&socket));
        tokio::spawn(async move {
            tokio::select! {
                () = receiving => {}
                _ = closed => {}
            }
        });
        sockets.insert(address, Arc::downgrade(&socket));
        Ok(socket)
    }

    fn put_back(&self, socket: Arc<CommonSocket>) {
        let _closing = lock(&self.sockets);
        drop(socket);
    }
}

/// Left when the viewer's connection and sockets are gone.
pub(super) struct Place {
    port: Arc<Port>,
    seat: Seat,
    uses_turn: bool,
}

impl Place {
    pub(super) fn port(&self) -> u16 {
        self.port.number
    }

    /// What browsers call the viewer by: `a=ice-ufrag` of an offer that is about to be made.
    pub(super) fn name(&self, ufrag: &str) {
        lock(&self.port.demultiplexer).name(self.seat, ufrag);
    }

    /// The viewer's share of the common socket, instead of `bound`.
    pub(super) fn socket(self: &Arc<Self>, bound: UdpSocket) -> io::Result<Share> {
        let known_as = bound.local_addr()?;
        let to_turn = if self.uses_turn {
            Some(TokioRuntime.wrap_udp_socket(bound)?)
        } else {
            drop(bound);
            None
        };
        let socket = self.port.socket(known_as.ip())?;
        let inbox = Arc::new(Inbox::default());
        lock(&socket.inboxes).insert(self.seat, Arc::clone(&inbox));
        Ok(Share {
            place: Arc::clone(self),
            known_as,
            socket: Some(socket),
            inbox,
            to_turn,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.port.demultiplexer).leave(self.seat);
    }
}

struct CommonSocket {
    address: IpAddr,
    inner: Arc<dyn AsyncUdpSocket>,
    inboxes: Mutex<BTreeMap<Seat, Arc<Inbox>>>,
    /// Who could not send. A socket of tokio's wakes only the last who asked: it is always `everyone` that asks.
    blocked: Arc<Blocked>,
    everyone: Waker,
    /// Ends the task that receives.
    _open: oneshot::Sender<()>,
}

impl CommonSocket {
    fn poll_send(
        &self,
        cx: &Context<'_>,
        seat: Seat,
        transmit: &Transmit<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut everyone = Context::from_waker(&self.everyone);
        let sent = self.inner.poll_send(&mut everyone, transmit);
        if sent.is_ready() {
            return sent;
        }
        lock(&self.blocked.0).insert(seat, cx.waker().clone());
        // There may have been room before we were on the list.
        self.inner.poll_send(&mut everyone, transmit)
    }

    /// Hands on what there is. Ready only with what went wrong.
    fn poll_receive(
        &self,
        port: &Port,
        buffer: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Error> {
        loop {
            let mut meta = [RecvMeta::default()];
            let mut buffers = [IoSliceMut::new(buffer)];
            match self.inner.poll_recv(cx, &mut buffers, &mut meta) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Ready(Ok(_)) => {}
            }
            let [
                RecvMeta {
                    addr, len, stride, ..
                },
            ] = meta;
            // The kernel hands over several datagrams of one sender as one (UDP GRO).
            for datagram in buffer[..len.min(buffer.len())].chunks(stride.max(1)) {
                self.hand_on(port, addr, datagram);
            }
        }
    }

    fn hand_on(&self, port: &Port, remote: SocketAddr, datagram: &[u8]) {
        if datagram.len() > LONGEST_DATAGRAM {
            return;
        }
        let seat = lock(&port.demultiplexer).whose((self.address, remote), datagram);
        let Some(seat) = seat else {
            return;
        };
        let inbox = lock(&self.inboxes).get(&seat).cloned();
        if let Some(inbox) = inbox {
            inbox.push(remote, datagram);
        }
    }
}

/// Everyone's datagrams, until the socket is gone.
async fn receive(port: Arc<Port>, socket: Weak<CommonSocket>) {
    let mut buffer = vec![0; COALESCED * LONGEST_DATAGRAM];
    loop {
        let error = poll_fn(|cx| {
            let Some(socket) = socket.upgrade() else {
                return Poll::Ready(None);
            };
            let polled = socket.poll_receive(&port, &mut buffer, cx);
            port.put_back(socket);
            polled.map(Some)
        });
        let Some(error) = error.await else {
            return;
        };
        // What an interface that went down tells, as a rule. Viewers notice by themselves when it stays like that.
        debug!(%error, "cannot receive on the viewers' port, trying again");
        tokio::time::sleep(ERROR_PAUSE).await;
    }
}

#[derive(Default)]
struct Blocked(Mutex<BTreeMap<Seat, Waker>>);

impl Wake for Blocked {
    fn wake(self: Arc<Self>) {
        let blocked = std::mem::take(&mut *lock(&self.0));
        blocked.into_values().for_each(Waker::wake);
    }
}

/// What came for one viewer, and was not read yet.
#[derive(Default)]
struct Inbox(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    datagrams: VecDeque<(SocketAddr, Box<[u8]>)>,
    reader: Option<Waker>,
}

impl Inbox {
    fn push(&self, remote: SocketAddr, datagram: &[u8]) {
        let mut waiting = lock(&self.0);
        if waiting.datagrams.len() == INBOX {
            return;
        }
        waiting.datagrams.push_back((remote, datagram.into()));
        let reader = waiting.reader.take();
        drop(waiting);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn poll_pop(&self, cx: &Context<'_>) -> Poll<(SocketAddr, Box<[u8]>)> {
        let mut waiting = lock(&self.0);
        match waiting.datagrams.pop_front() {
            Some(datagram) => Poll::Ready(datagram),
            None => {
                waiting.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// What the crate takes for a socket that is its own.
pub(super) struct Share {
    place: Arc<Place>,
    known_as: SocketAddr,
    /// There until this is dropped.
    socket: Option<Arc<CommonSocket>>,
    inbox: Arc<Inbox>,
    to_turn: Option<Arc<dyn AsyncUdpSocket>>,
}

impl Share {
    fn socket(&self) -> &CommonSocket {
        self.socket.as_deref().expect("only dropping takes it away")
    }

    fn note(&self, transmit: &Transmit<'_>) {
        let size = transmit.segment_size.unwrap_or(transmit.contents.len());
        let segments = transmit.contents.chunks(size.max(1));
        for message in segments.filter(|segment| is_stun(segment)) {
            let way = (self.known_as.ip(), transmit.destination);
            let mut demultiplexer = lock(&self.place.port.demultiplexer);
            demultiplexer.note_sent(self.place.seat, way, message, Instant::now());
        }
    }
}

impl AsyncUdpSocket for Share {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.known_as)
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        if let Some(to_turn) = &self.to_turn
            && is_turn(transmit.contents)
        {
            return to_turn.poll_send(cx, transmit);
        }
        // Before it is sent: the answer may be faster than we are.
        self.note(transmit);
        self.socket().poll_send(cx, self.place.seat, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if let Some(to_turn) = &self.to_turn {
            let received = to_turn.poll_recv(cx, buffers, meta);
            if received.is_ready() {
                return received;
            }
        }
        let (Some(buffer), Some(meta)) = (buffers.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        self.inbox.poll_pop(cx).map(|(remote, datagram)| {
            let len = datagram.len().min(buffer.len());
            buffer[..len].copy_from_slice(&datagram[..len]);
            meta.addr = remote;
            meta.len = len;
            meta.stride = len.max(1);
            Ok(1)
        })
    }

    fn max_gso_segments(&self) -> usize {
        self.socket().inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        // Datagrams of the common socket come one by one.
        self.to_turn
            .as_ref()
            .map_or(1, |to_turn| to_turn.max_gro_segments())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take() else {
            return;
        };
        {
            let mut inboxes = lock(&socket.inboxes);
            let newest = inboxes.get(&self.place.seat);
            if newest.is_some_and(|newest| Arc::ptr_eq(newest, &self.inbox)) {
                inboxes.remove(&self.place.seat);
            }
        }
        lock(&socket.blocked.0).remove(&self.place.seat);
        self.place.port.put_back(socket);
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The payload of an Ethernet frame: browsers send nothing longer, and longer ones are left out.
const LONGEST_DATAGRAM: usize = 1500;

/// Datagrams that the kernel hands over as one at most.
const COALESCED: usize = 64;

/// Two seconds of a browser's reports: who is that far behind is about to be closed. Beyond it the newest datagram is dropped, as a
/// socket does it; at most 192 KB a viewer and address.
const INBOX: usize = 128;

const ERROR_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
