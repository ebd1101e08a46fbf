//! Why a connection to the relay ended, and what its other side is told.

use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Utf8Bytes};

use super::super::rooms::Departure;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum End {
    /// The other side closed it.
    Closed,
    Lost,
    Silent,
    TooFast,
    TooLarge,
    NotText,
    BrokeProtocol,
    DoesNotRead,
    /// The rooms closed it.
    Dismissed {
        code: u16,
        reason: &'static str,
    },
    ShuttingDown,
}

impl End {
    pub(super) fn departure(self) -> Departure {
        match self {
            Self::Closed => Departure::Closed,
            Self::Lost
            | Self::Silent
            | Self::TooFast
            | Self::TooLarge
            | Self::NotText
            | Self::BrokeProtocol
            | Self::DoesNotRead
            | Self::Dismissed { .. }
            | Self::ShuttingDown => Departure::Lost,
        }
    }

    /// Whether the relay refused to go on with it.
    pub(in super::super) fn is_rejection(self) -> bool {
        match self {
            Self::TooFast
            | Self::TooLarge
            | Self::NotText
            | Self::BrokeProtocol
            | Self::Dismissed { .. } => true,
            // The switchboard, which cut it, has counted it.
            Self::DoesNotRead => false,
            Self::Closed | Self::Lost | Self::Silent | Self::ShuttingDown => false,
        }
    }

    pub(super) fn close_frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::TooFast => (CloseCode::Policy, "too many messages"),
            Self::TooLarge => (CloseCode::Size, "message too large"),
            Self::NotText => (CloseCode::Invalid, "text is not UTF-8"),
            Self::BrokeProtocol => (CloseCode::Protocol, "not a WebSocket"),
            Self::Silent => (CloseCode::Policy, "silent"),
            Self::DoesNotRead => (CloseCode::Policy, "does not read"),
            Self::Dismissed { code, reason } => (code.into(), reason),
            Self::ShuttingDown => (CloseCode::Away, "relay is shutting down"),
            Self::Closed | Self::Lost => return None,
        };
        Some(CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        })
    }
}

impl From<&WebSocketError> for End {
    fn from(error: &WebSocketError) -> Self {
        match error {
            WebSocketError::Capacity(_) => Self::TooLarge,
            WebSocketError::Utf8(_) => Self::NotText,
            WebSocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Lost,
            WebSocketError::Protocol(_) | WebSocketError::AttackAttempt => Self::BrokeProtocol,
            WebSocketError::ConnectionClosed
            | WebSocketError::AlreadyClosed
            | WebSocketError::Io(_)
            | WebSocketError::Tls(_)
            | WebSocketError::WriteBufferFull(_)
            | WebSocketError::Url(_)
            | WebSocketError::Http(_)
            | WebSocketError::HttpFormat(_) => Self::Lost,
        }
    }
}
