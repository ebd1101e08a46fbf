//! From settings to an open WebSocket: files, name, TCP, TLS, HTTP upgrade, all within one deadline.
#![allow(clippy::disallowed_methods)] // a driver: reads the clock once for each dial

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::net::sockopt;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use url::{Host, Url};

use super::{Auth, KeySource, LinkEnd, LinkSettings, failure, tls};
use crate::relay::message::MESSAGE_LIMIT;

pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

/// TCP, or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens a WebSocket to the relay; also returns the key that it took, so that it can be kept out of logs.
pub(super) async fn dial(
    settings: &Arc<LinkSettings>,
) -> Result<(Socket, Option<SecretString>), LinkEnd> {
    let dial = Dial {
        relay: shown(&settings.url),
        deadline: Instant::now() + settings.connect_deadline,
        limit: settings.connect_deadline,
    };
    let files = Files::read(Arc::clone(settings));
    let files = dial
        .within("answer of the file system", files)
        .await?
        .map_err(|why| failure::settings(&dial.relay, &why))?;
    let request = request(settings, files.key.as_ref())
        .map_err(|why| failure::settings(&dial.relay, &why))?;
    let stream = dial.connect(&settings.url, files.tls).await?;
    let socket = dial.upgrade(request, stream).await?;
    Ok((socket, files.key))
}

/// Scheme, host and path: all of a relay's URL that may be seen.
pub(super) fn shown(url: &Url) -> String {
    let scheme = match url.scheme() {
        "https" | "wss" => "wss",
        _ => "ws",
    };
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{scheme}://{host}:{port}{}", url.path()),
        None => format!("{scheme}://{host}{}", url.path()),
    }
}

pub(super) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}

/// What the settings name and the disk holds.
struct Files {
    key: Option<SecretString>,
    /// `None` for plain `ws`.
    tls: Option<ClientConfig>,
}

impl Files {
    async fn read(settings: Arc<LinkSettings>) -> Result<Self, String> {
        let read = move || {
            let tls = match settings.url.scheme() {
                "wss" | "https" => Some(tls::configure(&settings)?),
                "ws" | "http" => None,
                other => {
                    return Err(format!(
                        "got scheme \"{other}\" when expecting wss, ws, https or http"
                    ));
                }
            };
            let key = match &settings.api_key {
                None => None,
                Some(KeySource::Secret(key)) if key.expose_secret().is_empty() => {
                    return Err("got an empty API key".to_owned());
                }
                Some(KeySource::Secret(key)) => Some(key.clone()),
                Some(KeySource::File(file)) => Some(read_key(file)?),
            };
            Ok(Self { key, tls })
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| format!("cannot read the files of the settings: {error}"))?
    }
}

fn read_key(file: &Path) -> Result<SecretString, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read the API key in {}: {error}", file.display()))?;
    match text.trim() {
        "" => Err(format!("got an empty API key in {}", file.display())),
        key => Ok(key.into()),
    }
}

/// `{url}?type=robot&robot_id={id}&api_key={key}[&camera_id={camera}]`
fn request(settings: &LinkSettings, key: Option<&SecretString>) -> Result<Request<()>, String> {
    let mut target = shown(&settings.url);
    target.push('?');
    if let Some(query) = settings.url.query().filter(|query| !query.is_empty()) {
        target.push_str(query);
        target.push('&');
    }
    target.push_str("type=robot&robot_id=");
    target.push_str(&encoded(&settings.robot_id));
    if let (Auth::Query, Some(key)) = (settings.auth, key) {
        target.push_str("&api_key=");
        target.push_str(&encoded(key.expose_secret()));
    }
    if let Some(camera) = &settings.camera_id {
        target.push_str("&camera_id=");
        target.push_str(&encoded(camera));
    }
    // The error's text is left out: it could quote the URL.
    let mut request = target
        .into_client_request()
        .map_err(|_| "this URL cannot stand in an HTTP request".to_owned())?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(OUR_NAME));
    if let (Auth::Bearer, Some(key)) = (settings.auth, key) {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))
            .map_err(|_| "the API key has characters that no HTTP header may have".to_owned())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(request)
}

