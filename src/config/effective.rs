//! The configuration as it counts: every key with its value, defaults filled in, secrets masked.

use std::fmt::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::document::text::shown_duration;

use super::{
    CameraConfig, Config, Credential, HttpConfig, IceServerConfig, RelayConfig, WebrtcConfig,
};

impl Config {
    /// The effective configuration as TOML. It can be read again, except for what is masked.
    pub fn effective(&self) -> String {
        let mut out = String::new();
        write_config(&mut out, self).expect("writing to a String cannot fail");
        out
    }
}

fn write_config(out: &mut String, config: &Config) -> fmt::Result {
    writeln!(out, "[robot]")?;
    writeln!(out, "id = {}", quoted(config.robot.id.as_str()))?;
    for camera in &config.cameras {
        write_camera(out, camera)?;
    }
    if let Some(relay) = &config.relay {
        write_relay(out, relay)?;
    }
    write_webrtc(out, &config.webrtc)?;
    write_http(out, &config.http)
}

fn write_camera(out: &mut String, camera: &CameraConfig) -> fmt::Result {
    writeln!(out, "\n[[camera]]")?;
    if let Some(id) = &camera.id {
        writeln!(out, "id = {}", quoted(id.as_str()))?;
    }
    writeln!(out, "source = {}", quoted(&camera.source.to_string()))?;
    writeln!(out, "size = {}", quoted(&camera.size.to_string()))?;
    writeln!(out, "fps = {}", fps(camera.frame_interval))?;
    writeln!(out, "encoder = {}", quoted(&camera.encoder.to_string()))?;
    let bitrate = camera.bitrate;
    writeln!(
        out,
        "bitrate = {{ min = \"{}\", start = \"{}\", max = \"{}\" }}",
        bitrate.min, bitrate.start, bitrate.max
    )?;
    writeln!(out, "prefer = {}", quoted(&camera.prefer.to_string()))?;
    writeln!(out, "renditions = {}", camera.renditions.count())?;
    writeln!(out, "keep_warm = {}", camera.keep_warm)
}

fn write_relay(out: &mut String, relay: &RelayConfig) -> fmt::Result {
    writeln!(out, "\n[relay]")?;
    writeln!(out, "url = {}", quoted(relay.url.as_str()))?;
    write_path(out, "api_key_file", relay.api_key_file.as_deref())?;
    writeln!(out, "auth = \"{}\"", relay.auth)?;
    write_path(out, "ca_file", relay.ca_file.as_deref())?;
    if let Some(certificate) = &relay.client_certificate {
        write_path(out, "client_cert_file", Some(&certificate.cert_file))?;
        write_path(out, "client_key_file", Some(&certificate.key_file))?;
    }
    if let Some(proxy) = &relay.proxy {
        writeln!(out, "proxy = {}", quoted(proxy.url.as_str()))?;
        write_path(out, "proxy_login_file", proxy.login_file.as_deref())?;
    }
    writeln!(
        out,
        "ping_interval = \"{}\"",
        shown_duration(relay.ping_interval)
    )?;
    let backoff = relay.backoff;
    writeln!(
        out,
        "backoff = {{ first = \"{}\", max = \"{}\", reset_after = \"{}\" }}",
        shown_duration(backoff.first),
        shown_duration(backoff.max),
        shown_duration(backoff.reset_after)
    )
}

fn write_webrtc(out: &mut String, webrtc: &WebrtcConfig) -> fmt::Result {
    writeln!(out, "\n[webrtc]")?;
    writeln!(out, "max_viewers = {}", webrtc.max_viewers)?;
    writeln!(out, "ice_policy = \"{}\"", webrtc.ice_policy)?;
    if let Some(range) = webrtc.udp_ports {
        writeln!(out, "udp_ports = \"{range}\"")?;
    }
    webrtc
        .ice_servers
        .iter()
        .try_for_each(|server| write_ice_server(out, server))
}

fn write_ice_server(out: &mut String, server: &IceServerConfig) -> fmt::Result {
    let urls: Vec<String> = server.urls.iter().map(|url| quoted(url)).collect();
    writeln!(out, "\n[[webrtc.ice_servers]]")?;
    writeln!(out, "urls = [{}]", urls.join(", "))?;
    let Some(login) = &server.login else {
        return Ok(());
    };
    writeln!(out, "username = {}", quoted(&login.username))?;
    match &login.credential {
        Credential::Inline(_) => writeln!(out, "credential = \"********\""),
        Credential::File(path) => write_path(out, "credential_file", Some(path)),
    }
}

fn write_http(out: &mut String, http: &HttpConfig) -> fmt::Result {
    writeln!(out, "\n[http]")?;
    match http.listen {
        Some(listen) => writeln!(out, "listen = \"{listen}\"")?,
        None => writeln!(out, "listen = \"off\"")?,
    }
    writeln!(out, "viewer = {}", http.viewer)
}

fn write_path(out: &mut String, key: &str, path: Option<&Path>) -> fmt::Result {
    match path {
        Some(path) => writeln!(out, "{key} = {}", quoted(&path.to_string_lossy())),
        None => Ok(()),
    }
}

/// The frames a second that an interval came from.
fn fps(interval: Duration) -> u128 {
    let nanoseconds = interval.as_nanos().max(1);
    (1_000_000_000 + nanoseconds / 2) / nanoseconds
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
