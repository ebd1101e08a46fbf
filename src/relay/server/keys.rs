//! The key file: which robots may connect with which key, and who may watch them.
//!
//! ```text
//! # robot id   key          token for its dashboards (anyone may watch without it)
//! rover-7      s3cr3t-key   w4tch-t0ken
//! rover-8      other-key
//! ```
//!
//! A robot may stand on several lines: each of its keys opens, so that a key can be changed without a gap.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

use super::caller::Caller;
use super::reread::{Files, Reread};
use super::rooms::Role;

/// A key file that is read again when it changes.
#[derive(Debug)]
pub(super) struct KeyFile(Reread<KeyPath>);

impl KeyFile {
    pub(super) fn open(path: PathBuf) -> Result<Self, KeyFileError> {
        Reread::open(KeyPath(path)).map(Self)
    }

    /// Whether the caller knows what it must. A key file that became unreadable leaves the keys as they were.
    pub(super) fn admits(&self, caller: &Caller) -> bool {
        self.0.with(|keys| keys.admit(caller))
    }
}

/// Why a key file cannot be used. What stands in it is never repeated.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("cannot read key file {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read key file {}: it is over {LARGEST_FILE} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error(
        "cannot use line {line} of key file {}: got {words} words when expecting a robot id, its key and perhaps a token",
        path.display()
    )]
    Line {
        path: PathBuf,
        line: usize,
        words: usize,
    },
}

#[derive(Debug)]
struct KeyPath(PathBuf);

impl Files for KeyPath {
    const WHAT: &'static str = "key file";
    type Content = Keys;
    type Error = KeyFileError;

    fn paths(&self) -> Vec<&Path> {
        vec![&self.0]
    }

    fn read(&self) -> Result<Keys, KeyFileError> {
        let path = &self.0;
        let failed = |source| KeyFileError::Read {
            path: path.clone(),
            source,
        };
        let file = fs::File::open(path).map_err(failed)?;
        let mut text = String::new();
        file.take(LARGEST_FILE + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
        if text.len() as u64 > LARGEST_FILE {
            return Err(KeyFileError::TooLarge { path: path.clone() });
        }
        Keys::parse(&text, path)
    }
}

#[derive(Debug)]
struct Keys(Vec<Entry>);

impl Keys {
    fn parse(text: &str, path: &Path) -> Result<Self, KeyFileError> {
        let mut entries = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<_> = line.split_whitespace().collect();
            let (robot, key, token) = match words[..] {
                [robot, key] => (robot, key, None),
                [robot, key, token] => (robot, key, Some(token.into())),
                _ => {
                    return Err(KeyFileError::Line {
                        path: path.to_owned(),
                        line: index + 1,
                        words: words.len(),
                    });
                }
            };
            entries.push(Entry {
                robot: robot.to_owned(),
                key: key.into(),
                token,
            });
        }
        Ok(Self(entries))
    }

    /// Takes as long for a wrong secret as for the right one.
    fn admit(&self, caller: &Caller) -> bool {
        let entries = self
            .0
            .iter()
            .filter(|entry| entry.robot == caller.room.robot);
        let admitted = entries.fold(Choice::from(0), |admitted, entry| {
            let wanted = match caller.role {
                Role::Robot => Some(&entry.key),
                Role::Dashboard => entry.token.as_ref(),
            };
            admitted | matches(wanted, caller.secret.as_ref())
        });
        admitted.into()
    }
}

#[derive(Debug)]
struct Entry {
    robot: String,
    key: SecretString,
    token: Option<SecretString>,
}

/// Only the secret's length shows in the time that this takes.
fn matches(wanted: Option<&SecretString>, given: Option<&SecretString>) -> Choice {
    match (wanted, given) {
        (None, _) => Choice::from(1),
        (Some(_), None) => Choice::from(0),
        (Some(wanted), Some(given)) => {
            let (wanted, given) = (wanted.expose_secret(), given.expose_secret());
            wanted.as_bytes().ct_eq(given.as_bytes())
        }
    }
}

/// Some 10,000 robots; the file is read while callers wait.
const LARGEST_FILE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::super::rooms::RoomName;
    use super::*;

    fn caller(role: Role, robot: &str, secret: Option<&str>) -> Caller {
        Caller {
            role,
            room: RoomName {
                robot: robot.into(),
                camera: None,
            },
            secret: secret.map(Into::into),
        }
    }

    fn keys(text: &str) -> Result<Keys, KeyFileError> {
        Keys::parse(text, Path::new("keys"))
    }

    #[test]
    fn robot_needs_its_own_key_and_a_dashboard_the_token() {
        let keys = keys("# fleet\n\n rover-7 alpha watch\nrover-7 beta watch\nrover-8 gamma\n");
        let keys = keys.unwrap();
        let cases = [
            (Role::Robot, "rover-7", Some("alpha"), true),
            (Role::Robot, "rover-7", Some("beta"), true),
            (Role::Robot, "rover-7", Some("gamma"), false),
            (Role::Robot, "rover-7", Some("watch"), false),
            (Role::Robot, "rover-7", None, false),
            (Role::Robot, "rover-9", Some("alpha"), false),
            (Role::Dashboard, "rover-7", Some("watch"), true),
            (Role::Dashboard, "rover-7", Some("watch2"), false),
            (Role::Dashboard, "rover-7", None, false),
            (Role::Dashboard, "rover-8", None, true),
            (Role::Dashboard, "rover-9", None, false),
        ];
        for (role, robot, secret, expected) in cases {
            let admitted = keys.admit(&caller(role, robot, secret));
            assert_eq!(admitted, expected, "{role:?} {robot} {secret:?}");
        }
    }

    #[test]
    fn bad_line_is_named_and_its_secret_is_not() {
        let error = keys("rover-7 alpha\nhunter2\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot use line 2 of key file keys: got 1 words when expecting a robot id, its key and perhaps a token",
        );
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let keys = keys("rover-7 alpha watch").unwrap();
        let text = format!("{keys:?}");
        assert!(!text.contains("alpha") && !text.contains("watch"), "{text}");
    }
}
