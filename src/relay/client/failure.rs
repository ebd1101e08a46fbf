//! What went wrong, in the words of the person who has to mend it.
#![allow(clippy::wildcard_enum_match_arm)] // errors of other crates: one without words of ours keeps its own
#![allow(clippy::disallowed_methods)] // reads the wall clock once for each failed dial: certificates and dates are about it

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::{AlertDescription, CertificateError};
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::http::{HeaderMap, Response, StatusCode, header};

use super::date::UtcSeconds;
use super::{LinkEnd, LinkFailure};

pub(super) fn hung_up(relay: &str) -> LinkEnd {
    end(LinkFailure::HungUp, format!("hung up on {relay}"))
}

pub(super) fn settings(relay: &str, why: &str) -> LinkEnd {
    end(LinkFailure::Settings, format!("cannot dial {relay}: {why}"))
}

pub(super) fn timed_out(relay: &str, step: &str, limit: Duration) -> LinkEnd {
    end(
        LinkFailure::TimedOut,
        format!("cannot connect to {relay}: no {step} within {limit:?}"),
    )
}

pub(super) fn name_not_found(relay: &str, host: &str, why: &str) -> LinkEnd {
    end(
        LinkFailure::NameNotFound,
        format!("cannot find the address of {host} for {relay}: {why}"),
    )
}

pub(super) fn closed(relay: &str, code: Option<u16>, reason: String) -> LinkEnd {
    let message = match code {
        None => format!("{relay} hung up without a close frame"),
        Some(code) if reason.is_empty() => format!("{relay} closed with code {code}"),
        Some(code) => format!("{relay} closed with code {code}: {}", reason.escape_debug()),
    };
    end(LinkFailure::ClosedByRelay { code, reason }, message)
}

/// TCP could not be connected, or TLS not agreed.
pub(super) fn of_connection(relay: &str, error: &io::Error) -> LinkEnd {
    if let Some(tls) = tls_error(error) {
        return of_tls(relay, tls);
    }
    let class = match error.kind() {
        io::ErrorKind::ConnectionRefused => LinkFailure::Refused,
        io::ErrorKind::TimedOut => LinkFailure::TimedOut,
        io::ErrorKind::UnexpectedEof => return closed(relay, None, String::new()),
        _ => LinkFailure::Unreachable,
    };
    end(class, format!("cannot reach {relay}: {error}"))
}

/// The WebSocket handshake failed.
pub(super) fn of_handshake(relay: &str, error: WsError) -> LinkEnd {
    match error {
        WsError::Io(error) => of_connection(relay, &error),
        WsError::Http(response) => of_response(relay, &response),
        WsError::Protocol(ProtocolError::HandshakeIncomplete) => closed(relay, None, String::new()),
        other => end(
            LinkFailure::NotAWebSocket,
            format!(
                "{relay} does not speak WebSocket: {}",
                in_lower_case(&other)
            ),
        ),
    }
}

/// An open link broke.
pub(super) fn of_link(relay: &str, error: WsError) -> LinkEnd {
    match error {
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            closed(relay, None, String::new())
        }
        WsError::Io(error) => of_connection(relay, &error),
        other => end(
            LinkFailure::Protocol,
            format!(
                "{relay} broke the WebSocket protocol: {}",
                in_lower_case(&other)
            ),
        ),
    }
}

/// Neither body nor `Location` is shown: both may repeat the URL with its key.
fn of_response(relay: &str, response: &Response<Option<Vec<u8>>>) -> LinkEnd {
    let status = response.status();
    let what = format!("{relay} answered HTTP status {status}");
    let (class, message) = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
            LinkFailure::Unauthorized,
            format!("{what}: it does not accept this robot's id or API key"),
        ),
        ok if ok.is_success() => (
            LinkFailure::NotAWebSocket,
            format!("{what} when expecting 101: there is a web page, and no relay, at this URL"),
        ),
        redirect if redirect.is_redirection() => (
            LinkFailure::Http {
                status: status.as_u16(),
            },
            format!("{what}: a key is not taken elsewhere, set the URL that it leads to"),
        ),
        _ => (
            LinkFailure::Http {
                status: status.as_u16(),
            },
            what,
        ),
    };
    LinkEnd {
        class,
        message,
        retry_after: retry_after(response.headers()),
    }
}

