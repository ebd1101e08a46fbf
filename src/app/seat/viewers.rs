//! Who sits before a camera: seated when its profile is known, turned away, told to come again, gone.

use std::time::Instant;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::Seat;
use crate::app::line::{Expected, Seated, Viewer};
use crate::app::steering::Place;
use crate::media::h264::ProfileLevelId;
use crate::relay::session::Input;
use crate::viewer::ViewerId;
use crate::viewer::webrtc::{Peer, PeerEvent, PeerStatistics};

impl Seat {
    /// Another encoder may make another profile: who did not agree to it is sent away, and told so, and gets an offer that says it.
    pub(super) fn profile_known(&mut self, profile: ProfileLevelId, now: Instant) {
        let is_half = self.encoding().is_some_and(|encoding| encoding.is_half);
        if is_half && self.profile.is_some_and(|whole| whole.covers(profile)) {
            // Offers are for the whole picture, which comes back: the lower level of half of it is of no interest to them.
            return;
        }
        self.profile = Some(profile);
        for line in 0..self.lines.len() {
            for viewer in self.lines[line].not_for(profile) {
                warn!(%viewer, %profile, "the stream has another profile now than its offer said: it is to come again");
                self.close(line, &viewer);
                let reason = "the encoder makes another profile of H.264 now".to_owned();
                self.lines[line].session.handle(
                    Input::ViewerEnded {
                        viewer: viewer.clone(),
                        reason,
                    },
                    now,
                );
                self.link_gone(Place { line, viewer }, now);
            }
            for (viewer, expected) in self.lines[line].take_expected() {
                let seated = self.seat(&viewer, expected, profile);
                self.lines[line].viewers.insert(viewer, seated);
            }
        }
    }

    /// Its browser hears of it in its own time.
    pub(super) fn close(&mut self, line: usize, viewer: &ViewerId) {
        if let Some(Viewer::Seated(seated)) = self.lines[line].viewers.remove(viewer) {
            seated.peer.close();
            self.leaving.push(seated.events);
        }
    }

    pub(super) fn seat(
        &self,
        viewer: &ViewerId,
        expected: Expected,
        profile: ProfileLevelId,
    ) -> Viewer {
        let mut settings = self.peers.clone();
        settings.ice_servers.extend(expected.ice_servers);
        let (tell, events) = mpsc::channel(PEER_EVENTS);
        let peer = Peer::open(viewer.clone(), settings, profile, expected.units, tell);
        Viewer::Seated(Box::new(Seated {
            offered: profile,
            connected: false,
            is_alone: false,
            statistics: PeerStatistics::default(),
            peer,
            events,
        }))
    }

    /// Tells viewers whose offer waits for a picture that there will be none now.
    pub(super) fn turn_away_expected(&mut self, why: &str, now: Instant) {
        for line in &mut self.lines {
            for (viewer, _) in line.take_expected() {
                line.session.handle(
                    Input::ViewerEnded {
                        viewer,
                        reason: why.to_owned(),
                    },
                    now,
                );
            }
        }
    }

    pub(super) fn peer_told(
        &mut self,
        line: usize,
        viewer: ViewerId,
        event: PeerEvent,
        now: Instant,
    ) {
        let at = &mut self.lines[line];
        match event {
            PeerEvent::Offer { sdp } => at.session.handle(Input::ViewerOffer { viewer, sdp }, now),
            PeerEvent::Candidate(candidate) => {
                at.session
                    .handle(Input::ViewerCandidate { viewer, candidate }, now);
            }
            PeerEvent::Connected => at.note_connected(&viewer, true),
            PeerEvent::Disconnected => at.note_connected(&viewer, false),
            PeerEvent::Feedback(feedback) => self.link_told(Place { line, viewer }, feedback, now),
            PeerEvent::FirstPacket { after } => info!(%viewer, ?after, "viewer gets the picture"),
            PeerEvent::Statistics(statistics) => {
                if let Some(seated) = at.seated(&viewer) {
                    let before = seated.statistics.skipped_units;
                    self.metrics
                        .units_skipped
                        .add(statistics.skipped_units.saturating_sub(before));
                    seated.statistics = statistics;
                }
            }
            PeerEvent::Ended(end) => {
                info!(%viewer, %end, "viewer is gone");
                at.viewers.remove(&viewer);
                at.session.handle(
                    Input::ViewerEnded {
                        viewer: viewer.clone(),
                        reason: end.to_string(),
                    },
                    now,
                );
                self.link_gone(Place { line, viewer }, now);
            }
        }
    }
}

/// A peer's words: an offer, some candidates, a report a second. A full queue makes the peer wait, and nothing is lost.
const PEER_EVENTS: usize = 64;