/// One attempt, and the time by which it must have come to something.
struct Dial {
    relay: String,
    deadline: Instant,
    limit: Duration,
}

impl Dial {
    async fn connect(
        &self,
        url: &Url,
        tls: Option<ClientConfig>,
    ) -> Result<Box<dyn Stream>, LinkEnd> {
        let host = url
            .host()
            .ok_or_else(|| failure::settings(&self.relay, "the URL has no host"))?;
        let port = url.port().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let addresses = self.addresses(&host, port).await?;
        let stream = self
            .within("TCP connection", race(addresses))
            .await?
            .and_then(|stream| keep_lively(&stream).map(|()| stream))
            .map_err(|error| failure::of_connection(&self.relay, &error))?;
        let Some(tls) = tls else {
            return Ok(Box::new(stream));
        };
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| failure::settings(&self.relay, "the host is no DNS name"))?,
            Host::Ipv4(address) => ServerName::from(std::net::IpAddr::from(address)),
            Host::Ipv6(address) => ServerName::from(std::net::IpAddr::from(address)),
        };
        let connector = TlsConnector::from(Arc::new(tls));
        let stream = self
            .within("TLS handshake", connector.connect(name, stream))
            .await?
            .map_err(|error| failure::of_connection(&self.relay, &error))?;
        Ok(Box::new(stream))
    }

    async fn addresses(&self, host: &Host<&str>, port: u16) -> Result<Vec<SocketAddr>, LinkEnd> {
        let name = match *host {
            Host::Ipv4(address) => return Ok(vec![(address, port).into()]),
            Host::Ipv6(address) => return Ok(vec![(address, port).into()]),
            Host::Domain(name) => name,
        };
        let found: Vec<_> = self
            .within("answer of the name server", lookup_host((name, port)))
            .await?
            .map_err(|error| failure::name_not_found(&self.relay, name, &error.to_string()))?
            .collect();
        if found.is_empty() {
            return Err(failure::name_not_found(&self.relay, name, "it has none"));
        }
        Ok(found)
    }

    async fn upgrade(
        &self,
        request: Request<()>,
        stream: Box<dyn Stream>,
    ) -> Result<Socket, LinkEnd> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(LARGEST_SURVIVED))
            .max_frame_size(Some(LARGEST_SURVIVED));
        let upgrade = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        let (socket, _) = self
            .within("WebSocket handshake", Box::pin(upgrade))
            .await?
            .map_err(|error| failure::of_handshake(&self.relay, error))?;
        Ok(socket)
    }

    async fn within<T>(&self, step: &str, future: impl Future<Output = T>) -> Result<T, LinkEnd> {
        timeout_at(self.deadline, future)
            .await
            .map_err(|_| failure::timed_out(&self.relay, step, self.limit))
    }
}

/// Connects to the address that answers first, each next one tried a little later or when all before it failed
/// (happy eyeballs, RFC 8305). A host with a broken IPv6 costs a quarter of a second, not a minute.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = interleaved(addresses);
    let mut tries = FuturesUnordered::new();
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = waiting.pop_front() {
            tries.push(TcpStream::connect(address));
        }
        tokio::select! {
            tried = tries.next() => match tried {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => last_error = error,
                None => return Err(last_error),
            },
            () = sleep(STAGGER), if !waiting.is_empty() => {}
        }
    }
}

/// IPv6 first, then by turns. RFC 8305, section 4.
fn interleaved(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut order = VecDeque::new();
    while order.len() < MOST_ADDRESSES {
        let pair = [six.next(), four.next()];
        if pair == [None, None] {
            break;
        }
        order.extend(pair.into_iter().flatten());
    }
    order
}

/// A message is small and urgent, and a peer that vanished is to be noticed also while we write.
fn keep_lively(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_tcp_nodelay(stream, true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT_MS)?;
    Ok(())
}

/// Everything but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const OUR_NAME: &str = concat!("rovercast/", env!("CARGO_PKG_VERSION"));

