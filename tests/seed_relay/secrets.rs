//! What is secret stands nowhere that anybody looks, however much is logged and whatever the relay does.

use std::fmt::Write;
use std::fs;
use std::process::{Command, Output};

use serde_json::json;

use super::common::artefact;
use super::common::process::free_address;
use super::relay::SeedRelay;
use super::scene::{Endpoints, KEY, KEY_ENCODED, Robot, Scene, pictures};

const TURN_SECRET: &str = "turn-secret-of-the-file";
const RELAYS_TURN_SECRET: &str = "turn-secret-of-the-relay";

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_no_log_and_on_no_page() {
    let address = SeedRelay::open().await.address;
    let http = Endpoints(free_address());
    let robot = Robot {
        camera_id: "",
        webrtc: format!(
            "[[webrtc.ice_servers]]\n\
             urls = [\"turn:127.0.0.1:9\"]\n\
             username = \"u\"\n\
             credential = \"{TURN_SECRET}\""
        ),
        log: "trace",
        ..Robot::default()
    };
    let mut told = Told::default();

    // Nobody is there.
    let mut robot = robot.start("secrets", address, http.0);
    robot.until_said("Connection refused");
    told.pages(http);

    // Somebody is there, does not like the key, and says so in many ways.
    let relay = SeedRelay::open_at(address).await;
    relay
        .refuse(
            "HTTP/1.1 401 {request}\r\nX-Request: {request}\r\nLocation: http://127.0.0.1/?{request}\r\n\
             Retry-After: 0\r\nConnection: close\r\n\r\n{request}",
        )
        .await;
    robot.until_said("it does not accept this robot's id or API key");
    told.pages(http);

    // The key is good, and there is a picture.
    let mut link = relay.accept().await;
    assert_eq!(
        link.request_line,
        format!("GET /webrtc-relay?type=robot&robot_id=rover-7&api_key={KEY_ENCODED} HTTP/1.1")
    );
    let turn =
        json!({ "urls": "turn:127.0.0.1:9", "username": "u", "credential": RELAYS_TURN_SECRET });
    link.say(json!({ "type": "welcome", "ice_servers": [turn] }))
        .await;
    let mut scene = Scene {
        relay,
        link,
        robot,
        http,
    };
    let mut viewer = scene.join("ready").await;
    pictures(&mut viewer, 3).await;
    told.pages(http);

    // The relay repeats what it knows, and goes.
    for key in [KEY, KEY_ENCODED] {
        let nonsense = json!({ "url": key }).to_string();
        for text in [key, &nonsense[..nonsense.len() - 1], &nonsense] {
            scene.link.say_text(text).await;
        }
        for message in [
            json!({ "type": "error", "message": format!("no robot has {key}"), "code": key }),
            json!({ "type": key }),
            json!({ "type": "ready", "viewer_id": key }),
            json!({ "type": "bye", "viewer_id": format!("about-{key}") }),
            json!({ "type": "answer", "sdp": key }),
            json!({ "type": "ice_candidate", "candidate": format!("candidate:1 1 udp 1 {key} 9 typ host") }),
            json!({ "type": "welcome", "features": [key], "ice_servers": [{ "urls": [format!("turn:{key}")], "username": key }] }),
        ] {
            scene.link.say(message).await;
        }
    }
    scene.link.say(json!({ "type": "offer" })).await;
    told.note(&scene.link.hear_kind("error").await.to_string());
    scene.link.hang_up(&format!("go away, {KEY}")).await;
    scene.robot.until_said("closed with code 1013: go away, …");
    told.pages(http);
    scene.robot.ask_to_end();
    assert_eq!(scene.robot.exit().code(), Some(0));

    let log = scene.robot.last_output();
    told.note(&log);
    told.note_output(check("secrets.toml"));
    fs::write(artefact("secrets.key"), format!("{KEY} {KEY_ENCODED}\n")).unwrap();
    told.note_output(check("secrets.toml"));

    for line in [
        "TRACE pipeline{camera=\"camera\"}: unit sequence=0",
        "TRACE timeout why=\"dial the relay again\"",
        "relay reports an error said=\"no robot has …\"",
        "message is not JSON",
        "a kind that we do not know kind=\"…\"",
        "it names a viewer after the API key",
        "credential = \"********\"",
        "secrets.key holds more than one word",
    ] {
        assert!(told.0.contains(line), "nothing tells {line:?}");
    }
    told.assert_free_of([KEY, KEY_ENCODED, TURN_SECRET, RELAYS_TURN_SECRET]);
}

fn check(config: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rovercast"))
        .args(["--log", "trace", "check", "--config"])
        .arg(artefact(config))
        .output()
        .unwrap()
}

/// Everything that a person or a program could have read.
#[derive(Default)]
struct Told(String);

impl Told {
    fn pages(&mut self, http: Endpoints) {
        for path in ["/status", "/metrics", "/healthz", "/readyz", "/"] {
            let page = http.page(path);
            assert!(!page.is_empty(), "{path} is empty");
            self.note(&page);
        }
    }

    fn note(&mut self, text: &str) {
        writeln!(self.0, "{text}").unwrap();
    }

    fn note_output(&mut self, output: Output) {
        self.note(&String::from_utf8(output.stdout).unwrap());
        self.note(&String::from_utf8(output.stderr).unwrap());
    }

    fn assert_free_of<const N: usize>(&self, secrets: [&str; N]) {
        for secret in secrets {
            let lines = self.0.lines().filter(|line| line.contains(secret));
            let lines: Vec<_> = lines.collect();
            assert!(lines.is_empty(), "{secret} is told: {lines:#?}");
        }
    }
}
