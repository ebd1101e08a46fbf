//! One camera: its pipeline, its relay sessions, and who sits before it.

mod viewers;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::field::display;
use tracing::{debug, info, warn};

use super::devices::{self, Devices};
use super::line::{Expected, Line, Viewer};
use super::link_report::link_report;
use super::profiles::FoundProfiles;
use super::small::Small;
use super::steering::{Place, renditions};
use super::with_sources;
use crate::config::CameraConfig;
use crate::media::Size;
use crate::media::h264::ProfileLevelId;
use crate::media::rate::renditions::Renditions;
use crate::media::rate::{Half, Halving, Sizes};
use crate::metrics::CameraMetrics;
use crate::network::Network;
use crate::pipeline::feed::Outlet;
use crate::pipeline::second::Second;
use crate::pipeline::{self, Encoding, Outlets, Pipeline};
use crate::relay::client::LinkEvent;
use crate::relay::message::ToRelay;
use crate::relay::session::{Action, Input, LinkState};
use crate::viewer::webrtc::{PeerEvent, PeerSettings};
use crate::viewer::{Reach, ViewerId};

/// A camera and everyone who wants to see it.
pub(super) struct Seat {
    pub(super) config: CameraConfig,
    devices: Arc<Devices>,
    pub(super) metrics: Arc<CameraMetrics>,
    /// What the encoder's last SPS said; kept while the pipeline sleeps, so that the next viewer's offer need not wait for it.
    pub(super) profile: Option<ProfileLevelId>,
    pub(super) lines: Vec<Line>,
    pub(super) peers: PeerSettings,
    /// The encoder does what it is told about its bitrate.
    pub(super) follows: bool,
    reach: Reach,
    pub(super) sizes: Sizes,
    /// What was to be opened in place of the whole picture.
    pub(super) asked: Option<Half>,
    opened: Option<Opened>,
    pub(super) pipeline: Option<Pipeline>,
    pub(super) renditions: Renditions<Place>,
    pub(super) small: Small,
    outlets: Outlets,
    reports: mpsc::UnboundedReceiver<pipeline::Report>,
    /// Peers that say good-bye to their browsers; each goes when its channel ends.
    leaving: Vec<mpsc::Receiver<(ViewerId, PeerEvent)>>,
}

/// What encodes now, and what the counters were when it began.
struct Opened {
    encoding: Encoding,
    halving: Halving,
    second: Option<Second>,
    copied_bytes: u64,
    units: u64,
}

/// Something that happened at a seat.
pub(super) enum Event {
    Pipeline(pipeline::Report),
    Small(pipeline::Report),
    Link {
        line: usize,
        event: LinkEvent,
    },
    Peer {
        line: usize,
        viewer: ViewerId,
        event: PeerEvent,
    },
    /// A peer that was closed has finished.
    PeerClosed,
}

/// What the supervisor must hear of it.
pub(super) enum News {
    Moved,
    Recovering,
    Ended(Result<(), pipeline::PipelineError>),
}

impl Seat {
    pub(super) fn new(
        config: CameraConfig,
        mut peers: PeerSettings,
        known: &Arc<FoundProfiles>,
    ) -> Self {
        let units = Outlet::new();
        let (report, reports) = mpsc::unbounded_channel();
        let metrics = Arc::new(CameraMetrics::default());
        peers.metrics = Arc::clone(&metrics);
        peers.bitrate = config.bitrate;
        let outlets = Outlets {
            units,
            reports: report,
            metrics: Arc::clone(&metrics),
        };
        Self {
            renditions: renditions(&config),
            small: Small::new(),
            devices: Arc::new(Devices::of(&config, known)),
            config,
            metrics,
            profile: None,
            lines: Vec::new(),
            peers,
            follows: true,
            reach: Reach::default(),
            sizes: Sizes::default(),
            asked: None,
            pipeline: None,
            opened: None,
            outlets,
            reports,
            leaving: Vec::new(),
        }
    }

