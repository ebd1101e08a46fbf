use std::ffi::OsString;
use std::io;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::media::rate::Prefer;

#[test]
fn ports_that_are_no_range_or_too_few_are_a_mistake() {
    for (ports, told) in [
        (
            "50100-50000",
            "got \"50100-50000\" when expecting a port such as \"50000\" or ports such as \"50000-50100\"",
        ),
        (
            "0-7",
            "got \"0-7\" when expecting a port such as \"50000\" or ports such as \"50000-50100\"",
        ),
        (
            "0",
            "got \"0\" when expecting a port such as \"50000\" or ports such as \"50000-50100\"",
        ),
        (
            "50000-50006",
            "got 7 ports when expecting one for all viewers, or one for each of 8",
        ),
    ] {
        assert_eq!(
            refusal(&format!(
                "[robot]\nid = \"r\"\n[webrtc]\nudp_ports = \"{ports}\"\n"
            )),
            format!("rovercast.toml:4:1: webrtc.udp_ports: {told}")
        );
    }
}

#[test]
fn single_port_is_for_all_viewers() {
    for port in ["50000", "50000-50000"] {
        let config = read(&format!(
            "[robot]\nid = \"r\"\n[webrtc]\nudp_ports = \"{port}\"\n"
        ))
        .unwrap();
        let range = config.webrtc.udp_ports.unwrap();
        assert_eq!((range.first, range.last), (50_000, 50_000));
        assert_eq!(range.to_string(), "50000");
    }
}

#[test]
fn login_for_a_proxy_that_is_not_named_is_a_mistake() {
    assert_eq!(
        refusal("[robot]\nid = \"r\"\n[relay]\nurl = \"wss://r\"\nproxy_login_file = \"/login\"\n"),
        "rovercast.toml:3:2: relay.proxy: is missing: proxy_login_file is of no use without it"
    );
}

#[test]
fn a_name_is_all_that_a_robot_needs() {
    let config = read("[robot]\nid = \"rover-7\"\n").unwrap();

    assert_eq!(config.cameras, [CameraConfig::default()]);
    assert_eq!(config.cameras[0].name(), "camera");
    assert_eq!(config.relay, None);
    assert_eq!(config.effective(), Config::new(id("rover-7")).effective());
    assert_eq!(
        config.effective(),
        "[robot]\n\
         id = \"rover-7\"\n\
         \n\
         [[camera]]\n\
         source = \"auto\"\n\
         size = \"1280x720\"\n\
         fps = 30\n\
         encoder = \"auto\"\n\
         bitrate = { min = \"300 kbps\", start = \"1.5 Mbps\", max = \"4 Mbps\" }\n\
         prefer = \"smooth\"\n\
         renditions = 1\n\
         keep_warm = false\n\
         \n\
         [webrtc]\n\
         max_viewers = 8\n\
         ice_policy = \"all\"\n\
         \n\
         [http]\n\
         listen = \"127.0.0.1:8081\"\n\
         viewer = false\n"
    );
}

#[test]
fn every_key_of_the_design_is_read() {
    let config = read(FULL).unwrap();

    let camera = &config.cameras[0];
    assert_eq!(camera.name(), "front");
    assert_eq!(camera.source, Source::File("clip.mjpeg".into()));
    assert_eq!(camera.size.to_string(), "640x360");
    assert_eq!(camera.frame_interval, Duration::from_millis(40));
    assert_eq!(camera.encoder, EncoderChoice::Device("/dev/video11".into()));
    assert_eq!(camera.bitrate.start, Bitrate::kbps(800));
    assert_eq!(camera.prefer, Prefer::Sharp);
    assert_eq!(camera.renditions, Renditions::Two);
    assert!(camera.keep_warm);
    let relay = config.relay.as_ref().unwrap();
    assert_eq!(relay.url.as_str(), "wss://relay.example.com/webrtc-relay");
    assert_eq!(relay.auth, Auth::Bearer);
    assert_eq!(relay.ping_interval, Duration::from_secs(15));
    assert_eq!(relay.backoff.max, Duration::from_secs(120));
    assert_eq!(config.webrtc.max_viewers, 4);
    assert_eq!(config.webrtc.ice_servers.len(), 2);
    assert_eq!(config.http.listen, None);
}

