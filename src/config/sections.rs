//! The sections of the file, key by key, and what must fit together between them.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use crate::document::problem::Findings;
use crate::document::reader::{Section, read_table};
use crate::document::text::shown_duration;
use crate::document::{Table, quoted};
use crate::media::rate::Prefer;
use crate::media::{Bitrate, Size};

use super::text;
use super::{
    Auth, BackoffConfig, BitrateRange, CameraConfig, CameraId, ClientCertificate, Config,
    Credential, EncoderChoice, HttpConfig, IcePolicy, IceServerConfig, PortRange, ProxyConfig,
    RelayConfig, Renditions, RobotId, Source, TurnLogin, WebrtcConfig, frame_interval,
};

/// What comes back may be used only when nothing was reported.
pub(super) fn read(table: Table, findings: &mut Findings<'_>) -> Config {
    let config = read_table(String::new(), table, findings, |root| {
        let id = root.table("robot", |robot| {
            robot.required(
                "id",
                RobotId::from_str,
                "the name of this robot at the relay",
            )
        });
        let mut config = Config::new(id.unwrap_or_else(RobotId::unreadable));
        let cameras = root.each_table("camera", camera);
        if !cameras.is_empty() {
            config.cameras = cameras;
        }
        if root.has("relay") {
            config.relay = root.table("relay", relay);
        }
        config.webrtc = root.table("webrtc", webrtc);
        config.http = root.table("http", http);
        config
    });
    check_cameras(&config.cameras, findings);
    config
}

fn camera(section: &mut Section<'_, '_>) -> CameraConfig {
    let default = CameraConfig::default();
    CameraConfig {
        id: section.parsed("id", CameraId::from_str),
        source: section
            .parsed("source", Source::from_str)
            .unwrap_or(default.source),
        size: section
            .parsed("size", Size::from_str)
            .unwrap_or(default.size),
        frame_interval: section
            .whole("fps", 1..=240)
            .map_or(default.frame_interval, frame_interval),
        encoder: section
            .parsed("encoder", EncoderChoice::from_str)
            .unwrap_or(default.encoder),
        bitrate: section.table("bitrate", bitrate),
        prefer: section
            .parsed("prefer", Prefer::from_str)
            .unwrap_or(default.prefer),
        renditions: match section.whole("renditions", 1..=2) {
            Some(2) => Renditions::Two,
            Some(_) => Renditions::One,
            None => default.renditions,
        },
        keep_warm: section.flag("keep_warm").unwrap_or(default.keep_warm),
    }
}

/// A bound that is left out follows the ones that are given: `{ max = "1 Mbps" }` starts at 1 Mbps.
fn bitrate(section: &mut Section<'_, '_>) -> BitrateRange {
    let min = section.parsed("min", Bitrate::from_str);
    let start = section.parsed("start", Bitrate::from_str);
    let max = section.parsed("max", Bitrate::from_str);
    let default = BitrateRange::default();
    let max = max.unwrap_or(default.max.max(start.max(min).unwrap_or_default()));
    let min = min.unwrap_or(default.min.min(start.unwrap_or(max)).min(max));
    let start = start.unwrap_or(default.start.max(min).min(max));
    if min > max {
        section.report(
            "min",
            format!("got {min} when expecting no more than max, {max}"),
        );
    } else if start < min {
        section.report(
            "start",
            format!("got {start} when expecting no less than min, {min}"),
        );
    } else if start > max {
        section.report(
            "start",
            format!("got {start} when expecting no more than max, {max}"),
        );
    }
    BitrateRange { min, start, max }
}

/// Entries of a list must differ where the outside tells them apart.
fn check_cameras(cameras: &[CameraConfig], findings: &mut Findings<'_>) {
    let mut ids = BTreeMap::new();
    let mut devices = BTreeMap::new();
    for (index, camera) in cameras.iter().enumerate() {
        match &camera.id {
            Some(id) => {
                if let Some(first) = ids.insert(id, index) {
                    findings.report(
                        &format!("camera[{index}].id"),
                        format!("got \"{id}\", which is the id of camera[{first}] already"),
                    );
                }
            }
            None if cameras.len() > 1 => findings.report(
                &format!("camera[{index}].id"),
                "is missing: with more than one camera each has an id",
            ),
            None => {}
        }
        if let Source::Device(path) = &camera.source
            && let Some(first) = devices.insert(path, index)
        {
            findings.report(
                &format!("camera[{index}].source"),
                format!(
                    "got {}, which camera[{first}] has already",
                    quoted(&path.to_string_lossy())
                ),
            );
        }
    }
}

