//! The link to the relay: one WebSocket, and one task for as long as it lives.
//!
//! It holds no policy. `relay::session` says when to dial, ping and hang up, and hears what became of it: every `dial` ends
//! in one [`LinkEvent::Ended`], within the connect deadline when the relay cannot be reached.

mod date;
mod dial;
mod failure;
mod proxy;
mod tcp;
mod tls;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tracing::{debug, warn};
use url::Url;

use self::dial::{Dialed, Socket, shown};
pub use super::session::{LinkEnd, LinkFailure};
use crate::relay::message::{FromRelay, ToRelay};
use crate::viewer::ViewerId;

/// Where the relay is, and who we are to it. Files are read again at each dial, so that rotation needs no restart.
#[derive(Clone)]
pub struct LinkSettings {
    /// `ws`, `wss`, `http` or `https`. Its own query is kept.
    pub url: Url,
    pub robot_id: String,
    /// Sent only when the configuration names the camera.
    pub camera_id: Option<String>,
    pub api_key: Option<KeySource>,
    pub auth: Auth,
    /// The only authorities to trust; without it those of the system.
    pub ca_file: Option<PathBuf>,
    pub client_cert_file: Option<PathBuf>,
    pub client_key_file: Option<PathBuf>,
    /// The way out, where only a proxy has one.
    pub proxy: Option<Proxy>,
    /// For name, TCP, TLS and WebSocket together.
    pub connect_deadline: Duration,
}

impl LinkSettings {
    pub fn new(url: Url, robot_id: impl Into<String>) -> Self {
        Self {
            url,
            robot_id: robot_id.into(),
            camera_id: None,
            api_key: None,
            auth: Auth::default(),
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            proxy: None,
            connect_deadline: CONNECT_DEADLINE,
        }
    }
}

impl fmt::Debug for LinkSettings {
    /// Leaves out what could be secret: the key, and the query of the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkSettings")
            .field("url", &shown(&self.url))
            .field("robot_id", &self.robot_id)
            .field("camera_id", &self.camera_id)
            .field("api_key", &self.api_key)
            .field("auth", &self.auth)
            .field("ca_file", &self.ca_file)
            .field("client_cert_file", &self.client_cert_file)
            .field("client_key_file", &self.client_key_file)
            .field("proxy", &self.proxy)
            .field("connect_deadline", &self.connect_deadline)
            .finish()
    }
}

/// An HTTP proxy that is asked for a tunnel (`CONNECT`).
#[derive(Clone)]
pub struct Proxy {
    /// `http`.
    pub url: Url,
    /// `user:password`, sent as RFC 7617 (Basic) has it.
    pub login: Option<KeySource>,
}

impl fmt::Debug for Proxy {
    /// Leaves out a login in the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("url", &proxy::shown(&self.url))
            .field("login", &self.login)
            .finish()
    }
}

#[derive(Clone, Debug)]
pub enum KeySource {
    File(PathBuf),
    Secret(SecretString),
}

/// How the key travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// As `api_key` in the URL, which is what the relays of the mecha10 family read.
    #[default]
    Query,
    /// As `Authorization: Bearer …`, which proxies do not log.
    Bearer,
}

#[derive(Debug)]
pub enum LinkEvent {
    Opened {
        /// Our own address on it.
        from: Option<IpAddr>,
    },
    /// Something came that is no message: a pong, or what could not be read.
    Heard,
    Text(FromRelay),
    /// The last event of a dial.
    Ended(LinkEnd),
}

/// The robot's hand on the link. Nothing here blocks.
#[derive(Debug)]
pub struct Link {
    settings: Arc<LinkSettings>,
    events: mpsc::Sender<LinkEvent>,
    dialed: Option<Hand>,
}

#[derive(Debug)]
struct Hand {
    commands: mpsc::Sender<Command>,
    hang_up: Option<oneshot::Sender<&'static str>>,
}

#[derive(Debug)]
enum Command {
    Send(String),
    Ping,
}

impl From<Command> for Message {
    fn from(command: Command) -> Self {
        match command {
            Command::Send(text) => Self::text(text),
            Command::Ping => Self::Ping(Bytes::new()),
        }
    }
}

