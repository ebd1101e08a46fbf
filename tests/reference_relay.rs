//! The reference relay, called by real WebSocket clients on loopback.
#![allow(clippy::unwrap_used)] // a test: clippy takes only the functions marked as tests for it, not what they call

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rovercast::relay::server::{Relay, RelaySettings, ServeError, TlsFiles, serve};
use rovercast::viewer::IceServer;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response, header};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tracing_subscriber::fmt::MakeWriter;

#[tokio::test]
async fn robot_and_two_dashboards_find_each_other() {
    let relay = RunningRelay::start(settings()).await;
    let mut alice = relay.call("type=dashboard&robot_id=rover").await;
    assert_eq!(alice.hear().await["type"], "welcome");
    assert_eq!(
        alice.hear().await,
        json!({"type": "robot", "online": false})
    );
    alice.say(&json!({"type": "ready"})).await;

    let mut robot = relay.call("type=robot&robot_id=rover&api_key=any").await;
    let welcome = robot.hear().await;
    assert_eq!(welcome["features"], json!(["viewer_id"]));
    assert_eq!(
        welcome["ice_servers"][0]["urls"],
        json!(["stun:s.example.com"])
    );
    let for_alice = robot.hear_kind("ready").await["viewer_id"].clone();
    let mut bob = relay.call("type=dashboard&robot_id=rover").await;
    assert_eq!(
        bob.hear_kind("robot").await,
        json!({"type": "robot", "online": true})
    );
    bob.say(&json!({"type": "ready"})).await;
    let for_bob = robot.hear_kind("ready").await["viewer_id"].clone();
    assert_ne!(for_alice, for_bob);

    robot
        .say(&json!({"type": "offer", "viewer_id": for_bob, "sdp": "to bob"}))
        .await;
    robot
        .say(&json!({"type": "offer", "viewer_id": for_alice, "sdp": "to alice"}))
        .await;
    assert_eq!(alice.hear_kind("offer").await["sdp"], "to alice");
    assert_eq!(bob.hear_kind("offer").await["sdp"], "to bob");
    bob.say(&json!({"type": "answer", "viewer_id": for_alice, "sdp": "from bob"}))
        .await;
    assert_eq!(
        robot.hear().await,
        json!({"type": "answer", "viewer_id": for_bob, "sdp": "from bob"})
    );
    alice
        .say(&json!({"type": "ice_candidate", "candidate": "candidate:1", "sdpMid": "0"}))
        .await;
    assert_eq!(
        robot.hear().await,
        json!({"type": "ice_candidate", "viewer_id": for_alice, "candidate": "candidate:1", "sdp_mid": "0"})
    );
    bob.close().await;
    assert_eq!(
        robot.hear().await,
        json!({"type": "bye", "viewer_id": for_bob})
    );
    relay.stop().await;
}

#[tokio::test]
async fn seeds_robot_serves_the_latest_dashboard() {
    let relay = RunningRelay::start(settings()).await;
    let front = "robot_id=rover&camera_id=front";
    let mut robot = relay.call(&format!("type=robot&{front}&api_key=any")).await;
    let mut alice = relay.call(&format!("type=dashboard&{front}")).await;
    alice.say(&json!({"type": "ready"})).await;
    robot.hear_kind("ready").await;
    robot.say(&json!({"type": "offer", "sdp": "one"})).await;
    assert_eq!(alice.hear_kind("offer").await["sdp"], "one");

    let mut bob = relay.call(&format!("type=dashboard&{front}")).await;
    bob.say(&json!({"type": "ready"})).await;
    robot.hear_kind("ready").await;
    robot.say(&json!({"type": "offer", "sdp": "two"})).await;

    assert_eq!(bob.hear_kind("offer").await["sdp"], "two");
    assert_eq!(alice.hear_kind("bye").await["code"], "taken_over");
    relay.stop().await;
}

#[tokio::test]
async fn older_robot_is_replaced_and_told_why() {
    let relay = RunningRelay::start(settings()).await;
    let mut old = relay.call("type=robot&robot_id=rover").await;
    old.hear_kind("welcome").await;
    let mut new = relay.call("type=robot&robot_id=rover").await;
    new.hear_kind("welcome").await;
    let error = old.hear_kind("error").await;
    assert_eq!(error["code"], "replaced");
    assert_eq!(error["message"], "another robot connected as rover");
    assert_eq!(old.hear_close().await, 4000);
    assert_eq!(relay.relay.counts().robots, 1);
    relay.stop().await;
}

