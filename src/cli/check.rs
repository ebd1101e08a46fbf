//! `rovercast check`, and the way every command comes to its configuration.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tracing::warn;

use super::{ConfigArgs, Failure, answer, complain};
use crate::app::profiles::FoundProfiles;
use crate::config::{Config, FoundFile, Problem};
use crate::systemd;

/// Prints the effective configuration, or everything that is wrong with it or with a profile.
pub(super) fn run(args: &ConfigArgs) -> Result<(), Failure> {
    let (config, warnings) = load(&args.config).map_err(Failure::Usage)?;
    let profiles = FoundProfiles::read(args.profiles.as_deref());
    if !profiles.problems.is_empty() {
        return Err(Failure::Usage(profiles.problems.join("\n")));
    }
    for warning in warnings {
        complain(&format!("{warning} (warning)"));
    }
    answer(&config.effective())?;
    complain("configuration is fine");
    Ok(())
}

/// The same configuration, with warnings and mistakes in the log.
pub(super) fn load_for_service(path: &Path) -> Result<Config, Failure> {
    let (config, warnings) = load(path).map_err(Failure::ServiceConfiguration)?;
    for warning in warnings {
        warn!("{warning}");
    }
    Ok(config)
}

/// Reads file and environment, and looks at every file that they name.
fn load(path: &Path) -> Result<(Config, Vec<Problem>), String> {
    let source = read_config(path)?;
    let mut config = Config::read(&path.display().to_string(), &source, env::vars_os())
        .map_err(|error| error.to_string())?;
    if let Some(relay) = &mut config.relay
        && relay.api_key_file.is_none()
    {
        relay.api_key_file = systemd::credential("relay-api-key");
    }
    let mut warnings = config.warnings();
    warnings.extend(
        config
            .check_files(open)
            .map_err(|error| error.to_string())?,
    );
    Ok((config, warnings))
}

fn read_config(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let mut source = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_CONFIG + 1).read_to_end(&mut source))
        .map_err(|error| format!("cannot read configuration {shown}: {error}"))?;
    if source.len() as u64 > LARGEST_CONFIG {
        return Err(format!(
            "cannot read configuration {shown}: it is larger than {LARGEST_CONFIG} bytes"
        ));
    }
    Ok(source)
}

fn open(path: &Path) -> io::Result<FoundFile> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode();
    let mut content = Vec::new();
    file.take(FoundFile::MOST_READ).read_to_end(&mut content)?;
    Ok(FoundFile { mode, content })
}

/// A hundred times the file that ships; what is larger was named by mistake.
const LARGEST_CONFIG: u64 = 512 * 1024;
