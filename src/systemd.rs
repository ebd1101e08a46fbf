//! What systemd wants to hear, and where it keeps what we want to know. Outside systemd all of it does nothing.

use std::env;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::fstat;
use sd_notify::NotifyState;
use tracing::{debug, error};
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// Everything that must be there is there: `systemctl start` returns.
pub fn ready() {
    notify(&NotifyState::Ready);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    // A line break would start the next assignment of the message (sd_notify(3)).
    let line = line.replace(['\n', '\r'], " ");
    notify(&NotifyState::Status(&line));
}

/// Puts off the moment at which systemd kills and restarts us. To be fed from work that was done, never from a timer alone.
pub fn watchdog() {
    notify(&NotifyState::Watchdog);
}

pub fn stopping() {
    notify(&NotifyState::Stopping);
}

/// How long systemd waits between two calls of [`watchdog`] before it kills; `None` when it does not watch.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// The file of a credential that the unit was given (`LoadCredential=`, systemd.exec(5)), when it was. A blank one is none: the unit
/// has it as a stand-in (`SetCredential=`), without which systemd would not start a robot that has no key.
pub fn credential(name: &str) -> Option<PathBuf> {
    credential_in(Path::new(&env::var_os("CREDENTIALS_DIRECTORY")?), name)
}

/// Logs go to the journal with their fields when stderr is the journal, else to stderr as text, coloured on a terminal.
///
/// To be called once, before the first thread starts. From then on a panic is logged as an error before the process ends.
pub fn init_logging(filter: &str) -> Result<(), LoggingError> {
    let filter = filter
        .parse::<Targets>()
        .map_err(|source| LoggingError::Filter {
            filter: filter.to_owned(),
            source,
        })?;
    let journal = stderr_is_journal()
        .then(tracing_journald::layer)
        .and_then(Result::ok)
        .map(|layer| {
            layer
                .with_syslog_identifier("rovercast".to_owned())
                .with_field_prefix(Some("ROVERCAST".to_owned()))
        });
    let text = journal.is_none().then(|| {
        fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none())
            .with_target(false)
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(journal)
        .with(text)
        .try_init()
        .map_err(|_| LoggingError::Twice)?;
    std::panic::set_hook(Box::new(|panic| {
        error!(
            at = panic.location().map(tracing::field::display),
            "rovercast is broken and ends: {}",
            panic.payload_as_str().unwrap_or("no message")
        );
    }));
    Ok(())
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error(
        "got the log filter \"{filter}\" when expecting one such as \"info\" or \"info,rovercast::relay=debug\""
    )]
    Filter { filter: String, source: ParseError },
    #[error("logging is set up already")]
    Twice,
}

fn notify(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        debug!(%error, "systemd does not hear us");
    }
}

fn credential_in(directory: &Path, name: &str) -> Option<PathBuf> {
    let path = directory.join(name);
    let content = fs::read(&path).ok()?;
    (!content.trim_ascii().is_empty()).then_some(path)
}

/// systemd.exec(5), `$JOURNAL_STREAM`: device and inode of the stream to the journal, to be compared with our stderr, which
/// someone may have redirected since.
fn stderr_is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    fstat(io::stderr()).is_ok_and(|stat| is_stream(&stream, stat.st_dev, stat.st_ino))
}

fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    stream
        .split_once(':')
        .is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn only_the_stream_that_systemd_named_is_the_journal() {
        assert!(is_stream("8:26", 8, 26));
        assert!(!is_stream("8:26", 8, 27));
        assert!(!is_stream("8", 8, 26));
        assert!(!is_stream("a:b", 8, 26));
    }

    #[test]
    fn a_credential_is_found_only_when_the_unit_was_given_one() {
        let directory = env::temp_dir().join(format!("rovercast-credentials-{}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("relay-api-key"), "word\n").unwrap();
        fs::write(directory.join("stand-in"), "\n").unwrap();

        let names = ["relay-api-key", "stand-in", "missing"];
        let found = names.map(|name| credential_in(&directory, name));

        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found, [Some(directory.join("relay-api-key")), None, None]);
    }
}
