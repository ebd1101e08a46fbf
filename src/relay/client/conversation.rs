//! One open WebSocket to the relay: writes what it is told to, reads what comes, and lets no word of the API key out.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tracing::{debug, warn};

use super::dial::{self, Dialed, Socket};
use super::{Command, LinkEnd, LinkEvent, failure};
use crate::relay::message::FromRelay;
use crate::viewer::ViewerId;

pub(super) struct Conversation {
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
    pub(super) fn new(
        relay: String,
        dialed: Dialed,
        events: mpsc::Sender<LinkEvent>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let Dialed { socket, key, from } = dialed;
        Self {
            relay,
            key,
            from,
            socket,
            events,
            commands,
            surprises: 0,
        }
    }

    /// Speaks and listens until one side ends it. May be dropped at any point.
    pub(super) async fn talk(&mut self) -> LinkEnd {
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
            | FromRelay::Bye { .. }
            | FromRelay::Link { .. }) => spoken,
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

    pub(super) async fn take_leave(&mut self, reason: &'static str) -> LinkEnd {
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

/// For saying good-bye. The whole process has a second to end.
const LEAVE_LIMIT: Duration = Duration::from_millis(500);

/// Unreadable messages that are worth a warning; a relay that sends more is of one kind, and the journal is finite.
const MOST_WARNINGS: u32 = 10;
