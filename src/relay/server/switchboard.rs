//! The one task that owns the rooms: connections send it what they hear, and it fills their outboxes.
#![allow(clippy::disallowed_methods)] // a driver: reads the wall clock once per welcome

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::interval;
use tracing::{debug, warn};

use super::rooms::{Action, ConnectionId, Departure, Input, Message, Role, RoomName, Rooms};
use super::turn::{IceServers, RENEWED_AFTER};
use crate::relay::message::{FromRelay, MessageError, ToRelay};

/// What a connection reports.
#[derive(Debug)]
pub(super) enum Event {
    Arrived {
        connection: ConnectionId,
        room: RoomName,
        role: Role,
        outbox: Outbox,
    },
    RobotSaid {
        connection: ConnectionId,
        message: ToRelay,
    },
    DashboardSaid {
        connection: ConnectionId,
        message: FromRelay,
    },
    /// Said something that is no message.
    Garbled {
        connection: ConnectionId,
        why: Garbled,
    },
    Left {
        connection: ConnectionId,
        departure: Departure,
    },
    /// The credentials that were given are getting old.
    Renewed,
}

impl Event {
    /// What it costs us, in messages.
    pub(super) fn price(&self) -> u32 {
        match self {
            // The robot builds a session for each.
            Self::DashboardSaid {
                message: FromRelay::Ready { .. },
                ..
            } => 10,
            Self::Arrived { .. }
            | Self::RobotSaid { .. }
            | Self::DashboardSaid { .. }
            | Self::Garbled { .. }
            | Self::Left { .. }
            | Self::Renewed => 1,
        }
    }
}

/// Why something said is no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Garbled {
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("got a binary message when expecting JSON text")]
    Binary,
}

#[derive(Debug)]
pub(super) struct Switchboard {
    rooms: Rooms,
    ice_servers: IceServers,
    outboxes: BTreeMap<ConnectionId, Outbox>,
    counters: Arc<Counters>,
    renewed_after: Duration,
}

impl Switchboard {
    /// Full (every connection talking at once) makes the connections wait, and so their sockets.
    pub(super) const QUEUE: usize = 256;

    pub(super) fn new(rooms: Rooms, ice_servers: IceServers, counters: Arc<Counters>) -> Self {
        Self {
            rooms,
            ice_servers,
            outboxes: BTreeMap::new(),
            counters,
            renewed_after: RENEWED_AFTER,
        }
    }

    /// Runs until the relay and all its connections are gone.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut renewals = interval(self.renewed_after);
        renewals.reset();
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                _ = renewals.tick(), if self.ice_servers.expire() => Some(Event::Renewed),
            };
            let Some(event) = event else { return };
            self.turn(event);
            self.counters
                .robots
                .store(self.rooms.robots(), Ordering::Relaxed);
            self.counters
                .dashboards
                .store(self.rooms.dashboards(), Ordering::Relaxed);
        }
    }

    fn turn(&mut self, event: Event) {
        match event {
            Event::Arrived {
                connection,
                room,
                role,
                outbox,
            } => {
                self.outboxes.insert(connection, outbox);
                self.rooms.handle(Input::Arrived {
                    connection,
                    room,
                    role,
                });
            }
            Event::RobotSaid {
                connection,
                message,
            } => {
                self.counters.messages.fetch_add(1, Ordering::Relaxed);
                self.rooms.handle(Input::RobotSaid {
                    connection,
                    message,
                });
            }
            Event::DashboardSaid {
                connection,
                message,
            } => {
                self.counters.messages.fetch_add(1, Ordering::Relaxed);
                self.rooms.handle(Input::DashboardSaid {
                    connection,
                    message,
                });
            }
            Event::Garbled { connection, why } => {
                debug!(%connection, %why, "got something that is no message");
                let complaint = Message::FromRelay(FromRelay::Error {
                    message: why.to_string(),
                    code: Some("bad_message".into()),
                    retry_after: None,
                });
                self.put(connection, Letter::Text(complaint.to_json()));
            }
            Event::Left {
                connection,
                departure,
            } => {
                self.outboxes.remove(&connection);
                self.rooms.handle(Input::Left {
                    connection,
                    departure,
                });
            }
            Event::Renewed => self.rooms.handle(Input::Renewed),
        }
        while let Some(action) = self.rooms.poll_action() {
            match action {
                Action::Welcome { connection, robot } => {
                    let welcome = Message::FromRelay(self.welcome(&robot));
                    self.put(connection, Letter::Text(welcome.to_json()));
                }
                Action::Tell {
                    connection,
                    message,
                } => self.put(connection, Letter::Text(message.to_json())),
                Action::Close {
                    connection,
                    code,
                    reason,
                } => self.put(connection, Letter::Close { code, reason }),
            }
        }
    }

    fn welcome(&self, robot: &str) -> FromRelay {
        FromRelay::Welcome {
            ice_servers: self.ice_servers.told(robot, SystemTime::now()),
            features: vec!["viewer_id".into()],
        }
    }

    /// A connection that does not read is cut: its dashboards and robot must not wait for it, and nor must our memory.
    fn put(&mut self, connection: ConnectionId, letter: Letter) {
        let Some(outbox) = self.outboxes.get(&connection) else {
            return;
        };
        if outbox.put(letter) {
            return;
        }
        warn!(%connection, "cut a connection that does not read");
        self.counters.rejected.fetch_add(1, Ordering::Relaxed);
        self.outboxes.remove(&connection);
        self.rooms.handle(Input::Left {
            connection,
            departure: Departure::Lost,
        });
    }
}