/// Seconds or a date; a date counts from the relay's own clock where it says so, because ours may be wrong.
/// RFC 9110, section 10.2.3.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let hint = text(header::RETRY_AFTER)?.trim();
    if let Ok(seconds) = hint.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = UtcSeconds::parse_http(hint)?;
    let now = text(header::DATE)
        .and_then(UtcSeconds::parse_http)
        .unwrap_or_else(this_machines_clock);
    Some(Duration::from_secs(then.0.saturating_sub(now.0)))
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn of_tls(relay: &str, error: &rustls::Error) -> LinkEnd {
    let clock = this_machines_clock();
    let why = match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => {
                "its certificate is not signed by an authority that we trust (see ca_file)"
                    .to_owned()
            }
            CertificateError::BadSignature => {
                "an authority of a trusted name, but with another key, signed its certificate (see ca_file)"
                    .to_owned()
            }
            CertificateError::NotValidForNameContext { presented, .. } => format!(
                "its certificate is for another host: {}",
                presented.join(", ")
            ),
            CertificateError::NotValidForName => "its certificate is for another host".to_owned(),
            CertificateError::ExpiredContext { not_after, .. } => format!(
                "its certificate expired at {}; this machine's clock says {clock}",
                UtcSeconds(not_after.as_secs())
            ),
            CertificateError::Expired => {
                format!("its certificate expired; this machine's clock says {clock}")
            }
            CertificateError::NotValidYetContext { not_before, .. } => format!(
                "its certificate is not valid before {}; this machine's clock says {clock}",
                UtcSeconds(not_before.as_secs())
            ),
            CertificateError::NotValidYet => {
                format!("its certificate is not valid yet; this machine's clock says {clock}")
            }
            other => format!("its certificate is not acceptable: {other}"),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a client certificate (see client_cert_file)".to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied),
        ) => format!("it does not accept our client certificate: {alert:?}"),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_) => {
            format!("it offers nothing that TLS 1.2 or later would: {error}")
        }
        rustls::Error::InvalidMessage(_) => {
            format!("it does not speak TLS at this port: {error}")
        }
        other => other.to_string(),
    };
    end(LinkFailure::Tls, format!("cannot trust {relay}: {why}"))
}

fn in_lower_case(error: &WsError) -> String {
    let text = error.to_string();
    match text.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_lowercase() + rest,
        None => text,
    }
}

fn this_machines_clock() -> UtcSeconds {
    // A clock before 1970 is shown as 1970: wrong either way, and seen to be.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UtcSeconds(since.unwrap_or_default().as_secs())
}

fn end(class: LinkFailure, message: String) -> LinkEnd {
    LinkEnd {
        class,
        message,
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(headers: &[(&'static str, &'static str)]) -> Option<Duration> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        retry_after(&map)
    }

    #[test]
    fn hint_is_read_in_seconds_or_as_a_date_of_the_relays_clock() {
        assert_eq!(hint(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(
            hint(&[
                ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT"),
            ]),
            Some(Duration::from_secs(23))
        );
        let past = [("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT")];
        assert_eq!(hint(&past), Some(Duration::ZERO));
        assert_eq!(hint(&[("retry-after", "soon")]), None);
        assert_eq!(hint(&[]), None);
    }

    #[test]
    fn reset_of_the_connection_is_not_a_refusal() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let end = of_connection("wss://relay.example.com/", &reset);
        assert_eq!(end.class, LinkFailure::Unreachable);
        assert_eq!(
            end.message,
            "cannot reach wss://relay.example.com/: connection reset"
        );
    }
}
