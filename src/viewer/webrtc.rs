//! One browser's connection. This folder alone names the `webrtc` and `rtc` crates.
//!
//! One task a viewer: it feeds the state machine ([`Viewer`]), does its actions, and polls the connection's own loop.

#![allow(clippy::disallowed_methods)] // a driver: reads the clock once per turn

mod burst_socket;
mod clock;
mod connection;
mod one_task;
mod ports;
mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tracing::{Instrument, debug, info_span, warn};
use webrtc::peer_connection::RTCPeerConnectionState;

use super::sending::estimate_range;
use super::{Action, IceCandidate, IceServer, Input, NetworkChange, Viewer, ViewerId};
use crate::config::BitrateRange;
use crate::media::congestion::Because;
use crate::media::h264::ProfileLevelId;
use crate::media::{Bitrate, Feedback};
use crate::metrics::CameraMetrics;
use crate::pipeline::feed::Feed;
use burst_socket::Burst;
use connection::{Connection, Happening};
use one_task::OneTask;
use stream::{Course, Report, Stream, StreamHandle};

pub use super::PeerEnd;

/// What all viewers of a robot have in common.
#[derive(Clone, Debug, Default)]
pub struct PeerSettings {
    pub ice_servers: Vec<IceServer>,
    /// Offer loopback addresses too: the browser runs on this machine (the demo, tests).
    pub loopback: bool,
    /// Offer the addresses of TURN servers only.
    pub relay_only: bool,
    /// The UDP ports to bind, first and last; None: any that is free.
    pub udp_ports: Option<(u16, u16)>,
    /// What the encoder may be asked for.
    pub bitrate: BitrateRange,
    /// Where the viewers of one camera count.
    pub metrics: Arc<CameraMetrics>,
}

/// What a peer tells. `Ended` is the last.
#[derive(Debug)]
pub enum PeerEvent {
    /// Send this to the browser; candidates follow.
    Offer {
        sdp: String,
    },
    Candidate(IceCandidate),
    Connected,
    Feedback(Feedback),
    /// The first unit is on its way, this long after the peer was opened.
    FirstPacket {
        after: Duration,
    },
    /// At most one a second, while units flow.
    Statistics(PeerStatistics),
    Ended(PeerEnd),
}

/// What was sent to a browser, and what it said about it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PeerStatistics {
    /// Without retransmissions.
    pub packets: u64,
    /// RTP payload bytes, without retransmissions.
    pub bytes: u64,
    /// Packets that the browser asked for again (NACK).
    pub nacked_packets: u64,
    /// PLI and FIR.
    pub picture_losses: u64,
    pub lost_packets: u64,
    /// Of the packets since the browser's report before: 0 to 1.
    pub fraction_lost: f32,
    pub jitter: Duration,
    pub round_trip: Option<Duration>,
    /// Units that came too early, too late, or after a gap.
    pub skipped_units: u64,
    /// Packets sent again, for a NACK or a report of a loss.
    pub repaired_packets: u64,
    /// Everything, headers, repairs and probes included.
    pub sent_bytes: u64,
    /// The same a second, lately.
    pub sent: Bitrate,
    /// How long the newest packet waits before it leaves.
    pub waits: Duration,
    /// Absent when the browser reports nothing about packets.
    pub link: Option<LinkStatistics>,
}

/// What the link to a browser is found to carry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkStatistics {
    /// Headers, repairs and probes included.
    pub estimate: Bitrate,
    /// What arrives.
    pub acknowledged: Option<Bitrate>,
    /// What every packet waits on the way at least.
    pub queue_delay: Duration,
    pub because: Because,
}

/// The handle of one browser's connection. No call blocks. Dropping it closes the connection.
#[derive(Debug)]
pub struct Peer {
    viewer: ViewerId,
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Command {
    Answer(String),
    Candidate(IceCandidate),
    Network(NetworkChange),
    Close,
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Answer(_) => "answer",
            Self::Candidate(_) => "candidate",
            Self::Network(_) => "network change",
            Self::Close => "close",
        }
    }
}

