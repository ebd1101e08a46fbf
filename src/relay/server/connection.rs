//! One WebSocket: reads into the switchboard, writes from its inbox, until either side has enough.
#![allow(clippy::disallowed_methods)] // a driver: reads the clock once per message

mod end;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tracing::debug;

pub(super) use self::end::End;
use super::allowance::Allowance;
use super::listener::shut_down;
use super::rooms::{ConnectionId, Role, RoomName};
use super::switchboard::{Counters, Event, Garbled, Inbox, Letter, Outbox};
use crate::relay::message::{FromRelay, MESSAGE_LIMIT, ToRelay};

/// A robot's or a dashboard's connection, ready to talk.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) role: Role,
    pub(super) room: RoomName,
    pub(super) events: mpsc::Sender<Event>,
    /// Turns true when the server shuts down.
    pub(super) closing: watch::Receiver<bool>,
    pub(super) liveness: Liveness,
    pub(super) counters: Arc<Counters>,
}

impl Connection {
    /// Talks until the end, says goodbye, and returns why it ended.
    pub(super) async fn run<S>(mut self, mut socket: WebSocketStream<S>) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (outbox, inbox) = Outbox::new(self.role);
        let arrived = Event::Arrived {
            connection: self.id,
            room: self.room.clone(),
            role: self.role,
            outbox,
        };
        if self.events.send(arrived).await.is_err() {
            return End::ShuttingDown;
        }
        let end = self.talk(&mut socket, inbox).await;
        let left = Event::Left {
            connection: self.id,
            departure: end.departure(),
        };
        // Nobody to tell when the switchboard is gone with the relay.
        let _ = self.events.send(left).await;
        debug!(connection = %self.id, ?end, "connection ended");
        let last_words = match end {
            End::ShuttingDown => Some(self.restarting()),
            End::Closed
            | End::Lost
            | End::Silent
            | End::TooFast
            | End::TooLarge
            | End::NotText
            | End::BrokeProtocol
            | End::DoesNotRead
            | End::Dismissed { .. } => None,
        };
        part(socket, end, last_words).await;
        end
    }

    /// Tells everyone another time to come back: a fleet that returns in the same second is a second in which nobody gets in.
    fn restarting(&self) -> String {
        let robots = self.counters.robots.load(Ordering::Relaxed);
        let all = robots + self.counters.dashboards.load(Ordering::Relaxed);
        let spread = Duration::from_secs_f64(all as f64 / RETURNS_PER_SECOND);
        // Without randomness all return in the middle, which is no worse than without a hint.
        let part = OsRng.try_next_u32().unwrap_or(u32::MAX / 2);
        let part = f64::from(part) / f64::from(u32::MAX);
        FromRelay::Error {
            message: "relay is restarting".into(),
            code: Some("restarting".into()),
            retry_after: Some(RETURN_AFTER + spread.mul_f64(part)),
        }
        .to_json()
    }

    async fn talk<S>(&mut self, socket: &mut WebSocketStream<S>, inbox: Inbox) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Inbox {
            letters,
            bytes,
            cut,
        } = inbox;
        let (sink, stream) = socket.split();
        let mut closing = self.closing.clone();
        let written = |text: &str| {
            bytes.fetch_sub(text.len(), Ordering::Relaxed);
        };
        tokio::select! {
            end = self.listen(stream) => end,
            end = speak(sink, letters, written, self.liveness.ping_interval) => end,
            _ = cut => End::DoesNotRead,
            () = shut_down(&mut closing) => End::ShuttingDown,
        }
    }

    async fn listen(
        &self,
        mut stream: impl Stream<Item = Result<Message, WebSocketError>> + Unpin,
    ) -> End {
        let mut allowance = Allowance::new(self.role, Instant::now());
        let patience = self.liveness.ping_interval + self.liveness.silence_limit;
        loop {
            let message = match timeout(patience, stream.next()).await {
                Err(_) => return End::Silent,
                Ok(None) => return End::Lost,
                Ok(Some(Err(error))) => return End::from(&error),
                Ok(Some(Ok(message))) => message,
            };
            let event = match message {
                Message::Text(text) => self.read(&text),
                Message::Binary(_) => self.garbled(Garbled::Binary),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => None,
                Message::Close(_) => return End::Closed,
            };
            if !allowance.take(event.as_ref().map_or(1, Event::price), Instant::now()) {
                return End::TooFast;
            }
            let Some(event) = event else { continue };
            if self.events.send(event).await.is_err() {
                return End::ShuttingDown;
            }
        }
    }

    fn read(&self, text: &str) -> Option<Event> {
        let connection = self.id;
        let event = match self.role {
            Role::Robot => ToRelay::parse(text).map(|message| Event::RobotSaid {
                connection,
                message,
            }),
            Role::Dashboard => FromRelay::parse(text).map(|message| Event::DashboardSaid {
                connection,
                message,
            }),
        };
        event.map_or_else(|error| self.garbled(error.into()), Some)
    }

    fn garbled(&self, why: Garbled) -> Option<Event> {
        Some(Event::Garbled {
            connection: self.id,
            why,
        })
    }
}

