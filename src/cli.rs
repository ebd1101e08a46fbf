//! The command line: what people type, and the exit code that scripts get back.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

mod check;
mod probe;
mod status;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tracing::error;

use crate::app::profiles::FoundProfiles;
use crate::app::{self, AppError, DemoOptions, RelayOptions, TlsFiles, with_sources};
use crate::config::{self, BitrateRange, CameraConfig, Source, frame_interval};
use crate::media::{Bitrate, Size};
use crate::systemd;

/// Runs what the command line says.
pub fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(told) => {
            // Help and usage: whoever closed the pipe has read enough.
            let _ = told.print();
            return if told.use_stderr() {
                WRONG_USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match command_line.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}

/// Brings a robot's camera to a browser.
///
/// rovercast takes the pictures of a camera, encodes them once as H.264 (in hardware where there is some), and sends them over
/// WebRTC to every browser that watches. Robot and browsers find each other through a relay, which the robot dials: no port of
/// the robot is open to the internet.
#[derive(Debug, Parser)]
#[command(
    name = "rovercast",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  rovercast demo                      see it now: prints the address of a page to open
  rovercast check                     is /etc/rovercast/rovercast.toml fine?
  rovercast run                       what the systemd unit does
  rovercast --log debug run           the same, talkative

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration."
)]
struct CommandLine {
    /// What to log, for example "info" or "info,rovercast::relay=debug" [env: ROVERCAST_LOG] [default: info]
    #[arg(long, global = true, value_name = "FILTER", display_order = 100)]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The service: cameras, relay and viewers as the configuration says
    ///
    /// Runs until SIGTERM or SIGINT. Under systemd it reports readiness, feeds the watchdog and logs to the journal.
    #[command(after_help = "\
Examples:
  rovercast run
  rovercast run --config ./rovercast.toml
  ROVERCAST_CAMERA__0__SOURCE=test-card rovercast run     without a camera, for once
  ROVERCAST_ROBOT__ID=rover-7 rovercast run --config /dev/null")]
    Run(ConfigArgs),
    /// A camera, a relay and the viewer page in one process
    ///
    /// Prints the address to open in a browser. Signalling takes the same way as on a robot: relay client, relay, page.
    #[command(after_help = "\
Examples:
  rovercast demo                                     the first camera, else a test card
  rovercast demo --camera /dev/video2 --size 640x480
  rovercast demo --camera clip.h264                  replays a .y4m, .mjpeg or .h264 file for ever
  rovercast demo --listen 0.0.0.0:8080               for other machines in the network, too")]
    Demo(DemoArgs),
    /// Lists cameras and encoders, and tries each camera with each encoder
    ///
    /// Tells which way pictures take from camera to encoder, how many come a second, and how much of them had to be copied.
    #[command(after_help = "\
Examples:
  rovercast probe
  rovercast probe --list                             while the service streams
  rovercast --log debug probe                        why a path was not taken
  rovercast probe --json | jq -r '.cameras[].path'
  rovercast probe --write board.toml                 what a new board's profile is made of")]
    Probe(probe::ProbeArgs),
    /// Checks the configuration and prints it as it counts
    ///
    /// Reads the profiles of boards and drivers, too. Prints the effective configuration, with the defaults and the environment's variables in it and secrets masked, when it
    /// and the files that it names are fine. Else tells every mistake with its place, and exits with 2.
    #[command(after_help = "\
Examples:
  rovercast check
  rovercast check --config ./rovercast.toml
  rovercast check --profiles ./profile.d             before they are installed
  rovercast check > /dev/null && systemctl restart rovercast")]
    Check(ConfigArgs),
    /// Asks the running service how it is
    #[command(after_help = "\
Examples:
  rovercast status
  rovercast status --url http://192.0.2.7:8081
  rovercast status --json | jq .relay")]
    Status(status::StatusArgs),
    /// The reference relay alone
    ///
    /// Brings robots and browsers together for demos, on a LAN, or for one fleet. Pictures do not pass through it.
    #[command(after_help = "\
Examples:
  rovercast relay                                    on this machine, for tests
  rovercast relay --listen 0.0.0.0:443 --tls-cert relay.pem --tls-key relay.key --key-file keys")]
    Relay(RelayArgs),
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration file
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/rovercast/rovercast.toml"
    )]
    config: PathBuf,
    /// A folder of profiles of boards and drivers that lie over those of the system
    #[arg(long, value_name = "FOLDER")]
    profiles: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Where pictures come from: auto, test-card, a device below /dev, or a .y4m, .mjpeg or .h264 file
    #[arg(long, value_name = "CAMERA", default_value = "auto", value_parser = demo_source)]
    camera: Source,
    /// Where the page is served
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// What the camera is asked for
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "1280x720")]
    size: Size,
    /// Frames a second
    #[arg(long, value_name = "N", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=240))]
    fps: u32,
    /// The highest bitrate
    #[arg(long, value_name = "RATE", default_value = "4 Mbps")]
    bitrate: Bitrate,
}

#[derive(Debug, Args)]
struct RelayArgs {
    /// Where robots and browsers dial
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The certificate chain in PEM; with it the relay speaks wss only
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The keys that robots must show; without it every robot is let in
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A STUN or TURN server that robots and pages are told of, for example turn:turn.example.com:3478; may be repeated
    #[arg(long = "ice-server", value_name = "URL", value_parser = config::ice_url)]
    ice_servers: Vec<String>,
    /// Holds username:credential for the TURN servers
    #[arg(long, value_name = "FILE", requires = "ice_servers")]
    turn_login_file: Option<PathBuf>,
    /// Holds the secret that the relay shares with the TURN servers (coturn: use-auth-secret); it makes logins of a day from it
    #[arg(
        long,
        value_name = "FILE",
        requires = "ice_servers",
        conflicts_with = "turn_login_file"
    )]
    turn_secret_file: Option<PathBuf>,
    // As an attribute: rustdoc takes a URL in a comment for a forgotten link.
    #[arg(
        long = "origin",
        value_name = "ORIGIN",
        help = "A web page that may connect besides the relay's own, for example https://fleet.example.com; may be repeated"
    )]
    origins: Vec<String>,
}

