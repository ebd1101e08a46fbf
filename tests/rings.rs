//! The house has three rings, and `use` points inwards only: app → drivers → core. This test reads `src/` and says where it does not.
//!
//! A new file fails this test until [`RINGS`] says where it lives. Only shipped code counts: comments, strings and `#[cfg(test)]` items
//! are cut off first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

#[path = "rings/planted.rs"]
mod planted;
#[path = "rings/source.rs"]
mod source;

use source::{Source, UsedPath};

/// From the inside out: a module may use its own ring and those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ring {
    Core,
    Driver,
    App,
}

/// Who lives where. `camera::*` is the folder below `camera`; where two entries fit, the longer one decides.
const RINGS: &[(Ring, &[&str])] = &[
    (
        Ring::Core,
        &[
            "backoff",
            "board",
            "board::*",
            "config",
            "config::*",
            "document",
            "document::*",
            "media",
            "media::*",
            "metrics",
            "relay",
            "relay::message",
            "relay::message::*",
            "relay::server::rooms",
            "relay::server::rooms::*",
            "relay::session",
            "relay::session::*",
            "supervisor",
            "supervisor::*",
            "viewer",
            "viewer::interface",
            "viewer::packetizer",
            "viewer::picture",
            "viewer::reach",
            "viewer::sending",
            "viewer::sending::*",
            "viewer::signalled",
            "viewer::webrtc::demultiplexer",
        ],
    ),
    (
        Ring::Driver,
        &[
            "camera",
            "camera::*",
            "encoder",
            "encoder::*",
            "http",
            "network",
            "network::*",
            "pipeline",
            "pipeline::*",
            "relay::client",
            "relay::client::*",
            "relay::server",
            "relay::server::*",
            "systemd",
            "uevents",
            "v4l2",
            "v4l2::*",
            "viewer::webrtc",
            "viewer::webrtc::*",
        ],
    ),
    (
        Ring::App,
        &["app", "app::*", "cli", "cli::*", "lib", "main"],
    ),
];

/// What a core module may not name: everything here reads a clock, owns a descriptor, starts a thread or asks the system.
const NOT_IN_CORE: &[&str] = &[
    "axum",
    "hyper",
    "hyper_util",
    "libc",
    "openh264",
    "rtc",
    "rustix",
    "sd_notify",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "tokio",
    "tokio_rustls",
    "tokio_tungstenite",
    "tracing_journald",
    "webrtc",
];

/// Addresses are plain values (std re-exports them from `core::net`); what is left of `std::net` opens sockets.
const PLAIN_VALUES: &[&str] = &[
    "std::net::AddrParseError",
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
    "std::net::SocketAddr",
    "std::net::SocketAddrV4",
    "std::net::SocketAddrV6",
];

const CLOCK_READS: &[&str] = &["Instant::now", "SystemTime::now", "clock_gettime"];

