//! The task of one viewer: feeds the state machine ([`Viewer`]), does its actions, and polls the connection's own loop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tracing::debug;
use webrtc::peer_connection::RTCPeerConnectionState;

use super::burst_socket::Burst;
use super::connection::{Connection, Happening, Way};
use super::one_task::OneTask;
use super::stream::{Course, Report, Stream, StreamHandle};
use super::{Command, PeerEnd, PeerEvent, PeerSettings, PeerStatistics};
use crate::config::BitrateRange;
use crate::media::h264::ProfileLevelId;
use crate::media::{Bitrate, Feedback};
use crate::pipeline::feed::Feed;
use crate::viewer::sending::estimate_range;
use crate::viewer::{Action, Input, Viewer, ViewerId};

/// The viewer's task: polls the connection's loop beside everything else, until the viewer is gone.
pub(super) async fn watch(
    settings: PeerSettings,
    profile: ProfileLevelId,
    units: Feed,
    events: Events,
    commands: mpsc::Receiver<Command>,
) {
    let burst = Burst::new(Arc::clone(&settings.metrics));
    let place = settings.place();
    let (runtime, connection_loop) = OneTask::new(burst.clone(), place.clone());
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
                (runtime, place),
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
            way: None,
            units,
        };
        session.run(commands, reports, happenings).await;
    };
    tokio::select! {
        () = session => {}
        () = connection_loop => {}
    }
}

/// Where a viewer tells what happens to it.
pub(super) struct Events {
    pub(super) viewer: ViewerId,
    pub(super) sender: mpsc::Sender<(ViewerId, PeerEvent)>,
}

impl Events {
    async fn tell(&self, event: PeerEvent) {
        // Nobody listens any more only when the process ends; closing is all that is left, and comes with the handle.
        drop(self.sender.send((self.viewer.clone(), event)).await);
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
    /// The one that the estimate is of.
    way: Option<Way>,
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
                command = commands.recv() => match command {
                    Some(Command::Answer(sdp)) => Some(Input::Answer(sdp)),
                    Some(Command::Candidate(candidate)) => Some(Input::RemoteCandidate(candidate)),
                    Some(Command::Network(change)) => Some(Input::Network(change)),
                    Some(Command::Alone(is_alone)) => Some(Input::Alone(is_alone)),
                    Some(Command::Watch(units)) => {
                        self.units.change_to(units);
                        None
                    }
                    Some(Command::Close) | None => Some(Input::Close),
                },
                Some(happening) = happenings.recv() => self.happened(happening).await,
                Some(report) = reports.recv() => self.reported(report, now).await,
                unit = self.units.next() => Some(match unit {
                    Ok(unit) => Input::Unit(unit),
                    Err(RecvError::Lagged(missed)) => Input::Lagged { missed },
                    // The pipeline is gone for good; who runs both closes this viewer too.
                    Err(RecvError::Closed) => Input::Close,
                }),
                () = sleep_until(timeout) => Some(Input::Timeout),
                () = sleep_until(Some(self.statistics_due)) => self.look_round().await,
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
    }

    /// Whatever is sent: people look at the numbers when nothing arrives.
    async fn look_round(&mut self) -> Option<Input> {
        let now = Instant::now();
        self.statistics_due = now + STATISTICS_INTERVAL;
        let statistics = self.statistics(now);
        self.events.tell(PeerEvent::Statistics(statistics)).await;
        self.note_way().await;
        let is_closed = self.connection.is_closed_by_browser().await;
        is_closed.then_some(Input::Left)
    }

    fn statistics(&mut self, now: Instant) -> PeerStatistics {
        let mut statistics = self.stream.statistics();
        if self.stream.course().is_silent
            && let Some(link) = &mut statistics.link
        {
            // What arrived before the silence says nothing about now.
            link.acknowledged = None;
        }
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
                self.note_way().await;
                if std::mem::take(&mut self.has_been_away) {
                    // Behind the same addresses there may be another network than seconds ago.
                    self.stream.route_changed();
                }
                self.events.tell(PeerEvent::Connected).await;
                Some(Input::Connected)
            }
            RTCPeerConnectionState::Disconnected => {
                self.has_been_away = true;
                self.events.tell(PeerEvent::Disconnected).await;
                Some(if self.connection.is_closed_by_browser().await {
                    Input::Left
                } else {
                    Input::Disconnected
                })
            }
            RTCPeerConnectionState::Failed => {
                self.has_been_away = true;
                self.events.tell(PeerEvent::Disconnected).await;
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

    /// A network that was left says nothing about the next one. The state tells of a restart only, not of a better pair that is
    /// found meanwhile.
    async fn note_way(&mut self) {
        let Some(way) = self.connection.way().await else {
            return;
        };
        if self.way.as_ref().is_some_and(|before| *before != way) {
            debug!("the browser is reached in another way, its link is measured anew");
            self.stream.route_changed();
        }
        self.way = Some(way);
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

/// Browsers send about three a second; a burst of loss reports beyond this asks for what the others asked for already.
const REPORTS: usize = 256;

/// Own candidates (some for each interface) and a handful of states.
const HAPPENINGS: usize = 128;

/// The crate itself waits 100 ms for its loop. A browser that misses the good-bye notices within seconds (ICE consent).
const CLOSE_DEADLINE: Duration = Duration::from_millis(400);

const STATISTICS_INTERVAL: Duration = Duration::from_secs(1);
