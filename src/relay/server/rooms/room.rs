//! One room: a robot's camera, the dashboards that watch it, and each one's session. The drawing is in [`super`].

use std::collections::{BTreeMap, VecDeque};

use tracing::debug;

use super::{Action, ConnectionId, Departure, Message};
use crate::relay::message::{FromRelay, ToRelay};
use crate::viewer::ViewerId;

/// One robot's camera and who watches it.
#[derive(Debug, Default)]
pub(super) struct Room {
    robot: Option<Robot>,
    dashboards: BTreeMap<ConnectionId, Dashboard>,
}

impl Room {
    pub(super) fn has_robot(&self) -> bool {
        self.robot.is_some()
    }

    pub(super) fn dashboards(&self) -> usize {
        self.dashboards.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.robot.is_none() && self.dashboards.is_empty()
    }

    #[cfg(test)]
    pub(super) fn viewers(&self) -> impl Iterator<Item = (ConnectionId, &ViewerId)> {
        self.dashboards
            .iter()
            .filter_map(|(&connection, dashboard)| Some((connection, dashboard.viewer.as_ref()?)))
    }

    /// Makes place for the next robot and returns the one that was here.
    pub(super) fn dismiss_robot(&mut self) -> Option<ConnectionId> {
        self.robot.take().map(|robot| robot.connection)
    }

    pub(super) fn robot_arrived(
        &mut self,
        connection: ConnectionId,
        names: &mut ViewerNames,
        actions: &mut VecDeque<Action>,
    ) {
        self.robot = Some(Robot::new(connection));
        self.tell_presence(true, actions);
        let waiting: Vec<_> = self
            .dashboards
            .iter()
            .filter(|(_, dashboard)| dashboard.phase == Phase::Wanted)
            .map(|(&dashboard, _)| dashboard)
            .collect();
        for dashboard in waiting {
            self.announce(dashboard, names, actions);
        }
    }

    pub(super) fn robot_left(&mut self, actions: &mut VecDeque<Action>) {
        self.robot = None;
        self.tell_presence(false, actions);
    }

    pub(super) fn dashboard_arrived(&mut self, connection: ConnectionId) {
        self.dashboards.insert(connection, Dashboard::default());
    }

    /// The robot that was asked is not there any more: what it did not get to is asked again of the next one.
    fn tell_presence(&mut self, online: bool, actions: &mut VecDeque<Action>) {
        for (&connection, dashboard) in &mut self.dashboards {
            if dashboard.phase == Phase::Asked {
                dashboard.phase = Phase::Wanted;
            }
            actions.push_back(Action::Tell {
                connection,
                message: Message::Presence { online },
            });
        }
    }

    pub(super) fn ready(
        &mut self,
        connection: ConnectionId,
        names: &mut ViewerNames,
        actions: &mut VecDeque<Action>,
    ) {
        if self.robot.is_some() {
            self.announce(connection, names, actions);
        } else if let Some(dashboard) = self.dashboards.get_mut(&connection) {
            dashboard.phase = Phase::Wanted;
        }
    }

    /// Asks the robot for a new session with this dashboard, in place of the one it had.
    fn announce(
        &mut self,
        connection: ConnectionId,
        names: &mut ViewerNames,
        actions: &mut VecDeque<Action>,
    ) {
        let (Some(robot), Some(dashboard)) =
            (&mut self.robot, self.dashboards.get_mut(&connection))
        else {
            return;
        };
        if let Some(viewer) = dashboard.viewer.take() {
            robot.tell(FromRelay::Bye { viewer }, actions);
        }
        let viewer = names.next();
        dashboard.viewer = Some(viewer.clone());
        dashboard.phase = Phase::Asked;
        robot.tell(FromRelay::Ready { viewer }, actions);
        robot.latest = Some(connection);
        if robot.naming == Naming::Anonymous {
            self.take_over(connection, actions);
        }
    }

    /// The robot has one viewer: `holder`. Whoever had a session before has none now.
    fn take_over(&mut self, holder: ConnectionId, actions: &mut VecDeque<Action>) {
        for (&connection, dashboard) in &mut self.dashboards {
            if connection == holder || !dashboard.phase.has_session() {
                continue;
            }
            *dashboard = Dashboard::default();
            actions.push_back(Action::Tell {
                connection,
                message: Message::TakenOver,
            });
        }
    }

