//! What people mistype, and what they are told: the real binary, its last words, and its exit code.
#![allow(clippy::disallowed_methods)] // a process is watched by the real clock

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use common::artefact;
use common::process::{Rovercast, configuration, free_address};

#[test]
fn port_in_use_ends_every_command_that_listens() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = artefact("taken.toml");
    let text =
        format!("[robot]\nid = \"rover-7\"\n[http]\nlisten = \"{address}\"\nviewer = true\n");
    fs::write(&config, text).unwrap();
    let told = format!("cannot listen on {address}: Address already in use (os error 98)");

    for arguments in [
        ["run", "--config", config.to_str().unwrap()],
        ["demo", "--listen", &address],
        ["relay", "--listen", &address],
    ] {
        assert_refused("taken", &arguments, 1, &told);
    }
}

#[test]
fn status_tells_people_what_keeps_the_relay_away() {
    let (nobody, http) = (free_address(), free_address());
    let config = configuration("status", "test-card", http, nobody);
    let mut robot = Rovercast::start("status", &["run", "--config", &config]);
    robot.until_said("Connection refused");

    let output = Command::new(env!("CARGO_BIN_EXE_rovercast"))
        .args(["status", "--url", &format!("http://{http}")])
        .output()
        .unwrap();

    let text = String::from_utf8(output.stdout).unwrap();
    let relay: Vec<_> = text
        .lines()
        .skip_while(|line| line.trim() != "relays:")
        .skip(2)
        .map_while(|line| line.strip_prefix("        "))
        .map(|line| line.split_once(": ").unwrap())
        .collect();
    let value = |wanted| {
        let found = relay.iter().find(|(name, _)| *name == wanted);
        found.unwrap_or_else(|| panic!("no {wanted} in {text}")).1
    };
    assert_eq!(value("failure"), "connection refused");
    let url = format!("ws://{nobody}/webrtc-relay");
    assert_eq!(value("url"), url);
    assert_eq!(
        value("why"),
        format!("cannot reach {url}: Connection refused (os error 111)")
    );
    assert!(["waiting", "dialing"].contains(&value("state")), "{text}");
    let since: f64 = value("since_s").parse().unwrap();
    assert!((0.0..20.0).contains(&since), "{text}");
    assert!(!text.contains("not-so-secret"), "{text}");
}

#[test]
fn demo_says_why_it_cannot_show_a_camera() {
    let known = "YUV4MPEG2 (.y4m), JPEG images (.mjpeg) or an H.264 byte stream (.h264)";
    let file = |name: &str, content: &str| {
        let path = artefact(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .to_str()
        .unwrap()
        .to_owned();
    let garbage = file("garbage.h264", "no video\n");
    let empty = file("empty.mjpeg", "");
    let truncated = file("truncated.y4m", "YUV4MPEG2 W16 H16 F30:1\nFRAME\nhalf");
    let odd = file("odd.y4m", "YUV4MPEG2 W17 H16 F30:1\nFRAME\n");

    for (camera, told) in [
        (
            "/nonexistent.h264",
            "cannot read /nonexistent.h264: No such file or directory (os error 2)".to_owned(),
        ),
        // Opens for everyone, and cannot be read at its beginning by anyone.
        (
            "file:/proc/self/mem",
            "cannot read /proc/self/mem: Input/output error (os error 5)".to_owned(),
        ),
        (
            "/dev/video4242",
            "cannot read /dev/video4242: No such file or directory (os error 2)".to_owned(),
        ),
        (&folder, format!("cannot play {folder}: it is a directory")),
        (
            &garbage,
            format!("cannot play {garbage}: it begins with \"no video\\n\" when expecting {known}"),
        ),
        (
            &empty,
            format!("cannot play {empty}: it is empty when expecting {known}"),
        ),
        (
            &truncated,
            format!("cannot play {truncated}: it has no whole frame: it ends inside a frame"),
        ),
        (
            &odd,
            format!(
                "cannot play {odd}: its pictures are 17x16 when expecting even sides of 16 to 8192 pixels"
            ),
        ),
    ] {
        let arguments = ["demo", "--listen", "127.0.0.1:0", "--camera", camera];
        assert_refused("no-camera-to-show", &arguments, 1, &told);
    }
}

#[test]
fn service_with_a_camera_file_that_is_missing_is_a_mistake_of_the_configuration() {
    let config = artefact("no-clip.toml");
    let text = "[robot]\nid = \"rover-7\"\n[[camera]]\nsource = \"file:/nonexistent.mjpeg\"\n";
    fs::write(&config, text).unwrap();
    let path = config.to_str().unwrap();

    let told = format!(
        "{path}:4:1: camera[0].source: cannot read /nonexistent.mjpeg: No such file or directory (os error 2)"
    );
    assert_refused("no-clip", &["run", "--config", path], 2, &told);
}

/// It ends by itself, with this code, and `told` is all it says.
fn assert_refused(name: &str, arguments: &[&str], code: i32, told: &str) {
    let mut rovercast = Rovercast::start(name, arguments);

    let exit = rovercast.exit();

    let output = rovercast.last_output();
    assert_eq!(exit.code(), Some(code), "{arguments:?}: {output}");
    let (when, words) = output.split_once(" ERROR ").unwrap_or_default();
    assert_eq!(words, format!("{told}\n"), "{arguments:?}: {output}");
    assert!(!when.contains('\n'), "{arguments:?}: {output}");
}