/// One thing to write to a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Letter {
    Text(String),
    Close { code: u16, reason: &'static str },
}

/// A connection's queue, bounded in letters and bytes. Dropping this end cuts the connection.
#[derive(Debug)]
pub(super) struct Outbox {
    letters: mpsc::Sender<Letter>,
    bytes: Arc<AtomicUsize>,
    _cut: oneshot::Sender<Infallible>,
}

/// The connection's end of its [`Outbox`].
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) letters: mpsc::Receiver<Letter>,
    /// What the letters that are not yet written weigh; the connection takes off what it wrote.
    pub(super) bytes: Arc<AtomicUsize>,
    /// Resolves when the connection is cut.
    pub(super) cut: oneshot::Receiver<Infallible>,
}

impl Outbox {
    pub(super) fn new(role: Role) -> (Self, Inbox) {
        let (sender, letters) = mpsc::channel(match role {
            Role::Robot => ROBOT_LETTERS,
            Role::Dashboard => DASHBOARD_LETTERS,
        });
        let bytes = Arc::new(AtomicUsize::new(0));
        let (cut_sender, cut) = oneshot::channel();
        let outbox = Self {
            letters: sender,
            bytes: bytes.clone(),
            _cut: cut_sender,
        };
        let inbox = Inbox {
            letters,
            bytes,
            cut,
        };
        (outbox, inbox)
    }

    /// Whether there was room. A connection that has ended has room: its [`Event::Left`] is on the way.
    fn put(&self, letter: Letter) -> bool {
        if let Letter::Text(text) = &letter {
            let before = self.bytes.fetch_add(text.len(), Ordering::Relaxed);
            if before > 0 && before + text.len() > OUTBOX_BYTES {
                return false;
            }
        }
        match self.letters.try_send(letter) {
            Ok(()) | Err(TrySendError::Closed(_)) => true,
            Err(TrySendError::Full(_)) => false,
        }
    }
}

/// What the relay counted since it started, and who is here now.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) robots: AtomicUsize,
    pub(super) dashboards: AtomicUsize,
    pub(super) messages: AtomicU64,
    pub(super) rejected: AtomicU64,
}

/// A session is some twenty messages; a dashboard that is three sessions behind does not read.
const DASHBOARD_LETTERS: usize = 64;

/// A robot that comes back hears of every waiting dashboard at once, an end and a beginning each.
const ROBOT_LETTERS: usize = 512;

/// Offers are some 5 KB. A robot 512 letters of 256 KiB behind would hold 128 MB.
const OUTBOX_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::viewer::IceServer;

    fn text(bytes: usize) -> Letter {
        Letter::Text("x".repeat(bytes))
    }

    #[test]
    fn outbox_holds_so_many_letters_and_no_more() {
        let (outbox, _inbox) = Outbox::new(Role::Dashboard);
        assert!((0..DASHBOARD_LETTERS).all(|_| outbox.put(text(1))));
        assert!(!outbox.put(text(1)));
    }

    #[test]
    fn outbox_holds_so_many_bytes_and_no_more() {
        let (outbox, _inbox) = Outbox::new(Role::Robot);
        assert!((0..4).all(|_| outbox.put(text(OUTBOX_BYTES / 4))));
        assert!(!outbox.put(text(1)));
    }

    #[test]
    fn connection_whose_outbox_is_full_is_cut_and_leaves_its_room() {
        let counters = Arc::new(Counters::default());
        let ice_servers = IceServers::new(Vec::new(), None).unwrap();
        let mut switchboard = Switchboard::new(Rooms::new(0), ice_servers, Arc::clone(&counters));
        let connection = ConnectionId(1);
        let (outbox, mut inbox) = Outbox::new(Role::Dashboard);
        switchboard.turn(Event::Arrived {
            connection,
            room: RoomName {
                robot: "rover".into(),
                camera: None,
            },
            role: Role::Dashboard,
            outbox,
        });
        for _ in 0..DASHBOARD_LETTERS {
            switchboard.turn(Event::Garbled {
                connection,
                why: Garbled::Binary,
            });
        }
        assert_eq!(inbox.cut.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(switchboard.rooms.dashboards(), 0);
        assert_eq!(counters.rejected.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn who_stays_is_given_new_turn_logins_before_the_old_ones_end() {
        let file = std::env::temp_dir().join(format!("rovercast-turn-{}", std::process::id()));
        std::fs::write(&file, "north\n").unwrap();
        let servers = vec![IceServer {
            urls: vec!["turn:turn.example.com".into()],
            username: None,
            credential: None,
        }];
        let ice_servers = IceServers::new(servers, Some(file.clone())).unwrap();
        let mut switchboard = Switchboard::new(Rooms::new(0), ice_servers, Arc::default());
        switchboard.renewed_after = Duration::from_millis(20);
        let (events, received) = mpsc::channel(1);
        tokio::spawn(switchboard.run(received));
        let (outbox, mut inbox) = Outbox::new(Role::Robot);
        let arrived = Event::Arrived {
            connection: ConnectionId(1),
            room: RoomName {
                robot: "rover".into(),
                camera: None,
            },
            role: Role::Robot,
            outbox,
        };
        events.send(arrived).await.unwrap();

        for _ in 0..3 {
            let letter = inbox.letters.recv().await;
            let Some(Letter::Text(text)) = letter else {
                panic!("{letter:?}");
            };
            assert!(text.contains(":rover\",\"credential\":\""), "{text}");
        }
        std::fs::remove_file(file).unwrap();
    }
}