/// How a dead connection is noticed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Liveness {
    pub(super) ping_interval: Duration,
    /// How long nothing may come after a ping.
    pub(super) silence_limit: Duration,
}

impl Liveness {
    /// NAT boxes forget a silent connection after 30 s or more; a ping keeps it known. Ten seconds is what a congested mobile
    /// link may take for the answer. The price: a robot that fell off the network counts as online for half a minute.
    pub(super) const USUAL: Self = Self {
        ping_interval: Duration::from_secs(20),
        silence_limit: Duration::from_secs(10),
    };
}

/// Small buffers: thousands of robots are connected and say nothing.
pub(super) fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MESSAGE_LIMIT)
        .max_message_size(Some(MESSAGE_LIMIT))
        .max_frame_size(Some(MESSAGE_LIMIT))
}

/// Writes letters, and pings.
async fn speak(
    mut sink: impl Sink<Message, Error = WebSocketError> + Unpin,
    mut letters: mpsc::Receiver<Letter>,
    written: impl Fn(&str),
    ping_interval: Duration,
) -> End {
    let mut pings = interval(ping_interval);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    loop {
        let message = tokio::select! {
            letter = letters.recv() => match letter {
                Some(Letter::Text(text)) => {
                    written(&text);
                    Message::text(text)
                }
                Some(Letter::Close { code, reason }) => return End::Dismissed { code, reason },
                None => return End::DoesNotRead,
            },
            _ = pings.tick() => Message::Ping(Default::default()),
        };
        if let Err(error) = sink.send(message).await {
            return End::from(&error);
        }
    }
}

/// Says why, and takes what is still coming: a socket that is closed with unread data takes our last words with it.
async fn part<S>(mut socket: WebSocketStream<S>, end: End, last_words: Option<String>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let goodbye = async {
        if let Some(words) = last_words {
            socket.feed(Message::text(words)).await.ok()?;
        }
        if let Some(frame) = end.close_frame() {
            socket.send(Message::Close(Some(frame))).await.ok()?;
        } else {
            // Writes the answer to the other side's close, if there was one.
            let _ = socket.flush().await;
        }
        let mut stream = socket.into_inner();
        stream.shutdown().await.ok()?;
        let mut unread = [0; 1024];
        while stream.read(&mut unread).await.ok()? > 0 {}
        Some(())
    };
    // Whether it heard us or not, we part.
    let _ = timeout(PARTING, goodbye).await;
}

/// A relay that was told to restart is back by then, as a rule.
const RETURN_AFTER: Duration = Duration::from_secs(1);

/// A TLS handshake costs a small server's core 2 ms; the rest is for those who are in already.
const RETURNS_PER_SECOND: f64 = 200.0;

/// A round trip to the other side of the world, twice. The whole relay must be gone a second after SIGTERM.
const PARTING: Duration = Duration::from_millis(600);

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;
    use tokio::task::JoinHandle;
    use tokio_tungstenite::tungstenite::protocol::Role as WebSocketRole;

    use super::*;

    /// Far more than a given-up connection needs, its parting included.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// A connection whose other end is a pipe.
    struct Scene {
        dashboard: WebSocketStream<DuplexStream>,
        ended: JoinHandle<End>,
        _events: mpsc::Receiver<Event>,
    }

    async fn connected() -> Scene {
        let (near, far) = tokio::io::duplex(1024);
        let (events, received) = mpsc::channel(8);
        let connection = Connection {
            id: ConnectionId(1),
            role: Role::Dashboard,
            room: RoomName {
                robot: "rover".into(),
                camera: None,
            },
            events,
            closing: watch::channel(false).1,
            counters: Arc::default(),
            liveness: Liveness {
                ping_interval: Duration::from_millis(20),
                silence_limit: Duration::from_millis(200),
            },
        };
        let config = Some(websocket_config());
        let socket = WebSocketStream::from_raw_socket(near, WebSocketRole::Server, config).await;
        Scene {
            dashboard: WebSocketStream::from_raw_socket(far, WebSocketRole::Client, config).await,
            ended: tokio::spawn(connection.run(socket)),
            _events: received,
        }
    }

    #[tokio::test]
    async fn connection_that_does_not_answer_pings_is_given_up() {
        let scene = connected().await;
        let ended = timeout(PATIENCE, scene.ended).await;
        assert_eq!(ended.expect("it ends by itself").unwrap(), End::Silent);
    }

    #[tokio::test]
    async fn connection_that_says_nothing_but_answers_pings_lives() {
        let mut scene = connected().await;
        // Twice as long as silence would be endured.
        for _ in 0..22 {
            let message = scene.dashboard.next().await.unwrap().unwrap();
            assert!(message.is_ping(), "{message:?}");
        }
        scene.dashboard.close(None).await.unwrap();
        assert_eq!(scene.ended.await.unwrap(), End::Closed);
    }
}