#[test]
fn the_effective_configuration_reads_back_as_itself() {
    let config = read(FULL).unwrap();

    let again = read(&config.effective()).unwrap();

    assert_eq!(again.effective(), config.effective());
}

#[test]
fn the_file_that_ships_shows_the_defaults_and_says_so_truly() {
    let shipped = include_str!("../../board/rovercast.toml");
    let uncommented: String = shipped
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => key,
            _ => line,
        })
        .fold(String::new(), |text, line| text + line + "\n");

    let config = read(shipped).unwrap();
    let full = read(&uncommented).unwrap();

    assert_eq!(config.effective(), Config::new(id("robot")).effective());
    let relay = full.relay.as_ref().expect("the file shows a relay");
    assert_eq!(relay.backoff, BackoffConfig::default());
    assert_eq!(relay.auth, Auth::Query);
    let mut plain = Config::new(id("robot"));
    plain.cameras[0].id = full.cameras[0].id.clone();
    plain.relay = full.relay.clone();
    plain.webrtc.ice_servers = full.webrtc.ice_servers.clone();
    plain.webrtc.udp_ports = full.webrtc.udp_ports;
    assert_eq!(full.effective(), plain.effective());
    let every = read(FULL).unwrap();
    for key in every
        .places
        .keys()
        .filter(|key| !key.starts_with("webrtc.ice_servers"))
    {
        assert!(
            full.places.keys().any(|shown| shown == key),
            "{key} is not shown"
        );
    }
}

