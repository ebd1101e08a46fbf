//! The real binary, as people and scripts meet it.

#![allow(clippy::unwrap_used)] // a test: a panic is its way to fail

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

#[test]
fn every_command_teaches_with_examples() {
    for command in ["run", "demo", "probe", "check", "status", "relay"] {
        let help = rovercast(&[command, "--help"]);

        assert_eq!(help.status.code(), Some(0), "{command}");
        assert!(
            stdout(&help).contains(&format!("Examples:\n  rovercast {command}")),
            "{command}"
        );
    }
    let help = stdout(&rovercast(&["--help"]));
    assert!(help.contains("Examples:\n  rovercast demo"));
    assert!(help.contains("Exit codes: 0 done, 1 failed, 2 wrong usage or configuration."));
}

#[test]
fn wrong_usage_ends_with_two() {
    for (arguments, told) in [
        (&["fly"][..], "unrecognized subcommand 'fly'"),
        (
            &["run", "--confg", "x"],
            "a similar argument exists: '--config'",
        ),
        (&["demo", "--fps", "0"], "0 is not in 1..=240"),
        (
            &["demo", "--size", "big"],
            "got \"big\" when expecting a picture size such as \"1280x720\"",
        ),
        (&["demo", "--listen", "8080"], "invalid socket address"),
        (&["relay", "--tls-cert", "a.pem"], "--tls-key <FILE>"),
        (
            &["status", "--url", "https://127.0.0.1"],
            "got the scheme \"https\" when expecting http",
        ),
        (
            &["--log", "rovercast=loud", "demo"],
            "got the log filter \"rovercast=loud\" when expecting one such as",
        ),
        (&[], "Usage: rovercast"),
    ] {
        let output = rovercast(arguments);

        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            stderr(&output).contains(told),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_good_configuration_is_printed_as_it_counts() {
    let folder = Folder::new("good");
    let key = folder.write("key", "hunter2\n", 0o600);
    let config = folder.write(
        "rovercast.toml",
        &format!(
            "[robot]\nid = \"rover-7\"\n\
             [relay]\nurl = \"https://relay.example.com/webrtc-relay\"\napi_key_file = \"{}\"\n\
             [[webrtc.ice_servers]]\nurls = [\"turn:turn.example.com\"]\nusername = \"u\"\ncredential = \"hunter2\"\n",
            key.display()
        ),
        0o644,
    );

    let output = check(&config, &[("ROVERCAST_CAMERA__0__FPS", "15")]);

    assert_eq!(stderr(&output), "configuration is fine\n");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        format!(
            "[robot]\n\
             id = \"rover-7\"\n\
             \n\
             [[camera]]\n\
             source = \"auto\"\n\
             size = \"1280x720\"\n\
             fps = 15\n\
             encoder = \"auto\"\n\
             bitrate = {{ min = \"300 kbps\", start = \"1.5 Mbps\", max = \"4 Mbps\" }}\n\
             prefer = \"smooth\"\n\
             renditions = 1\n\
             keep_warm = false\n\
             \n\
             [relay]\n\
             url = \"wss://relay.example.com/webrtc-relay\"\n\
             api_key_file = \"{}\"\n\
             auth = \"query\"\n\
             ping_interval = \"20 s\"\n\
             backoff = {{ first = \"250 ms\", max = \"60 s\", reset_after = \"60 s\" }}\n\
             \n\
             [webrtc]\n\
             max_viewers = 8\n\
             ice_policy = \"all\"\n\
             \n\
             [[webrtc.ice_servers]]\n\
             urls = [\"turn:turn.example.com\"]\n\
             username = \"u\"\n\
             credential = \"********\"\n\
             \n\
             [http]\n\
             listen = \"127.0.0.1:8081\"\n\
             viewer = false\n",
            key.display()
        )
    );
}

#[test]
fn the_file_that_ships_passes_its_own_check() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("board/rovercast.toml");

    let output = check(&shipped, &[]);

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_broken_configuration_tells_every_mistake_and_ends_with_two() {
    let folder = Folder::new("broken");
    let config = folder.write(
        "rovercast.toml",
        "[robot]\nid = \"rover-7\"\n[[camera]]\nfsp = 30\nfps = \"thirty\"\n[relay]\nurl = \"relay\"\n",
        0o644,
    );
    let file = config.display();

    let output = check(&config, &[("ROVERCAST_HTTP__LISTEN", "8081")]);

    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output), "");
    assert_eq!(
        stderr(&output),
        format!(
            "{file}:4:1: camera[0].fsp: unknown key, did you mean fps?\n\
             {file}:5:1: camera[0].fps: got \"thirty\" when expecting a whole number from 1 to 240\n\
             {file}:7:1: relay.url: got no URL (relative URL without a base) when expecting an address such as \"wss://relay.example.com/webrtc-relay\"\n\
             ROVERCAST_HTTP__LISTEN: http.listen: got \"8081\" when expecting an address and port such as \"127.0.0.1:8081\", or \"off\"\n"
        )
    );
}

