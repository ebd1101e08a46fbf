//! HTTP CONNECT: a way out of networks where only a proxy has one. RFC 9110, section 9.3.6.

use std::io;

use data_encoding::BASE64;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use url::Url;

use super::dial::Target;
use super::{LinkEnd, LinkFailure, failure};

/// Asks the proxy at the other end of `stream` for a tunnel to `target`. Afterwards the stream is the target's.
pub(super) async fn ask<S>(
    stream: &mut S,
    target: &Target<'_>,
    login: Option<&SecretString>,
) -> Result<(), ProxyRefusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(login) = login {
        let login = BASE64.encode(login.expose_secret().as_bytes());
        request.push_str(&format!("Proxy-Authorization: Basic {login}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let head = read_head(stream).await?;
    match status(&head) {
        Some(200..=299) => Ok(()),
        Some(status) => Err(ProxyRefusal::Status(status)),
        None => Err(ProxyRefusal::NotHttp),
    }
}

/// Host and port: all of a proxy's URL that may be seen.
pub(super) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Byte by byte: what follows the head is the target's, and not ours to take.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, ProxyRefusal> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_HEAD {
            return Err(ProxyRefusal::NotHttp);
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

/// RFC 9112, section 4.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.strip_prefix(b"HTTP/1.")?;
    let digits = line.get(2..5)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Why there is no tunnel.
#[derive(Debug)]
pub(super) enum ProxyRefusal {
    Status(u16),
    NotHttp,
    Io(io::Error),
}

impl From<io::Error> for ProxyRefusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ProxyRefusal {
    pub(super) fn into_end(self, proxy: &str) -> LinkEnd {
        let message = match self {
            Self::Io(error) => return failure::of_connection(proxy, &error),
            Self::NotHttp => format!("{proxy} does not speak HTTP"),
            Self::Status(407) => {
                format!("{proxy} answered HTTP status 407: it wants a login (see proxy_login_file)")
            }
            Self::Status(status @ (403 | 405)) => {
                format!("{proxy} answered HTTP status {status}: it does not let us through")
            }
            Self::Status(status) => {
                format!("{proxy} answered HTTP status {status}: it cannot reach the relay")
            }
        };
        LinkEnd {
            class: LinkFailure::Proxy,
            message,
            retry_after: None,
        }
    }
}

/// Proxies say little; beyond this something else answers.
const LONGEST_HEAD: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read_and_nonsense_is_not() {
        assert_eq!(
            status(b"HTTP/1.1 200 Connection established\r\n\r\n"),
            Some(200)
        );
        assert_eq!(status(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        for nonsense in [
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            b"HTTP/1.",
            b"HTTP/1.1 \xff00",
            b"",
        ] {
            assert_eq!(status(nonsense), None, "{nonsense:?}");
        }
    }
}
