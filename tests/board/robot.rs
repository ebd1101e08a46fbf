//! The program on the board, and what the board's kernel tells of it.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use serde_json::Value;

use super::common::http::{self, Metrics};
use super::common::process::{Rovercast, free_address};
use super::common::{artefact, wait_for};
use super::devices::{camera, node};
use super::outside::Relay;
use super::proc::Memory;

/// `rovercast run`.
pub(crate) struct Robot {
    process: Rovercast,
    http: SocketAddr,
    name: String,
}

/// What differs between robots.
pub(crate) struct Setup<'a> {
    pub(crate) size: &'a str,
    pub(crate) fps: u32,
    /// Least, first and most of the bitrate.
    pub(crate) bitrate: [&'a str; 3],
    /// More of `[[camera]]`.
    pub(crate) more: &'a str,
    /// What its profile says of the virtual encoder, over what is built in.
    pub(crate) profile: Option<&'a str>,
    /// The relay that it calls; it is its own, and serves the page, where there is none.
    pub(crate) relay: Option<&'a Relay>,
    /// As systemd gives it to a service of `Type=notify`.
    pub(crate) notify_socket: Option<&'a Path>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            size: "320x240",
            fps: 15,
            bitrate: ["300 kbps", "600 kbps", "1 Mbps"],
            more: "",
            profile: None,
            relay: None,
            notify_socket: None,
        }
    }
}

impl Robot {
    /// Returns when it is ready for viewers.
    pub(crate) fn start(name: &str, setup: &Setup<'_>) -> Self {
        let http = free_address();
        let Setup {
            size,
            fps,
            bitrate: [min, first, max],
            more,
            profile,
            relay,
            ..
        } = setup;
        let (viewer, relay) = (
            relay.is_none(),
            relay.map(Relay::section).unwrap_or_default(),
        );
        let text = format!(
            r#"[robot]
id = "rover-7"

[[camera]]
id = "front"
source = "{}"
encoder = "auto"
size = "{size}"
fps = {fps}
bitrate = {{ min = "{min}", start = "{first}", max = "{max}" }}
{more}

[http]
listen = "{http}"
viewer = {viewer}

{relay}"#,
            camera().display()
        );
        let config = artefact(&format!("{name}.toml"));
        fs::write(&config, text).unwrap();
        let config = config.to_str().unwrap();
        let mut command = Command::new("rovercast");
        command.envs(setup.notify_socket.map(|path| ("NOTIFY_SOCKET", path)));
        let profiles = profile.map(|profile| profiles(name, profile));
        let mut arguments = vec!["run", "--config", config];
        if let Some(folder) = &profiles {
            arguments.extend(["--profiles", folder]);
        }
        let process = Rovercast::start_as(name, command, "rovercast=debug", &arguments);
        let name = name.to_owned();
        wait_for("/readyz", Duration::from_secs(20), || {
            http::get(http, "/readyz")
                .ok()
                .filter(|answer| answer.status == 200)
        });
        Self {
            process,
            http,
            name,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.http
    }

    pub(crate) fn id(&self) -> Pid {
        self.process.id()
    }

    /// SIGTERM.
    pub(crate) fn ask_to_end(&self) {
        self.process.ask_to_end();
    }

    pub(crate) fn exit(&mut self) -> ExitStatus {
        self.process.exit()
    }

    pub(crate) fn status(&self) -> Value {
        let body = http::get(self.http, "/status").unwrap().body;
        serde_json::from_str(&body).unwrap()
    }

    /// `/status` of its camera.
    pub(crate) fn camera(&self) -> Value {
        self.status()["cameras"][0].take()
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        Metrics::read(self.http).value(name)
    }

    /// The path that `/metrics` names.
    pub(crate) fn picture_path(&self) -> String {
        let metrics = Metrics::read(self.http);
        let mut samples = metrics.samples("rovercast_picture_path");
        let (labels, value) = samples.next().expect("a path");
        assert_eq!((value, samples.next()), (1.0, None), "one and no other");
        let path = labels.split_once("path=\"").expect("a label").1;
        path.trim_end_matches('"').to_owned()
    }

    /// Waits until a metric has this value.
    pub(crate) fn until_metric(&self, name: &str, value: f64) {
        wait_for(&format!("{name} {value}"), Duration::from_secs(30), || {
            (self.metric(name) == value).then_some(())
        });
    }

    /// What its encoder has made until now.
    pub(crate) fn counts(&self) -> Counts {
        let metrics = Metrics::read(self.http);
        Counts {
            at: Instant::now(),
            units: metrics.value("rovercast_encoder_frames_total"),
            bytes: metrics.value("rovercast_encoder_bytes_total"),
        }
    }

    /// What the encoder is asked for, in kbit/s.
    pub(crate) fn target_kbps(&self) -> f64 {
        self.metric("rovercast_target_bits_per_second") / 1000.0
    }

    /// How long it took until the encoder is asked for as much as is wanted, in kbit/s.
    pub(crate) fn until_target(&self, what: &str, wanted: impl Fn(f64) -> bool) -> Duration {
        let begin = Instant::now();
        wait_for(what, Duration::from_secs(40), || {
            wanted(self.target_kbps()).then_some(())
        });
        begin.elapsed()
    }

    /// What the encoder made, in kbit/s, when it has made more than this for two seconds, one after the other: a busy machine makes the
    /// stream thin for a moment, whatever the link carries.
    pub(crate) fn until_coded(&self, more_than: f64) -> f64 {
        let mut last = 0.0;
        let what = format!("more than {more_than} kbit/s for two seconds");
        wait_for(&what, Duration::from_secs(40), || {
            let before = std::mem::replace(&mut last, self.kbps_over(Duration::from_secs(1)));
            (before.min(last) > more_than).then(|| f64::midpoint(before, last))
        })
    }

    /// What the encoder makes from now on for so long, in kbit/s.
    pub(crate) fn kbps_over(&self, time: Duration) -> f64 {
        let before = self.counts();
        std::thread::sleep(time);
        self.counts().kbps(&before)
    }

    pub(crate) fn has_not_panicked(&self) -> bool {
        !self.has_logged("panicked")
    }

    pub(crate) fn has_logged(&self, words: &str) -> bool {
        let log = fs::read_to_string(artefact(&format!("{}.log", self.name))).unwrap();
        log.contains(words)
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.id().as_raw_pid())
    }

