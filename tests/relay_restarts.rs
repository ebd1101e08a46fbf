//! A relay that dies three hundred times: who watches does not notice, and who wants to watch can.
#![allow(clippy::unwrap_used)] // a test from end to end: clippy knows only functions marked #[test] as such
#![allow(clippy::disallowed_methods)] // the time that a picture stands still is real time

mod common;
#[path = "common/receiver.rs"]
mod receiver;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rovercast::relay::server::{Relay, RelaySettings, serve};
use rovercast::viewer::IceCandidate;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use webrtc::media_stream::track_remote::TrackRemoteEvent;

use common::http::Metrics;
use common::process::{LOG_LEVEL, Rovercast, configuration, free_address};
use common::wait_for;
use receiver::{Arrival, PATIENCE, Receiver};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_viewers_do_not_notice_three_hundred_restarts_of_a_busy_relay() {
    let (relay_at, http) = (free_address(), free_address());
    let mut relay = mortal_relay(relay_at);
    let _robot = robot(relay_at, http);
    // Threads of their own: what is measured is not how busy this test is.
    let theatre = Background::new();
    let mut watchers = Vec::new();
    for _ in 0..3 {
        let watcher = theatre.spawn(async move { Watcher::of(join(relay_at).await).await });
        watchers.push(watcher.await.unwrap());
    }
    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        crowd.spawn(hanger_on(relay_at, number));
    }
    let mut guests = 0;

    let begin = Instant::now();
    for restart in 1..=RESTARTS {
        drop(relay);
        relay = mortal_relay(relay_at);
        Dashboard::of_robot(relay_at).await;
        if restart % 50 == 0 {
            let guest = join(relay_at).await;
            guest.connection.close().await.unwrap();
            guests += 1;
        }
    }
    println!("{RESTARTS} restarts took {:.1?}", begin.elapsed());

    crowd.shutdown().await;
    for watcher in &watchers {
        let pause = watcher.longest_pause();
        println!(
            "{} pictures, the longest pause {pause:?}",
            watcher.pictures()
        );
        assert!(pause <= FREEZE, "a picture stood still for {pause:?}");
        let expected = begin.elapsed().as_secs() * 30 * 9 / 10;
        assert!(
            watcher.pictures() >= expected,
            "{} pictures",
            watcher.pictures()
        );
    }
    let metrics = || Metrics::read(http);
    wait_for("the guests to be gone", PATIENCE, || {
        (metrics().value("rovercast_viewers") == 3.0).then_some(())
    });
    let opened = metrics().value("rovercast_viewers_opened_total");
    assert_eq!(opened, f64::from(3 + guests), "a viewer was made twice");
    // One for each relay; the robot's own is dialed once.
    let dials = metrics().value("rovercast_relay_dials_total");
    assert!(dials > f64::from(RESTARTS), "{dials} dials");
    assert_eq!(metrics().value("rovercast_relay_connected"), 1.0);
}

/// A thread with its tasks. They and all their sockets are gone the moment that this is.
struct Background(Option<Runtime>);

impl Background {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        Self(Some(runtime.unwrap()))
    }

    fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.as_ref().expect("it is taken at the end").spawn(task)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let runtime = self.0.take().expect("it is taken once");
        // Waited for: a relay that still answers would pass for the next one. A runtime cannot wait on a thread of another.
        let ended = std::thread::spawn(move || runtime.shutdown_timeout(PATIENCE)).join();
        ended.expect("the end of a runtime is no panic");
    }
}

fn robot(relay: SocketAddr, http: SocketAddr) -> Rovercast {
    let name = "relay_restarts";
    let config = configuration(name, "test-card", http, relay);
    let text = fs::read_to_string(&config).unwrap();
    // Impatient, so that this takes seconds; and with its own page, for it offers loopback then.
    let text = text
        .replace(
            "[relay]\n",
            "[relay]\nbackoff = { first = \"10 ms\", max = \"1 s\", reset_after = \"0 s\" }\n",
        )
        .replace("viewer = false", "viewer = true");
    fs::write(&config, text).unwrap();
    Rovercast::start_logging(name, LOG_LEVEL, &["run", "--config", &config])
}

/// A relay that ends as a process does that is killed: all its sockets at once, and not a word.
fn mortal_relay(address: SocketAddr) -> Background {
    let background = Background::new();
    background.spawn(async move {
        let relay = Relay::new(RelaySettings {
            listen: address,
            key_file: None,
            ice_servers: Vec::new(),
            turn_secret_file: None,
            origins: Vec::new(),
        });
        // The one before may be about to let go of its socket.
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        };
        let router = relay.unwrap().router();
        serve(listener, None, router, std::future::pending()).await
    });
    background
}

