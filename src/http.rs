//! What the robot answers over HTTP: `/healthz`, `/readyz`, `/status`, `/metrics`, and the viewer page.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// A question to the app's loop, and where the answer goes.
pub type Question = oneshot::Sender<Answer>;

/// The present, as the app sees it.
#[derive(Debug)]
pub struct Answer {
    pub status: Status,
    /// `/metrics`, in Prometheus' text exposition format.
    pub metrics: String,
}

/// `/status`, and what `rovercast status` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub robot: String,
    pub uptime_s: f64,
    /// Nothing is stuck: every camera moves, or rests and says so.
    pub healthy: bool,
    /// A viewer who comes now gets a picture: relays are reached, no camera is failing.
    pub ready: bool,
    /// Calls to drivers that do not come back; each holds a thread and a device. Absent while there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub calls_left_behind: u64,
    pub cameras: Vec<CameraStatus>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CameraStatus {
    pub id: String,
    pub source: String,
    /// asleep, starting, running, stopping or waiting.
    pub state: String,
    /// Why it failed last; absent once it has run again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try_in_s: Option<f64>,
    /// What encodes, such as "vh264enc (/dev/video2)"; absent while nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// encoder-export, camera-export, heap or copy; absent when the encoder reads pictures where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture_path: Option<String>,
    /// The dma-heap whose memory camera and encoder share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dma_heap: Option<String>,
    /// Why each path that would have been better was not taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_paths: Vec<String>,
    /// Raw picture bytes copied or converted for one frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied_bytes_per_frame: Option<u64>,
    /// profile_idc, constraint flags and level_idc of the last SPS, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_level_id: Option<String>,
    /// Pictures that came damaged or short since the service started: a bad cable or hub.
    #[serde(default)]
    pub damaged_frames: u64,
    /// What the encoder is asked for; absent when it is a camera's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_kbps: Option<f64>,
    /// Why that last moved.
    pub target_because: String,
    /// How many frames, how large.
    pub picture: String,
    /// Width and height of what is encoded, such as "640x360"; absent while nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture_size: Option<String>,
    /// How a smaller picture is had for narrow links, if there is one; absent while nothing is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smaller_picture: Option<String>,
    /// The second rendition for slow viewers, where the configuration wants one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub small: Option<SmallStatus>,
    pub relays: Vec<RelayStatus>,
    pub viewers: Vec<ViewerStatus>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SmallStatus {
    /// asleep, starting, running, stopping, or refused and why.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    pub target_kbps: f64,
    pub target_because: String,
    pub picture: String,
    pub viewers: usize,
    /// Raw picture bytes copied or converted for one of its frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied_bytes_per_frame: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RelayStatus {
    /// Scheme, host and path: what may be shown.
    pub url: String,
    /// connected, dialing, waiting or stopped.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long it has stood, or been down for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try_in_s: Option<f64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ViewerStatus {
    pub id: String,
    pub connected: bool,
    /// large or small.
    pub rendition: String,
    /// RTP packets, without retransmissions.
    pub packets: u64,
    /// RTP payload bytes, without retransmissions.
    pub bytes: u64,
    /// Packets that the browser asked for again (NACK).
    pub nacked_packets: u64,
    /// PLI and FIR.
    pub picture_losses: u64,
    pub lost_packets: u64,
    /// In the browser's last report.
    pub loss_percent: f64,
    pub jitter_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// Units left out up to a key frame.
    pub skipped_units: u64,
    /// Packets sent again, for a NACK or a report of a loss.
    pub repaired_packets: u64,
    /// On the wire: headers, repairs and probes included.
    pub sent_kbps: f64,
    /// How long the newest packet waits before it leaves.
    pub waits_ms: f64,
    /// What the link carries; absent when the browser reports nothing about packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<ViewerLinkStatus>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ViewerLinkStatus {
    /// On the wire: headers, repairs and probes included.
    pub estimate_kbps: f64,
    /// Why the estimate last moved.
    pub because: String,
    /// What arrives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_kbps: Option<f64>,
    /// What every packet waits on the way at least.
    pub queue_delay_ms: f64,
    /// No picture of use fits, so it does not count for the target.
    pub is_behind: bool,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// `/healthz`, `/readyz`, `/status` and `/metrics`, answered by the app's loop: a loop that is stuck is seen here.
pub fn observation(questions: mpsc::Sender<Question>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .with_state(questions)
}

async fn healthz(State(questions): State<mpsc::Sender<Question>>) -> Response {
    match ask(&questions).await {
        Some(answer) => verdict(
            answer.status.healthy,
            "healthy",
            "something is stuck, see /status",
        ),
        None => stuck(),
    }
}

async fn readyz(State(questions): State<mpsc::Sender<Question>>) -> Response {
    match ask(&questions).await {
        Some(answer) => verdict(answer.status.ready, "ready", "not ready, see /status"),
        None => stuck(),
    }
}

async fn status(State(questions): State<mpsc::Sender<Question>>) -> Response {
    match ask(&questions).await {
        Some(answer) => plain("application/json", to_json(&answer.status)),
        None => stuck(),
    }
}

async fn metrics(State(questions): State<mpsc::Sender<Question>>) -> Response {
    match ask(&questions).await {
        Some(answer) => plain("text/plain; version=0.0.4; charset=utf-8", answer.metrics),
        None => stuck(),
    }
}

async fn ask(questions: &mpsc::Sender<Question>) -> Option<Answer> {
    let (question, answer) = oneshot::channel();
    let asking = async {
        questions.send(question).await.ok()?;
        answer.await.ok()
    };
    tokio::time::timeout(ANSWER_DEADLINE, asking)
        .await
        .ok()
        .flatten()
}

fn verdict(good: bool, yes: &'static str, no: &'static str) -> Response {
    if good {
        yes.into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, no).into_response()
    }
}

fn stuck() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "rovercast does not answer").into_response()
}

fn plain(kind: &'static str, body: String) -> Response {
    (
        [
            (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
            (header::CACHE_CONTROL, NO_STORE),
        ],
        body,
    )
        .into_response()
}

fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("strings, numbers and lists always serialize")
}

/// What the page is told about the robot it shows.
#[derive(Clone, Debug, Serialize)]
pub struct PageSettings {
    pub robot: String,
    pub cameras: Vec<String>,
    /// The relay's path on the page's own host.
    pub relay: String,
}

/// The viewer page at `/`.
pub fn page(settings: &PageSettings) -> Router {
    // JSON inside a script element must not be able to close it (HTML, 13.2.5.4).
    let config = to_json(settings).replace('<', "\\u003c");
    let page: Arc<str> = include_str!("web/viewer.html")
        .replace("__CONFIG__", &config)
        .into();
    Router::new().route("/", get(viewer_page)).with_state(page)
}

async fn viewer_page(State(page): State<Arc<str>>) -> Response {
    let mut nonce = [0; 16];
    if OsRng.try_fill_bytes(&mut nonce).is_err() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "this machine has no random numbers yet",
        )
            .into_response();
    }
    let nonce = format!("{:032x}", u128::from_ne_bytes(nonce));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self' ws: wss:; \
         media-src 'self' blob:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_str(&policy).expect("it is visible ASCII"),
        ),
        (header::CACHE_CONTROL, NO_STORE),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
    ];
    (headers, Html(page.replace("__NONCE__", &nonce))).into_response()
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The app's loop never blocks; one that takes this long to answer is stuck.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