impl Link {
    /// Events wait in `events` for their reader; when it is full the link reads no more, and the relay waits, too.
    pub fn new(settings: LinkSettings, events: mpsc::Sender<LinkEvent>) -> Self {
        Self {
            settings: Arc::new(settings),
            events,
            dialed: None,
        }
    }

    /// Must be called within a tokio runtime, and not again before the last dial's [`LinkEvent::Ended`].
    pub fn dial(&mut self) {
        let (commands, queue) = mpsc::channel(QUEUE);
        let (hang_up, hung_up) = oneshot::channel();
        self.dialed = Some(Hand {
            commands,
            hang_up: Some(hang_up),
        });
        tokio::spawn(live(
            Arc::clone(&self.settings),
            self.events.clone(),
            queue,
            hung_up,
        ));
    }

    /// Dropped with a warning when the relay takes nothing: the session will find it silent.
    pub fn send(&self, message: &ToRelay) {
        self.command(Command::Send(message.to_json()));
    }

    pub fn ping(&self) {
        self.command(Command::Ping);
    }

    /// Ends the link, or the attempt; `reason` is what the relay hears.
    pub fn hang_up(&mut self, reason: &'static str) {
        let hang_up = self.dialed.as_mut().and_then(|link| link.hang_up.take());
        if let Some(hang_up) = hang_up {
            // A link that ended by itself has nobody to hear this.
            let _ = hang_up.send(reason);
        }
    }

    fn command(&self, command: Command) {
        let Some(link) = &self.dialed else {
            return;
        };
        match link.commands.try_send(command) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                warn!(queue = QUEUE, "relay takes no messages, dropped one");
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                debug!("link ended before a message to the relay was sent");
            }
        }
    }
}

/// One link from dial to end.
async fn live(
    settings: Arc<LinkSettings>,
    events: mpsc::Sender<LinkEvent>,
    commands: mpsc::Receiver<Command>,
    mut hung_up: oneshot::Receiver<&'static str>,
) {
    let relay = shown(&settings.url);
    debug!(relay, "dialing");
    let dialed = tokio::select! {
        biased;
        _ = &mut hung_up => Err(failure::hung_up(&relay)),
        dialed = dial::dial(&settings) => dialed,
    };
    let end = match dialed {
        Ok(Dialed { socket, key, from }) => {
            let mut conversation = Conversation {
                relay,
                key,
                from,
                socket,
                events: events.clone(),
                commands,
                surprises: 0,
            };
            tokio::select! {
                biased;
                reason = &mut hung_up => conversation.take_leave(reason.unwrap_or_default()).await,
                end = conversation.talk() => end,
            }
        }
        Err(end) => end,
    };
    // Without a reader nobody wants to know.
    let _ = events.send(LinkEvent::Ended(end)).await;
}

struct Conversation {
    /// Scheme, host and path.
    relay: String,
    key: Option<SecretString>,
    from: Option<IpAddr>,
    socket: Socket,
    events: mpsc::Sender<LinkEvent>,
    commands: mpsc::Receiver<Command>,
    surprises: u32,
}

impl Conversation {
    /// Speaks and listens until one side ends it. May be dropped at any point.
    async fn talk(&mut self) -> LinkEnd {
        debug!(relay = self.relay, "relay link is open");
        let mut event = Some(LinkEvent::Opened { from: self.from });
        loop {
            if let Some(event) = event.take()
                && self.events.send(event).await.is_err()
            {
                return failure::hung_up(&self.relay);
            }
            tokio::select! {
                biased;
                command = self.commands.recv() => {
                    let Some(command) = command else {
                        return failure::hung_up(&self.relay);
                    };
                    if let Err(error) = self.socket.send(command.into()).await {
                        return failure::of_link(&self.relay, error);
                    }
                }
                received = self.socket.next() => match received {
                    Some(Ok(Message::Close(frame))) => {
                        // The answer to a close frame is queued, and goes out with the next flush. RFC 6455, section 5.5.1.
                        let _ = tokio::time::timeout(LEAVE_LIMIT, self.socket.flush()).await;
                        return self.closed(frame);
                    }
                    Some(Ok(message)) => event = Some(self.heard(&message)),
                    Some(Err(error)) => return failure::of_link(&self.relay, error),
                    None => return self.closed(None),
                }
            }
        }
    }

