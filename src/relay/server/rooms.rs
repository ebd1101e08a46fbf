//! Who is connected to whom: one room per robot and camera, and what each one in it is told.
//!
//! A robot makes the offers, one for each `ready`. A dashboard says `ready` when it wants a picture; the room passes that on,
//! or keeps it until the robot is there. One dashboard's session:
//!
//! ```text
//!                 ready, no robot             robot arrives
//!          ┌───────────────────────► Wanted ─────────────────┐
//!          │                           ▲                     ▼
//!         Idle ────────────────────────┼──── ready ──────► Asked ──── answer ──► Answered
//!          ▲                           │   (new viewer_id)   │  ▲                    │
//!          │                           └──── robot left ─────┘  └─────── ready ──────┤
//!          └────────── bye from either side, or another viewer took over ◄───────────┘
//! ```
//!
//! An answered session is peer-to-peer and lives on without us: a robot that comes back is not asked again for it. The browser
//! sees for itself when the picture is dead, and says `ready` again.
//!
//! Every session has a viewer id of its own, so that nothing said late about an old session reaches the new one. A robot that
//! does not know `viewer_id` has one viewer, the latest that was announced; the one before is told that it was taken over.
//! Such a robot knows no `bye` either: it sees for itself when its viewer is gone.

mod room;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::relay::message::{FromRelay, ToRelay};

use self::room::{Room, ViewerNames};

/// All rooms of one relay.
#[derive(Debug)]
pub(super) struct Rooms {
    names: ViewerNames,
    rooms: BTreeMap<RoomName, Room>,
    /// Where each connection is. One that was refused or replaced is nowhere, and what it still says is dropped.
    places: BTreeMap<ConnectionId, (RoomName, Role)>,
    /// How many of them are robots'.
    robots: usize,
    actions: VecDeque<Action>,
}

impl Rooms {
    /// `seed` tells this relay's viewer ids from those of an earlier run, whose viewers may still be running.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            names: ViewerNames::new(seed),
            rooms: BTreeMap::new(),
            places: BTreeMap::new(),
            robots: 0,
            actions: VecDeque::new(),
        }
    }

    pub(super) fn handle(&mut self, input: Input) {
        match input {
            Input::Arrived {
                connection,
                room,
                role: Role::Robot,
            } => self.robot_arrived(connection, room),
            Input::Arrived {
                connection,
                room,
                role: Role::Dashboard,
            } => self.dashboard_arrived(connection, room),
            Input::RobotSaid {
                connection,
                message,
            } => self.robot_said(connection, message),
            Input::DashboardSaid {
                connection,
                message,
            } => self.dashboard_said(connection, message),
            Input::Left {
                connection,
                departure,
            } => self.left(connection, departure),
            Input::Renewed => self.welcome_all(),
        }
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How many robots are here.
    pub(super) fn robots(&self) -> usize {
        self.robots
    }

    /// How many dashboards are here.
    pub(super) fn dashboards(&self) -> usize {
        self.places.len() - self.robots
    }

    fn welcome_all(&mut self) {
        let welcome =
            |(connection, (name, _)): (&ConnectionId, &(RoomName, Role))| Action::Welcome {
                connection: *connection,
                robot: name.robot.clone(),
            };
        self.actions.extend(self.places.iter().map(welcome));
    }

    fn robot_arrived(&mut self, connection: ConnectionId, name: RoomName) {
        let replaced = self.rooms.get_mut(&name).and_then(Room::dismiss_robot);
        if replaced.is_none() && self.robots() >= MOST_ROBOTS {
            warn!(robot = %name, most = MOST_ROBOTS, "robot refused: the relay is full");
            self.refuse(connection, format!("relay has its {MOST_ROBOTS} robots"));
            return;
        }
        if let Some(old) = replaced {
            warn!(robot = %name, "robot replaced by a newer connection with the same id and camera");
            self.places.remove(&old);
            self.robots -= 1;
            self.tell(
                old,
                Message::FromRelay(FromRelay::Error {
                    message: format!("another robot connected as {name}"),
                    code: Some("replaced".into()),
                    retry_after: Some(RETRY_AFTER_REPLACED),
                }),
            );
            self.actions.push_back(Action::Close {
                connection: old,
                code: CLOSE_REPLACED,
                reason: "replaced",
            });
        }
        info!(robot = %name, "robot is here");
        self.places.insert(connection, (name.clone(), Role::Robot));
        self.robots += 1;
        self.actions.push_back(Action::Welcome {
            connection,
            robot: name.robot.clone(),
        });
        self.rooms.entry(name).or_default().robot_arrived(
            connection,
            &mut self.names,
            &mut self.actions,
        );
    }

    fn dashboard_arrived(&mut self, connection: ConnectionId, name: RoomName) {
        let room = self.rooms.entry(name.clone()).or_default();
        if room.dashboards() >= MOST_DASHBOARDS_PER_ROBOT {
            warn!(robot = %name, most = MOST_DASHBOARDS_PER_ROBOT, "dashboard refused: the room is full");
            self.refuse(
                connection,
                format!("robot {name} has its {MOST_DASHBOARDS_PER_ROBOT} dashboards"),
            );
            return;
        }
        debug!(robot = %name, dashboard = %connection, "dashboard is here");
        room.dashboard_arrived(connection);
        let online = room.has_robot();
        self.actions.push_back(Action::Welcome {
            connection,
            robot: name.robot.clone(),
        });
        self.places.insert(connection, (name, Role::Dashboard));
        self.tell(connection, Message::Presence { online });
    }

    fn robot_said(&mut self, connection: ConnectionId, message: ToRelay) {
        let Some((name, Role::Robot)) = self.places.get(&connection) else {
            return;
        };
        if let ToRelay::Unknown { kind } = &message {
            debug!(robot = %name, kind, "robot said something that this relay does not know");
            return;
        }
        if let Some(room) = self.rooms.get_mut(name) {
            room.robot_said(message, &mut self.actions);
        }
    }

    fn dashboard_said(&mut self, connection: ConnectionId, message: FromRelay) {
        let Some((name, Role::Dashboard)) = self.places.get(&connection) else {
            return;
        };
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        match message {
            FromRelay::Ready { .. } => room.ready(connection, &mut self.names, &mut self.actions),
            FromRelay::Answer { .. }
            | FromRelay::IceCandidate { .. }
            | FromRelay::Bye { .. }
            | FromRelay::Link { .. } => {
                room.dashboard_said(connection, &message, &mut self.actions);
            }
            FromRelay::Unknown { kind } => {
                debug!(robot = %name, kind, "dashboard said something that this relay does not know");
            }
            FromRelay::Welcome { .. } | FromRelay::Error { .. } | FromRelay::Offer { .. } => {
                debug!(robot = %name, "dashboard said what only the other side says");
            }
        }
    }

    fn left(&mut self, connection: ConnectionId, departure: Departure) {
        let Some((name, role)) = self.places.remove(&connection) else {
            return;
        };
        self.robots -= usize::from(role == Role::Robot);
        let Some(room) = self.rooms.get_mut(&name) else {
            return;
        };
        match role {
            Role::Robot => {
                info!(robot = %name, "robot is gone");
                room.robot_left(&mut self.actions);
            }
            Role::Dashboard => {
                debug!(robot = %name, dashboard = %connection, ?departure, "dashboard is gone");
                room.dashboard_left(connection, departure, &mut self.actions);
            }
        }
        if room.is_empty() {
            self.rooms.remove(&name);
        }
    }

    fn refuse(&mut self, connection: ConnectionId, message: String) {
        self.tell(
            connection,
            Message::FromRelay(FromRelay::Error {
                message,
                code: Some("full".into()),
                retry_after: Some(RETRY_AFTER_FULL),
            }),
        );
        self.actions.push_back(Action::Close {
            connection,
            code: CLOSE_TRY_AGAIN_LATER,
            reason: "full",
        });
    }

    fn tell(&mut self, connection: ConnectionId, message: Message) {
        self.actions.push_back(Action::Tell {
            connection,
            message,
        });
    }
}

