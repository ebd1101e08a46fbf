//! A network of its own for a robot, joined to this machine's by one cable: `ip netns` and a pair of veth(4) interfaces.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

/// A namespace with the interface `eth0`. It goes with this value.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    /// Our end of the cable.
    cable: String,
    network: [u8; 2],
}

impl Namespace {
    /// `None` where we may not make one: that takes root.
    pub(crate) fn new() -> Option<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let namespace = Self {
            name: format!("rovercast-{process}-{number}"),
            // An interface's name has 15 characters at most.
            cable: format!("rc{process}-{number}"),
            network: [213, (process % 64) as u8 * 4 + number],
        };
        if !try_ip(&["netns", "add", &namespace.name]) {
            return None;
        }
        let Self { name, cable, .. } = &namespace;
        ip(&format!(
            "link add {cable} type veth peer name eth0 netns {name}"
        ));
        let outside = namespace.outside();
        ip(&format!("addr add {outside}/24 dev {cable}"));
        ip(&format!("link set {cable} up"));
        namespace.ip("link set lo up");
        namespace.ip("link set eth0 up");
        namespace.ip(&format!("addr add {}/24 dev eth0", namespace.inside(2)));
        namespace.ip(&format!("route add default via {outside}"));
        Some(namespace)
    }

    /// This machine, as the robot sees it.
    pub(crate) fn outside(&self) -> Ipv4Addr {
        self.inside(1)
    }

    pub(crate) fn inside(&self, host: u8) -> Ipv4Addr {
        let [second, third] = self.network;
        Ipv4Addr::new(10, second, third, host)
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
