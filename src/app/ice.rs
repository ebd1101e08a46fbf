//! STUN and TURN servers, with their secrets read.

use std::path::PathBuf;

use secrecy::SecretString;

use super::AppError;
use crate::config::{self, Config, Credential};
use crate::viewer::IceServer;

/// The configured STUN and TURN servers, with their secrets read.
pub(super) fn configured(config: &Config) -> Result<Vec<IceServer>, AppError> {
    let read = |server: &config::IceServerConfig| {
        let credential = match server.login.as_ref().map(|login| &login.credential) {
            None => None,
            Some(Credential::Inline(secret)) => Some(secret.clone()),
            Some(Credential::File(path)) => {
                let text =
                    std::fs::read_to_string(path).map_err(|source| AppError::IceCredential {
                        server: server.urls.join(", "),
                        path: path.clone(),
                        source,
                    })?;
                Some(SecretString::from(text.trim_end()))
            }
        };
        let username = server.login.as_ref().map(|login| login.username.clone());
        Ok(IceServer {
            urls: server.urls.clone(),
            username,
            credential,
        })
    };
    config.webrtc.ice_servers.iter().map(read).collect()
}

/// The servers of the reference relay. They share one login, which STUN servers do not look at.
pub(super) fn told(
    urls: Vec<String>,
    login_file: Option<PathBuf>,
) -> Result<Vec<IceServer>, AppError> {
    if urls.is_empty() {
        return Ok(Vec::new());
    }
    let login = login_file.map(|path| {
        let text = std::fs::read_to_string(&path).map_err(|source| AppError::IceCredential {
            server: urls.join(", "),
            path: path.clone(),
            source,
        })?;
        let (username, credential) = text
            .trim()
            .split_once(':')
            .ok_or(AppError::TurnLogin { path })?;
        Ok::<_, AppError>((username.to_owned(), SecretString::from(credential)))
    });
    let (username, credential) = login.transpose()?.unzip();
    Ok(vec![IceServer {
        urls,
        username,
        credential,
    }])
}
