//! HTTP/1.1 for tests: one request, one connection, small answers of known length.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Asks for a page.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    request(address, "GET", path, "")
}

/// Sends a request with a JSON body, which may be empty.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    read(BufReader::new(stream))
}

fn read(mut stream: impl BufRead) -> io::Result<Response> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| io::Error::other(format!("got {line:?} when expecting an HTTP status")))?;
    let mut length = None;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
    let mut body = String::new();
    stream
        .take(length.unwrap_or(u64::MAX))
        .read_to_string(&mut body)?;
    Ok(Response { status, body })
}

/// All numbers of `/metrics` at one moment.
#[derive(Debug)]
pub(crate) struct Metrics(String);

impl Metrics {
    pub(crate) fn read(address: SocketAddr) -> Self {
        let response = get(address, "/metrics").expect("/metrics answers");
        assert_eq!(response.status, 200, "/metrics said {}", response.body);
        Self(response.body)
    }

    /// The sum of one metric over all cameras.
    pub(crate) fn value(&self, name: &str) -> f64 {
        let values: Vec<f64> = self.samples(name).map(|(_, value)| value).collect();
        assert!(!values.is_empty(), "no {name} in /metrics:\n{}", self.0);
        values.iter().sum()
    }

    /// Labels and value of each sample of `name`.
    pub(crate) fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(labelled) => labelled.split_once('}')?,
                None => ("", rest.starts_with(' ').then_some(rest)?),
            };
            Some((labels, value.trim().parse().ok()?))
        })
    }
}

/// Chromium takes seconds to start on a busy machine; nothing else here takes long.
const PATIENCE: Duration = Duration::from_secs(60);
