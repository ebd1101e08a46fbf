//! The link to the relay: one WebSocket, and one task for as long as it lives.
//!
//! It holds no policy. `relay::session` says when to dial, ping and hang up, and hears what became of it: every `dial` ends
//! in one [`LinkEvent::Ended`], within the connect deadline when the relay cannot be reached.

mod conversation;
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
use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tracing::{debug, warn};
use url::Url;

use self::conversation::Conversation;
use self::dial::shown;
pub use super::session::{LinkEnd, LinkFailure};
use crate::relay::message::{FromRelay, ToRelay};

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
        Ok(dialed) => {
            let mut conversation = Conversation::new(relay, dialed, events.clone(), commands);
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

/// Name, TCP, TLS and WebSocket over LTE in a bad place take 4 s; beyond 10 s a new try is the better bet.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Messages on their way to the relay: offer and candidates of eight viewers at once. When full the newest is dropped: by
/// then the relay has stopped reading, and the session is about to notice.
const QUEUE: usize = 256;
