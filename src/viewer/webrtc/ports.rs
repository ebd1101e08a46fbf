//! Which sockets a connection binds: on every address of this machine the same port, out of a range where there is one.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::vec;

use super::PeerSettings;

/// Resolved anew at each binding, so that a port that somebody took in the meantime is not asked for again.
#[derive(Debug)]
pub(super) struct Binding {
    ports: Option<(u16, u16)>,
    loopback: bool,
}

impl Binding {
    pub(super) fn new(settings: &PeerSettings) -> Self {
        Self {
            ports: settings.udp_ports,
            loopback: settings.loopback,
        }
    }

    fn port(&self) -> io::Result<u16> {
        /// Viewers who come at once look at different ports first.
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let Some((first, last)) = self.ports else {
            return Ok(0);
        };
        let start = NEXT.fetch_add(1, Ordering::Relaxed);
        let ports = u32::from(last - first) + 1;
        let port = |offset: u32| {
            let offset = (u32::from(start) + offset) % ports;
            first.saturating_add(u16::try_from(offset).unwrap_or(u16::MAX))
        };
        (0..ports)
            .map(port)
            .find(|port| is_free(*port))
            .ok_or_else(|| {
                let told = format!("all UDP ports from {first} to {last} are in use");
                io::Error::new(io::ErrorKind::AddrInUse, told)
            })
    }
}

impl ToSocketAddrs for Binding {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let port = self.port()?;
        // The crate turns each wildcard into one socket an interface address.
        let mut addresses: Vec<SocketAddr> = vec![
            (Ipv4Addr::UNSPECIFIED, port).into(),
            (Ipv6Addr::UNSPECIFIED, port).into(),
        ];
        if self.loopback {
            addresses.push((Ipv4Addr::LOCALHOST, port).into());
        }
        Ok(addresses.into_iter())
    }
}

/// Whether the names behind which browsers hide their addresses can be asked for. The crate does so over IPv4 only (RFC 6762,
/// section 3), and on a machine without IPv4 makes no connection at all rather than one without them.
pub(super) fn can_ask_for_local_names() -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.join_multicast_v4(&MULTICAST_DNS, &Ipv4Addr::UNSPECIFIED))
        .is_ok()
}

const MULTICAST_DNS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

/// On Linux the IPv6 wildcard stands for IPv4, too; a kernel without IPv6 has only the other.
fn is_free(port: u16) -> bool {
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => false,
        Err(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_that_is_taken_is_passed_over_and_a_full_range_is_told() {
        let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let binding = |last| Binding {
            ports: Some((port, last)),
            loopback: true,
        };
        for _ in 0..8 {
            let found: Vec<_> = binding(port.saturating_add(7))
                .to_socket_addrs()
                .unwrap()
                .map(|address| address.port())
                .collect();
            assert!(found[0] > port && found.iter().all(|other| *other == found[0]));
        }
        let full = binding(port).to_socket_addrs().unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::AddrInUse);
    }
}