fn relay(section: &mut Section<'_, '_>) -> Option<RelayConfig> {
    let url = section.required("url", text::relay_url, "the address of the relay");
    let api_key_file = section.secret_path("api_key_file");
    let auth = section.parsed("auth", Auth::from_str);
    let ca_file = section.path("ca_file");
    let has_certificate = section.has("client_cert_file");
    let has_key = section.has("client_key_file");
    let client_certificate = section
        .path("client_cert_file")
        .zip(section.path("client_key_file"))
        .map(|(cert_file, key_file)| ClientCertificate {
            cert_file,
            key_file,
        });
    if has_certificate && !has_key {
        section.report(
            "client_key_file",
            "is missing: client_cert_file is of no use without it",
        );
    }
    if has_key && !has_certificate {
        section.report(
            "client_cert_file",
            "is missing: client_key_file is of no use without it",
        );
    }
    let has_proxy = section.has("proxy");
    let proxy = section.parsed("proxy", text::proxy_url);
    let has_login = section.has("proxy_login_file");
    let login_file = section.secret_path("proxy_login_file");
    if has_login && !has_proxy {
        section.report(
            "proxy",
            "is missing: proxy_login_file is of no use without it",
        );
    }
    let ping_interval = section.duration("ping_interval", SECOND..=10 * MINUTE);
    let backoff = section.table("backoff", backoff);
    Some(RelayConfig {
        url: url?,
        api_key_file,
        auth: auth.unwrap_or(Auth::Query),
        ca_file,
        client_certificate,
        proxy: proxy.map(|url| ProxyConfig { url, login_file }),
        ping_interval: ping_interval.unwrap_or(PING_INTERVAL),
        backoff,
    })
}

fn backoff(section: &mut Section<'_, '_>) -> BackoffConfig {
    let default = BackoffConfig::default();
    let first = section.duration("first", Duration::from_millis(10)..=10 * MINUTE);
    let max = section.duration("max", SECOND..=60 * MINUTE);
    let reset_after = section.duration("reset_after", Duration::ZERO..=60 * MINUTE);
    let backoff = BackoffConfig {
        first: first.unwrap_or(default.first),
        max: max.unwrap_or(default.max),
        reset_after: reset_after.unwrap_or(default.reset_after),
    };
    if backoff.first > backoff.max {
        let (first, max) = (shown_duration(backoff.first), shown_duration(backoff.max));
        section.report(
            "first",
            format!("got {first} when expecting no more than max, {max}"),
        );
    }
    backoff
}

fn webrtc(section: &mut Section<'_, '_>) -> WebrtcConfig {
    let default = WebrtcConfig::default();
    let webrtc = WebrtcConfig {
        max_viewers: section
            .whole("max_viewers", 1..=256)
            .unwrap_or(default.max_viewers),
        ice_policy: section
            .parsed("ice_policy", IcePolicy::from_str)
            .unwrap_or(default.ice_policy),
        udp_ports: section.parsed("udp_ports", PortRange::from_str),
        ice_servers: section.each_table("ice_servers", ice_server),
    };
    if let Some(range) = webrtc.udp_ports
        && range.ports() > 1
        && range.ports() < webrtc.max_viewers as usize
    {
        section.report(
            "udp_ports",
            format!(
                "got {} ports when expecting one for all viewers, or one for each of {}",
                range.ports(),
                webrtc.max_viewers
            ),
        );
    }
    webrtc
}

fn ice_server(section: &mut Section<'_, '_>) -> IceServerConfig {
    let is_missing = !section.has("urls");
    let urls = section.each_parsed("urls", text::ice_url);
    if is_missing || urls.as_ref().is_some_and(Vec::is_empty) {
        section.report(
            "urls",
            "is missing when expecting a list such as [\"stun:stun.example.com:3478\"]",
        );
    }
    let urls = urls.unwrap_or_default();
    let username = section.parsed("username", |text| Ok(text.to_owned()));
    let inline = section.secret("credential").map(Credential::Inline);
    let file = section.secret_path("credential_file").map(Credential::File);
    if inline.is_some() && file.is_some() {
        section.report(
            "credential",
            "comes with credential_file when expecting one of the two",
        );
    }
    let login = username
        .zip(inline.or(file))
        .map(|(username, credential)| TurnLogin {
            username,
            credential,
        });
    let turn = urls.iter().find(|url| url.starts_with("turn:"));
    if let (Some(turn), None) = (turn, &login) {
        section.report(
            "urls",
            format!("got {} without a login: a TURN server needs username, and credential or credential_file", quoted(turn)),
        );
    }
    IceServerConfig { urls, login }
}

fn http(section: &mut Section<'_, '_>) -> HttpConfig {
    let default = HttpConfig::default();
    let http = HttpConfig {
        listen: section
            .parsed("listen", text::listen)
            .unwrap_or(default.listen),
        viewer: section.flag("viewer").unwrap_or(default.viewer),
    };
    if http.viewer && http.listen.is_none() {
        section.report(
            "viewer",
            "got true when http.listen is \"off\": the page needs an address",
        );
    }
    http
}

/// Below the minute after which home routers and mobile networks forget a silent connection.
const PING_INTERVAL: Duration = Duration::from_secs(20);

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
