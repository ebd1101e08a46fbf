//! When the robot's network is another one: what that means to the ways of its viewers.
//!
//! ```text
//!             the last way out went, or the last address
//!   (up) ──────────────────────────────────────────────► (down)
//!    │ ▲                                                    │
//!    └─┤ an address went: Moved                             │
//!      └────────────────────────────────────────────────────┘
//!         Returned, or Moved with other addresses
//! ```
//!
//! Looking for another way gives up the one that there is. An address that merely came (a container's, a second network's) is
//! no reason for it.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// Where viewers' ways begin.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// What there was when the network was last up.
    addresses: BTreeSet<IpAddr>,
    /// Somebody has told us of a way out: without one this network is not down, it is just small.
    knows_ways_out: bool,
    down: bool,
}

/// What a change of the network is to viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkChange {
    /// Nobody can be reached until it is back.
    Lost,
    /// As it was: the ways that there were may be there again.
    Returned,
    /// Ways began at an address that is gone.
    Moved,
}

impl Reach {
    /// `addresses` are those at which other machines find this one; `way_out` says whether there is a default route.
    pub fn note(&mut self, addresses: BTreeSet<IpAddr>, way_out: bool) -> Option<NetworkChange> {
        let was_down = self.down;
        self.knows_ways_out |= way_out;
        self.down = addresses.is_empty() || (self.knows_ways_out && !way_out);
        if self.down {
            return (!was_down).then_some(NetworkChange::Lost);
        }
        let moved = !self.addresses.is_subset(&addresses);
        self.addresses = addresses;
        match (moved, was_down) {
            (true, _) => Some(NetworkChange::Moved),
            (false, true) => Some(NetworkChange::Returned),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn addresses(hosts: &[u8]) -> BTreeSet<IpAddr> {
        let address = |host: &u8| Ipv4Addr::new(192, 0, 2, *host).into();
        hosts.iter().map(address).collect()
    }

    fn up_with(hosts: &[u8]) -> Reach {
        let mut reach = Reach::default();
        reach.note(addresses(hosts), true);
        reach
    }

    #[test]
    fn address_that_came_changes_nothing_and_one_that_went_does() {
        let mut reach = up_with(&[1]);
        assert_eq!(reach.note(addresses(&[1, 2]), true), None);
        let change = reach.note(addresses(&[1]), true);
        assert_eq!(change, Some(NetworkChange::Moved));
    }

    #[test]
    fn interface_that_was_down_leads_to_the_same_places_again() {
        let mut reach = up_with(&[1]);
        // The address stays on an interface that is down; its routes do not.
        let change = reach.note(addresses(&[1]), false);
        assert_eq!(change, Some(NetworkChange::Lost));
        assert_eq!(reach.note(addresses(&[]), false), None);
        let change = reach.note(addresses(&[1]), true);
        assert_eq!(change, Some(NetworkChange::Returned));
    }

    #[test]
    fn other_network_after_a_while_without_one_is_a_move() {
        let mut reach = up_with(&[1]);
        reach.note(addresses(&[]), false);
        let change = reach.note(addresses(&[2]), true);
        assert_eq!(change, Some(NetworkChange::Moved));
    }

    #[test]
    fn robot_on_a_network_without_a_way_out_is_not_lost() {
        let mut reach = Reach::default();
        reach.note(addresses(&[1]), false);
        assert_eq!(reach.note(addresses(&[1, 2]), false), None);
        let change = reach.note(addresses(&[]), false);
        assert_eq!(change, Some(NetworkChange::Lost));
    }
}