#[test]
fn a_missing_configuration_and_a_missing_key_are_told_by_path() {
    let folder = Folder::new("missing");
    let config = folder.write(
        "rovercast.toml",
        "[robot]\nid = \"r\"\n[relay]\nurl = \"wss://r\"\napi_key_file = \"/nonexistent/key\"\n",
        0o644,
    );

    let without_key = check(&config, &[]);
    let without_config = check(Path::new("/nonexistent.toml"), &[]);

    assert_eq!(without_key.status.code(), Some(2));
    assert_eq!(
        stderr(&without_key),
        format!(
            "{}:5:1: relay.api_key_file: cannot read /nonexistent/key: No such file or directory (os error 2)\n",
            config.display()
        )
    );
    assert_eq!(without_config.status.code(), Some(2));
    assert_eq!(
        stderr(&without_config),
        "cannot read configuration /nonexistent.toml: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_key_for_everyone_to_read_is_a_warning() {
    let folder = Folder::new("public");
    let key = folder.write("key", "hunter2\n", 0o644);
    let config = folder.write(
        "rovercast.toml",
        &format!(
            "[robot]\nid = \"r\"\n[relay]\nurl = \"wss://r\"\napi_key_file = \"{}\"\n",
            key.display()
        ),
        0o644,
    );

    let output = check(&config, &[]);

    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stderr(&output),
        format!(
            "{}:5:1: relay.api_key_file: {} can be read by everyone on this machine: chmod o-r (warning)\n\
             configuration is fine\n",
            config.display(),
            key.display()
        )
    );
}

#[test]
fn a_credential_of_the_unit_is_the_key_when_the_file_names_none() {
    let folder = Folder::new("credential");
    let key = folder.write("relay-api-key", "hunter2", 0o400);
    let config = folder.write(
        "rovercast.toml",
        "[robot]\nid = \"r\"\n[relay]\nurl = \"wss://r\"\n",
        0o644,
    );

    let directory = folder.0.to_str().unwrap();
    let output = check(&config, &[("CREDENTIALS_DIRECTORY", directory)]);

    assert!(stdout(&output).contains(&format!("api_key_file = \"{}\"\n", key.display())));
}

#[test]
fn the_service_refuses_a_broken_configuration_before_it_starts() {
    let folder = Folder::new("service");
    let config = folder.write("rovercast.toml", "[robot]\nid = \"ro ver\"\n", 0o644);

    let output = rovercast(&["run", "--config", config.to_str().unwrap()]);

    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("ERROR")
            && stderr(&output).contains(":2:1: robot.id: got \"ro ver\""),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = Folder::new("pipe");
    let config = folder.write("rovercast.toml", "[robot]\nid = \"r\"\n", 0o644);

    for arguments in [
        &["check", "--config", config.to_str().unwrap()][..],
        &["probe", "--list"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);

        let status = command(arguments)
            .stdout(writer)
            .stderr(Stdio::null())
            .status()
            .unwrap();

        assert_eq!(status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn status_says_when_nothing_listens() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };

    let output = rovercast(&["status", "--url", &format!("http://{address}")]);

    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        format!(
            "cannot ask the service at {address}: Connection refused (os error 111) (is it running, and is this its http.listen?)\n"
        )
    );
}

