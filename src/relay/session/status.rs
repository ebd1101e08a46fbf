//! What is known of the link: whether it stands, and why it does not.

use std::fmt;
use std::time::{Duration, Instant};

/// How a link ended, or why it never stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEnd {
    pub class: LinkFailure,
    /// What we tried, on what, and what we got; without secrets.
    pub message: String,
    /// When the relay wants us back.
    pub retry_after: Option<Duration>,
}

/// The kinds of failure that want different answers from a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkFailure {
    NameNotFound,
    Refused,
    TimedOut,
    /// No route, network down, connection reset: the way to the relay is broken.
    Unreachable,
    Tls,
    /// The proxy does not give us a way to the relay.
    Proxy,
    /// HTTP 401 or 403, or the relay's error `unauthorized`: the key is wrong. Only a person can change that.
    Unauthorized,
    Http {
        status: u16,
    },
    NotAWebSocket,
    ClosedByRelay {
        /// RFC 6455, section 7.4; `None` when the relay hung up without a word.
        code: Option<u16>,
        reason: String,
    },
    Protocol,
    /// The relay answered no ping.
    Silent,
    /// We ended it ourselves.
    HungUp,
    /// A certificate, key or address of our own cannot be used.
    Settings,
}

impl LinkFailure {
    pub fn is_unauthorized(&self) -> bool {
        *self == Self::Unauthorized
    }
}

impl fmt::Display for LinkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameNotFound => f.write_str("name not found"),
            Self::Refused => f.write_str("connection refused"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::Tls => f.write_str("TLS failed"),
            Self::Proxy => f.write_str("refused by the proxy"),
            Self::Unauthorized => f.write_str("unauthorized"),
            Self::Http { status } => write!(f, "HTTP status {status}"),
            Self::NotAWebSocket => f.write_str("not a WebSocket"),
            Self::ClosedByRelay { code: None, .. } => f.write_str("closed by relay"),
            Self::ClosedByRelay {
                code: Some(code), ..
            } => write!(f, "closed by relay with code {code}"),
            Self::Protocol => f.write_str("protocol error"),
            Self::Silent => f.write_str("silent"),
            Self::HungUp => f.write_str("hung up"),
            Self::Settings => f.write_str("unusable settings"),
        }
    }
}

/// The link as `/status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    pub state: LinkState,
    /// The latest failure; forgotten when the link has stood for a stable time.
    pub trouble: Option<Trouble>,
}

impl LinkStatus {
    /// One line for the log.
    pub fn describe(&self, now: Instant) -> String {
        let state = match self.state {
            LinkState::Idle => "relay link is not started".to_owned(),
            LinkState::Waiting { until } => format!(
                "relay link is down, next try in {}",
                rounded(until.saturating_duration_since(now))
            ),
            LinkState::Dialing => "relay link is being dialed".to_owned(),
            LinkState::Connected { since } => {
                let stood = now.saturating_duration_since(since);
                if stood < WORTH_TELLING {
                    "relay link is up".to_owned()
                } else {
                    format!("relay link is up for {}", rounded(stood))
                }
            }
            LinkState::HangingUp => "relay link is being given up".to_owned(),
            LinkState::Closed => "relay link is closed".to_owned(),
        };
        let Some(trouble) = &self.trouble else {
            return state;
        };
        let Trouble {
            class,
            message,
            since,
            attempts,
        } = trouble;
        match self.state {
            LinkState::Connected { .. } => {
                format!(
                    "{state}; before that {class}{}: {message}",
                    repeated(*attempts)
                )
            }
            LinkState::Idle
            | LinkState::Dialing
            | LinkState::HangingUp
            | LinkState::Waiting { .. }
            | LinkState::Closed => {
                let lasted = now.saturating_duration_since(*since);
                if lasted < WORTH_TELLING {
                    return format!("{state}; {class}{}: {message}", repeated(*attempts));
                }
                let lasted = rounded(lasted);
                format!(
                    "{state}; {class} for {lasted}{}: {message}",
                    repeated(*attempts)
                )
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Idle,
    Dialing,
    Connected { since: Instant },
    HangingUp,
    Waiting { until: Instant },
    Closed,
}

/// A failure that repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub class: LinkFailure,
    /// The latest of this class.
    pub message: String,
    /// When this class began.
    pub since: Instant,
    /// How often in a row it was this class.
    pub attempts: u32,
}

fn repeated(attempts: u32) -> String {
    match attempts {
        0 | 1 => String::new(),
        more => format!(", {more} in a row"),
    }
}

/// What began so shortly before has just begun.
const WORTH_TELLING: Duration = Duration::from_millis(10);

/// Milliseconds while they matter, seconds after that.
fn rounded(duration: Duration) -> String {
    match duration {
        short if short < Duration::from_secs(10) => {
            format!("{:?}", Duration::from_millis(short.as_millis() as u64))
        }
        long => format!("{:?}", Duration::from_secs(long.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)] // a test's simulated time starts somewhere

    use super::*;

    #[test]
    fn person_on_call_reads_what_is_wrong_since_when_and_what_comes_next() {
        let now = Instant::now();
        let trouble = |attempts| {
            Some(Trouble {
                class: LinkFailure::Refused,
                message: "cannot reach wss://relay.example.com/: connection refused".into(),
                since: now,
                attempts,
            })
        };
        let mut status = LinkStatus {
            state: LinkState::Waiting {
                until: now + Duration::from_millis(4321),
            },
            trouble: trouble(1),
        };
        assert_eq!(
            status.describe(now),
            "relay link is down, next try in 4.321s; connection refused: \
             cannot reach wss://relay.example.com/: connection refused"
        );
        status.trouble = trouble(9);
        assert_eq!(
            status.describe(now + Duration::from_millis(1321)),
            "relay link is down, next try in 3s; connection refused for 1.321s, 9 in a row: \
             cannot reach wss://relay.example.com/: connection refused"
        );
        status.state = LinkState::Connected { since: now };
        assert_eq!(
            status.describe(now + Duration::from_secs(125)),
            "relay link is up for 125s; before that connection refused, 9 in a row: \
             cannot reach wss://relay.example.com/: connection refused"
        );
        status.trouble = None;
        assert_eq!(status.describe(now), "relay link is up");
    }
}