impl Peer {
    /// Starts the viewer's task; it makes an offer for pictures of `profile`.
    ///
    /// When `events` is full the viewer waits, misses units and goes on with a key frame; it never loses an event.
    pub fn open(
        viewer: ViewerId,
        settings: PeerSettings,
        profile: ProfileLevelId,
        units: Feed,
        events: mpsc::Sender<(ViewerId, PeerEvent)>,
    ) -> Self {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let span = info_span!("viewer", id = %viewer);
        let events = Events {
            viewer: viewer.clone(),
            sender: events,
        };
        tokio::spawn(watch(settings, profile, units, events, inbox).instrument(span));
        Self { viewer, commands }
    }

    pub fn viewer(&self) -> &ViewerId {
        &self.viewer
    }

    pub fn answer(&self, sdp: String) {
        self.command(Command::Answer(sdp));
    }

    pub fn candidate(&self, candidate: IceCandidate) {
        self.command(Command::Candidate(candidate));
    }

    /// The robot's network changed: another offer may follow, with the addresses that there are now.
    pub fn network_changed(&self, change: NetworkChange) {
        self.command(Command::Network(change));
    }

    /// Says good-bye to the browser; `Ended` follows within half a second.
    pub fn close(&self) {
        self.command(Command::Close);
    }

    fn command(&self, command: Command) {
        match self.commands.try_send(command) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(command)) => {
                // Its words hold addresses and the password of the ICE session.
                let dropped = command.name();
                warn!(viewer = %self.viewer, dropped, "viewer is behind, leaving out what it was told");
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                debug!(viewer = %self.viewer, "viewer is gone already");
            }
        }
    }
}

struct Events {
    viewer: ViewerId,
    sender: mpsc::Sender<(ViewerId, PeerEvent)>,
}

impl Events {
    async fn tell(&self, event: PeerEvent) {
        // Nobody listens any more only when the process ends; closing is all that is left, and comes with the handle.
        drop(self.sender.send((self.viewer.clone(), event)).await);
    }
}

/// The viewer's task: polls the connection's loop beside everything else, until the viewer is gone.
async fn watch(
    settings: PeerSettings,
    profile: ProfileLevelId,
    units: Feed,
    events: Events,
    commands: mpsc::Receiver<Command>,
) {
    let burst = Burst::new(Arc::clone(&settings.metrics));
    let (runtime, connection_loop) = OneTask::new(burst.clone());
    let (reports_out, reports) = mpsc::channel(REPORTS);
    let (happenings_out, happenings) = mpsc::channel(HAPPENINGS);
    let BitrateRange { min, start, max } = settings.bitrate;
    let range = estimate_range(min, start, max);
    let (stream, handle) = Stream::new(range, reports_out, burst, Instant::now());
    let stopped = happenings_out.clone();
    let connection_loop = async move {
        if let Ok(connection_loop) = connection_loop.await {
            connection_loop.await;
            // Closing gets here too, when nobody listens any more.
            drop(stopped.try_send(Happening::Stopped));
        }
        std::future::pending::<()>().await;
    };
    let session = async move {
        let opened = Instant::now();
        let connection = async {
            let stream = (stream, &handle);
            let connection = Box::pin(Connection::open(
                &settings,
                profile,
                runtime,
                stream,
                happenings_out,
            ))
            .await?;
            let sdp = connection.offer().await?;
            Ok::<_, webrtc::error::Error>((connection, sdp))
        };
        let (connection, sdp) = match connection.await {
            Ok(opened) => opened,
            Err(error) => {
                let found = error.to_string();
                return events
                    .tell(PeerEvent::Ended(PeerEnd::Broken { found }))
                    .await;
            }
        };
        events.tell(PeerEvent::Offer { sdp }).await;
        let session = Session {
            viewer: Viewer::new(),
            connection,
            stream: handle,
            events,
            opened,
            first_packet: false,
            statistics_due: opened + STATISTICS_INTERVAL,
            sent_before: None,
            course: Course::default(),
            has_been_away: false,
            units,
        };
        session.run(commands, reports, happenings).await;
    };
    tokio::select! {
        () = session => {}
        () = connection_loop => {}
    }
}