    pub(super) fn start_sessions(&mut self, network: Option<&Network>, now: Instant) {
        if let Some(network) = network {
            self.reach.note(
                network.reachable().copied().collect(),
                network.has_way_out(),
            );
        }
        for line in &mut self.lines {
            line.session.handle(Input::Start, now);
        }
    }

    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(Some(report)) = self.reports.poll_recv(cx) {
            return Poll::Ready(Event::Pipeline(report));
        }
        if let Poll::Ready(Some(report)) = self.small.poll_report(cx) {
            return Poll::Ready(Event::Small(report));
        }
        for (line, at) in self.lines.iter_mut().enumerate() {
            if let Poll::Ready(Some(event)) = at.events.poll_recv(cx) {
                return Poll::Ready(Event::Link { line, event });
            }
            for (viewer, seated) in &mut at.viewers {
                if let Viewer::Seated(seated) = seated
                    && let Poll::Ready(Some((_, event))) = seated.events.poll_recv(cx)
                {
                    return Poll::Ready(Event::Peer {
                        line,
                        viewer: viewer.clone(),
                        event,
                    });
                }
            }
        }
        let before = self.leaving.len();
        self.leaving.retain_mut(|events| {
            loop {
                match events.poll_recv(cx) {
                    Poll::Ready(Some(_)) => {}
                    Poll::Ready(None) => return false,
                    Poll::Pending => return true,
                }
            }
        });
        if self.leaving.len() < before {
            Poll::Ready(Event::PeerClosed)
        } else {
            Poll::Pending
        }
    }

    pub(super) fn handle(&mut self, event: Event, now: Instant) -> Option<News> {
        match event {
            Event::Pipeline(pipeline::Report::Moved) => return Some(News::Moved),
            Event::Pipeline(pipeline::Report::Recovering) => return Some(News::Recovering),
            Event::Pipeline(pipeline::Report::Opened(encoding, second)) => {
                let halving = self.encoder_opened(&encoding, second.is_some(), now);
                self.opened = Some(Opened {
                    encoding,
                    halving,
                    second,
                    copied_bytes: self.metrics.copied_bytes.value(),
                    units: self.metrics.units.value(),
                });
            }
            Event::Pipeline(pipeline::Report::Profile(profile)) => self.profile_known(profile, now),
            Event::Pipeline(pipeline::Report::Ended(result)) => {
                self.pipeline = None;
                self.opened = None;
                self.camera_closes(now);
                if let Err(error) = &result {
                    if error.is_unplugged() {
                        self.sizes.forget();
                    }
                    self.turn_away_expected(&with_sources(error), now);
                }
                return Some(News::Ended(result));
            }
            Event::Small(report) => self.small_told(report, now),
            Event::Link { line, event } => self.lines[line].hear(event, now),
            Event::Peer {
                line,
                viewer,
                event,
            } => self.peer_told(line, viewer, event, now),
            Event::PeerClosed => {}
        }
        None
    }

    /// Does what the sessions decided. True when anything was done.
    pub(super) fn act(&mut self, now: Instant) -> bool {
        let mut acted = false;
        for index in 0..self.lines.len() {
            while let Some(action) = self.lines[index].session.poll_action() {
                self.perform(index, action, now);
                acted = true;
            }
        }
        let is_alone = self.viewers() == 1;
        for line in &mut self.lines {
            line.tell_company(is_alone);
        }
        acted | self.steer()
    }

    fn perform(&mut self, line: usize, action: Action, now: Instant) {
        let at = &mut self.lines[line];
        match action {
            Action::Dial => {
                self.metrics.dials.add(1);
                at.link.dial();
            }
            Action::Ping => at.link.ping(),
            Action::Send(message) => at.link.send(&message),
            Action::HangUp { reason } => {
                debug!(reason, "hanging up on the relay");
                at.link.hang_up(reason);
            }
            Action::OpenViewer {
                viewer,
                ice_servers,
            } => {
                info!(%viewer, "viewer comes");
                self.metrics.viewers_opened.add(1);
                let expected = Expected {
                    ice_servers,
                    units: self.outlets.units.subscribe(),
                };
                let newcomer = match self.profile {
                    Some(profile) => self.seat(&viewer, expected, profile),
                    None => Viewer::Expected(expected),
                };
                self.lines[line].viewers.insert(viewer, newcomer);
            }
            Action::Answer { viewer, sdp } => {
                if let Some(seated) = at.seated(&viewer) {
                    seated.peer.answer(sdp);
                }
            }
            Action::Candidate { viewer, candidate } => {
                if let Some(seated) = at.seated(&viewer) {
                    seated.peer.candidate(candidate);
                }
            }
            Action::ReportLink { viewer } => {
                let place = Place { line, viewer };
                if let Some(report) = link_report(self, &place) {
                    let report = Box::new(report);
                    let viewer = place.viewer;
                    self.lines[line]
                        .link
                        .send(&ToRelay::Link { viewer, report });
                }
            }
            Action::CloseViewer { viewer, reason } => {
                info!(%viewer, %reason, "viewer goes");
                self.close(line, &viewer);
                self.link_gone(Place { line, viewer }, now);
            }
            Action::Report(status) => match status.state {
                LinkState::Connected { .. } => info!(relay = %at.url, "{}", status.describe(now)),
                LinkState::Idle
                | LinkState::Dialing
                | LinkState::Waiting { .. }
                | LinkState::HangingUp
                | LinkState::Closed => {
                    let class = status
                        .trouble
                        .as_ref()
                        .map(|trouble| display(&trouble.class));
                    warn!(relay = %at.url, class, "{}", status.describe(now));
                }
            },
        }
    }

    /// Checks the links at once, and lets the viewers know.
    pub(super) fn network_changed(&mut self, network: &Network, now: Instant) {
        let reachable = network.reachable().copied().collect();
        let change = self.reach.note(reachable, network.has_way_out());
        for line in &mut self.lines {
            let addresses = Arc::clone(&network.addresses);
            line.session
                .handle(Input::NetworkChanged { addresses }, now);
            if let Some(change) = change {
                line.tell_viewers(change);
            }
        }
    }

    pub(super) fn start_pipeline(&mut self) {
        let (config, scale) = self.opening();
        let open = devices::opener(config, self.asked.clone(), &self.devices);
        match Pipeline::start(self.config.name(), self.outlets.clone(), open) {
            Ok(pipeline) => {
                // Before its first picture.
                pipeline.set_scale(scale);
                self.pipeline = Some(pipeline);
            }
            Err(error) => {
                let _ = self
                    .outlets
                    .reports
                    .send(pipeline::Report::Ended(Err(error.into())));
            }
        }
    }

    pub(super) fn stop_pipeline(&mut self, now: Instant) {
        self.camera_closes(now);
        match &self.pipeline {
            Some(pipeline) => pipeline.stop(),
            None => debug!("pipeline has ended already"),
        }
    }

    pub(super) fn shut_down(&mut self, now: Instant) {
        for line in &mut self.lines {
            line.session.handle(Input::ShutDown, now);
        }
    }

    /// Nothing is left that would want to say good-bye.
    pub(super) fn is_closed(&self) -> bool {
        self.pipeline.is_none()
            && self.small.pipeline.is_none()
            && self.leaving.is_empty()
            && self.lines.iter().all(Line::is_closed)
    }

    pub(super) fn is_running(&self) -> bool {
        self.pipeline.is_some()
    }

    /// How a second encoder is opened, while there can be one.
    pub(super) fn second(&self) -> Option<Second> {
        self.opened.as_ref()?.second.clone()
    }

    pub(super) fn large_units(&self) -> &Outlet {
        &self.outlets.units
    }

    pub(super) fn encoding(&self) -> Option<&Encoding> {
        self.opened.as_ref().map(|opened| &opened.encoding)
    }

    /// What the camera gives before anything is made smaller; `None` while nothing is open.
    pub(super) fn whole_size(&self) -> Option<Size> {
        let encoding = self.encoding()?;
        match &self.asked {
            Some(half) if encoding.is_half => Some(half.whole()),
            Some(_) | None => Some(encoding.size),
        }
    }

    /// How half of the picture is had; `None` while nothing is open.
    pub(super) fn halving(&self) -> Option<Halving> {
        self.opened.as_ref().map(|opened| opened.halving)
    }

    /// Raw picture bytes copied or converted for one frame, since camera and encoder were opened.
    pub(super) fn copied_bytes_per_frame(&self) -> Option<u64> {
        let opened = self.opened.as_ref()?;
        let copied = self.metrics.copied_bytes.value() - opened.copied_bytes;
        let units = self.metrics.units.value() - opened.units;
        copied.checked_div(units)
    }

    pub(super) fn viewers(&self) -> usize {
        self.lines.iter().map(|line| line.viewers.len()).sum()
    }
}