#[test]
fn use_points_inwards_only() {
    let mut files = BTreeMap::new();
    read_modules(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        "",
        &mut files,
    );
    assert!(files.len() > 10, "read only {} files of src/", files.len());

    let found = House::new(&files).violations();

    assert!(
        found.is_empty(),
        "{} walls are broken:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// `module path → text`, for every `.rs` file below `folder`.
fn read_modules(folder: &Path, module: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else {
            continue;
        };
        let name = if module.is_empty() {
            name.to_owned()
        } else {
            format!("{module}::{name}")
        };
        if path.is_dir() {
            read_modules(&path, &name, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(name, fs::read_to_string(&path).expect("sources are UTF-8"));
        }
    }
}

/// All modules, each with its shipped code.
struct House {
    modules: BTreeMap<String, Source>,
}

impl House {
    fn new(files: &BTreeMap<String, String>) -> Self {
        let mut modules: BTreeMap<_, _> = files
            .iter()
            .map(|(name, text)| (name.clone(), Source::parse(text)))
            .collect();
        let test_only: BTreeSet<String> = modules
            .iter()
            .flat_map(|(parent, source)| {
                source.test_modules.iter().map(|child| join(parent, child))
            })
            .collect();
        modules.retain(|name, _| {
            !test_only
                .iter()
                .any(|test| name == test || name.starts_with(&format!("{test}::")))
        });
        Self { modules }
    }

    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (module, source) in &self.modules {
            let file = format!("src/{}.rs", module.replace("::", "/"));
            let Some(ring) = ring_of(module) else {
                found.push(format!("{file}: in no ring: list it in tests/rings.rs"));
                continue;
            };
            for line in &source.unsafe_lines {
                if module != "v4l2::ioctl" {
                    found.push(format!("{file}:{line}: unsafe outside src/v4l2/ioctl.rs"));
                }
            }
            for path in &source.paths {
                if let Some(reason) = self.refusal(module, ring, path) {
                    found.push(format!("{file}:{}: {reason}", path.line));
                }
            }
        }
        // One line of `use` may name the same thing twice.
        found.dedup();
        found
    }

    /// Why `module` may not name `path`, if it may not.
    fn refusal(&self, module: &str, ring: Ring, path: &UsedPath) -> Option<String> {
        let text = path.segments.join("::");
        if let Some(used) = self.own_module(module, path) {
            let theirs = ring_of(&used)?;
            return (theirs > ring)
                .then(|| format!("{module} is {ring:?} and uses {used}, which is {theirs:?}"));
        }
        if begins_with(&text, "webrtc") || begins_with(&text, "rtc") {
            let at_home = begins_with(module, "viewer::webrtc");
            return (!at_home).then(|| format!("{text} is named outside src/viewer/webrtc"));
        }
        if ring != Ring::Core {
            return None;
        }
        if CLOCK_READS
            .iter()
            .any(|read| text == *read || text.ends_with(&format!("::{read}")))
        {
            return Some(format!("{module} is Core and reads the clock with {text}"));
        }
        let refused = NOT_IN_CORE.iter().any(|name| begins_with(&text, name));
        let plain = PLAIN_VALUES.iter().any(|name| begins_with(&text, name));
        (refused && !plain).then(|| format!("{module} is Core and uses {text}"))
    }

    /// The module of this crate that `path` leads to, when it leads to one.
    fn own_module(&self, module: &str, path: &UsedPath) -> Option<String> {
        if path.is_global {
            return None;
        }
        let mut at: Vec<&str> = if module == "lib" {
            Vec::new()
        } else {
            module.split("::").collect()
        };
        let mut segments = path.segments.iter().map(String::as_str).peekable();
        match *segments.peek()? {
            "crate" => {
                segments.next();
                at.clear();
            }
            "self" => {
                segments.next();
            }
            "super" => {
                while segments.next_if_eq(&"super").is_some() {
                    at.pop();
                }
            }
            // Inside viewer/webrtc.rs `webrtc` is the crate; in viewer.rs it is the child module.
            child if self.modules.contains_key(&join(module, child)) => {}
            _ => return None,
        }
        at.extend(segments);
        while !at.is_empty() {
            let name = at.join("::");
            if self.modules.contains_key(&name) {
                return Some(name);
            }
            at.pop();
        }
        Some("lib".to_owned())
    }
}

fn ring_of(module: &str) -> Option<Ring> {
    let fits = |entry: &str| match entry.strip_suffix("::*") {
        Some(folder) => module.starts_with(&format!("{folder}::")),
        None => module == entry,
    };
    RINGS
        .iter()
        .flat_map(|(ring, entries)| entries.iter().map(move |entry| (*ring, *entry)))
        .filter(|(_, entry)| fits(entry))
        .max_by_key(|(_, entry)| {
            entry.trim_end_matches("::*").len() * 2 + usize::from(!entry.ends_with('*'))
        })
        .map(|(ring, _)| ring)
}

fn begins_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn join(parent: &str, child: &str) -> String {
    if parent == "lib" {
        child.to_owned()
    } else {
        format!("{parent}::{child}")
    }
}