struct Session {
    viewer: Viewer,
    connection: Connection,
    stream: StreamHandle,
    events: Events,
    opened: Instant,
    first_packet: bool,
    statistics_due: Instant,
    /// When statistics were last told, and how much had been sent by then.
    sent_before: Option<(Instant, u64)>,
    course: Course,
    has_been_away: bool,
    units: Feed,
}

impl Session {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut reports: mpsc::Receiver<Report>,
        mut happenings: mpsc::Receiver<Happening>,
    ) {
        let mut input = Some(Input::Offered);
        let reason = loop {
            let now = Instant::now();
            if let Some(input) = input.take() {
                self.viewer.handle(input, now);
            }
            if let Some(reason) = self.act(now).await {
                break reason;
            }
            let timeout = self.viewer.poll_timeout().map(|(at, _why)| at);
            input = tokio::select! {
                command = commands.recv() => Some(match command {
                    Some(Command::Answer(sdp)) => Input::Answer(sdp),
                    Some(Command::Candidate(candidate)) => Input::RemoteCandidate(candidate),
                    Some(Command::Network(change)) => Input::Network(change),
                    Some(Command::Close) | None => Input::Close,
                }),
                Some(happening) = happenings.recv() => self.happened(happening).await,
                Some(report) = reports.recv() => self.reported(report, now).await,
                unit = self.units.next() => Some(match unit {
                    Ok(unit) => Input::Unit(unit),
                    Err(RecvError::Lagged(missed)) => Input::Lagged { missed },
                    // The pipeline is gone for good; who runs both closes this viewer too.
                    Err(RecvError::Closed) => Input::Close,
                }),
                () = sleep_until(timeout) => Some(Input::Timeout),
            };
        };
        match tokio::time::timeout(CLOSE_DEADLINE, self.connection.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "connection did not close cleanly"),
            Err(_) => debug!("connection did not close in time"),
        }
        self.events.tell(PeerEvent::Ended(reason)).await;
    }

    /// Does all actions that wait. Returns why the viewer is gone when it is.
    async fn act(&mut self, now: Instant) -> Option<PeerEnd> {
        let mut anything_to_send = false;
        loop {
            let Some(action) = self.viewer.poll_action() else {
                if !std::mem::take(&mut anything_to_send) {
                    return None;
                }
                self.send(now).await;
                continue;
            };
            match action {
                Action::ApplyAnswer(sdp) => {
                    if let Err(error) = self.connection.answer(sdp).await {
                        self.viewer
                            .handle(Input::AnswerRefused(error.to_string()), now);
                    }
                }
                Action::AddCandidate(candidate) => {
                    // The crate's words about it repeat it.
                    if self.connection.add_candidate(candidate).await.is_err() {
                        debug!("cannot use a candidate of the browser, going on without it");
                    }
                }
                Action::RestartIce => match self.connection.offer_another_way().await {
                    Ok(sdp) => self.events.tell(PeerEvent::Offer { sdp }).await,
                    Err(error) => {
                        let found = error.to_string();
                        self.viewer.handle(Input::Broken(found), now);
                    }
                },
                Action::Send(unit) => {
                    self.stream.push(unit);
                    anything_to_send = true;
                }
                // A camera with its own encoder makes none on request, but its last one is kept.
                Action::AskKeyFrame if self.units.rewind() => {}
                Action::AskKeyFrame => {
                    let feedback = PeerEvent::Feedback(Feedback::KeyFrame);
                    self.events.tell(feedback).await;
                }
                Action::End(reason) => return Some(reason),
            }
        }
    }

    async fn send(&mut self, now: Instant) {
        if let Err(error) = self.connection.send(&self.stream).await {
            let found = error.to_string();
            self.viewer.handle(Input::Broken(found), now);
            return;
        }
        if !self.first_packet {
            self.first_packet = true;
            let after = now - self.opened;
            self.events.tell(PeerEvent::FirstPacket { after }).await;
        }
        if now >= self.statistics_due {
            self.statistics_due = now + STATISTICS_INTERVAL;
            let statistics = self.statistics(now);
            self.events.tell(PeerEvent::Statistics(statistics)).await;
            if self.connection.is_closed_by_browser().await {
                self.viewer.handle(Input::Left, now);
            }
        }
    }

    fn statistics(&mut self, now: Instant) -> PeerStatistics {
        let statistics = self.stream.statistics();
        let (at, bytes) = self
            .sent_before
            .replace((now, statistics.sent_bytes))
            .unwrap_or((self.opened, 0));
        let bits = (statistics.sent_bytes - bytes) as f64 * 8.0;
        let seconds = now.saturating_duration_since(at).as_secs_f64();
        PeerStatistics {
            skipped_units: self.viewer.counts().skipped,
            sent: Bitrate::bps((bits / seconds.max(0.1)) as u64),
            ..statistics
        }
    }

    async fn happened(&mut self, happening: Happening) -> Option<Input> {
        let state = match happening {
            Happening::Candidate(candidate) => {
                self.events.tell(PeerEvent::Candidate(candidate)).await;
                return None;
            }
            Happening::Stopped => return Some(Input::Broken(STOPPED.to_owned())),
            Happening::State(state) => state,
        };
        debug!(%state, after = ?self.opened.elapsed(), "connection changed");
        match state {
            RTCPeerConnectionState::Connected => {
                if std::mem::take(&mut self.has_been_away) {
                    self.stream.route_changed();
                }
                self.events.tell(PeerEvent::Connected).await;
                Some(Input::Connected)
            }
            RTCPeerConnectionState::Disconnected => {
                self.has_been_away = true;
                Some(if self.connection.is_closed_by_browser().await {
                    Input::Left
                } else {
                    Input::Disconnected
                })
            }
            RTCPeerConnectionState::Failed => {
                self.has_been_away = true;
                Some(Input::Failed)
            }
            RTCPeerConnectionState::Closed => Some(Input::Left),
            // The last is for what a later version of the crate may add.
            RTCPeerConnectionState::Unspecified
            | RTCPeerConnectionState::New
            | RTCPeerConnectionState::Connecting
            | _ => None,
        }
    }

    async fn reported(&mut self, report: Report, now: Instant) -> Option<Input> {
        match report {
            Report::PictureLost => return Some(Input::LossReport),
            Report::CourseChanged => {}
        }
        let course = self.stream.course();
        let before = std::mem::replace(&mut self.course, course);
        if course.is_silent && !before.is_silent {
            self.viewer.handle(Input::Silent, now);
        }
        let missed = course.skipped - before.skipped;
        if missed > 0 {
            self.viewer.handle(Input::Lagged { missed }, now);
        }
        if !course.is_silent && before.is_silent {
            self.viewer.handle(Input::Answers, now);
        }
        let feedback = match course.estimate {
            _ if course.is_silent => Feedback::Silent,
            Some(estimate) => Feedback::Estimate(estimate),
            None => return None,
        };
        if course.is_silent != before.is_silent || course.estimate != before.estimate {
            self.events.tell(PeerEvent::Feedback(feedback)).await;
        }
        None
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Out of sockets or memory, as a rule.
const STOPPED: &str = "its connection stopped by itself";

/// An answer and the candidates that a browser has at most. Beyond it the newest command is dropped with a warning: the viewer's
/// task does not run, and is going to be late anyway.
const COMMANDS: usize = 128;

/// Browsers send about three a second; a burst of loss reports beyond this asks for what the others asked for already.
const REPORTS: usize = 256;

/// Own candidates (some for each interface) and a handful of states.
const HAPPENINGS: usize = 128;

/// The crate itself waits 100 ms for its loop. A browser that misses the good-bye notices within seconds (ICE consent).
const CLOSE_DEADLINE: Duration = Duration::from_millis(400);

const STATISTICS_INTERVAL: Duration = Duration::from_secs(1);
