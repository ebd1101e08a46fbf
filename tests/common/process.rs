//! A running rovercast: started with arguments, watched through its output, ended by signal.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

use super::{artefact, http, wait_for};

/// One process of the real binary. It dies with this value.
#[derive(Debug)]
pub(crate) struct Rovercast {
    child: Child,
    started: Instant,
    output: Output,
    readers: Vec<JoinHandle<()>>,
    log: String,
}

/// Lines, each with the moment it was read.
pub(crate) type Output = Arc<Mutex<Vec<(Instant, String)>>>;

impl Rovercast {
    /// Starts `rovercast arguments…`. All that it prints goes to `target/test-artefacts/NAME.log`, too.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_logging(name, LOG_LEVEL, arguments)
    }

    /// The same with a log filter of its own.
    pub(crate) fn start_logging(name: &str, filter: &str, arguments: &[&str]) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_rovercast"));
        Self::start_as(name, command, filter, arguments)
    }

    /// The same as another command, to which the arguments are added.
    pub(crate) fn start_as(
        name: &str,
        mut command: Command,
        filter: &str,
        arguments: &[&str],
    ) -> Self {
        let log = format!("{name}.log");
        let mut file = File::create(artefact(&log)).expect("target is writable");
        writeln!(file, "$ rovercast {}", arguments.join(" ")).expect("target is writable");
        let started = Instant::now();
        let mut child = command
            .args(arguments)
            .env("ROVERCAST_LOG", filter)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cargo built the binary");
        let output = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let copy = file.try_clone().expect("one more descriptor");
        let readers = vec![follow(stdout, &output, copy), follow(stderr, &output, file)];
        Self {
            child,
            started,
            output,
            readers,
            log,
        }
    }

    /// `rovercast demo` on a port of its own.
    pub(crate) fn demo(name: &str, arguments: &[&str]) -> Self {
        let demo = ["demo", "--listen", "127.0.0.1:0"];
        Self::start(name, &[&demo, arguments].concat())
    }

    /// `rovercast run` with one camera, `front`, of the robot `rover-7`; returns when it is ready for viewers.
    ///
    /// Where `relay` is its own `http` address, it serves the reference relay and the viewer page, too.
    pub(crate) fn run(name: &str, source: &str, http: SocketAddr, relay: SocketAddr) -> Self {
        let config = configuration(name, source, http, relay);
        let robot = Self::start(name, &["run", "--config", &config]);
        wait_for("/readyz", Duration::from_secs(10), || {
            http::get(http, "/readyz")
                .ok()
                .filter(|answer| answer.status == 200)
        });
        robot
    }

    pub(crate) fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Where it serves, once it says so.
    pub(crate) fn address(&mut self) -> SocketAddr {
        self.address_after().0
    }

    /// Where it serves, and how long after its start it said so.
    pub(crate) fn address_after(&mut self) -> (SocketAddr, Duration) {
        let (address, at) = self.line("an address", |line| {
            let (_, rest) = line.split_once("http://")?;
            rest.split(|c: char| c == '/' || c.is_whitespace())
                .next()?
                .parse()
                .ok()
        });
        (address, at - self.started)
    }

    /// Waits until it has said `text`; returns the line.
    pub(crate) fn until_said(&mut self, text: &str) -> String {
        let (line, _) = self.line(&format!("{text:?}"), |line| {
            line.contains(text).then(|| line.to_owned())
        });
        line
    }

    /// All that it said, once it has ended.
    pub(crate) fn last_output(&mut self) -> String {
        for reader in self.readers.drain(..) {
            reader.join().expect("readers do not panic");
        }
        let lines = self.output.lock().expect("readers do not panic");
        lines.iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// The first line of its output, past or to come, that `read` makes sense of, and when it came.
    fn line<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> (T, Instant) {
        let what = format!("{what} in {}", self.log);
        wait_for(&what, Duration::from_secs(10), || {
            let ended = self.child.try_wait().expect("it is our child");
            let lines = self.output.lock().expect("readers do not panic").clone();
            let found = lines.iter().find_map(|(at, line)| Some((read(line)?, *at)));
            assert!(
                found.is_some() || ended.is_none(),
                "rovercast ended with {ended:?} before {what}: {lines:#?}"
            );
            found
        })
    }

    /// SIGTERM, as systemd sends it; tells how long the process took to go.
    pub(crate) fn terminate(&mut self) -> Duration {
        let start = Instant::now();
        self.ask_to_end();
        self.exit();
        start.elapsed()
    }

    /// SIGTERM, and no waiting.
    pub(crate) fn ask_to_end(&self) {
        kill_process(self.id(), Signal::TERM).expect("it is our child");
    }

    /// SIGINT, as Ctrl-C sends it.
    pub(crate) fn interrupt(&self) {
        kill_process(self.id(), Signal::INT).expect("it is our child");
    }

    /// How it ended, once it has.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        let what = format!("{} to end", self.log);
        wait_for(&what, Duration::from_secs(10), || {
            self.child.try_wait().expect("it is our child")
        })
    }

    /// SIGKILL: power loss, as far as everyone else can tell.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Rovercast {
    fn drop(&mut self) {
        // A process that has ended already is none to worry about: both calls then succeed.
        self.kill();
    }
}

/// Writes the configuration of the robot `rover-7` and tells where.
pub(crate) fn configuration(
    name: &str,
    source: &str,
    http: SocketAddr,
    relay: SocketAddr,
) -> String {
    let key = artefact(&format!("{name}.key"));
    fs::write(&key, "not-so-secret\n").expect("target is writable");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("it is our file");
    let config = artefact(&format!("{name}.toml"));
    let text = format!(
        r#"[robot]
id = "rover-7"

[[camera]]
id = "front"
source = "{source}"
size = "640x360"
fps = 30
bitrate = {{ min = "300 kbps", start = "2 Mbps", max = "2 Mbps" }}

[relay]
url = "ws://{relay}/webrtc-relay"
api_key_file = "{}"

[webrtc]
max_viewers = 16

[http]
listen = "{http}"
viewer = {}
"#,
        key.display(),
        http == relay
    );
    fs::write(&config, text).expect("target is writable");
    config.to_str().expect("target is UTF-8").to_owned()
}

/// Copies a stream line by line to memory and to the log, until its process ends.
pub(crate) fn follow(
    stream: impl Read + Send + 'static,
    output: &Output,
    mut log: File,
) -> JoinHandle<()> {
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = writeln!(log, "{line}");
            let line = (Instant::now(), line);
            output.lock().expect("readers do not panic").push(line);
        }
    })
}

/// An address that is free now, for a server that must come back where it was.
pub(crate) fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

/// A port that is free now, and that nobody gets who lets the kernel choose: it gives those from 32768 on.
pub(crate) fn free_port() -> u16 {
    let mut random = StdRng::from_os_rng();
    loop {
        let port = random.random_range(15_000..32_000);
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if is_free {
            return port;
        }
    }
}

/// Tests want to know everything, benchmarks measure what is shipped.
pub(crate) const LOG_LEVEL: &str = if cfg!(debug_assertions) {
    "rovercast=debug"
} else {
    "rovercast=info"
};
