//! A network of its own for a robot, joined to this machine's by one cable: `ip netns` and a pair of veth(4) interfaces.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

/// A namespace with the interface `eth0`. It goes with this value.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    /// Our end of the cable.
    cable: String,
    family: Family,
    number: u8,
}

/// The addresses that there are, and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Namespace {
    /// `None` where we may not make one: that takes root.
    pub(crate) fn new(family: Family) -> Option<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let namespace = Self {
            name: format!("rovercast-{process}-{number}"),
            // An interface's name has 15 characters at most.
            cable: format!("rc{process}-{number}"),
            family,
            // Two runs beside each other are apart, and one has all numbers to go round.
            number: (process as u8).wrapping_mul(16).wrapping_add(number),
        };
        if !try_ip(&["netns", "add", &namespace.name]) {
            // Not with a macro: the test would pass, and what it printed would be kept from whoever runs it.
            let _ = writeln!(io::stderr(), "skipped: a network namespace needs root");
            return None;
        }
        let Self { name, cable, .. } = &namespace;
        // The only one on its cable: nobody else can have its address, and nothing changes after the start.
        for group in ["all", "default"] {
            let setting = format!("net.ipv6.conf.{group}.accept_dad=0");
            let status = namespace
                .command()
                .args(["sysctl", "-qw", &setting])
                .status();
            assert!(status.is_ok_and(|status| status.success()), "{setting}");
        }
        ip(&format!(
            "link add {cable} type veth peer name eth0 netns {name}"
        ));
        let (outside, bits) = (namespace.outside(), namespace.prefix());
        // Without duplicate address detection it can be bound at once; IPv4 has none.
        let at_once = match family {
            Family::V4 => "",
            Family::V6 => " nodad",
        };
        ip(&format!("addr add {outside}/{bits} dev {cable}{at_once}"));
        ip(&format!("link set {cable} up"));
        namespace.ip("link set lo up");
        namespace.ip("link set eth0 up");
        if family == Family::V6 {
            namespace.ip("addr del 127.0.0.1/8 dev lo");
        }
        let inside = namespace.inside(2);
        namespace.ip(&format!("addr add {inside}/{bits} dev eth0{at_once}"));
        namespace.ip(&format!("route add default via {outside}"));
        Some(namespace)
    }

    /// This machine, as the robot sees it.
    pub(crate) fn outside(&self) -> IpAddr {
        self.inside(1)
    }

    pub(crate) fn inside(&self, host: u8) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::new(10, 213, self.number, host).into(),
            Family::V6 => {
                let (number, host) = (self.number.into(), host.into());
                Ipv6Addr::new(0xfd00, 0x213, 0, number, 0, 0, 0, host).into()
            }
        }
    }

    /// The namespace's own loopback.
    pub(crate) fn loopback(&self) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }

    /// The bits of an address that both ends of the cable share.
    pub(crate) fn prefix(&self) -> u8 {
        match self.family {
            Family::V4 => 24,
            Family::V6 => 64,
        }
    }

    /// What is added to it runs inside.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]);
        command
    }

    /// `ip` inside.
    pub(crate) fn ip(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.name));
    }

    /// The robot's packets arrive, and nothing gets back to it. Nobody tells it so.
    pub(crate) fn swallow_answers(&self) {
        ip(&format!("route add blackhole {}/32", self.inside(2)));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        try_ip(&[
            "route",
            "del",
            "blackhole",
            &format!("{}/32", self.inside(2)),
        ]);
        // The interface goes with the namespace, when its last process has gone.
        try_ip(&["link", "del", &self.cable]);
        try_ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &str) {
    let words: Vec<_> = arguments.split(' ').collect();
    assert!(try_ip(&words), "ip {arguments}");
}

fn try_ip(arguments: &[&str]) -> bool {
    let output = Command::new("ip").args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}
