//! The board's own network as a narrow link: what goes to one viewer's port waits its turn.

use super::traffic::tc;

/// The way to one viewer on this machine. It is as wide as ever when this value goes.
pub(crate) struct NarrowWay;

impl NarrowWay {
    /// What waits longer than 300 ms is thrown away.
    pub(crate) fn to(port: u16, kbps: u32) -> Self {
        tc("qdisc replace dev lo root handle 1: prio bands 4");
        let way = Self;
        way.become_kbps(kbps);
        way.take(port);
        way
    }

    /// Another viewer is there, too.
    pub(crate) fn take(&self, port: u16) {
        // Of everything that goes by lo, UDP to that port.
        tc(&format!(
            "filter add dev lo parent 1: protocol ip prio 1 u32 match ip protocol 17 0xff match ip dport {port} 0xffff flowid 1:4"
        ));
    }

    pub(crate) fn become_kbps(&self, kbps: u32) {
        tc(&format!(
            "qdisc replace dev lo parent 1:4 handle 40: tbf rate {kbps}kbit burst 4kb latency 300ms"
        ));
    }
}

impl Drop for NarrowWay {
    fn drop(&mut self) {
        tc("qdisc del dev lo root");
    }
}