struct Dashboard(WebSocketStream<TcpStream>);

impl Dashboard {
    async fn calling(relay: SocketAddr, query: &str) -> Option<Self> {
        let url = format!("ws://{relay}/webrtc-relay?{query}");
        let stream = TcpStream::connect(relay).await.ok()?;
        Some(Self(client_async(url, stream).await.ok()?.0))
    }

    /// Returns when the robot is there, too.
    async fn of_robot(relay: SocketAddr) -> Self {
        let arrives = async {
            loop {
                let query = "type=dashboard&robot_id=rover-7&camera_id=front";
                if let Some(mut dashboard) = Self::calling(relay, query).await {
                    while let Some(message) = dashboard.hear().await {
                        if message == json!({ "type": "robot", "online": true }) {
                            return dashboard;
                        }
                    }
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, arrives)
            .await
            .expect("the robot comes back")
    }

    /// `None` when the relay is gone.
    async fn hear(&mut self) -> Option<Value> {
        loop {
            if let Message::Text(text) = self.0.next().await?.ok()? {
                return Some(serde_json::from_str(&text).unwrap());
            }
        }
    }

    async fn say(&mut self, message: &Value) -> Option<()> {
        let message = Message::text(message.to_string());
        self.0.send(message).await.ok()
    }
}

/// A browser that watches; its dashboard is closed when the picture is there.
async fn join(relay: SocketAddr) -> Receiver {
    let mut dashboard = Dashboard::of_robot(relay).await;
    let mut viewer = Receiver::open().await;
    dashboard.say(&json!({ "type": "ready" })).await.unwrap();
    loop {
        tokio::select! {
            arrival = viewer.arrival() => match arrival {
                Arrival::Candidate(candidate) => {
                    let message = json!({
                        "type": "ice_candidate",
                        "candidate": candidate.candidate,
                        "sdp_mid": "0",
                        "sdp_mline_index": 0,
                    });
                    dashboard.say(&message).await.unwrap();
                }
                Arrival::Picture => break,
            },
            message = dashboard.hear() => {
                let message = message.expect("this relay lives");
                let text = |field: &str| message[field].as_str().unwrap().to_owned();
                match text("type").as_str() {
                    "offer" => {
                        let answer = viewer.answer(&text("sdp")).await;
                        let message = json!({ "type": "answer", "sdp": answer });
                        dashboard.say(&message).await.unwrap();
                    }
                    "ice_candidate" => {
                        viewer
                            .add_candidate(IceCandidate {
                                candidate: text("candidate"),
                                sdp_mid: Some("0".into()),
                                sdp_mline_index: Some(0),
                            })
                            .await;
                    }
                    _ => {}
                }
            }
            () = sleep(PATIENCE) => panic!("no picture"),
        }
    }
    viewer
}

/// A robot or a dashboard that calls again and again, and talks as long as it is heard.
async fn hanger_on(relay: SocketAddr, number: usize) {
    let role = ["robot", "dashboard"][number % 2];
    let query = format!("type={role}&robot_id=other-{}", number / 2);
    loop {
        if let Some(mut caller) = Dashboard::calling(relay, &query).await {
            let ready = json!({ "type": "ready" });
            while caller.say(&ready).await.is_some() && caller.hear().await.is_some() {
                sleep(Duration::from_millis(20)).await;
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Looks at the clock for every picture.
struct Watcher {
    seen: Arc<Seen>,
    _receiver: Receiver,
}

#[derive(Default)]
struct Seen {
    pictures: AtomicU64,
    longest_pause_us: AtomicU64,
}

impl Watcher {
    async fn of(mut receiver: Receiver) -> Self {
        let seen = Arc::new(Seen::default());
        let noted = Arc::clone(&seen);
        let track = receiver.track().await;
        tokio::spawn(async move {
            let mut last = None;
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event
                    && packet.header.marker
                {
                    let now = Instant::now();
                    let pause = last.replace(now).map_or(Duration::ZERO, |last| now - last);
                    noted.pictures.fetch_add(1, Ordering::Relaxed);
                    let pause = pause.as_micros() as u64;
                    noted.longest_pause_us.fetch_max(pause, Ordering::Relaxed);
                }
            }
        });
        Self {
            seen,
            _receiver: receiver,
        }
    }

    fn pictures(&self) -> u64 {
        self.seen.pictures.load(Ordering::Relaxed)
    }

    fn longest_pause(&self) -> Duration {
        Duration::from_micros(self.seen.longest_pause_us.load(Ordering::Relaxed))
    }
}

const RESTARTS: u32 = 300;

/// Others at the same relay.
const CROWD: usize = 40;

/// What people call a picture that froze.
const FREEZE: Duration = Duration::from_millis(300);
