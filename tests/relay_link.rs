//! The link against relays that are right, wrong, broken and mean, over real sockets on this machine.
#![allow(clippy::unwrap_used)] // a test from end to end: clippy knows only functions marked #[test] as such

#[path = "relay_link/proxy.rs"]
mod proxy;

use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rovercast::relay::client::{
    Auth, KeySource, Link, LinkEnd, LinkEvent, LinkFailure, LinkSettings,
};
use rovercast::relay::message::{FromRelay, MESSAGE_LIMIT, ToRelay};
use rovercast::viewer::ViewerId;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// The key of every robot here. It must appear nowhere.
const KEY: &str = "swordfish&7";
const KEY_ENCODED: &str = "swordfish%267";

/// For what must happen; a failing test takes this long.
const PATIENCE: Duration = Duration::from_secs(10);

fn settings(url: &str) -> LinkSettings {
    LinkSettings {
        api_key: Some(KeySource::Secret(KEY.into())),
        ..LinkSettings::new(url.parse().unwrap(), "rover-7")
    }
}

/// Serves each connection with `serve` for as long as the test runs.
async fn relay<F, R>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// A relay whose WebSocket is open.
async fn open_relay<F, R>(serve: F) -> SocketAddr
where
    F: Fn(WebSocketStream<TcpStream>) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let serve = Arc::new(serve);
    relay(move |stream| {
        let serve = Arc::clone(&serve);
        async move { serve(accept_async(stream).await.unwrap()).await }
    })
    .await
}

/// A robot's end of the link, with everything that it heard.
struct Robot {
    link: Link,
    events: mpsc::Receiver<LinkEvent>,
}

impl Robot {
    fn dialing(settings: LinkSettings) -> Self {
        LazyLock::force(&LOG);
        let (sender, events) = mpsc::channel(16);
        let mut link = Link::new(settings, sender);
        link.dial();
        Self { link, events }
    }

    async fn next(&mut self) -> LinkEvent {
        let event = timeout(PATIENCE, self.events.recv()).await;
        let event = event.expect("something happens in time").unwrap();
        assert_keyless(&event);
        event
    }

    async fn opened(settings: LinkSettings) -> Self {
        let mut robot = Self::dialing(settings);
        let event = robot.next().await;
        assert!(matches!(event, LinkEvent::Opened { .. }), "{event:?}");
        robot
    }

    async fn message(&mut self) -> FromRelay {
        loop {
            match self.next().await {
                LinkEvent::Text(message) => return message,
                LinkEvent::Heard => {}
                other @ (LinkEvent::Opened { .. } | LinkEvent::Ended(_)) => {
                    panic!("{other:?} when expecting a message")
                }
            }
        }
    }

    async fn end(&mut self) -> LinkEnd {
        loop {
            match self.next().await {
                LinkEvent::Ended(end) => return end,
                LinkEvent::Opened { .. } | LinkEvent::Heard | LinkEvent::Text(_) => {}
            }
        }
    }
}

async fn end_of(settings: LinkSettings) -> LinkEnd {
    assert_keyless(&settings);
    Robot::dialing(settings).end().await
}

fn assert_keyless(shown: &impl Debug) {
    let shown = format!("{shown:?}");
    assert!(
        !shown.contains(KEY) && !shown.contains(KEY_ENCODED),
        "the key shows in {shown}"
    );
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A relay that answers every request with `response`.
async fn http_relay(response: &'static str) -> SocketAddr {
    relay(move |mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(response.as_bytes()).await.unwrap();
        let _ = stream.shutdown().await;
    })
    .await
}

/// A directory for one test, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rovercast-link-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

struct Identity {
    cert_pem: String,
    key: KeyPair,
    config: ServerConfig,
}

