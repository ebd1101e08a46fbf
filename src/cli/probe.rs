//! `rovercast probe`: what this machine has to make and encode pictures, tried for real.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::{Failure, answer, complain};
use crate::app::inventory::{Inventory, TrialSettings};
use crate::app::profiles::{FoundProfiles, MEASURED_FOLDER};
use crate::board::Profiles;
use crate::config::frame_interval;
use crate::media::Size;

mod table;

#[derive(Debug, Args)]
pub(super) struct ProbeArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Only look: try nothing, and leave devices to those who use them
    #[arg(long, conflicts_with = "write")]
    list: bool,
    /// Save what worked as a profile of this board [default file: its id in /var/lib/rovercast/profile.d]
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    write: Option<Option<PathBuf>>,
    /// A folder of profiles that lie over those of the system
    #[arg(long, value_name = "FOLDER")]
    profiles: Option<PathBuf>,
    /// What cameras are asked for
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "1280x720")]
    size: Size,
    /// Frames a second
    #[arg(long, value_name = "N", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=240))]
    fps: u32,
}

pub(super) fn run(args: &ProbeArgs) -> Result<(), Failure> {
    let found = Arc::new(FoundProfiles::read(args.profiles.as_deref()));
    let trial = (!args.list).then(|| TrialSettings {
        size: args.size,
        interval: frame_interval(args.fps),
    });
    let inventory = Inventory::take(&found, trial);
    if args.json {
        let json = serde_json::to_string_pretty(&inventory)
            .map_err(|error| Failure::Work(format!("cannot write JSON: {error}")))?;
        answer(&format!("{json}\n"))?;
    } else {
        answer(&table::of(&inventory))?;
    }
    match &args.write {
        Some(path) => save(&inventory, &found, path.as_deref()),
        None => Ok(()),
    }
}

fn save(inventory: &Inventory, found: &FoundProfiles, path: Option<&Path>) -> Result<(), Failure> {
    let Some(board) = inventory.measured(found) else {
        let what = "there is nothing to write: no camera worked with an encoder";
        return Err(Failure::Work(what.to_owned()));
    };
    let describes = Profiles::built_in().board(&board.about.id).is_none();
    let path = path.map_or_else(
        || Path::new(MEASURED_FOLDER).join(format!("{}.toml", board.about.id)),
        Path::to_owned,
    );
    write(&path, &board.overlay(describes)).map_err(|error| {
        let shown = path.display();
        Failure::Work(format!(
            "cannot write {shown}: {error} (--write FILE puts it elsewhere)"
        ))
    })?;
    complain(&format!("wrote {}", path.display()));
    Ok(())
}

/// All or nothing: a robot that loses power meanwhile keeps the file it had.
fn write(path: &Path, content: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension("toml.new");
    fs::write(&draft, content)?;
    fs::rename(&draft, path)
}
