//! TCP to whichever address of a host answers first, with checks that notice a peer that vanished.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Connects to the address that answers first, each next one tried a little later or when all before it failed
/// (happy eyeballs, RFC 8305). A host with a broken IPv6 costs a quarter of a second, not a minute.
pub(super) async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = interleaved(addresses);
    let mut tries = FuturesUnordered::new();
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = waiting.pop_front() {
            tries.push(TcpStream::connect(address));
        }
        tokio::select! {
            tried = tries.next() => match tried {
                Some(Ok(stream)) => {
                    keep_lively(&stream)?;
                    return Ok(stream);
                }
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

/// RFC 8305, section 5: the recommended connection attempt delay.
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses tried in one dial; a name with more is a load balancer's, and its next answer has others.
const MOST_ADDRESSES: usize = 8;

/// The kernel's own checks, for when the WebSocket pings cannot be written either: a link is dead after about 30 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
const USER_TIMEOUT_MS: u32 = 30_000;

#[cfg(test)]
mod tests {
    use super::super::failure;
    use super::*;

    #[tokio::test]
    async fn refused_address_gives_way_to_the_next() {
        let closed = tokio::net::TcpListener::bind("[::1]:0").await;
        let closed = closed.and_then(|listener| listener.local_addr());
        let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = relay.local_addr().unwrap();
        // A machine without IPv6 refuses the documentation's address as quickly.
        let closed = closed.unwrap_or_else(|_| "[2001:db8::1]:9".parse().unwrap());
        let stream = connect(vec![open, closed]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);

        let refused = connect(vec![closed]).await.unwrap_err();
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

    #[tokio::test]
    async fn kernel_notices_a_relay_that_vanished_within_half_a_minute() {
        let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = connect(vec![relay.local_addr().unwrap()]).await.unwrap();

        assert!(sockopt::tcp_nodelay(&stream).unwrap());
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let idle = sockopt::tcp_keepidle(&stream).unwrap();
        let probes =
            sockopt::tcp_keepintvl(&stream).unwrap() * sockopt::tcp_keepcnt(&stream).unwrap();
        assert!(
            idle + probes <= Duration::from_secs(30),
            "{idle:?} and {probes:?}"
        );
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 30_000);
    }
}
