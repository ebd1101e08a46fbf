//! See through a robot's eyes.
//!
//! A camera **lends** a frame. The encoder turns it into an access unit. Every viewer packs that unit into RTP. Viewers answer
//! with "I lost the picture" and "I can take this much", which become one key frame request and one bitrate. A relay session
//! decides which viewers exist. A supervisor decides what is running.
//!
//! ```text
//!             Frame (lease)         Arc<PackedUnit>             datagrams
//!  camera ────────────────► encoder ───────────────► viewer ────────────────► browser
//!    ▲  lease dropped          ▲                      │  ▲                      │
//!    └── slot goes home        │ key frame, Bitrate   │  └─────── RTCP ─────────┘
//!                              │                      ▼
//!                          media/rate ◄──────── Feedback { KeyFrame, Estimate }
//!
//!  relay client ── Message ─► relay/session ── Action ─► app: Send · Dial · HangUp · OpenViewer · CloseViewer
//!  every part ──── Report ──► supervisor ───── Action ─► app: Start · Stop · Restart · FeedWatchdog · Status
//! ```
//!
//! # The house
//!
//! Three rings; `use` points inwards only, and `tests/rings.rs` reads the sources and fails when it does not.
//!
//! - **core** (pure): no tokio, no file descriptors, no clock (`now: Instant` is an argument), no threads, no `unsafe`:
//!   [`backoff`], [`board`], [`config`], [`media`], [`relay::message`], [`relay::session`], [`supervisor`], [`viewer`],
//!   [`viewer::packetizer`].
//! - **drivers**: each owns one device or socket and holds no policy: [`camera`], [`encoder`], [`v4l2`], [`pipeline`],
//!   [`relay::client`], [`relay::server`], [`viewer::webrtc`], [`network`], [`hotplug`],
//!   [`systemd`], [`http`].
//! - **app**: wiring only: [`app`], [`cli`].

pub mod app;
pub mod backoff;
pub mod board;
pub mod camera;
pub mod cli;
pub mod config;
mod document;
pub mod encoder;
pub mod hotplug;
pub mod http;
pub mod media;
pub mod metrics;
pub mod network;
pub mod pipeline;
pub mod relay;
pub mod supervisor;
pub mod systemd;
pub mod v4l2;
pub mod viewer;