impl CommandLine {
    fn run(self) -> Result<(), Failure> {
        let asked = self
            .log
            .or_else(|| std::env::var("ROVERCAST_LOG").ok())
            .filter(|filter| !filter.is_empty());
        let filter = asked.clone().unwrap_or_else(|| "info".to_owned());
        match self.command {
            Command::Run(args) => {
                start_logging(&filter)?;
                let config = check::load_for_service(&args.config)?;
                block_on(app::run(
                    config,
                    FoundProfiles::read(args.profiles.as_deref()),
                ))
            }
            Command::Demo(args) => {
                start_logging(&filter)?;
                block_on(app::demo(args.into()))
            }
            Command::Relay(args) => {
                start_logging(&filter)?;
                block_on(app::relay(args.into()))
            }
            Command::Probe(args) => {
                // Its answer is a table; the log has the reasons, for who wants them.
                if asked.is_some() {
                    start_logging(&filter)?;
                }
                probe::run(&args)
            }
            Command::Check(args) => check::run(&args),
            Command::Status(args) => status::run(&args),
        }
    }
}

impl From<DemoArgs> for DemoOptions {
    fn from(args: DemoArgs) -> Self {
        Self {
            camera: CameraConfig {
                source: args.camera,
                size: args.size,
                frame_interval: frame_interval(args.fps),
                bitrate: BitrateRange::up_to(args.bitrate),
                ..CameraConfig::default()
            },
            listen: args.listen,
            announce,
        }
    }
}

impl From<RelayArgs> for RelayOptions {
    fn from(args: RelayArgs) -> Self {
        Self {
            listen: args.listen,
            tls: args
                .tls_cert
                .zip(args.tls_key)
                .map(|(certificate, key)| TlsFiles { certificate, key }),
            key_file: args.key_file,
            ice_servers: args.ice_servers,
            turn_login_file: args.turn_login_file,
            turn_secret_file: args.turn_secret_file,
            origins: args.origins,
            announce,
        }
    }
}

/// As in the configuration, and a file needs no `file:` before it: the shell completes plain paths.
fn demo_source(text: &str) -> Result<Source, String> {
    let is_word = matches!(text, "auto" | "test-card");
    if is_word || text.starts_with("file:") || text.starts_with("/dev/") || text.is_empty() {
        return Source::from_str(text);
    }
    Source::from_str(&format!("file:{text}"))
}

fn start_logging(filter: &str) -> Result<(), Failure> {
    systemd::init_logging(filter).map_err(|error| Failure::Usage(with_sources(&error)))
}

fn block_on(work: impl Future<Output = Result<(), AppError>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("rovercast")
        .enable_all()
        .build()
        .map_err(|error| Failure::Work(format!("cannot start threads: {error}")))?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_TASKS);
    done.map_err(|error| Failure::Service(with_sources(&error)))
}

/// Sockets are closed within this: while a driver hangs, the kernel would keep them open. Who asks a silent name server, or reads a
/// file that never comes, is not waited for.
const LAST_TASKS: Duration = Duration::from_millis(100);

/// How a command ended when it did not end well.
#[derive(Debug)]
enum Failure {
    /// Wrong usage or configuration; one problem a line.
    Usage(String),
    /// A wrong configuration in front of the service, whose log is where people look.
    ServiceConfiguration(String),
    Work(String),
    /// The service or one of its relatives, which has a log.
    Service(String),
}

impl Failure {
    fn report(&self) {
        match self {
            Self::Usage(message) | Self::Work(message) => complain(message),
            Self::ServiceConfiguration(message) | Self::Service(message) => {
                message.lines().for_each(|line| error!("{line}"));
            }
        }
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::ServiceConfiguration(_) => WRONG_USAGE.into(),
            Self::Work(_) | Self::Service(_) => ExitCode::FAILURE,
        }
    }
}

/// What was asked for, on stdout. A reader that has seen enough (`| head`) is no failure.
fn answer(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Work(format!("cannot write to stdout: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What a command says of itself while it runs. A terminal that went away is no reason to end.
fn announce(line: &str) {
    let _ = answer(&format!("{line}\n"));
}

/// What people should know, on stderr. When nobody listens there, nobody can be told.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

const WRONG_USAGE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_fits_together() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_demo_takes_a_file_as_the_shell_completes_it() {
        assert_eq!(
            demo_source("clips/a.h264"),
            Ok(Source::File("clips/a.h264".into()))
        );
        assert_eq!(demo_source("file:a"), Ok(Source::File("a".into())));
        assert_eq!(demo_source("test-card"), Ok(Source::TestCard));
        assert_eq!(
            demo_source("/dev/video2"),
            Ok(Source::Device("/dev/video2".into()))
        );
        assert!(demo_source("").is_err());
    }

    #[test]
    fn a_demo_without_flags_is_the_default_camera() {
        let command_line = CommandLine::try_parse_from(["rovercast", "demo"]).unwrap();

        let Command::Demo(args) = command_line.command else {
            panic!("not a demo");
        };

        assert_eq!(DemoOptions::from(args).camera, CameraConfig::default());
    }
}
