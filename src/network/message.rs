//! The kernel's messages about addresses and routes. netlink(7), rtnetlink(7); numbers from linux/rtnetlink.h.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A question that is answered with all there is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dump {
    Addresses,
    Routes,
}

impl Dump {
    /// A message header and a `struct rtgenmsg` that asks for IPv4 and IPv6, padded to four bytes.
    pub(super) fn request(self) -> Vec<u8> {
        let kind: u16 = match self {
            Self::Addresses => RTM_GETADDR,
            Self::Routes => RTM_GETROUTE,
        };
        let mut request = Vec::new();
        request.extend((HEADER as u32 + 4).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(REQUEST_ALL.to_ne_bytes());
        request.extend([0; 12]);
        request
    }
}

/// One thing out of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Address(IpAddr),
    DefaultRoute(DefaultRoute),
    /// There is no more.
    Done,
}

/// A way to everywhere. Only compared, so that it is kept as the kernel wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DefaultRoute {
    family: u8,
    gateway: Vec<u8>,
    interface: Vec<u8>,
}

/// Reads what one datagram holds. An error is the kernel's refusal.
pub(super) fn read(mut datagram: &[u8]) -> impl Iterator<Item = io::Result<Found>> {
    std::iter::from_fn(move || {
        loop {
            let length = u32_at(datagram, 0)? as usize;
            let kind = u16_at(datagram, 4)?;
            let body = datagram.get(HEADER..length)?;
            datagram = datagram.get(aligned(length)..).unwrap_or_default();
            let found = match kind {
                NLMSG_DONE => Some(Found::Done),
                NLMSG_ERROR => {
                    let errno = u32_at(body, 0).map_or(0, |errno| (errno as i32).wrapping_neg());
                    return Some(Err(io::Error::from_raw_os_error(errno)));
                }
                RTM_NEWADDR => address(body).map(Found::Address),
                RTM_NEWROUTE => default_route(body).map(Found::DefaultRoute),
                _ => None,
            };
            if let Some(found) = found {
                return Some(Ok(found));
            }
        }
    })
}

/// `struct ifaddrmsg` and attributes.
fn address(body: &[u8]) -> Option<IpAddr> {
    let attributes = body.get(8..)?;
    let flags = match attribute(attributes, IFA_FLAGS) {
        Some(flags) => u32_at(flags, 0)?,
        None => u32::from(*body.get(2)?),
    };
    if flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) != 0 {
        return None;
    }
    // On a point-to-point interface IFA_ADDRESS is the other end.
    let bytes = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS))?;
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    let six = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(six).into())
}

/// `struct rtmsg` and attributes.
fn default_route(body: &[u8]) -> Option<DefaultRoute> {
    let &[
        family,
        destination_bits,
        _,
        _,
        RT_TABLE_MAIN,
        _,
        _,
        RTN_UNICAST,
        _,
        _,
        _,
        _,
        ref attributes @ ..,
    ] = body
    else {
        return None;
    };
    let raw = |kind| attribute(attributes, kind).unwrap_or_default().to_vec();
    (destination_bits == 0).then(|| DefaultRoute {
        family,
        gateway: raw(RTA_GATEWAY),
        interface: raw(RTA_OIF),
    })
}

fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let kind = u16_at(attributes, 2)?;
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(aligned(length)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// Messages and attributes begin at multiples of four bytes.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// `sizeof(struct nlmsghdr)`
const HEADER: usize = 16;

/// `NLM_F_REQUEST | NLM_F_DUMP`
const REQUEST_ALL: u16 = 0x301;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
/// Not yet to be used, and never to be: another machine has it.
const IFA_F_TENTATIVE: u32 = 0x40;
const IFA_F_DADFAILED: u32 = 0x08;

const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTN_UNICAST: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message.resize(aligned(message.len()), 0);
        message
    }

    fn attribute_of(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut attribute = (4 + value.len() as u16).to_ne_bytes().to_vec();
        attribute.extend(kind.to_ne_bytes());
        attribute.extend(value);
        attribute.resize(aligned(attribute.len()), 0);
        attribute
    }

    #[test]
    fn own_end_of_a_point_to_point_link_is_the_address() {
        let mut body = vec![2, 32, 0, 0, 7, 0, 0, 0];
        body.extend(attribute_of(IFA_ADDRESS, &[192, 0, 2, 1]));
        body.extend(attribute_of(3, b"wwan0\0"));
        body.extend(attribute_of(IFA_LOCAL, &[192, 0, 2, 2]));
        let mut datagram = message(RTM_NEWADDR, &body);
        datagram.extend(message(NLMSG_DONE, &[0; 4]));
        let found: Vec<_> = read(&datagram).map(Result::unwrap).collect();
        let own = IpAddr::from([192, 0, 2, 2]);
        assert_eq!(found, [Found::Address(own), Found::Done]);
    }

    #[test]
    fn address_that_is_not_yet_ours_is_left_out() {
        let mut body = vec![10, 64, 0, 0, 7, 0, 0, 0];
        body.extend(attribute_of(IFA_ADDRESS, &[0x20; 16]));
        assert_eq!(read(&message(RTM_NEWADDR, &body)).count(), 1);
        body.extend(attribute_of(IFA_FLAGS, &IFA_F_TENTATIVE.to_ne_bytes()));
        assert_eq!(read(&message(RTM_NEWADDR, &body)).count(), 0);
    }

    #[test]
    fn only_default_routes_are_ways_to_everywhere() {
        let route = |bits| {
            let mut body = vec![2, bits, 0, 0, RT_TABLE_MAIN, 3, 0, RTN_UNICAST, 0, 0, 0, 0];
            body.extend(attribute_of(RTA_GATEWAY, &[192, 0, 2, 1]));
            read(&message(RTM_NEWROUTE, &body)).count()
        };
        assert_eq!((route(0), route(24)), (1, 0));
    }

    #[test]
    fn refusal_of_the_kernel_is_an_error() {
        let refusal = message(NLMSG_ERROR, &(-1_i32).to_ne_bytes());
        let error = read(&refusal).next().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    proptest! {
        #[test]
        fn anything_is_read_to_its_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).count() <= bytes.len());
            let kinds = [RTM_NEWADDR, RTM_NEWROUTE, NLMSG_ERROR];
            prop_assert!(kinds.iter().all(|kind| read(&message(*kind, &bytes)).count() <= 1));
        }
    }
}
