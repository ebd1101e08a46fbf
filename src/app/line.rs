//! A relay as one camera sees it: the session with it, and the viewers who came through it.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::relay::client::{Link, LinkEvent};
use crate::relay::session::{Input, Session};
use crate::viewer::webrtc::{Peer, PeerEvent, PeerStatistics};
use crate::viewer::{IceServer, ViewerId};

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
    Expected {
        ice_servers: Vec<IceServer>,
    },
    Seated(Box<Seated>),
}

pub(super) struct Seated {
    pub(super) connected: bool,
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

    /// The names of those whose offer waits for a picture, with what the relay gave for each.
    pub(super) fn expected(&self) -> Vec<(ViewerId, Vec<IceServer>)> {
        let waits = |(viewer, state): (&ViewerId, &Viewer)| match state {
            Viewer::Expected { ice_servers } => Some((viewer.clone(), ice_servers.clone())),
            Viewer::Seated(_) => None,
        };
        self.viewers.iter().filter_map(waits).collect()
    }

    /// Nothing is left that would want to say good-bye.
    pub(super) fn is_closed(&self) -> bool {
        !self.link_is_up && self.viewers.is_empty()
    }

    pub(super) fn hear(&mut self, event: LinkEvent, now: Instant) {
        let input = match event {
            LinkEvent::Opened => {
                self.link_is_up = true;
                Input::LinkOpened
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

    pub(super) fn seated(&mut self, viewer: &ViewerId) -> Option<&mut Seated> {
        match self.viewers.get_mut(viewer) {
            Some(Viewer::Seated(seated)) => Some(seated),
            Some(Viewer::Expected { .. }) | None => None,
        }
    }
}