#[test]
fn status_shows_what_the_service_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let service = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream
            .write_all(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{\"relay\":{\"state\":\"connected\"}}")
            .unwrap();
        String::from_utf8(request).unwrap()
    });

    let output = rovercast(&["status", "--url", &format!("http://{address}")]);

    assert_eq!(stdout(&output), "relay:\n  state: connected\n");
    assert!(
        service
            .join()
            .unwrap()
            .starts_with("GET /status HTTP/1.0\r\n")
    );
}

#[test]
fn probe_speaks_to_people_and_to_programs() {
    let table = stdout(&rovercast(&["probe", "--list"]));
    let json = stdout(&rovercast(&["probe", "--list", "--json"]));

    assert!(table.starts_with("Board\n  "), "{table}");
    assert!(table.contains("\nCameras\n  "), "{table}");
    assert!(table.contains("\nEncoders\n  "), "{table}");
    assert!(!table.contains("\nTried"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["cameras"].is_array() && json["refused"].is_array());
    assert!(json["board"]["id"].is_string() && json["board"]["kernel"].is_string());
    let encoders = json["encoders"].as_array().unwrap();
    let has_software = encoders.iter().any(|it| it["profile"]["id"] == "software");
    assert_eq!(has_software, cfg!(feature = "software-encoder"));
}

#[cfg(feature = "software-encoder")]
#[test]
fn probe_tries_the_software_encoder_with_whatever_makes_pictures() {
    let output = rovercast(&["probe", "--json", "--size", "320x240", "--fps", "30"]);

    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let tried = json["tried"].as_array().unwrap();
    let software = tried.iter().find(|it| it["encoder"] == "software").unwrap();
    let fps = software["fps"].as_f64().unwrap();
    assert!(fps > 1.0 && fps < 33.0, "{software}");
    assert!(software["kbps"].as_u64().unwrap() > 0, "{software}");
}

#[test]
fn a_wrong_profile_is_told_by_probe_and_fails_the_check() {
    let folder = Folder::new("profiles");
    let config = folder.write("rovercast.toml", "[robot]\nid = \"r\"\n", 0o644);
    fs::create_dir(folder.0.join("profile.d")).unwrap();
    let profile = folder.write(
        "profile.d/uvc.toml",
        "kind = \"capture\"\nid = \"uvc\"\nexport_contiguous = true\n",
        0o644,
    );
    let profiles = profile.parent().unwrap().to_str().unwrap();
    let told = format!(
        "{}:3:1: export_contiguous: unknown key, did you mean exports_contiguous?\n",
        profile.display()
    );

    let probe = rovercast(&["probe", "--list", "--profiles", profiles]);
    let config = config.to_str().unwrap();
    let check = rovercast(&["check", "--config", config, "--profiles", profiles]);

    assert_eq!(probe.status.code(), Some(0));
    let left_out = format!("\nProfiles left out\n  {told}");
    assert!(stdout(&probe).ends_with(&left_out), "{}", stdout(&probe));
    assert_eq!(check.status.code(), Some(2));
    assert_eq!(stderr(&check), told);
}

#[test]
fn a_folder_of_profiles_that_is_not_there_fails_the_check() {
    let folder = Folder::new("no-profiles");
    let config = folder.write("rovercast.toml", "[robot]\nid = \"r\"\n", 0o644);

    let config = config.to_str().unwrap();
    let check = rovercast(&["check", "--config", config, "--profiles", "/nonexistent"]);

    assert_eq!(check.status.code(), Some(2));
    assert_eq!(
        stderr(&check),
        "cannot read profiles in /nonexistent: No such file or directory (os error 2)\n"
    );
}

fn check(config: &Path, variables: &[(&str, &str)]) -> Output {
    command(&["check", "--config", config.to_str().unwrap()])
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn rovercast(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// The binary in an environment of its own: what this machine has set must not count.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rovercast"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