    pub(super) fn robot_said(&mut self, message: ToRelay, actions: &mut VecDeque<Action>) {
        let (Some(robot), Some(viewer)) = (&mut self.robot, message.viewer()) else {
            return;
        };
        let addressee = if viewer.is_anonymous() {
            robot.latest
        } else {
            self.dashboards
                .iter()
                .find(|(_, dashboard)| dashboard.viewer.as_ref() == Some(viewer))
                .map(|(&connection, _)| connection)
        };
        if let ToRelay::Offer { viewer, .. } = &message {
            robot.naming = Naming::of(viewer);
        }
        let naming = robot.naming;
        let Some(connection) = addressee else {
            debug!("robot speaks to a viewer who is gone");
            return;
        };
        let Some(dashboard) = self.dashboards.get_mut(&connection) else {
            return;
        };
        if !dashboard.phase.has_session() {
            return;
        }
        if let ToRelay::Bye { .. } = &message {
            *dashboard = Dashboard::default();
        }
        actions.push_back(Action::Tell {
            connection,
            message: Message::ToRelay(message),
        });
        if naming == Naming::Anonymous {
            self.take_over(connection, actions);
        }
    }

    pub(super) fn dashboard_said(
        &mut self,
        connection: ConnectionId,
        message: &FromRelay,
        actions: &mut VecDeque<Action>,
    ) {
        let Some(dashboard) = self.dashboards.get_mut(&connection) else {
            return;
        };
        let leaves = matches!(message, FromRelay::Bye { .. });
        if let (Some(robot), Some(viewer), true) = (
            &self.robot,
            &dashboard.viewer,
            dashboard.phase.has_session(),
        ) {
            robot.tell(message.clone().about(viewer), actions);
            if matches!(message, FromRelay::Answer { .. }) {
                dashboard.phase = Phase::Answered;
            }
        }
        if leaves {
            *dashboard = Dashboard::default();
        }
    }

    pub(super) fn dashboard_left(
        &mut self,
        connection: ConnectionId,
        departure: Departure,
        actions: &mut VecDeque<Action>,
    ) {
        let Some(dashboard) = self.dashboards.remove(&connection) else {
            return;
        };
        let Some(robot) = &mut self.robot else {
            return;
        };
        if robot.latest == Some(connection) {
            robot.latest = None;
        }
        let ends = match (dashboard.phase, departure) {
            // Without us it can never be answered.
            (Phase::Asked, _) => true,
            (Phase::Answered, Departure::Closed) => true,
            (Phase::Answered, Departure::Lost) => false,
            (Phase::Idle | Phase::Wanted, _) => false,
        };
        if let (true, Some(viewer)) = (ends, dashboard.viewer) {
            robot.tell(FromRelay::Bye { viewer }, actions);
        }
    }
}

#[derive(Debug)]
struct Robot {
    connection: ConnectionId,
    naming: Naming,
    /// The dashboard that was announced last: whom a robot means that names no viewer.
    latest: Option<ConnectionId>,
}

impl Robot {
    fn new(connection: ConnectionId) -> Self {
        Self {
            connection,
            naming: Naming::Unknown,
            latest: None,
        }
    }

    fn tell(&self, message: FromRelay, actions: &mut VecDeque<Action>) {
        // A robot that knows no `viewer_id` would take it for its latest viewer's, or for nonsense.
        let is_news = matches!(message, FromRelay::Bye { .. } | FromRelay::Link { .. });
        if self.naming == Naming::Anonymous && is_news {
            return;
        }
        actions.push_back(Action::Tell {
            connection: self.connection,
            message: Message::FromRelay(message),
        });
    }
}

/// Whether the robot knows `viewer_id`: its first offer shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    Unknown,
    Named,
    Anonymous,
}

impl Naming {
    fn of(viewer: &ViewerId) -> Self {
        if viewer.is_anonymous() {
            Self::Anonymous
        } else {
            Self::Named
        }
    }
}

#[derive(Debug, Default)]
struct Dashboard {
    phase: Phase,
    /// What the robot was last told to call it.
    viewer: Option<ViewerId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    Wanted,
    Asked,
    Answered,
}

impl Phase {
    fn has_session(self) -> bool {
        match self {
            Self::Asked | Self::Answered => true,
            Self::Idle | Self::Wanted => false,
        }
    }
}

/// Viewer ids: unique over this relay's life and, by the seed, over those before it.
#[derive(Debug)]
pub(super) struct ViewerNames {
    seed: u64,
    given: u64,
}

impl ViewerNames {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, given: 0 }
    }

    fn next(&mut self) -> ViewerId {
        self.given += 1;
        ViewerId::named(format!("{:016x}-{}", self.seed, self.given))
            .expect("hex digits, a dash and a number are at most 37 printable characters")
    }
}
