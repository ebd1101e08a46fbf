use proptest::prelude::*;
use secrecy::SecretString;

use super::*;

fn named(name: &str) -> ViewerId {
    ViewerId::named(name).unwrap()
}

#[test]
fn seed_relay_speaks_without_extensions() {
    let viewer = ViewerId::anonymous();
    let cases = [
        (
            r#"{"type":"welcome"}"#,
            FromRelay::Welcome {
                ice_servers: vec![],
                features: vec![],
            },
        ),
        (
            r#"{"type":"error","message":"robot unknown"}"#,
            FromRelay::Error {
                message: "robot unknown".into(),
                code: None,
                retry_after: None,
            },
        ),
        (
            r#"{"type":"ready"}"#,
            FromRelay::Ready {
                viewer: viewer.clone(),
            },
        ),
        (
            r#"{"type":"dashboard_ready"}"#,
            FromRelay::Ready {
                viewer: viewer.clone(),
            },
        ),
        (
            r#"{"type":"answer","sdp":"v=0\r\n"}"#,
            FromRelay::Answer {
                viewer: viewer.clone(),
                sdp: "v=0\r\n".into(),
            },
        ),
        (
            r#"{"type":"ice_candidate","candidate":"candidate:1","sdp_mid":"0","sdp_mline_index":0}"#,
            FromRelay::IceCandidate {
                viewer: viewer.clone(),
                candidate: IceCandidate {
                    candidate: "candidate:1".into(),
                    sdp_mid: Some("0".into()),
                    sdp_mline_index: Some(0),
                },
            },
        ),
        (
            r#"{"type":"offer","sdp":"v=0"}"#,
            FromRelay::Offer { viewer },
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(FromRelay::parse(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn robot_speaks_to_the_seed_relay_without_extensions() {
    let viewer = ViewerId::anonymous();
    let offer = ToRelay::Offer {
        viewer: viewer.clone(),
        sdp: "v=0".into(),
    };
    assert_eq!(offer.to_json(), r#"{"type":"offer","sdp":"v=0"}"#);
    let candidate = ToRelay::IceCandidate {
        viewer: viewer.clone(),
        candidate: IceCandidate {
            candidate: "candidate:1".into(),
            sdp_mid: Some("0".into()),
            sdp_mline_index: Some(0),
        },
    };
    assert_eq!(
        candidate.to_json(),
        r#"{"type":"ice_candidate","candidate":"candidate:1","sdp_mid":"0","sdp_mline_index":0}"#
    );
    let error = ToRelay::Error {
        viewer,
        message: "no camera".into(),
        code: None,
    };
    assert_eq!(error.to_json(), r#"{"type":"error","message":"no camera"}"#);
}

#[test]
fn welcome_brings_turn_credentials_and_an_error_its_hint() {
    let welcome = FromRelay::parse(
        r#"{"type":"welcome","features":["bye",7],"ice_servers":[
            {"urls":"turn:t.example.com","username":"u","credential":"c"},
            {"urls":["stun:s.example.com"]}]}"#,
    );
    let expected = FromRelay::Welcome {
        ice_servers: vec![
            IceServer {
                urls: vec!["turn:t.example.com".into()],
                username: Some("u".into()),
                credential: Some("c".into()),
            },
            IceServer {
                urls: vec!["stun:s.example.com".into()],
                username: None,
                credential: None,
            },
        ],
        features: vec!["bye".into()],
    };
    assert_eq!(welcome.unwrap(), expected);
    let error = FromRelay::parse(
        r#"{"type":"error","message":"restarting","code":"restart","retry_after_s":2.5}"#,
    );
    let expected = FromRelay::Error {
        message: "restarting".into(),
        code: Some("restart".into()),
        retry_after: Some(Duration::from_millis(2500)),
    };
    assert_eq!(error.unwrap(), expected);
}

#[test]
fn hint_that_is_no_time_span_is_ignored() {
    for hint in ["-1", "1e300", "\"soon\"", "null"] {
        let text = format!(r#"{{"type":"error","message":"x","retry_after_s":{hint}}}"#);
        let FromRelay::Error { retry_after, .. } = FromRelay::parse(&text).unwrap() else {
            panic!("{text} is an error");
        };
        assert_eq!(retry_after, None, "{text}");
    }
}

#[test]
fn candidate_in_a_browsers_own_spelling_is_read() {
    let text = r#"{"type":"ice_candidate","viewer_id":"a","candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":1,"usernameFragment":"x"}"#;
    let expected = FromRelay::IceCandidate {
        viewer: named("a"),
        candidate: IceCandidate {
            candidate: "candidate:1".into(),
            sdp_mid: Some("0".into()),
            sdp_mline_index: Some(1),
        },
    };
    assert_eq!(FromRelay::parse(text).unwrap(), expected);
}

#[test]
fn kind_of_a_later_version_is_kept() {
    let unknown = FromRelay::parse(r#"{"type":"teleport","to":"mars"}"#).unwrap();
    assert_eq!(
        unknown,
        FromRelay::Unknown {
            kind: "teleport".into()
        }
    );
}

#[test]
fn bad_messages_say_what_is_wrong() {
    let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(MESSAGE_LIMIT));
    let cases = [
        (
            long.as_str(),
            "message of 262155 bytes is over the limit of 262144",
        ),
        (
            "ready",
            "message is not JSON: expected value at line 1 column 1",
        ),
        (
            "[]",
            r#"message has no "type" when expecting an object such as {"type":"ready"}"#,
        ),
        (
            r#"{"type":"answer"}"#,
            r#"message has no "sdp" when expecting a string"#,
        ),
        (
            r#"{"type":"answer","sdp":7}"#,
            r#"message has a number as "sdp" when expecting a string"#,
        ),
        (
            r#"{"type":"ready","viewer_id":"a b"}"#,
            "got a viewer_id with characters other than printable ASCII without spaces",
        ),
        (
            r#"{"type":"ice_candidate","candidate":"c","sdp_mline_index":65536}"#,
            r#"message has a number as "sdp_mline_index" when expecting a number from 0 to 65535"#,
        ),
        (
            r#"{"type":"welcome","ice_servers":[{"urls":[1]}]}"#,
            r#"message has a number as "urls" when expecting a list of strings"#,
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(FromRelay::parse(text).unwrap_err().to_string(), expected);
    }
}

#[test]
fn report_of_a_link_says_what_is_known_and_leaves_out_the_rest() {
    let question = FromRelay::parse(r#"{"type":"link","viewer_id":"a"}"#).unwrap();
    assert_eq!(question, FromRelay::Link { viewer: named("a") });
    let report = LinkReport {
        estimate_kbps: Some(812),
        sent_kbps: 700,
        rendition: "large".into(),
        target_kbps: Some(650),
        target_because: "it follows your link".into(),
        limited_by: Some(OWN.into()),
        picture: "every second frame at full size".into(),
        picture_every: 2,
        picture_divisor: 1,
        ..LinkReport::default()
    };
    let answer = ToRelay::Link {
        viewer: named("a"),
        report: Box::new(report),
    };
    assert_eq!(
        answer.to_json(),
        r#"{"type":"link","viewer_id":"a","estimate_kbps":812,"is_behind":false,"sent_kbps":700,"waits_ms":0,"repaired_packets":0,"skipped_units":0,"rendition":"large","target_kbps":650,"target_because":"it follows your link","limited_by":"own","picture":"every second frame at full size","picture_every":2,"picture_divisor":1}"#
    );
}

#[test]
fn report_of_a_later_version_is_read_as_far_as_it_is_known() {
    let text =
        r#"{"type":"link","sent_kbps":700,"weather":"fine","estimate_kbps":null,"waits_ms":null}"#;
    let ToRelay::Link { report, .. } = ToRelay::parse(text).unwrap() else {
        panic!("{text} is a report");
    };
    let expected = LinkReport {
        sent_kbps: 700,
        ..LinkReport::default()
    };
    assert_eq!(*report, expected);
    for wrong in [r#""sent_kbps":-1"#, r#""sent_kbps":0.5"#, r#""picture":7"#] {
        let text = format!(r#"{{"type":"link",{wrong}}}"#);
        assert!(ToRelay::parse(&text).is_err(), "{text}");
    }
}

fn link_report() -> impl Strategy<Value = LinkReport> {
    let link = (
        any::<Option<u64>>(),
        any::<Option<String>>(),
        any::<Option<u64>>(),
        any::<Option<u64>>(),
        any::<bool>(),
    );
    let sent = any::<[u64; 4]>();
    let target = (
        any::<String>(),
        any::<Option<u64>>(),
        any::<String>(),
        any::<Option<String>>(),
    );
    let picture = (any::<String>(), any::<[u32; 2]>(), any::<Option<String>>());
    (link, sent, target, picture).prop_map(|(link, sent, target, picture)| LinkReport {
        estimate_kbps: link.0,
        because: link.1,
        acknowledged_kbps: link.2,
        queue_delay_ms: link.3,
        is_behind: link.4,
        sent_kbps: sent[0],
        waits_ms: sent[1],
        repaired_packets: sent[2],
        skipped_units: sent[3],
        rendition: target.0,
        target_kbps: target.1,
        target_because: target.2,
        limited_by: target.3,
        picture: picture.0,
        picture_every: picture.1[0],
        picture_divisor: picture.1[1],
        whole_size: picture.2,
    })
}

fn error_code() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[a-z_]{1,64}")
}

fn viewer() -> impl Strategy<Value = ViewerId> {
    prop_oneof![
        Just(ViewerId::anonymous()),
        "[!-~]{1,128}".prop_map(|name| named(&name)),
    ]
}

fn candidate() -> impl Strategy<Value = IceCandidate> {
    (
        any::<String>(),
        any::<Option<String>>(),
        any::<Option<u16>>(),
    )
        .prop_map(|(candidate, sdp_mid, sdp_mline_index)| IceCandidate {
            candidate,
            sdp_mid,
            sdp_mline_index,
        })
}

fn ice_server() -> impl Strategy<Value = IceServer> {
    (
        any::<Vec<String>>(),
        any::<Option<String>>(),
        any::<Option<String>>(),
    )
        .prop_map(|(urls, username, credential)| IceServer {
            urls,
            username,
            credential: credential.map(SecretString::from),
        })
}

fn from_relay() -> impl Strategy<Value = FromRelay> {
    prop_oneof![
        (
            proptest::collection::vec(ice_server(), 0..4),
            any::<Vec<String>>()
        )
            .prop_map(|(ice_servers, features)| FromRelay::Welcome {
                ice_servers,
                features
            }),
        (any::<String>(), error_code(), any::<Option<u32>>()).prop_map(
            |(message, code, seconds)| FromRelay::Error {
                message,
                code,
                retry_after: seconds.map(|seconds| Duration::from_secs(seconds.into())),
            }
        ),
        viewer().prop_map(|viewer| FromRelay::Ready { viewer }),
        (viewer(), any::<String>()).prop_map(|(viewer, sdp)| FromRelay::Answer { viewer, sdp }),
        (viewer(), candidate())
            .prop_map(|(viewer, candidate)| FromRelay::IceCandidate { viewer, candidate }),
        viewer().prop_map(|viewer| FromRelay::Offer { viewer }),
        viewer().prop_map(|viewer| FromRelay::Bye { viewer }),
        viewer().prop_map(|viewer| FromRelay::Link { viewer }),
    ]
}

fn to_relay() -> impl Strategy<Value = ToRelay> {
    prop_oneof![
        (viewer(), any::<String>()).prop_map(|(viewer, sdp)| ToRelay::Offer { viewer, sdp }),
        (viewer(), candidate())
            .prop_map(|(viewer, candidate)| ToRelay::IceCandidate { viewer, candidate }),
        (viewer(), any::<String>(), error_code()).prop_map(|(viewer, message, code)| {
            ToRelay::Error {
                viewer,
                message,
                code,
            }
        }),
        (viewer(), any::<Option<String>>())
            .prop_map(|(viewer, reason)| ToRelay::Bye { viewer, reason }),
        (viewer(), link_report().prop_map(Box::new))
            .prop_map(|(viewer, report)| ToRelay::Link { viewer, report }),
    ]
}

proptest! {
    #[test]
    fn what_was_said_is_what_is_heard(message in from_relay()) {
        prop_assert_eq!(FromRelay::parse(&message.to_json()).unwrap(), message);
    }

    #[test]
    fn what_a_robot_says_is_what_the_relay_hears(message in to_relay()) {
        prop_assert_eq!(ToRelay::parse(&message.to_json()).unwrap(), message);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = FromRelay::parse(&text);
        let _ = ToRelay::parse(&text);
    }

    #[test]
    fn any_fields_of_any_kind_are_read_or_refused(
        kind in "welcome|error|ready|answer|ice_candidate|offer|bye|link|[a-z]{80}",
        field in "viewer_id|sdp|candidate|sdp_mid|sdpMLineIndex|ice_servers|retry_after_s|code|sent_kbps|picture",
        value in "null|true|-1|1e400|7|\"\"|\"\\\\ud800\"|\\[\\]|\\[null\\]|\\[\\{\\}\\]|\\{\\}",
    ) {
        let text = format!(r#"{{"type":"{kind}","{field}":{value}}}"#);
        let _ = FromRelay::parse(&text);
        let _ = ToRelay::parse(&text);
    }
}