impl Authority {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self::called(&format!("Fleet {}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    fn called(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    fn sign(&self, host: &str, valid_years: (i32, i32)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(valid_years.0, 1, 1);
        params.not_after = date_time_ymd(valid_years.1, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let config = server()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], private(&key))
            .unwrap();
        Identity {
            cert_pem: cert.pem(),
            key,
            config,
        }
    }

    /// The same certificate for a relay that serves only who shows one of `self`.
    fn demanding(&self, host: &str) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        let mut pem = self.pem.as_bytes();
        roots.add_parsable_certificates(certificates(&mut pem));
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::new(rustls::crypto::ring::default_provider()),
        )
        .build()
        .unwrap();
        let identity = self.sign(host, NOW);
        let mut pem = identity.cert_pem.as_bytes();
        server()
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(&mut pem), private(&identity.key))
            .unwrap()
    }
}

const NOW: (i32, i32) = (2020, 4000);

fn server() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

fn certificates(pem: &mut &[u8]) -> Vec<rustls_pki_types::CertificateDer<'static>> {
    use rustls_pki_types::pem::PemObject;
    rustls_pki_types::CertificateDer::pem_slice_iter(pem)
        .map(Result::unwrap)
        .collect()
}

async fn tls_relay(config: ServerConfig) -> SocketAddr {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    relay(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            // Most robots here hang up on what they see: that is the test.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let Ok(mut socket) = accept_async(stream).await else {
                return;
            };
            let _ = socket.send(Message::text(r#"{"type":"welcome"}"#)).await;
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await
}

/// A robot that trusts `ca_pem` only.
fn trusting(relay: SocketAddr, ca_pem: &str, directory: &Directory) -> LinkSettings {
    LinkSettings {
        ca_file: Some(directory.write("ca.pem", ca_pem)),
        ..settings(&format!("wss://localhost:{}/webrtc-relay", relay.port()))
    }
}

async fn tls_end(config: ServerConfig, ca_pem: &str) -> LinkEnd {
    let relay = tls_relay(config).await;
    let directory = Directory::new();
    let end = end_of(trusting(relay, ca_pem, &directory)).await;
    assert_eq!(end.class, LinkFailure::Tls, "{end:?}");
    end
}

#[tokio::test]
async fn seed_relay_sees_exactly_its_url() {
    let (sender, mut heads) = mpsc::channel(1);
    let relay = relay(move |mut stream| {
        let sender = sender.clone();
        async move { sender.send(read_head(&mut stream).await).await.unwrap() }
    })
    .await;
    let mut settings = settings(&format!("http://{relay}/webrtc-relay"));
    end_of(settings.clone()).await;
    let head = heads.recv().await.unwrap();
    let line = head.lines().next().unwrap();
    assert_eq!(
        line,
        "GET /webrtc-relay?type=robot&robot_id=rover-7&api_key=swordfish%267 HTTP/1.1"
    );
    assert!(head.contains(&format!("Host: {relay}\r\n")), "{head}");

    settings.camera_id = Some("front".into());
    settings.auth = Auth::Bearer;
    end_of(settings).await;
    let head = heads.recv().await.unwrap();
    let line = head.lines().next().unwrap();
    assert_eq!(
        line,
        "GET /webrtc-relay?type=robot&robot_id=rover-7&camera_id=front HTTP/1.1"
    );
    assert!(
        head.contains("authorization: Bearer swordfish&7\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn key_is_in_no_log_at_trace() {
    let relay = open_relay(|mut socket| async move {
        let text = format!(r#"{{"type":"error","message":"bad key {KEY}"}}"#);
        let _ = socket.send(Message::text(text)).await;
        let _ = socket.send(Message::text(KEY)).await;
        let _ = socket.close(None).await;
    })
    .await;
    for auth in [Auth::Query, Auth::Bearer] {
        end_of(LinkSettings {
            auth,
            ..settings(&format!("ws://{relay}/?token=x"))
        })
        .await;
    }
    let log = String::from_utf8(LOG.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("dialing"), "{log}");
    assert!(log.contains("unreadable"), "{log}");
    assert_keyless(&log);
    assert!(!log.contains("token=x"), "{log}");
}

/// What all the tests here log, at every level.
static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    log
});

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn words_go_both_ways_and_unreadable_ones_do_not_end_the_link() {
    let relay = open_relay(|mut socket| async move {
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(MESSAGE_LIMIT));
        for message in [
            Message::text("{{{"),
            Message::text(long),
            Message::text(r#"{"type":"answer"}"#),
            Message::binary(vec![0, 159, 146, 150]),
            Message::text(r#"{"type":"teleport"}"#),
        ] {
            socket.send(message).await.unwrap();
        }
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Text(text) = message {
                let ToRelay::Bye { viewer, .. } = ToRelay::parse(&text).unwrap() else {
                    panic!("{text} is no bye");
                };
                let ready = FromRelay::Ready { viewer };
                socket.send(Message::text(ready.to_json())).await.unwrap();
            }
        }
    })
    .await;
    let mut robot = Robot::opened(settings(&format!("ws://{relay}/"))).await;

    let unknown = robot.message().await;
    assert_eq!(
        unknown,
        FromRelay::Unknown {
            kind: "teleport".into()
        }
    );
    let viewer = ViewerId::named("a").unwrap();
    robot.link.send(&ToRelay::Bye {
        viewer: viewer.clone(),
        reason: None,
    });
    assert_eq!(robot.message().await, FromRelay::Ready { viewer });
}

#[tokio::test]
async fn ping_is_answered_and_heard() {
    let relay =
        open_relay(|mut socket| async move { while let Some(Ok(_)) = socket.next().await {} })
            .await;
    let mut robot = Robot::opened(settings(&format!("ws://{relay}/"))).await;
    robot.link.ping();
    let event = robot.next().await;
    assert!(matches!(event, LinkEvent::Heard), "{event:?}");
}

#[tokio::test]
async fn robot_that_leaves_says_good_bye_first() {
    let (sender, mut heard) = mpsc::channel(8);
    let relay = open_relay(move |mut socket| {
        let sender = sender.clone();
        async move {
            while let Some(Ok(message)) = socket.next().await {
                sender.send(message).await.unwrap();
            }
        }
    })
    .await;
    let mut robot = Robot::opened(settings(&format!("ws://{relay}/"))).await;
    robot.link.send(&ToRelay::Bye {
        viewer: ViewerId::anonymous(),
        reason: None,
    });
    robot.link.hang_up("robot is shutting down");
    assert_eq!(robot.end().await.class, LinkFailure::HungUp);

    assert_eq!(
        heard.recv().await.unwrap(),
        Message::text(r#"{"type":"bye"}"#)
    );
    let Message::Close(Some(frame)) = heard.recv().await.unwrap() else {
        panic!("the last word is a close frame");
    };
    assert_eq!(u16::from(frame.code), 1001);
    assert_eq!(frame.reason.as_str(), "robot is shutting down");
}

#[tokio::test]
async fn relay_that_stops_reading_is_left_within_a_second() {
    let relay = open_relay(|socket| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let mut robot = Robot::opened(settings(&format!("ws://{relay}/"))).await;
    let large = ToRelay::Offer {
        viewer: ViewerId::anonymous(),
        sdp: "x".repeat(200 * 1024),
    };
    for _ in 0..300 {
        robot.link.send(&large);
        tokio::task::yield_now().await;
    }
    robot.link.hang_up("no answer to ping");
    let end = timeout(Duration::from_secs(1), robot.end()).await.unwrap();
    assert_eq!(end.class, LinkFailure::HungUp);
}

#[tokio::test]
async fn relay_that_closes_is_quoted_without_the_key() {
    let relay = open_relay(|mut socket| async move {
        let error = format!(r#"{{"type":"error","message":"bad key {KEY}"}}"#);
        socket.send(Message::text(error)).await.unwrap();
        let frame = CloseFrame {
            code: 4001.into(),
            reason: format!("who is {KEY_ENCODED}").into(),
        };
        socket.close(Some(frame)).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let mut robot = Robot::opened(settings(&format!("ws://{relay}/x"))).await;
    let FromRelay::Error { message, .. } = robot.message().await else {
        panic!("the relay reports an error");
    };
    assert_eq!(message, "bad key …");
    let end = robot.end().await;
    assert_eq!(
        end.class,
        LinkFailure::ClosedByRelay {
            code: Some(4001),
            reason: "who is …".into()
        }
    );
    assert_eq!(
        end.message,
        format!("ws://{relay}/x closed with code 4001: who is …")
    );
}

#[tokio::test]
async fn relay_that_drops_the_line_has_closed_without_a_code() {
    let relay = open_relay(|socket| async move { drop(socket) }).await;
    let end = end_of(settings(&format!("ws://{relay}/"))).await;
    let expected = LinkFailure::ClosedByRelay {
        code: None,
        reason: String::new(),
    };
    assert_eq!(end.class, expected, "{end:?}");
}

#[tokio::test]
async fn message_that_no_memory_should_hold_ends_the_link_as_a_protocol_error() {
    let relay = open_relay(|mut socket| async move {
        let _ = socket.send(Message::text("x".repeat(8 << 20))).await;
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let end = end_of(settings(&format!("ws://{relay}/"))).await;
    assert_eq!(end.class, LinkFailure::Protocol, "{end:?}");
}

#[tokio::test]
async fn bad_utf8_and_half_frames_end_the_link_in_their_own_words() {
    for (bytes, class) in [
        (&[0x81, 2, 0xc3, 0x28][..], LinkFailure::Protocol),
        (
            &[0x81, 100, b'{'][..],
            LinkFailure::ClosedByRelay {
                code: None,
                reason: String::new(),
            },
        ),
        (&[0xf1, 1, b'{'][..], LinkFailure::Protocol),
    ] {
        let relay = open_relay(move |mut socket| async move {
            socket.get_mut().write_all(bytes).await.unwrap();
            socket.get_mut().shutdown().await.unwrap();
        })
        .await;
        let end = end_of(settings(&format!("ws://{relay}/"))).await;
        assert_eq!(end.class, class, "{end:?}");
    }
}

#[tokio::test]
async fn relay_that_stops_reading_takes_no_memory_and_no_time() {
    let relay = open_relay(|socket| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let mut robot = Robot::opened(settings(&format!("ws://{relay}/"))).await;
    let offer = ToRelay::Offer {
        viewer: ViewerId::anonymous(),
        sdp: "x".repeat(64 * 1024),
    };
    // 256 messages wait at most; the kernel has room for some more.
    for _ in 0..2000 {
        robot.link.send(&offer);
        tokio::task::yield_now().await;
    }
    robot.link.hang_up("no answer to ping");
    let end = timeout(Duration::from_secs(2), robot.end()).await.unwrap();
    assert_eq!(end.class, LinkFailure::HungUp);
}

#[tokio::test]
async fn million_tiny_messages_wait_for_their_reader() {
    const MESSAGES: usize = 1_000_000;
    let relay = open_relay(|mut socket| async move {
        for _ in 0..MESSAGES {
            let tiny = Message::text("{}");
            if socket.feed(tiny).await.is_err() {
                return;
            }
        }
        let _ = socket.close(None).await;
    })
    .await;
    let mut robot = Robot::opened(settings(&format!("ws://{relay}/"))).await;
    let mut heard = 0;
    let end = loop {
        match robot.events.recv().await.unwrap() {
            LinkEvent::Heard => heard += 1,
            LinkEvent::Ended(end) => break end,
            LinkEvent::Opened { .. } | LinkEvent::Text(_) => {}
        }
    };
    assert_eq!(heard, MESSAGES);
    assert!(
        matches!(end.class, LinkFailure::ClosedByRelay { .. }),
        "{end:?}"
    );
}

#[tokio::test]
async fn relay_that_speaks_tls_1_1_only_is_refused() {
    let relay = relay(|mut stream| async move {
        let mut hello = [0; 1024];
        let _ = stream.read(&mut hello).await;
        // RFC 4346, section 7.4.1.3: a ServerHello of version 3.2 with the suite TLS_RSA_WITH_AES_128_CBC_SHA.
        let mut answer = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
        answer.extend([7; 32]);
        answer.extend([0, 0, 0x2f, 0]);
        let _ = stream.write_all(&answer).await;
        let _ = stream.read(&mut hello).await;
    })
    .await;
    let directory = Directory::new();
    let end = end_of(trusting(relay, &Authority::new().pem, &directory)).await;
    assert_eq!(end.class, LinkFailure::Tls, "{end:?}");
    assert!(
        end.message.contains("nothing that TLS 1.2 or later would"),
        "{end:?}"
    );
}

#[tokio::test]
async fn http_answers_are_told_apart() {
    for (response, class, retry_after) in [
        (
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: key swordfish&7\r\n\r\nbad key swordfish&7",
            LinkFailure::Unauthorized,
            None,
        ),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            LinkFailure::Unauthorized,
            None,
        ),
        (
            "HTTP/1.1 404 Not Found\r\n\r\n",
            LinkFailure::Http { status: 404 },
            None,
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: /login?api_key=swordfish%267\r\n\r\n",
            LinkFailure::Http { status: 302 },
            None,
        ),
        (
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n\r\n",
            LinkFailure::Http { status: 429 },
            Some(7),
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n\r\n",
            LinkFailure::Http { status: 503 },
            Some(60),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
            LinkFailure::NotAWebSocket,
            None,
        ),
        (
            "220 smtp.example.com ESMTP\r\n",
            LinkFailure::NotAWebSocket,
            None,
        ),
        (
            "",
            LinkFailure::ClosedByRelay {
                code: None,
                reason: String::new(),
            },
            None,
        ),
    ] {
        let relay = http_relay(response).await;
        let end = end_of(settings(&format!("ws://{relay}/"))).await;
        assert_eq!(end.class, class, "{end:?}");
        assert_eq!(
            end.retry_after,
            retry_after.map(Duration::from_secs),
            "{response}"
        );
        assert!(end.message.contains(&format!("ws://{relay}/")), "{end:?}");
    }
}

#[tokio::test]
async fn closed_port_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = listener.local_addr().unwrap();
    drop(listener);
    let end = end_of(settings(&format!("ws://{relay}/webrtc-relay"))).await;
    assert_eq!(end.class, LinkFailure::Refused);
    assert_eq!(
        end.message,
        format!("cannot reach ws://{relay}/webrtc-relay: Connection refused (os error 111)")
    );
}

#[tokio::test]
async fn name_that_does_not_exist_is_not_found() {
    let end = end_of(settings("ws://relay.invalid/")).await;
    assert_eq!(end.class, LinkFailure::NameNotFound, "{end:?}");
    assert!(
        end.message
            .starts_with("cannot find the address of relay.invalid for ws://relay.invalid/: "),
        "{end:?}"
    );
}

#[tokio::test]
async fn relay_that_accepts_and_says_nothing_is_given_up_at_the_deadline() {
    let relay = relay(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let directory = Directory::new();
    for (settings, step) in [
        (settings(&format!("ws://{relay}/")), "WebSocket handshake"),
        (
            trusting(relay, &Authority::new().pem, &directory),
            "TLS handshake",
        ),
    ] {
        let end = end_of(LinkSettings {
            connect_deadline: Duration::from_millis(200),
            ..settings
        })
        .await;
        assert_eq!(end.class, LinkFailure::TimedOut);
        assert!(
            end.message.ends_with(&format!("no {step} within 200ms")),
            "{end:?}"
        );
    }
}

#[tokio::test]
async fn attempt_can_be_given_up() {
    let relay = relay(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let mut robot = Robot::dialing(settings(&format!("ws://{relay}/")));
    robot.link.hang_up("robot is shutting down");
    let end = timeout(Duration::from_secs(1), robot.end()).await.unwrap();
    assert_eq!(end.class, LinkFailure::HungUp);
}

#[tokio::test]
async fn link_that_ended_can_be_dialed_again() {
    let relay = open_relay(|mut socket| async move {
        let _ = socket.close(None).await;
    })
    .await;
    let mut robot = Robot::opened(settings(&format!("ws://{relay}/"))).await;
    for _ in 0..3 {
        robot.end().await;
        robot.link.dial();
        let event = robot.next().await;
        assert!(matches!(event, LinkEvent::Opened { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn relay_of_our_own_authority_is_trusted_as_is_its_next_one() {
    let (old, new) = (Authority::new(), Authority::new());
    let relay = tls_relay(new.sign("localhost", NOW).config).await;
    let directory = Directory::new();
    let settings = trusting(relay, &old.pem, &directory);
    let mut robot = Robot::dialing(settings);
    assert_eq!(robot.end().await.class, LinkFailure::Tls);

    directory.write("ca.pem", &new.pem);
    robot.link.dial();
    let welcome = async {
        assert!(matches!(robot.next().await, LinkEvent::Opened { .. }));
        robot.message().await
    };
    assert!(matches!(welcome.await, FromRelay::Welcome { .. }));
}

#[tokio::test]
async fn certificate_of_an_unknown_authority_is_refused() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let end = tls_end(unknown.sign("localhost", NOW).config, &known.pem).await;
    assert!(
        end.message
            .ends_with("its certificate is not signed by an authority that we trust (see ca_file)"),
        "{end:?}"
    );
}

#[tokio::test]
async fn authority_that_changed_its_key_but_not_its_name_is_told_apart() {
    let (old, new) = (Authority::called("Fleet"), Authority::called("Fleet"));
    let end = tls_end(new.sign("localhost", NOW).config, &old.pem).await;
    assert!(
        end.message
            .ends_with("an authority of a trusted name, but with another key, signed its certificate (see ca_file)"),
        "{end:?}"
    );
}

#[tokio::test]
async fn system_roots_do_not_know_our_authority() {
    let authority = Authority::new();
    let relay = tls_relay(authority.sign("localhost", NOW).config).await;
    let end = end_of(settings(&format!("wss://localhost:{}/", relay.port()))).await;
    // A machine without any roots says so.
    assert!(
        matches!(end.class, LinkFailure::Tls | LinkFailure::Settings),
        "{end:?}"
    );
}

#[tokio::test]
async fn certificate_of_another_host_is_refused() {
    let authority = Authority::new();
    let identity = authority.sign("relay.example.com", NOW);
    let end = tls_end(identity.config, &authority.pem).await;
    assert!(
        end.message
            .contains("its certificate is for another host: ")
            && end.message.contains("relay.example.com"),
        "{end:?}"
    );
}

#[tokio::test]
async fn expired_certificate_is_told_apart_from_a_clock_that_is_behind() {
    let authority = Authority::new();
    let expired = authority.sign("localhost", (2010, 2020));
    let end = tls_end(expired.config, &authority.pem).await;
    assert!(
        end.message.contains(
            "its certificate expired at 2020-01-01 00:00:00 UTC; this machine's clock says 2"
        ),
        "{end:?}"
    );

    let early = authority.sign("localhost", (3000, 4000));
    let end = tls_end(early.config, &authority.pem).await;
    assert!(
        end.message.contains(
            "its certificate is not valid before 3000-01-01 00:00:00 UTC; this machine's clock says 2"
        ),
        "{end:?}"
    );
}

#[tokio::test]
async fn relay_that_wants_a_client_certificate_gets_ours() {
    let authority = Authority::new();
    let relay = tls_relay(authority.demanding("localhost")).await;
    let directory = Directory::new();
    let without = trusting(relay, &authority.pem, &directory);
    let end = end_of(without.clone()).await;
    assert_eq!(end.class, LinkFailure::Tls);
    assert!(
        end.message
            .ends_with("it wants a client certificate (see client_cert_file)"),
        "{end:?}"
    );

    let ours = |authority: &Authority| {
        let identity = authority.sign("rover-7", NOW);
        LinkSettings {
            client_cert_file: Some(directory.write("robot.pem", &identity.cert_pem)),
            client_key_file: Some(directory.write("robot.key", &identity.key.serialize_pem())),
            ..without.clone()
        }
    };
    let wrong = end_of(ours(&Authority::new())).await;
    assert_eq!(wrong.class, LinkFailure::Tls);
    assert!(
        wrong
            .message
            .contains("it does not accept our client certificate"),
        "{wrong:?}"
    );

    let mut robot = Robot::opened(ours(&authority)).await;
    assert!(matches!(robot.message().await, FromRelay::Welcome { .. }));
}

#[tokio::test]
async fn port_that_does_not_speak_tls_is_said_to() {
    let relay = relay(|mut stream| async move {
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let _ = stream.read_u8().await;
    })
    .await;
    let directory = Directory::new();
    let end = end_of(trusting(relay, &Authority::new().pem, &directory)).await;
    assert_eq!(end.class, LinkFailure::Tls, "{end:?}");
    assert!(
        end.message.contains("it does not speak TLS at this port"),
        "{end:?}"
    );
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let directory = Directory::new();
    let empty = directory.write("empty", " \n");
    let missing = directory.0.join("missing");
    let with_key = |file: &PathBuf| LinkSettings {
        api_key: Some(KeySource::File(file.clone())),
        ..settings("ws://127.0.0.1:9/")
    };
    for (settings, message) in [
        (
            with_key(&missing),
            format!(
                "cannot dial ws://127.0.0.1:9/: cannot read the API key in {}: No such file or directory (os error 2)",
                missing.display()
            ),
        ),
        (
            with_key(&empty),
            format!(
                "cannot dial ws://127.0.0.1:9/: got an empty API key in {}",
                empty.display()
            ),
        ),
        (
            LinkSettings {
                ca_file: Some(empty.clone()),
                ..settings("wss://127.0.0.1:9/")
            },
            format!(
                "cannot dial wss://127.0.0.1:9/: got no certificate in {} when expecting PEM",
                empty.display()
            ),
        ),
        (
            settings("ftp://127.0.0.1/"),
            "cannot dial ws://127.0.0.1/: got scheme \"ftp\" when expecting wss, ws, https or http"
                .into(),
        ),
    ] {
        let end = end_of(settings).await;
        assert_eq!(end.class, LinkFailure::Settings);
        assert_eq!(end.message, message);
    }
}

#[tokio::test]
async fn key_file_is_read_again_at_each_dial() {
    let (sender, mut heads) = mpsc::channel(1);
    let relay = relay(move |mut stream| {
        let sender = sender.clone();
        async move { sender.send(read_head(&mut stream).await).await.unwrap() }
    })
    .await;
    let directory = Directory::new();
    let mut robot = Robot::dialing(LinkSettings {
        api_key: Some(KeySource::File(directory.write("key", "old\n"))),
        ..settings(&format!("ws://{relay}/"))
    });
    robot.end().await;
    assert!(
        heads
            .recv()
            .await
            .unwrap()
            .contains("&api_key=old HTTP/1.1")
    );

    directory.write("key", "new\n");
    robot.link.dial();
    robot.end().await;
    assert!(
        heads
            .recv()
            .await
            .unwrap()
            .contains("&api_key=new HTTP/1.1")
    );
}