/// RFC 8305, section 5: the recommended connection attempt delay.
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses tried in one dial; a name with more is a load balancer's, and its next answer has others.
const MOST_ADDRESSES: usize = 8;

/// A relay's messages have some kilobytes; a robot has many links' worth of better uses for the default 128 KiB.
const READ_BUFFER: usize = 8 * 1024;

/// Unsent bytes in user space; beyond that the relay has not read for long, and the link ends.
const WRITE_BUFFER: usize = 1024 * 1024;

/// A message over [`MESSAGE_LIMIT`] is dropped and the link goes on. A WebSocket cannot skip what it has not read, so that
/// it ends the link at four times the limit: the memory that one message can take from us.
const LARGEST_SURVIVED: usize = 4 * MESSAGE_LIMIT;

/// The kernel's own checks, for when the WebSocket pings cannot be written either: a link is dead after about 30 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
const USER_TIMEOUT_MS: u32 = 30_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> LinkSettings {
        LinkSettings {
            api_key: Some(KeySource::Secret("k&y=1 ü".into())),
            ..LinkSettings::new(url.parse().unwrap(), "rover 7/ü")
        }
    }

    fn target(settings: &LinkSettings) -> String {
        let Some(KeySource::Secret(key)) = &settings.api_key else {
            panic!("the test's settings have a key");
        };
        request(settings, Some(key)).unwrap().uri().to_string()
    }

    #[test]
    fn url_has_the_seeds_form_with_every_value_encoded() {
        let mut settings = settings("https://relay.example.com/webrtc-relay");
        assert_eq!(
            target(&settings),
            "wss://relay.example.com/webrtc-relay?type=robot&robot_id=rover%207%2F%C3%BC&api_key=k%26y%3D1%20%C3%BC"
        );
        settings.camera_id = Some("front&back".into());
        assert!(target(&settings).ends_with("%C3%BC&camera_id=front%26back"));
    }

    #[test]
    fn query_of_the_url_is_kept_and_its_user_is_not_sent_along() {
        let settings = settings("http://user:secret@relay.example.com:8080/?fleet=a");
        assert!(
            target(&settings).starts_with("ws://relay.example.com:8080/?fleet=a&type=robot&"),
            "{}",
            target(&settings)
        );
    }

    #[test]
    fn bearer_key_is_in_a_sensitive_header_and_not_in_the_url() {
        let mut settings = settings("wss://relay.example.com/");
        settings.auth = Auth::Bearer;
        let key = SecretString::from("swordfish");
        let request = request(&settings, Some(&key)).unwrap();
        let header = &request.headers()[AUTHORIZATION];
        assert_eq!(header, "Bearer swordfish");
        assert!(header.is_sensitive());
        assert!(!format!("{request:?}").contains("swordfish"));
    }

    #[test]
    fn key_stays_out_of_debug_output() {
        let settings = settings("wss://user:hunter2@relay.example.com/?token=hunter2");
        let shown = format!("{settings:?}");
        assert!(
            !shown.contains("k&y") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn refused_address_gives_way_to_the_next() {
        let closed = tokio::net::TcpListener::bind("[::1]:0").await;
        let closed = closed.and_then(|listener| listener.local_addr());
        let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = relay.local_addr().unwrap();
        // A machine without IPv6 refuses the documentation's address as quickly.
        let closed = closed.unwrap_or_else(|_| "[2001:db8::1]:9".parse().unwrap());
        let stream = race(vec![open, closed]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);

        let refused = race(vec![closed]).await.unwrap_err();
        let end = failure::of_connection("ws://relay.example.com/", &refused);
        assert_ne!(end.class, crate::relay::client::LinkFailure::TimedOut);
    }

    #[test]
    fn addresses_are_tried_in_turns_beginning_with_ipv6() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let order = interleaved(vec![
            parse("192.0.2.1:1"),
            parse("192.0.2.2:1"),
            parse("[2001:db8::1]:1"),
        ]);
        assert_eq!(
            order,
            [
                parse("[2001:db8::1]:1"),
                parse("192.0.2.1:1"),
                parse("192.0.2.2:1")
            ]
        );
    }
}
