//! Reads the profiles that lie over those that are built in, and which board this is.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::board::{BoardProfile, Profiles};

/// All profiles as they count here, and what is wrong: one line a mistake. A file with a mistake counts for nothing, so that one bad
/// file does not keep a robot from streaming.
#[derive(Debug)]
pub struct FoundProfiles {
    pub profiles: Profiles,
    /// The device tree's words for this board, the most exact first; none on a PC.
    pub compatible: Vec<String>,
    pub problems: Vec<String>,
}

impl FoundProfiles {
    /// Reads the folders of the system, then `extra`.
    pub fn read(extra: Option<&Path>) -> Self {
        let mut found = Self {
            profiles: Profiles::built_in(),
            compatible: device_tree("compatible"),
            problems: Vec::new(),
        };
        for folder in FOLDERS {
            found.lay_over_folder(Path::new(folder), true);
        }
        if let Some(folder) = extra {
            found.lay_over_folder(folder, false);
        }
        found
    }

    /// What is known of this board.
    pub fn board(&self) -> &BoardProfile {
        self.profiles.board_for(&self.compatible)
    }

    fn lay_over_folder(&mut self, folder: &Path, may_be_missing: bool) {
        let files = match toml_files(folder) {
            Ok(files) => files,
            Err(error) if may_be_missing && error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let folder = folder.display();
                self.problems
                    .push(format!("cannot read profiles in {folder}: {error}"));
                return;
            }
        };
        for file in files {
            let path = file.display().to_string();
            match content(&file) {
                Ok(content) => {
                    if let Err(error) = self.profiles.lay_over(&path, &content) {
                        let problems = error.problems().iter();
                        self.problems.extend(problems.map(ToString::to_string));
                    }
                }
                Err(error) => self
                    .problems
                    .push(format!("cannot read profile {path}: {error}")),
            }
        }
    }
}

/// What the device tree calls this board.
pub fn model() -> Option<String> {
    device_tree("model").into_iter().next()
}

fn device_tree(property: &str) -> Vec<String> {
    let path = Path::new("/proc/device-tree").join(property);
    let bytes = fs::read(path).unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0);
    words
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// In the order of their names, as everywhere in `*.d`.
fn toml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn content(file: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(file)?
        .take(LARGEST_PROFILE + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST_PROFILE {
        let what = format!("it is larger than {LARGEST_PROFILE} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(content)
}

/// The distribution's, the robot maker's, and what was measured on this very robot.
const FOLDERS: [&str; 3] = [
    "/usr/share/rovercast/profile.d",
    "/etc/rovercast/profile.d",
    MEASURED_FOLDER,
];

/// Where `rovercast probe --write` leaves what it saw.
pub const MEASURED_FOLDER: &str = "/var/lib/rovercast/profile.d";

/// Twenty times the longest that is built in.
const LARGEST_PROFILE: u64 = 64 * 1024;
