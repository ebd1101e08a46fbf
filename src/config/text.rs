//! The small languages of the configuration: devices, secrets, addresses. Each says what it got and what it expected.

use std::net::SocketAddr;
use std::path::PathBuf;

use url::{Host, Url};

use crate::document::quoted;

/// The path of a device: below `/dev`, and not out of it again.
pub(super) fn device(text: &str) -> Option<PathBuf> {
    let name = text.strip_prefix("/dev/")?;
    let is_fine =
        !name.is_empty() && !text.contains('\0') && name.split('/').all(|part| part != "..");
    is_fine.then(|| PathBuf::from(text))
}

/// The address of a relay as a WebSocket URL. Whatever is secret in a wrong one stays out of the message.
pub(super) fn relay_url(text: &str) -> Result<Url, String> {
    const EXPECTED: &str = "an address such as \"wss://relay.example.com/webrtc-relay\"";
    let mut url = Url::parse(text)
        .map_err(|error| format!("got no URL ({error}) when expecting {EXPECTED}"))?;
    let websocket = match url.scheme() {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        scheme => {
            return Err(format!(
                "got the scheme \"{scheme}\" when expecting one of wss, ws, https, http"
            ));
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "got a user name or password in the address: put the key into a file and name it in relay.api_key_file"
                .to_owned(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(
            "got \"?\" or \"#\" in the address: type, robot_id and camera_id are added when dialling, \
             and the key belongs into a file named by relay.api_key_file"
                .to_owned(),
        );
    }
    // Between web schemes the change always succeeds; what follows needs no host check, since they all require one.
    url.set_scheme(websocket)
        .map_err(|()| format!("got \"{}\" when expecting {EXPECTED}", url.scheme()))?;
    Ok(url)
}

/// The address of an HTTP proxy. A password in a wrong one stays out of the message.
pub(super) fn proxy_url(text: &str) -> Result<Url, String> {
    const EXPECTED: &str = "an address such as \"http://proxy.example.com:3128\"";
    let url = Url::parse(text)
        .map_err(|error| format!("got no URL ({error}) when expecting {EXPECTED}"))?;
    if url.scheme() != "http" {
        return Err(format!(
            "got the scheme \"{}\" when expecting http: the way to the proxy is not encrypted, what goes through it is",
            url.scheme()
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "got a user name or password in the address: put user:password into a file and name it in relay.proxy_login_file"
                .to_owned(),
        );
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "got more than host and port when expecting {EXPECTED}"
        ));
    }
    Ok(url)
}

/// True when what is sent there leaves this machine.
pub(super) fn leaves_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name != "localhost",
        Some(Host::Ipv4(address)) => !address.is_loopback(),
        Some(Host::Ipv6(address)) => !address.is_loopback(),
        None => true,
    }
}

/// A STUN or TURN server, RFC 7064 and RFC 7065.
pub fn ice_url(text: &str) -> Result<String, String> {
    let refuse = || {
        format!(
            "got {} when expecting an ICE server such as \"stun:stun.example.com:3478\" or \"turn:turn.example.com:3478\"",
            quoted(text)
        )
    };
    let (scheme, rest) = text.split_once(':').ok_or_else(refuse)?;
    let (address, query) = match rest.split_once('?') {
        Some((address, query)) => (address, Some(query)),
        None => (rest, None),
    };
    match scheme {
        "stun" | "turn" => {}
        "stuns" | "turns" => return Err(udp_only(text)),
        _ => return Err(refuse()),
    }
    match query {
        None | Some("transport=udp") => {}
        Some("transport=tcp") => return Err(udp_only(text)),
        Some(_) => return Err(refuse()),
    }
    let (host, port) = match address.rsplit_once(':') {
        // The colons of an address in brackets are not the one before a port.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (address, None),
    };
    let port_is_fine = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    if !port_is_fine || host.contains(['/', '@']) || Host::parse(host).is_err() {
        return Err(refuse());
    }
    Ok(text.to_owned())
}

fn udp_only(text: &str) -> String {
    format!(
        "got {}, which is spoken over TCP or TLS: rovercast speaks STUN and TURN over UDP only (\"stun:\", \"turn:\")",
        quoted(text)
    )
}

/// An address to listen on, or `off`.
pub(super) fn listen(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        format!(
            "got {} when expecting an address and port such as \"127.0.0.1:8081\", or \"off\"",
            quoted(text)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ice_servers_are_read_as_browsers_read_them() {
        for text in [
            "stun:stun.example.com",
            "stun:192.0.2.1:3478",
            "turn:turn.example.com:3478?transport=udp",
            "turn:[2001:db8::1]:3478",
            "stun:[2001:db8::1]",
        ] {
            assert_eq!(ice_url(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "stun:",
            "stun.example.com",
            "stun://stun.example.com",
            "stun:host:0",
            "stun:host:port",
            "stun:user@host",
            "turn:host?transport=sctp",
            "turn:[2001:db8::1",
            "http://host",
        ] {
            assert!(ice_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn proxy_is_a_host_and_a_port_and_keeps_no_secret() {
        for text in ["http://proxy.example.com:3128", "http://[2001:db8::1]"] {
            assert!(proxy_url(text).is_ok(), "{text}");
        }
        for text in [
            "proxy:3128",
            "https://proxy",
            "socks5://proxy",
            "http://proxy/path",
            "http://robot:hunter2@proxy:3128",
        ] {
            let refusal = proxy_url(text).unwrap_err();
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }

    #[test]
    fn web_addresses_of_a_relay_become_websocket_addresses() {
        let url = |text| relay_url(text).map(String::from);

        assert_eq!(url("https://r.example/x"), Ok("wss://r.example/x".into()));
        assert_eq!(url("ws://[::1]:8080"), Ok("ws://[::1]:8080/".into()));
        assert!(!leaves_this_machine(&relay_url("ws://[::1]:8080").unwrap()));
        assert!(leaves_this_machine(&relay_url("ws://10.0.0.1").unwrap()));
    }
}
