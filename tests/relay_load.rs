//! What idle robots and dashboards cost the reference relay: the real program, over TLS, with sockets that are kept open.
//!
//! `ROVERCAST_LOAD=5000 cargo test --release --test relay_load -- --nocapture` prints the growth at 500, 1,000, 2,000 and 5,000
//! robots; without the variable it is done with 500. The relay has one core. The sockets of the robots are this process's, the relay has its own.
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
        // On one core, whatever this machine has.
        let mut process = Command::new("taskset")
            .args(["--cpu-list", &first_core()])
            .arg(env!("CARGO_BIN_EXE_rovercast"))
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

    /// One of `role` for each number.
    async fn callers(&self, role: &str, numbers: std::ops::Range<usize>) -> Vec<Socket> {
        let queries = numbers.map(|number| format!("type={role}&robot_id=r{number}"));
        stream::iter(queries)
            .map(|query| self.call(query))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }

    /// Sockets, and the few files that a relay has without any.
    fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.process.id());
        fs::read_dir(folder).unwrap().count()
    }

    async fn until_left(&self, descriptors: usize) {
        let begin = Instant::now();
        while self.descriptors() > descriptors {
            assert!(
                begin.elapsed() < PATIENCE,
                "connections that ended stay open"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Processor time until now, its own and the kernel's for it.
    fn busy(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // proc_pid_stat(5): the name is in brackets, user and system time are the 12th and 13th after it.
        let fields = stat.rsplit(')').next().unwrap().split_whitespace();
        let ticks: u64 = fields
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
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
    let descriptors = relay.descriptors();
    drop(relay.callers("robot", 0..1).await);
    relay.until_left(descriptors).await;
    let empty = relay.resident_mib();
    println!("empty: {empty:.1} MiB");
    let mut robots = Vec::new();
    for wanted in [500, 1000, 2000, 5000] {
        if wanted > most {
            break;
        }
        let (begin, busy) = (Instant::now(), relay.busy());
        let news = wanted - robots.len();
        robots.extend(relay.callers("robot", robots.len()..wanted).await);
        let mib = relay.resident_mib();
        println!(
            "{wanted} robots: {mib:.1} MiB, {:.1} KiB each; the last {news} came within {:.1?}, for {:.1?} of processor",
            (mib - empty) * 1024.0 / wanted as f64,
            begin.elapsed(),
            relay.busy() - busy,
        );
        assert!(mib <= MOST_MIB, "{mib:.1} MiB");
    }

    let before = relay.resident_mib();
    let dashboards = relay.callers("dashboard", 0..LOOKERS).await;
    let callers = (robots.len() + dashboards.len()) as f64;
    let each = (relay.resident_mib() - empty) * 1024.0 / callers;
    println!(
        "{LOOKERS} dashboards more: {:.1} KiB each",
        (relay.resident_mib() - before) * 1024.0 / LOOKERS as f64
    );
    assert!(each <= MOST_KIB_EACH, "{each:.1} KiB for each");
    drop(robots);
    drop(dashboards);
    relay.until_left(descriptors).await;
    let last = relay.callers("robot", 0..1).await;
    assert_eq!(last.len(), 1, "there is room again");
}

/// The first of those that this process may use: `Cpus_allowed_list` is like `0-3,8` (proc_pid_status(5)).
fn first_core() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = allowed.unwrap().trim().split([',', '-']).next();
    first.unwrap().to_owned()
}

/// Handshakes at once; the relay takes 64.
const AT_ONCE: usize = 64;

/// Dashboards, for each of which a robot is here.
const LOOKERS: usize = 250;

/// What 5,000 idle robots may take, TLS and its buffers included.
const MOST_MIB: f64 = 160.0;

/// The same for each.
const MOST_KIB_EACH: f64 = 32.0;

/// The relay notices the ends of thousands of connections.
const PATIENCE: Duration = Duration::from_secs(20);
