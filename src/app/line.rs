//! A relay as one camera sees it: the session with it, and the viewers who came through it.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::media::h264::ProfileLevelId;
use crate::pipeline::feed::Feed;
use crate::relay::client::{Link, LinkEvent};
use crate::relay::session::{Input, Session};
use crate::viewer::webrtc::{Peer, PeerEvent, PeerStatistics};
use crate::viewer::{IceServer, NetworkChange, ViewerId};

/// A relay, and the viewers who came through it.
pub(super) struct Line {
    /// Scheme, host and path: what may be shown.
    pub(super) url: String,
    pub(super) session: Session,
    pub(super) viewers: BTreeMap<ViewerId, Viewer>,
    pub(super) link: Link,
    /// There is something to close.
    pub(super) link_is_up: bool,
    pub(super) events: mpsc::Receiver<LinkEvent>,
}

pub(super) enum Viewer {
    /// Its offer waits for the first SPS.
    Expected(Expected),
    Seated(Box<Seated>),
}

pub(super) struct Expected {
    /// What the relay gave for it.
    pub(super) ice_servers: Vec<IceServer>,
    /// From before the pipeline starts: the first key frame is for this viewer, too.
    pub(super) units: Feed,
}

pub(super) struct Seated {
    /// What its offer says of the stream.
    pub(super) offered: ProfileLevelId,
    pub(super) connected: bool,
    /// As it was last told.
    pub(super) is_alone: bool,
    pub(super) statistics: PeerStatistics,
    pub(super) peer: Peer,
    pub(super) events: mpsc::Receiver<(ViewerId, PeerEvent)>,
}

impl Line {
    /// Nothing is dialed before the session starts.
    pub(super) fn new(
        url: String,
        session: Session,
        link: Link,
        events: mpsc::Receiver<LinkEvent>,
    ) -> Self {
        Self {
            url,
            session,
            viewers: BTreeMap::new(),
            link,
            link_is_up: false,
            events,
        }
    }

    /// Takes out those whose offer waits for a picture.
    pub(super) fn take_expected(&mut self) -> Vec<(ViewerId, Expected)> {
        let waits = |_: &ViewerId, viewer: &mut Viewer| match viewer {
            Viewer::Expected(_) => true,
            Viewer::Seated(_) => false,
        };
        let taken = self.viewers.extract_if(.., waits);
        taken
            .filter_map(|(viewer, state)| match state {
                Viewer::Expected(expected) => Some((viewer, expected)),
                Viewer::Seated(_) => None,
            })
            .collect()
    }

    /// Who did not agree to a stream of this profile.
    pub(super) fn not_for(&self, profile: ProfileLevelId) -> Vec<ViewerId> {
        let left_out = |viewer: &Viewer| match viewer {
            Viewer::Seated(seated) => !seated.offered.covers(profile),
            Viewer::Expected(_) => false,
        };
        let viewers = self.viewers.iter().filter(|(_, it)| left_out(it));
        viewers.map(|(viewer, _)| viewer.clone()).collect()
    }

    /// Nothing is left that would want to say good-bye.
    pub(super) fn is_closed(&self) -> bool {
        !self.link_is_up && self.viewers.is_empty()
    }

    pub(super) fn hear(&mut self, event: LinkEvent, now: Instant) {
        let input = match event {
            LinkEvent::Opened { from } => {
                self.link_is_up = true;
                Input::LinkOpened { from }
            }
            LinkEvent::Heard => Input::LinkHeard,
            LinkEvent::Text(message) => Input::LinkMessage(message),
            LinkEvent::Ended(end) => {
                self.link_is_up = false;
                Input::LinkEnded(end)
            }
        };
        self.session.handle(input, now);
    }

    /// Those whose offer is yet to be made need not know.
    pub(super) fn tell_viewers(&self, change: NetworkChange) {
        for viewer in self.viewers.values() {
            match viewer {
                Viewer::Seated(seated) => seated.peer.network_changed(change),
                Viewer::Expected { .. } => {}
            }
        }
    }

    /// Whether one of them is the only one.
    pub(super) fn tell_company(&mut self, is_alone: bool) {
        for viewer in self.viewers.values_mut() {
            match viewer {
                Viewer::Seated(seated) if seated.is_alone != is_alone => {
                    seated.is_alone = is_alone;
                    seated.peer.is_alone(is_alone);
                }
                Viewer::Seated(_) | Viewer::Expected(_) => {}
            }
        }
    }

    pub(super) fn note_connected(&mut self, viewer: &ViewerId, connected: bool) {
        if let Some(seated) = self.seated(viewer) {
            seated.connected = connected;
        }
    }

    pub(super) fn seated(&mut self, viewer: &ViewerId) -> Option<&mut Seated> {
        match self.viewers.get_mut(viewer) {
            Some(Viewer::Seated(seated)) => Some(seated),
            Some(Viewer::Expected(_)) | None => None,
        }
    }
}
