use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;
const ALLOCATE: u16 = 0x0003;

fn message(message_type: u16, transaction: u8) -> Vec<u8> {
    let mut message = message_type.to_be_bytes().to_vec();
    message.extend_from_slice(&[0, 0, 0x21, 0x12, 0xa4, 0x42]);
    message.extend_from_slice(&[transaction; 12]);
    message
}

fn loopback() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// Somebody else's socket, and its address.
async fn other() -> (tokio::net::UdpSocket, SocketAddr) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn arrival(socket: &tokio::net::UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2000];
    let (len, from) = soon(socket.recv_from(&mut buffer)).await.unwrap();
    (buffer[..len].to_vec(), from)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(20);
    let result = tokio::time::timeout(patience, future).await;
    result.expect("nothing happened")
}

/// One that nobody gets who lets the kernel choose: it gives those from 32768 on.
fn free_port() -> u16 {
    let mut random = StdRng::from_os_rng();
    loop {
        let port = random.random_range(15_000..32_000);
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[tokio::test]
async fn answer_of_a_server_reaches_who_asked_it() {
    let port = OnePort::new(free_port());
    let (server, at) = other().await;
    let [one, two] = [(); 2].map(|()| port.enter(false).socket(loopback()).unwrap());
    one.send_to(&message(REQUEST, 1), at).await.unwrap();
    two.send_to(&message(REQUEST, 2), at).await.unwrap();

    for _ in 0..2 {
        let (mut request, from) = arrival(&server).await;
        assert_eq!(from.port(), port.0.number);
        request[..2].copy_from_slice(&SUCCESS.to_be_bytes());
        server.send_to(&request, from).await.unwrap();
    }

    for (share, transaction) in [(&one, 1), (&two, 2)] {
        let mut buffer = [0; 100];
        let (len, from) = soon(share.recv_from(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..len], message(SUCCESS, transaction));
        assert_eq!(from, at);
    }
}

#[tokio::test]
async fn unit_leaves_in_one_call_as_from_a_socket_of_ones_own() {
    let port = OnePort::new(free_port());
    let (far, at) = other().await;
    let share = port.enter(false).socket(loopback()).unwrap();
    if share.max_gso_segments() < 3 {
        return; // a kernel without UDP_SEGMENT
    }
    let mut unit = vec![0x80; 250];
    unit[200..].fill(0x81);
    let transmit = Transmit {
        destination: at,
        ecn: None,
        contents: &unit,
        segment_size: Some(100),
        src_ip: None,
    };

    let sent = soon(poll_fn(|cx| share.poll_send(cx, &transmit))).await;

    assert_eq!(sent.unwrap(), 250);
    let mut lengths = vec![];
    for _ in 0..3 {
        let (packet, from) = arrival(&far).await;
        assert_eq!(from.port(), port.0.number);
        lengths.push(packet.len());
    }
    assert_eq!(lengths, [100, 100, 50]);
}

#[tokio::test]
async fn turn_server_sees_each_viewer_on_a_port_of_its_own() {
    let port = OnePort::new(free_port());
    let (server, at) = other().await;
    let shares = [(); 2].map(|()| port.enter(true).socket(loopback()).unwrap());
    let mut seen = vec![];
    for share in &shares {
        share.send_to(&message(ALLOCATE, 1), at).await.unwrap();
        let (_, from) = arrival(&server).await;
        assert_eq!(from.port(), share.known_as.port());
        seen.push(from.port());

        server.send_to(&message(0x0103, 1), from).await.unwrap();
        let mut buffer = [0; 2000];
        let (len, _) = soon(share.recv_from(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..len], message(0x0103, 1));

        share.send_to(&message(REQUEST, 2), at).await.unwrap();
        let (_, from) = arrival(&server).await;
        assert_eq!(from.port(), port.0.number, "a check takes the common one");
    }
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn viewer_who_reads_nothing_costs_no_more_than_its_inbox_and_no_neighbour_anything() {
    let port = OnePort::new(free_port());
    let ([idle, busy], (near, at), (far, far_at)) = (
        [(); 2].map(|()| port.enter(false).socket(loopback()).unwrap()),
        other().await,
        other().await,
    );
    idle.send_to(&message(SUCCESS, 1), at).await.unwrap();
    busy.send_to(&message(SUCCESS, 1), far_at).await.unwrap();
    let (_, common) = arrival(&near).await;

    for _ in 0..2 * INBOX {
        near.send_to(&[0x80; 100], common).await.unwrap();
        tokio::task::yield_now().await;
    }
    far.send_to(&[0x81; 100], common).await.unwrap();

    let mut buffer = [0; 2000];
    let (len, from) = soon(busy.recv_from(&mut buffer)).await.unwrap();
    assert_eq!((len, buffer[0], from), (100, 0x81, far_at));
    assert_eq!(lock(&idle.inbox.0).datagrams.len(), INBOX);
}

#[tokio::test]
async fn port_without_viewers_is_free_at_once_and_knows_nobody() {
    let port = OnePort::new(free_port());
    for _ in 0..100 {
        let (_far, at) = other().await;
        let places = [(); 3].map(|()| port.enter(false));
        let shares = places.each_ref().map(|place| place.socket(loopback()));
        for (place, share) in places.iter().zip(shares) {
            place.name("somebody");
            let share = share.unwrap();
            share.send_to(&message(SUCCESS, 1), at).await.unwrap();
            share.send_to(&message(REQUEST, 1), at).await.unwrap();
        }
        drop(places);
        drop(UdpSocket::bind(("127.0.0.1", port.0.number)).unwrap());
    }
    assert!(lock(&port.0.demultiplexer).is_empty());
}

/// Takes nothing, and keeps the last who asked, as a socket of tokio's does.
#[derive(Debug, Default)]
struct Full(Mutex<Option<Waker>>);

impl AsyncUdpSocket for Full {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([127, 0, 0, 1], 1).into())
    }

    fn poll_send(&self, cx: &mut Context<'_>, _: &Transmit<'_>) -> Poll<io::Result<usize>> {
        *lock(&self.0) = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [IoSliceMut<'_>],
        _: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn everyone_who_waits_for_room_is_woken_when_there_is_some() {
    let full = Arc::new(Full::default());
    let (open, _closed) = oneshot::channel();
    let blocked = Arc::new(Blocked::default());
    let socket = CommonSocket {
        address: [127, 0, 0, 1].into(),
        inner: Arc::clone(&full) as Arc<dyn AsyncUdpSocket>,
        inboxes: Mutex::default(),
        everyone: Waker::from(Arc::clone(&blocked)),
        blocked,
        _open: open,
    };
    let transmit = Transmit {
        destination: ([127, 0, 0, 1], 1).into(),
        ecn: None,
        contents: &[0x80],
        segment_size: None,
        src_ip: None,
    };
    let mut seats = Demultiplexer::default();
    let waiting = [(); 3].map(|()| {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let polled = socket.poll_send(&cx, seats.enter(), &transmit);
        assert!(polled.is_pending());
        woken
    });

    let last = lock(&full.0).take();
    last.unwrap().wake();

    for woken in waiting {
        assert!(woken.0.load(Ordering::Relaxed));
    }
    assert!(lock(&socket.blocked.0).is_empty());
}
