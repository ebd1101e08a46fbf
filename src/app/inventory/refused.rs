//! A device that says no, and what a person can do about it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::v4l2::V4l2Error;

/// A node that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub path: PathBuf,
    pub why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Refused {
    pub(super) fn new(path: &Path, error: &V4l2Error) -> Self {
        let advice = if error.is_forbidden() {
            Some(permission_advice(path))
        } else if error.is_busy() {
            busy_advice(path)
        } else {
            None
        };
        Self {
            path: path.to_owned(),
            why: error.to_string(),
            advice,
        }
    }
}

fn permission_advice(path: &Path) -> String {
    let rules = "or install board/udev/70-rovercast.rules";
    let Ok(metadata) = fs::metadata(path) else {
        return format!("run it as root, {rules}");
    };
    const READ_AND_WRITE_BY_GROUP: u32 = 0o060;
    if metadata.mode() & READ_AND_WRITE_BY_GROUP != READ_AND_WRITE_BY_GROUP || metadata.gid() == 0 {
        return format!("only root may open it: run it as root, {rules}");
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    match group_name(&groups, metadata.gid()) {
        Some(group) => {
            format!(
                "this user is not in the group {group}: usermod -aG {group} USER, and log in again"
            )
        }
        None => format!(
            "this user is not in the group with number {}",
            metadata.gid()
        ),
    }
}

/// Lines of `/etc/group`: `video:x:44:pi`.
fn group_name(groups: &str, gid: u32) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then_some(name)
    })
}

/// Who has it open, as far as this user may see.
pub(super) fn busy_advice(path: &Path) -> Option<String> {
    let node = fs::canonicalize(path).ok()?;
    let mut holders = Vec::new();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let descriptors = fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten();
        let has_it = |entry: fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|it| it == node);
        if id != std::process::id() && descriptors.flatten().any(has_it) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            holders.push(format!("{} (process {id})", command.trim()));
        }
    }
    if holders.is_empty() {
        return None;
    }
    Some(format!("it is open in {}", holders.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_group_is_told_by_its_name() {
        let groups = "root:x:0:\nvideo:x:44:pi,rovercast\nbroken\nrender:x:105:\n";
        assert_eq!(group_name(groups, 44), Some("video"));
        assert_eq!(group_name(groups, 45), None);
    }

    #[test]
    fn a_file_that_only_this_process_has_open_is_in_nobody_else_s_hands() {
        let path = std::env::temp_dir().join(format!("rovercast-held-{}", std::process::id()));
        let held = File::create(&path).unwrap();

        let advice = busy_advice(&path);
        drop(held);
        fs::remove_file(&path).unwrap();

        assert_eq!(advice, None);
    }
}