    fn heard(&mut self, message: &Message) -> LinkEvent {
        match message {
            Message::Text(text) => match FromRelay::parse(text) {
                Ok(message) if self.names_viewer_after_key(&message) => {
                    self.surprise(&"it names a viewer after the API key");
                }
                Ok(message) => return LinkEvent::Text(self.without_key(message)),
                Err(error) => self.surprise(&error),
            },
            Message::Binary(data) => self.surprise(&format_args!(
                "binary message of {} bytes when expecting text",
                data.len()
            )),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
        LinkEvent::Heard
    }

    /// A viewer's name is in every log line about it, and cannot be another one than the relay's.
    fn names_viewer_after_key(&self, message: &FromRelay) -> bool {
        let (Some(key), Some(name)) = (&self.key, message.viewer().and_then(ViewerId::as_wire))
        else {
            return false;
        };
        let key = key.expose_secret();
        let is_secret = |key: &str| name == key || (key.len() >= SECRET && name.contains(key));
        is_secret(key) || is_secret(&dial::encoded(key))
    }

    /// Some relays say which key they refuse, and an echo says it, too. What dashboards say is left as it is, and is in no log:
    /// they do not know the key, and one that is a word of SDP must not break every answer.
    fn without_key(&self, message: FromRelay) -> FromRelay {
        match message {
            FromRelay::Error {
                message,
                code,
                retry_after,
            } => FromRelay::Error {
                message: self.masked(&message),
                code: code.map(|code| self.masked(&code)),
                retry_after,
            },
            FromRelay::Unknown { kind } => FromRelay::Unknown {
                kind: self.masked(&kind),
            },
            spoken @ (FromRelay::Welcome { .. }
            | FromRelay::Ready { .. }
            | FromRelay::Answer { .. }
            | FromRelay::IceCandidate { .. }
            | FromRelay::Offer { .. }
            | FromRelay::Bye { .. }) => spoken,
        }
    }

    fn masked(&self, text: &str) -> String {
        match &self.key {
            Some(key) => text
                .replace(key.expose_secret(), "…")
                .replace(&dial::encoded(key.expose_secret()), "…"),
            None => text.to_owned(),
        }
    }

    fn surprise(&mut self, what: &dyn fmt::Display) {
        self.surprises = self.surprises.saturating_add(1);
        if self.surprises <= MOST_WARNINGS {
            warn!(
                relay = self.relay,
                "relay sent an unreadable message, dropped it: {what}"
            );
        } else {
            debug!(
                relay = self.relay,
                "relay sent an unreadable message, dropped it: {what}"
            );
        }
    }

    fn closed(&self, frame: Option<CloseFrame>) -> LinkEnd {
        let (code, reason) = match frame {
            Some(frame) => (Some(frame.code.into()), self.masked(&frame.reason)),
            None => (None, String::new()),
        };
        failure::closed(&self.relay, code, reason)
    }

    async fn take_leave(&mut self, reason: &'static str) -> LinkEnd {
        let frame = CloseFrame {
            code: CloseCode::Away,
            reason: reason.into(),
        };
        // What was said before the end, such as each viewer's `bye`, is still to go out.
        let farewell = async {
            while let Ok(command) = self.commands.try_recv() {
                self.socket.feed(command.into()).await?;
            }
            self.socket.close(Some(frame)).await
        };
        // A relay that takes no more is one to leave without a word.
        let _ = tokio::time::timeout(LEAVE_LIMIT, farewell).await;
        failure::hung_up(&self.relay)
    }
}

/// In bytes: a shorter key may well be a part of a name that has nothing to do with it.
const SECRET: usize = 8;

/// Name, TCP, TLS and WebSocket over LTE in a bad place take 4 s; beyond 10 s a new try is the better bet.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Messages on their way to the relay: offer and candidates of eight viewers at once. When full the newest is dropped: by
/// then the relay has stopped reading, and the session is about to notice.
const QUEUE: usize = 256;

/// For saying good-bye. The whole process has a second to end.
const LEAVE_LIMIT: Duration = Duration::from_millis(500);

/// Unreadable messages that are worth a warning; a relay that sends more is of one kind, and the journal is finite.
const MOST_WARNINGS: u32 = 10;
