//! What a browser is told, where that is not what the crate would tell it.

use webrtc::peer_connection::{RTCIceCandidate, RTCIceCandidateType};

/// The crate trickles, and does not say so (RFC 8840, section 4.1). An offer of another way names those of the way before, whose
/// sockets are about to close.
pub(super) fn as_sent(sdp: &str) -> String {
    let mut sent = String::with_capacity(sdp.len() + TRICKLE.len());
    let mut says_trickle = sdp.contains("a=ice-options");
    for line in sdp.split_inclusive('\n') {
        if line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates") {
            continue;
        }
        if line.starts_with("m=") && !std::mem::replace(&mut says_trickle, true) {
            sent.push_str(TRICKLE);
        }
        sent.push_str(line);
    }
    sent
}

/// A relayed candidate comes from a socket of the viewer's own.
pub(super) fn tell_common_port(candidate: &mut RTCIceCandidate, port: u16) {
    match candidate.typ {
        RTCIceCandidateType::Host => candidate.port = port,
        RTCIceCandidateType::Srflx => candidate.related_port = port,
        RTCIceCandidateType::Prflx
        | RTCIceCandidateType::Relay
        | RTCIceCandidateType::Unspecified
        | _ => {}
    }
}

pub(super) fn ufrag(sdp: &str) -> Option<&str> {
    sdp.lines()
        .find_map(|line| line.strip_prefix("a=ice-ufrag:"))
}

/// A family without a single address is bound to its wildcard, which is no address to come to.
pub(super) fn is_reachable(address: &str) -> bool {
    !matches!(address, "" | "0.0.0.0" | "::")
}

const TRICKLE: &str = "a=ice-options:trickle\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offer_says_once_that_candidates_follow_and_names_none() {
        let before = "v=0\r\na=group:BUNDLE 0\r\nm=video 9 X 102\r\na=ice-ufrag:abcd\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\nm=audio 9 X 0\r\n";
        let sent = as_sent(before);
        assert_eq!(
            sent,
            "v=0\r\na=group:BUNDLE 0\r\na=ice-options:trickle\r\nm=video 9 X 102\r\na=ice-ufrag:abcd\r\nm=audio 9 X 0\r\n"
        );
        assert_eq!(as_sent(&sent), sent);
        assert_eq!(ufrag(&sent), Some("abcd"));
    }

    #[test]
    fn common_port_is_that_of_host_candidates_and_of_what_a_reflexive_one_is_based_on() {
        let told = |typ| {
            let mut candidate = RTCIceCandidate {
                typ,
                port: 40_000,
                related_port: 40_001,
                ..Default::default()
            };
            tell_common_port(&mut candidate, 50_000);
            (candidate.port, candidate.related_port)
        };
        assert_eq!(told(RTCIceCandidateType::Host), (50_000, 40_001));
        assert_eq!(told(RTCIceCandidateType::Srflx), (40_000, 50_000));
        assert_eq!(told(RTCIceCandidateType::Relay), (40_000, 40_001));
    }
}
