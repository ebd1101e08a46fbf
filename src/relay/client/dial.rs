//! From settings to an open WebSocket: files, name, TCP, TLS, HTTP upgrade, all within one deadline.
#![allow(clippy::disallowed_methods)] // a driver: reads the clock once for each dial

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use url::{Host, Url};

use super::{Auth, KeySource, LinkEnd, LinkSettings, failure, proxy, tcp, tls};
use crate::relay::message::MESSAGE_LIMIT;

pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

/// TCP, or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open WebSocket to the relay.
pub(super) struct Dialed {
    pub(super) socket: Socket,
    /// What opened it, to be kept out of logs.
    pub(super) key: Option<SecretString>,
    /// Our own address on it.
    pub(super) from: Option<IpAddr>,
}

pub(super) async fn dial(settings: &Arc<LinkSettings>) -> Result<Dialed, LinkEnd> {
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
    let target = Target::of(&settings.url)
        .ok_or_else(|| failure::settings(&dial.relay, "the URL has no host"))?;
    let stream = match &settings.proxy {
        None => dial.connect(&target, &dial.relay).await?,
        Some(proxy) => dial.tunnel(&proxy.url, files.proxy_login, &target).await?,
    };
    let from = stream.local_addr().ok().map(|address| address.ip());
    let stream = match files.tls {
        None => Box::new(stream) as Box<dyn Stream>,
        Some(tls) => dial.encrypt(stream, &target, tls).await?,
    };
    let socket = dial.upgrade(request, stream).await?;
    Ok(Dialed {
        socket,
        key: files.key,
        from,
    })
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

/// A host and its port.
pub(super) struct Target<'u> {
    pub(super) host: Host<&'u str>,
    pub(super) port: u16,
}

impl<'u> Target<'u> {
    fn of(url: &'u Url) -> Option<Self> {
        let port = match url.scheme() {
            "https" | "wss" => 443,
            _ => 80,
        };
        Some(Self {
            host: url.host()?,
            port: url.port().unwrap_or(port),
        })
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What the settings name and the disk holds.
struct Files {
    key: Option<SecretString>,
    proxy_login: Option<SecretString>,
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
            let key = settings.api_key.as_ref();
            let login = settings
                .proxy
                .as_ref()
                .and_then(|proxy| proxy.login.as_ref());
            Ok(Self {
                key: key.map(|key| secret("API key", key)).transpose()?,
                proxy_login: login
                    .map(|login| secret("proxy login", login))
                    .transpose()?,
                tls,
            })
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| format!("cannot read the files of the settings: {error}"))?
    }
}

fn secret(what: &str, source: &KeySource) -> Result<SecretString, String> {
    let file = match source {
        KeySource::Secret(secret) if secret.expose_secret().is_empty() => {
            return Err(format!("got an empty {what}"));
        }
        KeySource::Secret(secret) => return Ok(secret.clone()),
        KeySource::File(file) => file,
    };
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read the {what} in {}: {error}", file.display()))?;
    match text.trim() {
        "" => Err(format!("got an empty {what} in {}", file.display())),
        secret => Ok(secret.into()),
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
    /// TCP to `target`, which error messages call `name`.
    async fn connect(&self, target: &Target<'_>, name: &str) -> Result<TcpStream, LinkEnd> {
        let addresses = self.addresses(target, name).await?;
        self.within("TCP connection", tcp::connect(addresses))
            .await?
            .map_err(|error| failure::of_connection(name, &error))
    }

    /// TCP to `target` through a proxy. The proxy looks up the name, so that the robot needs no DNS for the outside.
    async fn tunnel(
        &self,
        proxy: &Url,
        login: Option<SecretString>,
        target: &Target<'_>,
    ) -> Result<TcpStream, LinkEnd> {
        let name = format!("proxy {} to {}", proxy::shown(proxy), self.relay);
        let to_proxy = Target::of(proxy)
            .ok_or_else(|| failure::settings(&name, "the proxy's URL has no host"))?;
        let mut stream = self.connect(&to_proxy, &name).await?;
        self.within(
            "answer of the proxy",
            proxy::ask(&mut stream, target, login.as_ref()),
        )
        .await?
        .map_err(|refusal| refusal.into_end(&name))?;
        Ok(stream)
    }

    async fn encrypt(
        &self,
        stream: TcpStream,
        target: &Target<'_>,
        tls: ClientConfig,
    ) -> Result<Box<dyn Stream>, LinkEnd> {
        let name = match target.host {
            Host::Domain(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| failure::settings(&self.relay, "the host is no DNS name"))?,
            Host::Ipv4(address) => ServerName::from(IpAddr::from(address)),
            Host::Ipv6(address) => ServerName::from(IpAddr::from(address)),
        };
        let connector = TlsConnector::from(Arc::new(tls));
        let stream = self
            .within("TLS handshake", connector.connect(name, stream))
            .await?
            .map_err(|error| failure::of_connection(&self.relay, &error))?;
        Ok(Box::new(stream))
    }

    async fn addresses(&self, target: &Target<'_>, of: &str) -> Result<Vec<SocketAddr>, LinkEnd> {
        let port = target.port;
        let name = match target.host {
            Host::Ipv4(address) => return Ok(vec![(address, port).into()]),
            Host::Ipv6(address) => return Ok(vec![(address, port).into()]),
            Host::Domain(name) => name,
        };
        let found: Vec<_> = self
            .within("answer of the name server", lookup_host((name, port)))
            .await?
            .map_err(|error| failure::name_not_found(of, name, &error.to_string()))?
            .collect();
        if found.is_empty() {
            return Err(failure::name_not_found(of, name, "it has none"));
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

/// Everything but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const OUR_NAME: &str = concat!("rovercast/", env!("CARGO_PKG_VERSION"));

/// A relay's messages have some kilobytes; a robot has many links' worth of better uses for the default 128 KiB.
const READ_BUFFER: usize = 8 * 1024;

/// Unsent bytes in user space; beyond that the relay has not read for long, and the link ends.
const WRITE_BUFFER: usize = 1024 * 1024;

/// A message over [`MESSAGE_LIMIT`] is dropped and the link goes on. A WebSocket cannot skip what it has not read, so that
/// it ends the link at four times the limit: the memory that one message can take from us.
const LARGEST_SURVIVED: usize = 4 * MESSAGE_LIMIT;

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
}
