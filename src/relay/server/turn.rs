//! Which STUN and TURN servers callers are told of, and what they log in with.
//!
//! The credentials that are made here are those of "A REST API For Access To TURN Services" (draft-uberti-behave-turn-rest-00),
//! which coturn takes with `use-auth-secret`: the user's name begins with the second at which it ends to be one, and the password
//! is the name's HMAC-SHA1 with a secret that the relay and the TURN servers share.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use super::reread::{Files, Reread};
use crate::viewer::IceServer;

/// The servers that callers are told of.
#[derive(Debug)]
pub(super) struct IceServers {
    servers: Vec<IceServer>,
    secret: Option<Reread<SecretFile>>,
}

impl IceServers {
    pub(super) fn new(
        servers: Vec<IceServer>,
        secret_file: Option<PathBuf>,
    ) -> Result<Self, TurnSecretError> {
        let secret = secret_file.map(|path| Reread::open(SecretFile(path)));
        Ok(Self {
            servers,
            secret: secret.transpose()?,
        })
    }

    /// Whether what was told becomes worthless.
    pub(super) fn expire(&self) -> bool {
        self.secret.is_some()
    }

    /// What a caller is told; `robot` is whom a TURN server counts it for.
    pub(super) fn told(&self, robot: &str, now: SystemTime) -> Vec<IceServer> {
        let Some(secret) = &self.secret else {
            return self.servers.clone();
        };
        let (username, credential) = secret.with(|secret| login(secret, robot, now));
        let with_login = |server: &IceServer| IceServer {
            urls: server.urls.clone(),
            username: Some(username.clone()),
            credential: Some(credential.clone()),
        };
        self.servers.iter().map(with_login).collect()
    }
}

/// Why a TURN secret cannot be used. What stands in its file is never repeated.
#[derive(Debug, thiserror::Error)]
pub enum TurnSecretError {
    #[error("cannot read TURN secret {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot use TURN secret {}: the file is empty", path.display())]
    Empty { path: PathBuf },
}

#[derive(Debug)]
struct SecretFile(PathBuf);

impl Files for SecretFile {
    const WHAT: &'static str = "TURN secret";
    type Content = SecretString;
    type Error = TurnSecretError;

    fn paths(&self) -> Vec<&Path> {
        vec![&self.0]
    }

    fn read(&self) -> Result<SecretString, TurnSecretError> {
        let path = || self.0.clone();
        let text = std::fs::read_to_string(&self.0).map_err(|source| TurnSecretError::Read {
            path: path(),
            source,
        })?;
        match text.trim() {
            "" => Err(TurnSecretError::Empty { path: path() }),
            secret => Ok(secret.into()),
        }
    }
}

fn login(secret: &SecretString, robot: &str, now: SystemTime) -> (String, SecretString) {
    let end = now.duration_since(UNIX_EPOCH).unwrap_or_default() + LASTS;
    let username = format!("{}:{robot}", end.as_secs());
    let secret = secret.expose_secret().as_bytes();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let credential = BASE64.encode(hmac::sign(&key, username.as_bytes()).as_ref());
    (username, credential.into())
}

/// Longer than anybody watches, as a rule, and than a machine's clock is wrong; who finds it out has a detour for a day.
const LASTS: Duration = Duration::from_secs(24 * 3600);

/// Callers who stay are told of new ones so often: what they know is always good for most of a day. A message each.
pub(super) const RENEWED_AFTER: Duration = Duration::from_secs(6 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_is_the_one_that_coturn_works_out() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let (username, credential) = login(&"north".into(), "rover-7", now);
        assert_eq!(username, "1700086400:rover-7");
        // printf 1700086400:rover-7 | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(credential.expose_secret(), "lGJ/0QT5g6aToW/4PCvk03gaEKc=");
    }
}