/// What happens to the relay.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Arrived {
        connection: ConnectionId,
        room: RoomName,
        role: Role,
    },
    RobotSaid {
        connection: ConnectionId,
        message: ToRelay,
    },
    DashboardSaid {
        connection: ConnectionId,
        message: FromRelay,
    },
    Left {
        connection: ConnectionId,
        departure: Departure,
    },
    /// What a welcome says is another than before.
    Renewed,
}

/// What the relay does about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Tells who serves it, and what this relay can do.
    Welcome {
        connection: ConnectionId,
        /// The robot that it is, or that it wants to see.
        robot: String,
    },
    Tell {
        connection: ConnectionId,
        message: Message,
    },
    /// Closes after what the connection was told before; it is in no room any more.
    Close {
        connection: ConnectionId,
        /// RFC 6455, section 7.4.
        code: u16,
        reason: &'static str,
    },
}

/// What a robot or a dashboard is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    FromRelay(FromRelay),
    ToRelay(ToRelay),
    /// Whether the robot is here; a dashboard hears it on arrival and at every change, and again when the robot reconnects.
    Presence {
        online: bool,
    },
    /// To a dashboard whose robot serves one viewer, when that is another one now. A page that asked again by itself would
    /// take the robot back, and two pages would do so for ever; the code is there so that it does not.
    TakenOver,
}

impl Message {
    pub(super) fn to_json(&self) -> String {
        match self {
            Self::FromRelay(message) => message.to_json(),
            Self::ToRelay(message) => message.to_json(),
            Self::Presence { online } => format!(r#"{{"type":"robot","online":{online}}}"#),
            Self::TakenOver => TAKEN_OVER.to_owned(),
        }
    }
}

/// One WebSocket, for as long as it is open. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectionId(pub(super) u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A robot's id and camera.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RoomName {
    pub(super) robot: String,
    pub(super) camera: Option<String>,
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.robot)?;
        match &self.camera {
            Some(camera) => write!(f, "/{camera}"),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Robot,
    Dashboard,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// The other side closed it: a tab that was closed, a program that ended.
    Closed,
    /// It broke, or we cut it. The picture may well be running.
    Lost,
}

const TAKEN_OVER: &str = r#"{"type":"bye","code":"taken_over","reason":"another viewer took over, and this robot serves only one"}"#;

/// Where any key is accepted, strangers could otherwise fill the memory: some 25 KB for each. A larger fleet spreads over several
/// relays by robot id.
const MOST_ROBOTS: usize = 8192;

/// A robot serves 8 viewers by default; the rest may wait, but each waiting one is told of every change.
const MOST_DASHBOARDS_PER_ROBOT: usize = 64;

/// Two robots with one id would otherwise throw each other out several times a second.
const RETRY_AFTER_REPLACED: Duration = Duration::from_secs(30);

/// Somebody must leave first, which takes people a while.
const RETRY_AFTER_FULL: Duration = Duration::from_secs(30);

/// From the range for private use (RFC 6455, section 7.4.2).
const CLOSE_REPLACED: u16 = 4000;

/// IANA's WebSocket close code number registry: "Try Again Later".
const CLOSE_TRY_AGAIN_LATER: u16 = 1013;

#[cfg(test)]
mod tests;
