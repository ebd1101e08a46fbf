//! A running rovercast: started with arguments, watched through its output, ended by signal.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{artefact, wait_for};

/// One process of the real binary. It dies with this value.
#[derive(Debug)]
pub(crate) struct Rovercast {
    child: Child,
    output: Arc<Mutex<Vec<String>>>,
    log: String,
}

impl Rovercast {
    /// Starts `rovercast arguments…`. All that it prints goes to `target/test-artefacts/NAME.log`, too.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let log = format!("{name}.log");
        let mut file = File::create(artefact(&log)).expect("target is writable");
        writeln!(file, "$ rovercast {}", arguments.join(" ")).expect("target is writable");
        let mut child = Command::new(env!("CARGO_BIN_EXE_rovercast"))
            .args(arguments)
            .env("RUST_LOG", "rovercast=debug")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cargo built the binary");
        let output = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        follow(
            stdout,
            &output,
            file.try_clone().expect("one more descriptor"),
        );
        follow(stderr, &output, file);
        Self { child, output, log }
    }

    /// `rovercast demo` with the test card, on a port of its own.
    pub(crate) fn demo(name: &str, arguments: &[&str]) -> Self {
        let demo = ["demo", "--listen", "127.0.0.1:0"];
        Self::start(name, &[&demo, arguments].concat())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it serves, once it says so.
    pub(crate) fn address(&mut self) -> SocketAddr {
        self.line("an address", |line| {
            let (_, rest) = line.split_once("http://")?;
            rest.split(|c: char| c == '/' || c.is_whitespace())
                .next()?
                .parse()
                .ok()
        })
    }

    /// The first line of its output, past or to come, that `read` makes sense of.
    pub(crate) fn line<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> T {
        let what = format!("{what} in {}", self.log);
        wait_for(&what, Duration::from_secs(10), || {
            let found = self.lines().iter().find_map(|line| read(line));
            let ended = self.child.try_wait().expect("it is our child");
            assert!(
                found.is_some() || ended.is_none(),
                "rovercast ended with {ended:?} before {what}:\n{}",
                self.lines().join("\n")
            );
            found
        })
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.output.lock().expect("readers do not panic").clone()
    }

    /// SIGTERM, as systemd sends it; tells how long the process took to go.
    pub(crate) fn terminate(&mut self) -> Duration {
        let start = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is our child");
        let what = format!("{} to end after SIGTERM", self.log);
        wait_for(&what, Duration::from_secs(10), || {
            self.child.try_wait().expect("it is our child")
        });
        start.elapsed()
    }

    /// SIGKILL: power loss, as far as everyone else can tell.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Rovercast {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies a stream line by line to memory and to the log, until its process ends.
pub(crate) fn follow(
    stream: impl Read + Send + 'static,
    output: &Arc<Mutex<Vec<String>>>,
    mut log: File,
) {
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = writeln!(log, "{line}");
            output.lock().expect("readers do not panic").push(line);
        }
    });
}

/// A port that is free now, for a server that must come back where it was.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}
