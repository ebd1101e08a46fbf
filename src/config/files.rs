//! What the files that a configuration names must be like. The caller opens them.

use std::io;
use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::document::problem::{DocumentError, Places, Problem};

use super::{Config, Credential, RelayConfig, Source};

/// What the caller found at a path.
pub struct FoundFile {
    /// The permission bits (`st_mode`).
    pub mode: u32,
    /// The first [`FoundFile::MOST_READ`] bytes at least.
    pub content: Vec<u8>,
}

impl FoundFile {
    /// Room for a bundle of all public certificate authorities; the rest of a video file does not matter here.
    pub const MOST_READ: u64 = 1024 * 1024;
}

/// Without the content, which may be a key.
impl std::fmt::Debug for FoundFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoundFile")
            .field("mode", &format_args!("{:o}", self.mode))
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Checks every file that the configuration names. Returns warnings when all can be used.
    ///
    /// Devices are left out: a camera may be plugged in later.
    pub fn check_files(
        &self,
        open: impl Fn(&Path) -> io::Result<FoundFile>,
    ) -> Result<Vec<Problem>, DocumentError> {
        let mut check = Check {
            open,
            places: &self.places,
            errors: Vec::new(),
            warnings: Vec::new(),
        };
        for (index, camera) in self.cameras.iter().enumerate() {
            if let Source::File(path) = &camera.source {
                check.video(&format!("camera[{index}].source"), path);
            }
        }
        if let Some(relay) = &self.relay {
            check.relay(relay);
        }
        for (index, server) in self.webrtc.ice_servers.iter().enumerate() {
            let credential = server.login.as_ref().map(|login| &login.credential);
            if let Some(Credential::File(path)) = credential {
                let key = format!("webrtc.ice_servers[{index}].credential_file");
                check.secret(&key, path);
            }
        }
        DocumentError::unless_empty(check.errors)?;
        Ok(check.warnings)
    }
}

struct Check<'c, F> {
    open: F,
    places: &'c Places,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<F: Fn(&Path) -> io::Result<FoundFile>> Check<'_, F> {
    fn relay(&mut self, relay: &RelayConfig) {
        if let Some(path) = &relay.api_key_file {
            self.secret("relay.api_key_file", path);
        }
        if let Some(path) = &relay.ca_file {
            self.certificates("relay.ca_file", path);
        }
        if let Some(client) = &relay.client_certificate {
            self.certificates("relay.client_cert_file", &client.cert_file);
            self.private_key("relay.client_key_file", &client.key_file);
        }
        if let Some(path) = relay
            .proxy
            .as_ref()
            .and_then(|proxy| proxy.login_file.as_ref())
        {
            self.secret("relay.proxy_login_file", path);
        }
    }

    fn video(&mut self, key: &str, path: &Path) {
        if let Some(file) = self.open(key, path)
            && file.content.is_empty()
        {
            self.refuse(key, format!("{} is empty", path.display()));
        }
    }

    /// One line, which goes into a URL or a header; a line break at its end is what editors leave there.
    fn secret(&mut self, key: &str, path: &Path) {
        let Some(file) = self.open(key, path) else {
            return;
        };
        self.warn_when_public(key, path, &file);
        let secret = file.content.trim_ascii();
        if secret.is_empty() {
            self.refuse(
                key,
                format!("{} is empty when expecting a key", path.display()),
            );
        } else if !secret.iter().all(u8::is_ascii_graphic) {
            let shown = path.display();
            self.refuse(
                key,
                format!("{shown} holds more than one word of printable ASCII when expecting a key"),
            );
        }
    }

    fn certificates(&mut self, key: &str, path: &Path) {
        let Some(file) = self.open(key, path) else {
            return;
        };
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(&file.content).collect();
        let shown = path.display();
        match certificates {
            Ok(certificates) if certificates.is_empty() => {
                self.refuse(
                    key,
                    format!("{shown} holds no certificate when expecting PEM"),
                );
            }
            Ok(_) => {}
            Err(error) => self.refuse(key, format!("{shown} is not PEM: {error}")),
        }
    }

    fn private_key(&mut self, key: &str, path: &Path) {
        let Some(file) = self.open(key, path) else {
            return;
        };
        self.warn_when_public(key, path, &file);
        if PrivateKeyDer::from_pem_slice(&file.content).is_err() {
            let shown = path.display();
            self.refuse(
                key,
                format!("{shown} holds no private key when expecting PEM"),
            );
        }
    }

    fn open(&mut self, key: &str, path: &Path) -> Option<FoundFile> {
        match (self.open)(path) {
            Ok(file) => Some(file),
            Err(error) => {
                self.refuse(key, format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    fn warn_when_public(&mut self, key: &str, path: &Path, file: &FoundFile) {
        const READABLE_BY_OTHERS: u32 = 0o004;
        if file.mode & READABLE_BY_OTHERS != 0 {
            let shown = path.display();
            let what = format!("{shown} can be read by everyone on this machine: chmod o-r");
            self.warnings.push(self.places.problem(key, what));
        }
    }

    fn refuse(&mut self, key: &str, what: String) {
        self.errors.push(self.places.problem(key, what));
    }
}
