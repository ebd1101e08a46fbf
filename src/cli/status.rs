//! `rovercast status`: asks the running service over its own HTTP port.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use url::Url;

use super::{Failure, answer};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// As JSON, as the service says it
    #[arg(long)]
    json: bool,
    /// Where the service listens: http.listen of its configuration
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    url: Url,
}

pub(super) fn run(args: &StatusArgs) -> Result<(), Failure> {
    let (host, port) = address(&args.url).map_err(Failure::Usage)?;
    let body = ask(&host, port).map_err(|error| {
        Failure::Work(format!(
            "cannot ask the service at {host}:{port}: {error} (is it running, and is this its http.listen?)"
        ))
    })?;
    let status: Value = serde_json::from_slice(&body).map_err(|error| {
        Failure::Work(format!(
            "cannot read the status from {host}:{port}: {error}"
        ))
    })?;
    if args.json {
        return answer(&format!("{status:#}\n"));
    }
    let mut text = String::new();
    write_lines(&mut text, 0, &status);
    answer(&text)
}

fn address(url: &Url) -> Result<(String, u16), String> {
    if url.scheme() != "http" {
        return Err(format!(
            "got the scheme \"{}\" when expecting http: the service answers in clear text",
            url.scheme()
        ));
    }
    match (url.host(), url.port_or_known_default()) {
        (Some(host), Some(port)) => Ok((host.to_string(), port)),
        (None, _) | (_, None) => Err("got no host when expecting http://HOST:PORT".to_owned()),
    }
}

/// Gets `/status`. HTTP/1.0, so that the answer ends with the connection and comes in one piece (RFC 9112, section 7.1).
fn ask(host: &str, port: u16) -> io::Result<Vec<u8>> {
    let mut stream = connect(host, port)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /status HTTP/1.0\r\nHost: {host}:{port}\r\nAccept: application/json\r\n\r\n"
    )?;
    let mut response = Vec::new();
    stream.take(LARGEST_STATUS).read_to_end(&mut response)?;
    body(&response)
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    // Brackets make an IPv6 address part of a URL, and are no part of it elsewhere.
    for address in (host.trim_matches(['[', ']']), port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn body(response: &[u8]) -> io::Result<Vec<u8>> {
    let refuse = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let end = response
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(|| refuse("got something that is not HTTP".to_owned()))?;
    let head = String::from_utf8_lossy(&response[..end]);
    let line = head.lines().next().unwrap_or_default();
    if line.split(' ').nth(1) != Some("200") {
        let shown = line.escape_debug();
        return Err(refuse(format!("got \"{shown}\" when expecting status 200")));
    }
    Ok(response[end + 4..].to_vec())
}

/// One line a value, indented like the JSON it comes from. Fields that the service learns later show without a change here.
fn write_lines(text: &mut String, depth: usize, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                write_field(text, depth, name, value);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                write_field(text, depth, &index.to_string(), item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&format!("{}{}\n", "  ".repeat(depth), word(value)));
        }
    }
}

fn write_field(text: &mut String, depth: usize, name: &str, value: &Value) {
    let indent = "  ".repeat(depth);
    let name = name.escape_debug();
    match value {
        Value::Object(fields) if fields.is_empty() => {
            text.push_str(&format!("{indent}{name}: none\n"));
        }
        Value::Array(items) if items.is_empty() => {
            text.push_str(&format!("{indent}{name}: none\n"));
        }
        Value::Object(_) | Value::Array(_) => {
            text.push_str(&format!("{indent}{name}:\n"));
            write_lines(text, depth + 1, value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&format!("{indent}{name}: {}\n", word(value)));
        }
    }
}

/// Control characters from a stranger's answer must not reach the terminal.
fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.escape_debug().to_string(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) | Value::Array(_) => value.to_string(),
    }
}

/// The service answers out of memory: what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sixteen cameras with 256 viewers each stay below it.
const LARGEST_STATUS: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_shown_line_by_line() {
        let status = serde_json::json!({
            "robot": "rover-7",
            "cameras": [{ "name": "front", "viewers": 2, "error": null }],
            "warnings": [],
        });
        let mut text = String::new();

        write_lines(&mut text, 0, &status);

        assert_eq!(
            text,
            "cameras:\n  0:\n    error: -\n    name: front\n    viewers: 2\nrobot: rover-7\nwarnings: none\n"
        );
    }

    #[test]
    fn an_answer_that_is_no_status_is_told_as_it_is() {
        assert_eq!(body(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}").unwrap(), b"{}");
        assert_eq!(
            body(b"HTTP/1.0 404 Not Found\r\n\r\n")
                .unwrap_err()
                .to_string(),
            "got \"HTTP/1.0 404 Not Found\" when expecting status 200"
        );
        assert_eq!(
            body(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap_err().to_string(),
            "got something that is not HTTP"
        );
    }

    #[test]
    fn what_a_stranger_answers_cannot_drive_the_terminal() {
        assert_eq!(word(&Value::from("\u{1b}[2J")), "\\u{1b}[2J");
    }
}