#[tokio::test]
async fn callers_without_the_right_key_are_refused() {
    let folder = Folder::new("keys");
    let key_file = folder.write("keys", "rover-7 s3cr3t w4tch\n");
    let relay = RunningRelay::start(RelaySettings {
        key_file: Some(key_file),
        ..settings()
    })
    .await;
    let cases = [
        ("type=robot&robot_id=rover-7&api_key=wrong", 401),
        ("type=robot&robot_id=rover-8&api_key=s3cr3t", 401),
        ("type=dashboard&robot_id=rover-7", 401),
        ("type=robot&api_key=s3cr3t", 400),
        ("type=toaster&robot_id=rover-7", 400),
    ];
    for (query, expected) in cases {
        let response = relay.refused(query).await;
        assert_eq!(response.status(), expected, "{query}");
    }
    assert_eq!(relay.relay.counts().rejected, 5);

    for query in [
        "type=robot&robot_id=rover-7&api_key=s3cr3t",
        "type=dashboard&robot_id=rover-7&token=w4tch",
    ] {
        relay.call(query).await.hear_kind("welcome").await;
    }
    let mut request = relay.request("type=robot&robot_id=rover-7");
    let bearer = HeaderValue::from_static("Bearer s3cr3t");
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    let mut robot = relay.dial(request).await.expect("the key is right");
    robot.hear_kind("welcome").await;
    relay.stop().await;
}

