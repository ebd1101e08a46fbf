//! What idle robots and dashboards cost the reference relay: the real program, over TLS, with sockets that are kept open.
//!
//! `ROVERCAST_LOAD=5000 cargo test --test relay_load -- --nocapture` takes minutes and prints the growth at 500, 1,000, 2,000
//! and 5,000 robots with a dashboard each; without the variable it is done with 500.
#![allow(clippy::unwrap_used)] // a test from end to end: clippy knows only functions marked #[test] as such
#![allow(clippy::disallowed_methods)] // measures real time

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use rcgen::{CertificateParams, KeyPair};
use rovercast::relay::server::open_many_sockets;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A relay of its own process, whose memory is nobody else's.
struct Relay {
    process: Child,
    address: SocketAddr,
    folder: PathBuf,
    tls: TlsConnector,
}

impl Relay {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("rovercast-load-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (cert_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
        fs::write(&cert_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_rovercast"))
            .args(["--log", "warn", "relay", "--listen", "127.0.0.1:0"])
            .arg("--tls-cert")
            .arg(cert_file)
            .arg("--tls-key")
            .arg(key_file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut told = BufReader::new(process.stdout.take().unwrap());
        told.read_line(&mut line).unwrap();
        let address = line.split("wss://").nth(1).unwrap();
        let address = address.split('/').next().unwrap().parse().unwrap();

        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            process,
            address,
            folder,
            tls: TlsConnector::from(Arc::new(config)),
        }
    }

    /// Returns when the relay has welcomed the caller.
    async fn call(&self, query: String) -> Socket {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let stream = self.tls.connect(name, stream).await.unwrap();
        let url = format!("wss://localhost/webrtc-relay?{query}");
        let (mut socket, _) = client_async(url, stream).await.unwrap();
        let welcome = socket.next().await.unwrap().unwrap();
        assert!(matches!(&welcome, Message::Text(text) if text.contains("welcome")));
        socket
    }

    /// A robot and a dashboard of it for each number.
    async fn callers(&self, numbers: std::ops::Range<usize>) -> Vec<Socket> {
        let queries = numbers.flat_map(|number| {
            ["robot", "dashboard"].map(|role| format!("type={role}&robot_id=r{number}"))
        });
        stream::iter(queries)
            .map(|query| self.call(query))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }

    fn resident_mib(&self) -> f64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_robots_and_dashboards_cost_little_memory_each() {
    open_many_sockets();
    let most = std::env::var("ROVERCAST_LOAD").map_or(500, |robots| robots.parse().unwrap());
    let relay = Relay::start();
    let first = relay.callers(0..1).await;
    let empty = relay.resident_mib();
    let mut here = Vec::new();
    for robots in [250, 500, 1000, 2000, 5000] {
        if robots > most {
            break;
        }
        let begin = Instant::now();
        here.extend(relay.callers(1 + here.len() / 2..1 + robots).await);
        let mib = relay.resident_mib();
        println!(
            "{robots} robots and as many dashboards: {mib:.1} MiB, {:.1} KiB a connection, the last of them in within {:.1?}",
            (mib - empty) * 1024.0 / here.len() as f64,
            begin.elapsed()
        );
    }

    let each = (relay.resident_mib() - empty) * 1024.0 / here.len() as f64;
    assert!(each <= MOST_KIB_EACH, "{each:.1} KiB for each");
    drop(first);
    drop(here);
    wait_until_left().await;
    let last = relay.callers(0..1).await;
    assert_eq!(last.len(), 2, "there is room again");
}

/// The relay notices the ends of thousands of connections.
async fn wait_until_left() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Handshakes at once; the relay takes 64.
const AT_ONCE: usize = 64;

/// 160 MiB for 5,000 idle robots are 32 KiB each, TLS and its buffers included.
const MOST_KIB_EACH: f64 = 32.0;