#[test]
fn secrets_are_neither_printed_nor_debugged() {
    let config = read(FULL).unwrap();

    assert!(config.effective().contains("credential = \"********\""));
    assert!(!config.effective().contains("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "\
[robot]
id = \"ro ver\"

[[camera]]
id = \"front\"
fsp = 30
fps = \"thirty\"
size = 720
source = \"clip.mjpeg\"

[relay]
url = \"ftp://relay.example.com\"
ping_interval = \"20\"
api_key = \"hunter2\"

[colour]
";

    assert_eq!(
        refusal(text),
        "\
rovercast.toml:2:1: robot.id: got \"ro ver\" when expecting 1 to 64 characters out of A-Z a-z 0-9 . _ -
rovercast.toml:6:1: camera[0].fsp: unknown key, did you mean fps?
rovercast.toml:7:1: camera[0].fps: got \"thirty\" when expecting a whole number from 1 to 240
rovercast.toml:8:1: camera[0].size: got 720 when expecting text in quotes
rovercast.toml:9:1: camera[0].source: got \"clip.mjpeg\" when expecting one of auto, test-card, file:PATH, or a device below /dev
rovercast.toml:12:1: relay.url: got the scheme \"ftp\" when expecting one of wss, ws, https, http
rovercast.toml:13:1: relay.ping_interval: got \"20\" when expecting a duration such as \"250 ms\", \"20 s\", \"5 min\" or \"1 h\"
rovercast.toml:14:1: relay.api_key: unknown key, did you mean api_key_file?
rovercast.toml:16:2: colour: unknown key when expecting one of robot, camera, relay, webrtc, http"
    );
}

#[test]
fn a_missing_name_is_asked_for() {
    assert_eq!(
        refusal(""),
        "rovercast.toml: robot.id: is missing when expecting the name of this robot at the relay"
    );
    assert_eq!(
        refusal("[robot]\n[relay]\n"),
        "rovercast.toml:1:2: robot.id: is missing when expecting the name of this robot at the relay\n\
         rovercast.toml:2:2: relay.url: is missing when expecting the address of the relay"
    );
}

#[test]
fn a_misspelt_section_finds_its_name() {
    assert_eq!(
        refusal("[robot]\nid = \"r\"\n[rely]\nurl = \"wss://r\"\n"),
        "rovercast.toml:3:2: rely: unknown key, did you mean relay?"
    );
}

#[test]
fn broken_toml_is_told_with_its_place_and_without_its_text() {
    assert_eq!(
        refusal("[robot]\nid = \"rover-7\ncredential = \"hunter2\"\n"),
        "rovercast.toml:2:14: invalid basic string, expected `\"`"
    );
    assert_eq!(
        refusal("[robot]\nid = \"a\"\nid = \"b\"\n"),
        "rovercast.toml:3:1: duplicate key"
    );
    assert_eq!(
        Config::read("rovercast.toml", b"[robot]\nid = \"\xff\"", [])
            .unwrap_err()
            .to_string(),
        "rovercast.toml:2:7: got bytes that are not text in UTF-8"
    );
}

#[test]
fn a_table_of_the_wrong_kind_is_one_mistake() {
    assert_eq!(
        refusal("relay = 3\n[robot]\nid = \"r\"\n[camera]\n[[webrtc]]\n"),
        "\
rovercast.toml:1:1: relay: got 3 when expecting a table
rovercast.toml:4:2: camera: got a table when expecting [[camera]], one block for each
rovercast.toml:5:3: webrtc: got a list when expecting a table"
    );
}

#[test]
fn cameras_are_told_apart() {
    let camera = |keys: &str| format!("[[camera]]\n{keys}\n");
    let two = |first: &str, second: &str| {
        let robot = "[robot]\nid = \"r\"\n".to_owned();
        refusal(&(robot + &camera(first) + &camera(second)))
    };

    assert_eq!(
        two("id = \"front\"", "id = \"front\""),
        "rovercast.toml:6:1: camera[1].id: got \"front\", which is the id of camera[0] already"
    );
    assert_eq!(
        two("id = \"front\"", "fps = 25"),
        "rovercast.toml:5:1: camera[1].id: is missing: with more than one camera each has an id"
    );
    assert_eq!(
        two(
            "id = \"a\"\nsource = \"/dev/video0\"",
            "id = \"b\"\nsource = \"/dev/video0\""
        ),
        "rovercast.toml:8:1: camera[1].source: got \"/dev/video0\", which camera[0] has already"
    );
}

#[test]
fn devices_stay_below_dev() {
    for path in ["/dev/", "/dev/../etc/passwd", "/etc/passwd", "video0"] {
        assert!(path.parse::<Source>().is_err(), "{path}");
    }
}

#[test]
fn what_is_given_up_first_is_one_of_two() {
    assert_eq!(
        refusal("[robot]\nid = \"r\"\n[[camera]]\nprefer = \"cheap\"\n"),
        "rovercast.toml:4:1: camera[0].prefer: got \"cheap\" when expecting one of smooth, sharp"
    );
}

#[test]
fn bitrates_are_in_order() {
    let bitrate = |keys: &str| format!("[robot]\nid = \"r\"\n[[camera]]\nbitrate = {{ {keys} }}\n");

    assert_eq!(
        refusal(&bitrate("min = \"2 Mbps\", start = \"1 Mbps\"")),
        "rovercast.toml:4:29: camera[0].bitrate.start: got 1 Mbps when expecting no less than min, 2 Mbps"
    );
    assert_eq!(
        refusal(&bitrate("start = \"5 Mbps\", max = \"4 Mbps\"")),
        "rovercast.toml:4:13: camera[0].bitrate.start: got 5 Mbps when expecting no more than max, 4 Mbps"
    );
    assert_eq!(
        refusal(&bitrate("min = \"5 Mbps\", max = \"4 Mbps\"")),
        "rovercast.toml:4:13: camera[0].bitrate.min: got 5 Mbps when expecting no more than max, 4 Mbps"
    );
    assert_eq!(
        refusal(&bitrate("min = \"fast\"")),
        "rovercast.toml:4:13: camera[0].bitrate.min: got \"fast\" when expecting a bitrate such as \"300 kbps\" or \"1.5 Mbps\""
    );
}

#[test]
fn a_bound_that_is_left_out_follows_the_given_ones() {
    let range = |keys: &str| {
        let text = format!("[robot]\nid = \"r\"\n[[camera]]\nbitrate = {{ {keys} }}\n");
        let BitrateRange { min, start, max } = read(&text).unwrap().cameras[0].bitrate;
        format!("{min}, {start}, {max}")
    };

    assert_eq!(range("max = \"1 Mbps\""), "300 kbps, 1 Mbps, 1 Mbps");
    assert_eq!(range("max = \"200 kbps\""), "200 kbps, 200 kbps, 200 kbps");
    assert_eq!(range("min = \"6 Mbps\""), "6 Mbps, 6 Mbps, 6 Mbps");
    assert_eq!(range("start = \"8 Mbps\""), "300 kbps, 8 Mbps, 8 Mbps");
    assert_eq!(range("start = \"100 kbps\""), "100 kbps, 100 kbps, 4 Mbps");
}

#[test]
fn a_key_in_the_address_is_refused_and_not_repeated() {
    let relay = |url: &str| refusal(&format!("[robot]\nid = \"r\"\n[relay]\nurl = \"{url}\"\n"));

    assert_eq!(
        relay("wss://relay.example.com/?api_key=hunter2"),
        "rovercast.toml:4:1: relay.url: got \"?\" or \"#\" in the address: type, robot_id and camera_id are added when dialling, \
         and the key belongs into a file named by relay.api_key_file"
    );
    assert_eq!(
        relay("wss://robot:hunter2@relay.example.com/"),
        "rovercast.toml:4:1: relay.url: got a user name or password in the address: put the key into a file and name it in relay.api_key_file"
    );
    assert_eq!(
        relay("relay.example.com?api_key=hunter2"),
        "rovercast.toml:4:1: relay.url: got no URL (relative URL without a base) when expecting an address such as \"wss://relay.example.com/webrtc-relay\""
    );
    assert_eq!(
        refusal("[robot]\nid = \"r\"\n[relay]\nurl = \"wss://r\"\napi_key_file = \"hunter2\"\n"),
        "rovercast.toml:5:1: relay.api_key_file: got no path when expecting the path of a file that holds the secret, from / or ./ on"
    );
}

#[test]
fn a_client_certificate_needs_its_key() {
    let text =
        "[robot]\nid = \"r\"\n[relay]\nurl = \"wss://r\"\nclient_cert_file = \"/etc/cert.pem\"\n";

    assert_eq!(
        refusal(text),
        "rovercast.toml:3:2: relay.client_key_file: is missing: client_cert_file is of no use without it"
    );
}

#[test]
fn ice_servers_that_cannot_work_are_refused() {
    let server = |keys: &str| {
        refusal(&format!(
            "[robot]\nid = \"r\"\n[[webrtc.ice_servers]]\n{keys}\n"
        ))
    };

    assert_eq!(
        server("urls = [\"turn:turn.example.com\"]"),
        "rovercast.toml:4:1: webrtc.ice_servers[0].urls: got \"turn:turn.example.com\" without a login: \
         a TURN server needs username, and credential or credential_file"
    );
    assert_eq!(
        server("urls = [\"stun:a\", \"turns:turn.example.com\"]"),
        "rovercast.toml:4:19: webrtc.ice_servers[0].urls[1]: got \"turns:turn.example.com\", which is spoken over TCP or TLS: \
         rovercast speaks STUN and TURN over UDP only (\"stun:\", \"turn:\")"
    );
    assert_eq!(
        server("urls = []"),
        "rovercast.toml:4:1: webrtc.ice_servers[0].urls: is missing when expecting a list such as [\"stun:stun.example.com:3478\"]"
    );
    assert_eq!(
        server(
            "urls = [\"turn:a\"]\nusername = \"u\"\ncredential = \"hunter2\"\ncredential_file = \"/k\""
        ),
        "rovercast.toml:6:1: webrtc.ice_servers[0].credential: comes with credential_file when expecting one of the two"
    );
}

#[test]
fn variables_lie_over_the_file() {
    let config = read_with(
        FULL,
        &[
            ("ROVERCAST_ROBOT__ID", "7"),
            ("ROVERCAST_CAMERA__0__SOURCE", "test-card"),
            ("ROVERCAST_CAMERA__0__FPS", "15"),
            ("ROVERCAST_CAMERA__0__BITRATE__MAX", "9 Mbps"),
            ("ROVERCAST_CAMERA__1__ID", "rear"),
            ("ROVERCAST_RELAY__URL", "ws://localhost:9000/webrtc-relay"),
            ("ROVERCAST_WEBRTC__ICE_SERVERS", "[{ urls = [\"stun:s\"] }]"),
            ("ROVERCAST_WEBRTC__ICE_SERVERS__0__URLS__1", "stun:t"),
            ("ROVERCAST_HTTP__LISTEN", ""),
            ("ROVERCAST_LOG", "debug"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();

    assert_eq!(config.robot.id.as_str(), "7");
    assert_eq!(config.cameras[0].source, Source::TestCard);
    assert_eq!(config.cameras[0].frame_interval, frame_interval(15));
    assert_eq!(config.cameras[0].bitrate.max, Bitrate::kbps(9000));
    assert_eq!(config.cameras[0].name(), "front");
    assert_eq!(config.cameras[1].name(), "rear");
    assert_eq!(
        config.relay.as_ref().unwrap().url.as_str(),
        "ws://localhost:9000/webrtc-relay"
    );
    assert_eq!(config.webrtc.ice_servers[0].urls, ["stun:s", "stun:t"]);
    assert_eq!(config.http.listen, None);
    assert_eq!(config.warnings(), []);
}

#[test]
fn wrong_variables_are_told_by_their_names() {
    let refusal = |variables: &[(&str, &str)]| read_with(FULL, variables).unwrap_err().to_string();

    assert_eq!(
        refusal(&[
            ("ROVERCAST_CAMERA__0__FPS", "thirty"),
            ("ROVERCAST_CAMERA__7__FPS", "30"),
            ("ROVERCAST_RELAY__URI", "wss://r"),
            ("ROVERCAST_ROBOT__ID__NAME", "r"),
            ("ROVERCAST_WEBRTC__ICE_SERVERS", "[{"),
        ]),
        "\
ROVERCAST_CAMERA__0__FPS: camera[0].fps: got \"thirty\" when expecting a whole number from 1 to 240
ROVERCAST_CAMERA__7__FPS: camera[7].fps: got \"7\" when expecting an index from 0 to 1
ROVERCAST_RELAY__URI: relay.uri: unknown key, did you mean url?
ROVERCAST_ROBOT__ID__NAME: robot.id.name: cannot be set because robot.id is not a table
ROVERCAST_WEBRTC__ICE_SERVERS: webrtc.ice_servers: got a list or table that is not TOML: unclosed inline table, expected `}`"
    );
}

#[test]
fn what_is_unwise_is_a_warning() {
    let robot = "[robot]\nid = \"r\"\n";
    let clear = "[relay]\nurl = \"ws://relay.example.com/\"\napi_key_file = \"/key\"\n";
    let warnings = |text: &str, variables: &[(&str, &str)]| -> Vec<String> {
        let config = read_with(text, variables).unwrap();
        config.warnings().iter().map(Problem::to_string).collect()
    };

    assert_eq!(
        warnings(&(robot.to_owned() + clear), &[]),
        ["rovercast.toml:4:1: relay.url: the key crosses the network in clear text: use wss://"]
    );
    assert_eq!(
        warnings(robot, &[("ROVERCAST_RELAY_URL", "wss://r")]),
        [
            "ROVERCAST_RELAY_URL: sets nothing: below ROVERCAST_ a key has its section and two underscores, such as ROVERCAST_RELAY__URL",
            "rovercast.toml: nobody can watch: there is neither a [relay] nor http.viewer = true",
        ]
    );
}

#[test]
fn files_are_checked_for_what_they_must_hold() {
    let text = "\
[robot]
id = \"r\"
[[camera]]
source = \"file:empty.h264\"
[relay]
url = \"wss://relay.example.com\"
api_key_file = \"/missing\"
ca_file = \"/words\"
client_cert_file = \"/words\"
client_key_file = \"/words\"
[[webrtc.ice_servers]]
urls = [\"turn:t\"]
username = \"u\"
credential_file = \"/words\"
";

    let refusal = read(text).unwrap().check_files(disk).unwrap_err();

    assert_eq!(
        refusal.to_string(),
        "\
rovercast.toml:4:1: camera[0].source: empty.h264 is empty
rovercast.toml:7:1: relay.api_key_file: cannot read /missing: entity not found
rovercast.toml:8:1: relay.ca_file: /words holds no certificate when expecting PEM
rovercast.toml:9:1: relay.client_cert_file: /words holds no certificate when expecting PEM
rovercast.toml:10:1: relay.client_key_file: /words holds no private key when expecting PEM
rovercast.toml:14:1: webrtc.ice_servers[0].credential_file: /words holds more than one word of printable ASCII when expecting a key"
    );
}

#[test]
fn a_key_for_everyone_to_read_is_a_warning() {
    let relay = |file: &str| {
        let text = "[robot]\nid = \"r\"\n[relay]\nurl = \"wss://r\"\napi_key_file = ";
        read(&format!("{text}\"{file}\"\n")).unwrap()
    };

    assert_eq!(relay("/key").check_files(disk).unwrap(), []);
    assert_eq!(
        relay("/public-key").check_files(disk).unwrap()[0].to_string(),
        "rovercast.toml:5:1: relay.api_key_file: /public-key can be read by everyone on this machine: chmod o-r"
    );
}

#[test]
fn a_file_full_of_mistakes_does_not_fill_the_terminal() {
    let text: String = (0..1000).map(|n| format!("key{n} = 1\n")).collect();

    assert_eq!(refusal(&text).lines().count(), 31);
    assert!(refusal(&text).ends_with("\nrovercast.toml: and more"));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Config::read("rovercast.toml", &bytes, []);
    }

    #[test]
    fn no_toml_like_text_panics(
        text in r#"([a-z_.]{1,8} = ("[ -~é]{0,8}"|[0-9]{1,20}|\[[0-9, {}]{0,8}\]|\{ ?[a-z]{0,3} = 1 ?\})\n|\[{1,2}(robot|camera|relay|webrtc|http|webrtc\.ice_servers)\]{1,2}\n){0,8}"#,
        variables in prop::collection::vec(("[A-Z_0-9]{0,12}", r#"[\[{]?[ -~]{0,12}"#), 0..6),
    ) {
        let variables = variables
            .into_iter()
            .map(|(name, text)| (format!("ROVERCAST_{name}").into(), text.into()));

        let _ = Config::read("rovercast.toml", text.as_bytes(), variables);
    }

    #[test]
    fn no_value_panics(text in ".{0,40}") {
        let _ = text::ice_url(&text);
        let _ = text::relay_url(&text);
        let _ = document::text::duration(&text, Duration::ZERO..=Duration::MAX);
        let _ = text.parse::<Source>();
    }
}

fn read(text: &str) -> Result<Config, DocumentError> {
    read_with(text, &[])
}

fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, DocumentError> {
    let variables = variables
        .iter()
        .map(|(name, text)| (OsString::from(name), OsString::from(text)));
    Config::read("rovercast.toml", text.as_bytes(), variables)
}

fn refusal(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

fn id(text: &str) -> RobotId {
    text.parse().unwrap()
}

/// A disk with four files.
fn disk(path: &Path) -> io::Result<FoundFile> {
    let (mode, content) = match path.to_str() {
        Some("/key") => (0o600, "hunter2\n"),
        Some("/public-key") => (0o644, "hunter2\n"),
        Some("/words") => (0o600, "these are words\n"),
        Some("empty.h264") => (0o644, ""),
        _ => return Err(io::ErrorKind::NotFound.into()),
    };
    Ok(FoundFile {
        mode,
        content: content.into(),
    })
}

const FULL: &str = r#"
[robot]
id = "rover-7"

[[camera]]
id = "front"
source = "file:clip.mjpeg"
size = "640x360"
fps = 25
encoder = "/dev/video11"
bitrate = { min = "200 kbps", start = "800 kbps", max = "2 Mbps" }
prefer = "sharp"
renditions = 2
keep_warm = true

[relay]
url = "https://relay.example.com/webrtc-relay"
api_key_file = "/run/credentials/rovercast.service/relay-api-key"
auth = "bearer"
ca_file = "/etc/rovercast/ca.pem"
client_cert_file = "/etc/rovercast/robot.pem"
client_key_file = "/etc/rovercast/robot.key"
proxy = "http://proxy.example.com:3128"
proxy_login_file = "/run/credentials/rovercast.service/proxy-login"
ping_interval = "15 s"
backoff = { first = "500 ms", max = "2 min", reset_after = "30 s" }

[webrtc]
max_viewers = 4
ice_policy = "relay"
udp_ports = "50000-50100"
ice_servers = [
    { urls = ["stun:stun.example.com:3478"] },
    { urls = ["turn:turn.example.com:3478"], username = "robot", credential = "hunter2" },
]

[http]
listen = "off"
"#;
