//! Which addresses and ways out this machine has, and when they change: rtnetlink(7).
//!
//! The kernel says that something changed; what it is now is asked for afresh, so that a notification that was lost, or one
//! that changes nothing, does no harm.
//!
//! Written by hand: the crates for it have 69,000 lines for the two questions that are asked here, and their socket is made
//! with an `AsyncFd` constructor that tokio deprecates as unsound.

mod message;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use self::message::{DefaultRoute, Dump, Found};

/// The network as this machine sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// All that can be used, loopback included.
    pub addresses: Arc<BTreeSet<IpAddr>>,
    default_routes: BTreeSet<DefaultRoute>,
}

impl Network {
    /// The addresses at which another machine could find this one.
    pub fn reachable(&self) -> impl Iterator<Item = &IpAddr> {
        self.addresses.iter().filter(|address| match address {
            IpAddr::V4(four) => !four.is_loopback() && !four.is_link_local(),
            IpAddr::V6(six) => !six.is_loopback() && !six.is_unicast_link_local(),
        })
    }

    /// Whether there is a default route.
    pub fn has_way_out(&self) -> bool {
        !self.default_routes.is_empty()
    }

    async fn read() -> io::Result<Self> {
        let socket = open(0)?;
        let mut network = Self::default();
        let mut addresses = BTreeSet::new();
        for dump in [Dump::Addresses, Dump::Routes] {
            socket.send(&dump.request()).await?;
            let mut buffer = vec![0; LARGEST_ANSWER];
            let mut done = false;
            while !done {
                let length = socket.recv(&mut buffer).await?;
                for found in message::read(&buffer[..length]) {
                    match found? {
                        Found::Address(address) => drop(addresses.insert(address)),
                        Found::DefaultRoute(route) => drop(network.default_routes.insert(route)),
                        Found::Done => done = true,
                    }
                }
            }
        }
        network.addresses = Arc::new(addresses);
        Ok(network)
    }
}

/// Watches the network from now on, for as long as the receiver lives. Of several changes the reader finds the last.
///
/// Call it within a tokio runtime.
pub async fn watch() -> io::Result<watch::Receiver<Network>> {
    // Told first and asked after: a change between the two is not missed.
    let changes = open(ADDRESSES_AND_ROUTES)?;
    let (sender, receiver) = watch::channel(Network::read().await?);
    tokio::spawn(async move {
        tokio::select! {
            error = follow(&changes, &sender) => warn!(%error, "cannot watch the network any more"),
            () = sender.closed() => {}
        }
    });
    Ok(receiver)
}

/// Runs until the kernel says no more.
async fn follow(changes: &UnixDatagram, sender: &watch::Sender<Network>) -> io::Error {
    loop {
        if let Err(error) = next(changes).await {
            return error;
        }
        // A new lease is an address less, an address more and a few routes: one change.
        let _ = timeout(LONGEST_COMMOTION, async {
            while timeout(COMMOTION, next(changes)).await.is_ok() {}
        })
        .await;
        match Network::read().await {
            Ok(now) => {
                let changed = |known: &mut Network| {
                    let is_new = *known != now;
                    if is_new {
                        debug!(addresses = ?now.addresses, routes = now.default_routes.len(), "network changed");
                        *known = now;
                    }
                    is_new
                };
                sender.send_if_modified(changed);
            }
            Err(error) => {
                warn!(%error, "cannot read the network's state");
                sleep(AFTER_FAILED_READ).await;
            }
        }
    }
}

async fn next(changes: &UnixDatagram) -> io::Result<()> {
    // What it says does not matter, and may be cut.
    match changes.recv(&mut [0; 64]).await {
        Ok(_) => Ok(()),
        // More changes than the socket holds are changes, too. netlink(7).
        Err(error) if error.raw_os_error() == Some(NO_BUFFER_SPACE) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A socket of the kernel's routing tables, in `groups`. To tokio it is a datagram socket like any other.
fn open(groups: u32) -> io::Result<UnixDatagram> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    UnixDatagram::from_std(StdDatagram::from(socket))
}

/// linux/rtnetlink.h: `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_IFADDR`, `RTMGRP_IPV6_ROUTE`.
const ADDRESSES_AND_ROUTES: u32 = 0x10 | 0x40 | 0x100 | 0x400;

/// netlink(7): the kernel dropped messages for want of room.
const NO_BUFFER_SPACE: i32 = rustix::io::Errno::NOBUFS.raw_os_error();

/// A change ends with so much quiet. The picture must be back two seconds after it began.
const COMMOTION: Duration = Duration::from_millis(50);

/// A network that never comes to rest is looked at in between.
const LONGEST_COMMOTION: Duration = Duration::from_millis(300);

/// Out of memory or descriptors, as a rule.
const AFTER_FAILED_READ: Duration = Duration::from_secs(1);

/// The kernel fills at most 32 KiB at once, whatever there is to tell (`netlink_dump`).
const LARGEST_ANSWER: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_machine_has_at_least_itself() {
        let network = watch().await.unwrap();
        let network = network.borrow();
        assert!(
            network.addresses.iter().any(IpAddr::is_loopback),
            "{network:?}"
        );
        assert!(network.reachable().all(|address| !address.is_loopback()));
    }
}