    fn maps(&self) -> String {
        fs::read_to_string(self.proc("maps")).expect("the process runs")
    }

    /// The nodes of video devices that it holds open.
    pub(crate) fn video_devices(&self) -> Vec<String> {
        let open = fs::read_dir(self.proc("fd")).expect("the process runs");
        let targets = open
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .map(|target| target.display().to_string())
            .filter(|target| target.starts_with("/dev/video"));
        BTreeSet::from_iter(targets).into_iter().collect()
    }

    /// The check from outside that no processor looks at raw pictures: of all devices' memory nothing is mapped but the encoder's
    /// coded buffers, and those for reading only. (The two queues of an encoder share one file, and the offsets in `maps` do not
    /// tell them apart: v4l2_m2m_mmap() takes the difference away.)
    pub(crate) fn assert_no_raw_picture_is_mapped(&self) {
        let encoder = node("ROVERCAST_ENCODER").display().to_string();
        let maps = self.maps();
        let mapped: Vec<_> = maps
            .lines()
            .filter(|line| line.contains("/dev/video") || line.contains("dmabuf"))
            .collect();
        assert!(!mapped.is_empty(), "not even coded buffers are mapped");
        for line in mapped {
            println!("mapped: {line}");
            let mut words = line.split_whitespace();
            let (from, to) = words.next().unwrap().split_once('-').unwrap();
            let address = |text| u64::from_str_radix(text, 16).unwrap();
            let bytes = address(to) - address(from);
            assert_eq!(words.next().unwrap(), "r--s", "{line}");
            assert_eq!(words.last().unwrap(), encoder, "{line}");
            assert!(!RAW_BYTES.contains(&bytes), "{line}");
        }
    }

    /// The states of its threads, one letter each (proc_pid_stat(5)), that of the main one first.
    pub(crate) fn thread_states(&self) -> Vec<char> {
        let state = |stat: String| stat.rsplit_once(") ")?.1.chars().next();
        let read = |path: std::path::PathBuf| state(fs::read_to_string(path).ok()?);
        let main = self.id().as_raw_pid().to_string();
        let tasks = fs::read_dir(self.proc("task")).into_iter().flatten();
        let (main, others): (Vec<_>, Vec<_>) = tasks
            .flatten()
            .partition(|task| task.file_name().to_str() == Some(&main));
        let all = main.into_iter().chain(others);
        all.filter_map(|task| read(task.path().join("stat")))
            .collect()
    }

    pub(crate) fn holdings(&self) -> Holdings {
        Holdings {
            descriptors: fs::read_dir(self.proc("fd")).unwrap().count(),
            mappings: self.maps().lines().count(),
            threads: fs::read_dir(self.proc("task")).unwrap().count(),
            anonymous_mb: Memory::read(self.id()).anonymous,
        }
    }
}

/// A folder of profiles with this one in it.
fn profiles(name: &str, profile: &str) -> String {
    let folder = artefact(&format!("{name}.profiles"));
    fs::create_dir_all(&folder).unwrap();
    let head = "kind = \"encoder\"\nid = \"virtual\"\ntitle = \"Virtual encoder\"\nevidence = \"measured\"\n";
    fs::write(folder.join("virtual.toml"), format!("{head}{profile}\n")).unwrap();
    folder.to_str().unwrap().to_owned()
}

/// The encoder's work until a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) at: Instant,
    units: f64,
    bytes: f64,
}

impl Counts {
    pub(crate) fn units(&self, since: &Self) -> f64 {
        self.units - since.units
    }

    /// Units a second.
    pub(crate) fn fps(&self, since: &Self) -> f64 {
        self.units(since) / self.seconds(since)
    }

    pub(crate) fn kbps(&self, since: &Self) -> f64 {
        (self.bytes - since.bytes) * 8.0 / 1000.0 / self.seconds(since)
    }

    fn seconds(&self, since: &Self) -> f64 {
        (self.at - since.at).as_secs_f64()
    }
}

/// Raw pictures of 320x240, and of 320x180 where vivid has no other: 4:2:0 and 4:2:2, in whole pages.
const RAW_BYTES: [u64; 4] = [
    (320_u64 * 240 * 3 / 2).next_multiple_of(4096),
    (320_u64 * 240 * 2).next_multiple_of(4096),
    (320_u64 * 180 * 3 / 2).next_multiple_of(4096),
    (320_u64 * 180 * 2).next_multiple_of(4096),
];

/// What a process holds of its machine.
#[derive(Debug)]
pub(crate) struct Holdings {
    descriptors: usize,
    mappings: usize,
    threads: usize,
    anonymous_mb: f64,
}

impl Holdings {
    /// Allocators and thread pools breathe; what leaks once a cycle leaves these bounds.
    pub(crate) fn is_no_more_than(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors
            && self.mappings <= before.mappings + 8
            && self.threads <= before.threads + 2
            && self.anonymous_mb <= before.anonymous_mb + 3.0
    }
}
