//! The checker itself: violations planted into a small house are found, and what is allowed is left alone.

use super::House;

#[test]
fn a_new_file_must_move_into_a_ring() {
    assert_eq!(
        violations("shed", ""),
        ["src/shed.rs: in no ring: list it in tests/rings.rs"]
    );
    assert_eq!(
        violations("relay::server::rooms", "use std::collections::BTreeMap;"),
        [""; 0]
    );
}

#[test]
fn core_that_touches_the_world_is_found() {
    for (text, blamed) in [
        ("use tokio::sync::mpsc;", "uses tokio::sync::mpsc"),
        (
            "use std::{fmt, net::TcpStream};",
            "uses std::net::TcpStream",
        ),
        (
            "fn f() { std::thread::spawn(|| ()); }",
            "uses std::thread::spawn",
        ),
        (
            "use std::time::Instant;\nfn f() { Instant::now(); }",
            "reads the clock with Instant::now",
        ),
        ("use rustix::{event, fs as files};", "uses rustix::event"),
        (
            "use crate::relay::client::Link;",
            "uses relay::client, which is Driver",
        ),
        (
            "use super::super::relay::{self, client};",
            "uses relay::client, which is Driver",
        ),
        (
            "fn f(_: &super::super::app::App) {}",
            "uses app, which is App",
        ),
        (
            "use crate::viewer::webrtc;",
            "uses viewer::webrtc, which is Driver",
        ),
    ] {
        let found = violations("media::rate", text).join("\n");
        assert!(found.contains(blamed), "in {text:?} found only {found:?}");
    }
}

#[test]
fn core_that_stays_pure_is_left_alone() {
    let text = r##"
        //! Unlike tokio::time::Instant::now, this takes `now`.
        /* std::fs /* nested */ rustix */
        use std::net::SocketAddr;
        use std::time::{Duration, Instant};
        const TEXT: &str = "tokio::spawn \" std::fs::read";
        const RAW: &str = r#"unsafe { "rustix" }"#;
        fn items() -> impl Iterator<Item = u8> + use<> { [1].into_iter() }
        fn quote<'a>(c: &'a char) -> bool { *c == '"' || *c == '\'' }
        #[cfg(test)]
        use std::fs;
        #[cfg(test)]
        mod tests {
            use tokio::time::pause;
            fn f() { let _ = "}"; unsafe { std::fs::read("x") } }
        }
    "##;
    assert_eq!(violations("media::rate", text), [""; 0]);
}

#[test]
fn files_of_test_modules_are_left_alone() {
    let files = [
        ("lib", "pub mod media;"),
        ("media", "#[cfg(test)]\n#[path = \"x\"]\nmod tests;\n"),
        ("media::tests", "use std::fs;"),
    ];
    let house = House::new(
        &files
            .map(|(module, text)| (module.to_owned(), text.to_owned()))
            .into(),
    );
    assert_eq!(house.violations(), [""; 0]);
}

#[test]
fn a_driver_that_reaches_outwards_is_found() {
    assert!(violations("relay::client", "use crate::app::App;")[0].contains("which is App"));
    assert_eq!(
        violations(
            "camera::file",
            "use std::fs::File; use crate::media::Frame;"
        ),
        [""; 0]
    );
}

#[test]
fn the_webrtc_crate_stays_in_its_room() {
    assert!(violations("app", "use webrtc::api::API;")[0].contains("outside src/viewer/webrtc"));
    assert!(violations("app", "use ::rtc::x;")[0].contains("outside src/viewer/webrtc"));
    assert!(violations("viewer", "fn f() -> webrtc::Peer {}")[0].contains("which is Driver"));
    assert_eq!(violations("viewer::webrtc::start", "use rtc::x;"), [""; 0]);
}

#[test]
fn unsafe_lives_in_one_file() {
    let text = "\nfn f() { unsafe { g() } }";
    assert_eq!(
        violations("v4l2", text),
        ["src/v4l2.rs:2: unsafe outside src/v4l2/ioctl.rs"]
    );
    assert_eq!(violations("v4l2::ioctl", text), [""; 0]);
}

/// What the checker says of one file planted into a small house.
fn violations(module: &str, text: &str) -> Vec<String> {
    let files = [
        (
            "lib",
            "pub mod app; pub mod media; pub mod relay; pub mod viewer;",
        ),
        ("app", ""),
        ("media", "pub mod rate;"),
        ("relay", "pub mod client; pub mod session;"),
        ("relay::client", ""),
        ("viewer", "pub mod webrtc;"),
        (
            "viewer::webrtc",
            "use webrtc::peer_connection::RTCPeerConnection;",
        ),
        (module, text),
    ];
    House::new(
        &files
            .map(|(module, text)| (module.to_owned(), text.to_owned()))
            .into(),
    )
    .violations()
}