#[tokio::test]
async fn caller_that_cannot_be_understood_hears_what_is_missing() {
    let relay = RunningRelay::start(settings()).await;
    let answer = relay
        .plain("GET /webrtc-relay?type=robot&api_key=s3cr3t HTTP/1.1")
        .await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("content-type: application/json"));
    assert!(answer.ends_with(r#"{"error":"query has no \"robot_id\""}"#));
    relay.stop().await;
}

#[tokio::test]
async fn key_that_was_changed_in_the_file_counts_from_the_next_call() {
    let folder = Folder::new("changed-keys");
    let key_file = folder.write("keys", "rover-7 old\n");
    let relay = RunningRelay::start(RelaySettings {
        key_file: Some(key_file.clone()),
        ..settings()
    })
    .await;
    let (old, new) = (
        "type=robot&robot_id=rover-7&api_key=old",
        "type=robot&robot_id=rover-7&api_key=newer",
    );
    relay.call(old).await;
    folder.write("keys", "rover-7 newer\n");
    relay.call(new).await;
    assert_eq!(relay.refused(old).await.status(), 401);

    // Somebody breaks it: the robots that worked go on working.
    folder.write("keys", "rover-7\n");
    relay.call(new).await;
    fs::remove_file(key_file).unwrap();
    relay.call(new).await;
    relay.stop().await;
}

/// On one thread, so that everything the relay logs reaches this test's subscriber.
#[tokio::test(flavor = "current_thread")]
async fn keys_and_tokens_are_in_no_log_line() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let folder = Folder::new("secrets");
    let key_file = folder.write("keys", "rover-7 s3cr3t w4tch\n");
    let relay = RunningRelay::start(RelaySettings {
        key_file: Some(key_file),
        ..settings()
    })
    .await;

    for query in [
        "type=robot&robot_id=rover-7&api_key=s3cr3t",
        "type=dashboard&robot_id=rover-7&token=w4tch",
    ] {
        relay.call(query).await.hear_kind("welcome").await;
    }
    relay
        .refused("type=robot&robot_id=rover-7&api_key=gu3ss")
        .await;
    folder.write("keys", "rover-7 s3cr3t w4tch t00m4ny\n");
    relay
        .call("type=robot&robot_id=rover-7&api_key=s3cr3t")
        .await;
    relay.stop().await;

    let log = log.text();
    assert!(log.contains("robot is here"), "{log}");
    for secret in ["s3cr3t", "w4tch", "gu3ss", "t00m4ny"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn web_page_of_another_origin_is_turned_away() {
    let relay = RunningRelay::start(RelaySettings {
        origins: vec!["https://fleet.example.com".into()],
        ..settings()
    })
    .await;
    let own = format!("http://{}", relay.address);
    let cases = [
        ("https://evil.example.com", false),
        ("null", false),
        ("https://fleet.example.com", true),
        (own.as_str(), true),
    ];
    for (origin, expected) in cases {
        let mut request = relay.request("type=dashboard&robot_id=rover");
        let value = HeaderValue::from_str(origin).unwrap();
        request.headers_mut().insert(header::ORIGIN, value);
        match relay.dial(request).await {
            Ok(_) => assert!(expected, "{origin} was let in"),
            Err(response) => {
                assert!(!expected, "{origin} was turned away");
                assert_eq!(response.status(), 403);
            }
        }
    }
    relay.stop().await;
}

#[tokio::test]
async fn plain_http_is_answered_in_kind() {
    let relay = RunningRelay::start(settings()).await;
    let cases = [
        ("GET /elsewhere HTTP/1.1", "HTTP/1.1 404"),
        (
            "GET /webrtc-relay?type=robot&robot_id=r HTTP/1.1",
            "HTTP/1.1 426",
        ),
        ("POST /webrtc-relay HTTP/1.1", "HTTP/1.1 405"),
        ("EHLO relay", "HTTP/1.1 400"),
    ];
    for (request, expected) in cases {
        let answer = relay.plain(request).await;
        assert!(answer.starts_with(expected), "{request}: {answer}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn garbage_gets_an_error_and_the_connection_lives() {
    let relay = RunningRelay::start(settings()).await;
    let mut dashboard = relay.call("type=dashboard&robot_id=rover").await;
    dashboard.hear_kind("robot").await;
    for garbage in [
        Message::text("ready"),
        Message::text("[]"),
        Message::text(r#"{"type":"answer"}"#),
        Message::binary(vec![0; 9]),
    ] {
        dashboard.send(garbage).await;
        let error = dashboard.hear().await;
        assert_eq!(error["code"], "bad_message", "{error}");
    }
    dashboard.say(&json!({"type": "teleport"})).await;
    dashboard.say(&json!({"type": "ready"})).await;
    let mut robot = relay.call("type=robot&robot_id=rover").await;
    robot.hear_kind("ready").await;
    relay.stop().await;
}

#[tokio::test]
async fn flood_is_closed_and_so_is_what_is_too_large() {
    let relay = RunningRelay::start(settings()).await;
    let query = "type=dashboard&robot_id=rover";
    let floods = [
        (Message::text(r#"{"type":"teleport"}"#), 2000, 1008),
        (Message::text(r#"{"type":"ready"}"#), 40, 1008),
        (Message::text("x".repeat(2 << 20)), 1, 1009),
    ];
    for (message, times, expected) in floods {
        let mut flood = relay.call(query).await;
        for _ in 0..times {
            flood.shout(message.clone()).await;
        }
        assert_eq!(flood.hear_close().await, expected, "{times} times");
    }
    relay.stop().await;
}

#[tokio::test]
async fn dashboard_that_does_not_read_is_cut_and_others_notice_nothing() {
    let relay = RunningRelay::start(settings()).await;
    let mut robot = relay.call("type=robot&robot_id=rover").await;
    let mut sleeper = relay.call("type=dashboard&robot_id=rover").await;
    let mut reader = relay.call("type=dashboard&robot_id=rover").await;
    sleeper.say(&json!({"type": "ready"})).await;
    let asleep = robot.hear_kind("ready").await["viewer_id"].clone();
    reader.say(&json!({"type": "ready"})).await;
    let awake = robot.hear_kind("ready").await["viewer_id"].clone();

    // More than loopback's socket buffers hold, while nobody reads.
    let large = json!({"type": "offer", "viewer_id": asleep, "sdp": "x".repeat(200_000)});
    let small = json!({"type": "offer", "viewer_id": awake, "sdp": "v=0"});
    for _ in 0..100 {
        robot.say(&large).await;
        robot.say(&small).await;
        assert_eq!(reader.hear_kind("offer").await["sdp"], "v=0");
    }

    assert_eq!(robot.hear_kind("bye").await["viewer_id"], asleep);
    relay.stop().await;
}

#[tokio::test]
async fn shutdown_says_goodbye_within_a_second() {
    let relay = RunningRelay::start(settings()).await;
    let address = relay.address;
    let mut robot = relay.call("type=robot&robot_id=rover").await;
    robot.hear_kind("welcome").await;
    let sleeper = relay.call("type=dashboard&robot_id=rover").await;
    let silent = TcpStream::connect(address).await.unwrap();

    let stopped = tokio::spawn(timeout(Duration::from_secs(1), relay.stop()));

    let last_words = robot.hear_kind("error").await;
    assert_eq!(last_words["code"], "restarting");
    let back_in = last_words["retry_after_s"].as_f64().unwrap();
    assert!((1.0..2.0).contains(&back_in), "{back_in}");
    assert_eq!(robot.hear_close().await, 1001);
    stopped.await.unwrap().expect("a second is enough");
    assert!(TcpStream::connect(address).await.is_err());
    drop((sleeper, silent));
}

#[tokio::test]
async fn relay_says_how_it_is_and_how_many_are_here() {
    let relay = RunningRelay::start(settings()).await;
    let mut robot = relay.call("type=robot&robot_id=rover").await;
    robot.hear_kind("welcome").await;
    let mut dashboard = relay.call("type=dashboard&robot_id=rover").await;
    dashboard.hear_kind("robot").await;

    let health = relay.plain("GET /healthz HTTP/1.1").await;
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    let metrics = relay.plain("GET /metrics HTTP/1.1").await;
    assert!(
        metrics.contains("\nrovercast_relay_connections{role=\"robot\"} 1\n"),
        "{metrics}"
    );
    assert!(!metrics.contains("rover\""), "{metrics}");
    relay.stop().await;
}

#[tokio::test]
async fn robot_calls_over_tls() {
    let folder = Folder::new("tls");
    let identity = Identity::new();
    let relay = RunningRelay::start_with(settings(), Some(identity.write(&folder))).await;
    // A caller that says nothing during its handshake holds up nobody.
    let silent = TcpStream::connect(relay.address).await.unwrap();

    let mut robot = relay.call_trusting(&identity).await.unwrap();
    robot.hear_kind("welcome").await;

    let plain = relay.plain("GET / HTTP/1.1").await;
    assert!(!plain.starts_with("HTTP"), "plain text got {plain}");
    drop(silent);
    relay.stop().await;
}

#[tokio::test]
async fn certificate_that_was_replaced_is_shown_from_the_next_call() {
    let folder = Folder::new("rotated");
    let (old, new) = (Identity::new(), Identity::new());
    let files = old.write(&folder);
    let relay = RunningRelay::start_with(settings(), Some(files.clone())).await;
    let mut first = relay.call_trusting(&old).await.unwrap();

    // Two files cannot change at once: the old certificate counts until both are there.
    fs::write(&files.certificate, new.0.cert.pem()).unwrap();
    relay.call_trusting(&old).await.unwrap();
    new.write(&folder);
    relay.call_trusting(&new).await.unwrap();
    assert!(
        relay.call_trusting(&old).await.is_err(),
        "the old one is gone"
    );

    // Somebody breaks it: what worked goes on working.
    fs::write(&files.key, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    relay.call_trusting(&new).await.unwrap();
    fs::remove_file(&files.certificate).unwrap();
    relay.call_trusting(&new).await.unwrap();
    first.hear_kind("error").await;
    relay.stop().await;
}

#[tokio::test]
async fn robots_and_dashboards_get_turn_logins_of_their_own() {
    let folder = Folder::new("turn-logins");
    let secret_file = folder.write("secret", "north\n");
    let relay = RunningRelay::start(RelaySettings {
        turn_secret_file: Some(secret_file),
        ..settings()
    })
    .await;
    let mut passwords = Vec::new();
    for secret in ["north", "south"] {
        folder.write("secret", secret);
        for query in ["type=robot&robot_id=rover", "type=dashboard&robot_id=rover"] {
            let welcome = relay.call(query).await.hear_kind("welcome").await;
            let server = &welcome["ice_servers"][0];
            let (end, robot) = server["username"]
                .as_str()
                .unwrap()
                .split_once(':')
                .unwrap();
            assert_eq!(robot, "rover");
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
            let left = end.parse::<u64>().unwrap() - now.as_secs();
            assert!((23 * 3600..=24 * 3600).contains(&left), "{left} s left");
            passwords.push(server["credential"].as_str().unwrap().to_owned());
        }
    }
    assert_ne!(passwords[0], passwords[2], "the secret was read again");
    relay.stop().await;
}

#[tokio::test]
async fn bad_tls_files_are_named() {
    let folder = Folder::new("bad-tls");
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let good = folder.write("good.pem", &certified.cert.pem());
    let empty = folder.write("empty.pem", "");
    let other_key = folder.write("other.pem", &other.signing_key.serialize_pem());
    let missing = folder.0.join("missing.pem");
    let cases = [
        (
            (&missing, &other_key),
            format!("cannot read TLS certificate {}", missing.display()),
        ),
        (
            (&empty, &other_key),
            format!(
                "cannot read TLS certificate {}: it has no certificate in PEM form",
                empty.display()
            ),
        ),
        (
            (&good, &empty),
            format!("cannot read TLS key {}", empty.display()),
        ),
        (
            (&good, &other_key),
            format!(
                "cannot use TLS certificate {} with key {}",
                good.display(),
                other_key.display()
            ),
        ),
    ];
    for ((certificate, key), expected) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let files = TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let error = serve(listener, Some(files), axum::Router::new(), async {}).await;
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}

/// A relay that serves on a port of loopback.
struct RunningRelay {
    relay: Relay,
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl RunningRelay {
    async fn start(settings: RelaySettings) -> Self {
        Self::start_with(settings, None).await
    }

    async fn start_with(settings: RelaySettings, tls: Option<TlsFiles>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let relay = Relay::new(settings).unwrap();
        let (shutdown, told) = oneshot::channel();
        let told = async move {
            let _ = told.await;
        };
        let served = tokio::spawn(serve(
            listener,
            tls,
            relay.router().merge(relay.observation()),
            told,
        ));
        Self {
            relay,
            address,
            shutdown,
            served,
        }
    }

    fn request(&self, query: &str) -> Request {
        format!("ws://{}/webrtc-relay?{query}", self.address)
            .into_client_request()
            .unwrap()
    }

    async fn dial(&self, request: Request) -> Result<Client<TcpStream>, Response<Option<Vec<u8>>>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Client(socket)),
            Err(WebSocketError::Http(response)) => Err(*response),
            Err(error) => panic!("{error}"),
        }
    }

    async fn call(&self, query: &str) -> Client<TcpStream> {
        let Ok(client) = self.dial(self.request(query)).await else {
            panic!("{query} was refused");
        };
        client
    }

    async fn refused(&self, query: &str) -> Response<Option<Vec<u8>>> {
        let Err(response) = self.dial(self.request(query)).await else {
            panic!("{query} was let in");
        };
        response
    }

    /// A robot that takes this relay's certificate and no other.
    async fn call_trusting(&self, identity: &Identity) -> io::Result<Client<TlsStream<TcpStream>>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(identity.0.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect("localhost".try_into().unwrap(), stream)
            .await?;
        let request = self.request("type=robot&robot_id=rover");
        let (socket, _) = tokio_tungstenite::client_async(request, stream)
            .await
            .unwrap();
        Ok(Client(socket))
    }

    /// What a request line without a WebSocket's headers gets.
    async fn plain(&self, request_line: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{request_line}\r\nHost: relay\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the relay answers and closes")
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn stop(self) {
        self.shutdown.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}

/// A certificate for `localhost` that signs itself, and its key.
struct Identity(rcgen::CertifiedKey<rcgen::KeyPair>);

impl Identity {
    fn new() -> Self {
        Self(rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap())
    }

    fn write(&self, folder: &Folder) -> TlsFiles {
        TlsFiles {
            certificate: folder.write("certificate.pem", &self.0.cert.pem()),
            key: folder.write("key.pem", &self.0.signing_key.serialize_pem()),
        }
    }
}

/// A robot or a dashboard.
struct Client<S>(WebSocketStream<S>);

impl<S> Client<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    async fn say(&mut self, message: &Value) {
        self.send(Message::text(message.to_string())).await;
    }

    async fn send(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    /// Says it although the relay may not listen any more.
    async fn shout(&mut self, message: Message) {
        let _ = self.0.send(message).await;
    }

    async fn next(&mut self) -> Message {
        timeout(PATIENCE, self.0.next())
            .await
            .expect("the relay says something")
            .expect("the relay does not hang up without a word")
            .expect("what the relay says is a WebSocket's")
    }

    async fn hear(&mut self) -> Value {
        let message = self.next().await;
        let text = message.to_text().unwrap();
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {message:?}"))
    }

    /// The next message of this kind.
    async fn hear_kind(&mut self, kind: &str) -> Value {
        loop {
            let message = self.hear().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The code with which the relay closes.
    async fn hear_close(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.next().await {
                return frame.expect("the relay says why it closes").code.into();
            }
        }
    }

    async fn close(&mut self) {
        self.0.close(None).await.unwrap();
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// A folder of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rovercast-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn settings() -> RelaySettings {
    RelaySettings {
        listen: ([127, 0, 0, 1], 0).into(),
        key_file: None,
        ice_servers: vec![IceServer {
            urls: vec!["stun:s.example.com".into()],
            username: None,
            credential: None,
        }],
        turn_secret_file: None,
        origins: Vec::new(),
    }
}

/// Long enough for a machine that is busy with other tests; nothing waits so long when all is well.
const PATIENCE: Duration = Duration::from_secs(10);
