//! Which video nodes there are, and by which names they are found again.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel and udev show video nodes.
#[derive(Debug)]
pub struct Nodes {
    dev: PathBuf,
    class: PathBuf,
}

impl Nodes {
    pub fn of_this_machine() -> Self {
        Self {
            dev: "/dev".into(),
            class: "/sys/class/video4linux".into(),
        }
    }

    /// Below another folder than `/dev`.
    #[cfg(test)]
    pub(crate) fn below(dev: &Path) -> Self {
        Self {
            dev: dev.to_owned(),
            ..Self::of_this_machine()
        }
    }

    /// `/dev/video*`, in the order of their numbers.
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut numbers: Vec<u32> = names(&self.dev)
            .filter_map(|name| name.strip_prefix("video")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        let path = |number| self.dev.join(format!("video{number}"));
        numbers.into_iter().map(path).collect()
    }

    /// Whether `path` is a name that udev gives to what is plugged in, and not to a number.
    pub fn is_lasting(&self, path: &Path) -> bool {
        path.starts_with(self.dev.join("v4l"))
    }

    /// Vendor, product and serial number, as udev names them.
    pub fn by_id(&self, node: &Path) -> Option<String> {
        let link = self.link(&self.dev.join("v4l/by-id"), node)?;
        Some(link.file_name()?.to_str()?.to_owned())
    }

    /// A name that leads here after the next start, too: by the camera's own serial number, else by the place it is plugged in.
    pub fn lasting_name(&self, node: &Path) -> Option<PathBuf> {
        ["v4l/by-id", "rovercast", "v4l/by-path"]
            .iter()
            .find_map(|folder| self.link(&self.dev.join(folder), node))
    }

    /// Which of the nodes that its device has.
    pub fn function(&self, node: &Path) -> Option<u32> {
        let name = real(node).file_name()?.to_owned();
        let index = fs::read_to_string(self.class.join(name).join("index")).ok()?;
        index.trim().parse().ok()
    }

    fn link(&self, folder: &Path, node: &Path) -> Option<PathBuf> {
        let node = real(node);
        let mut links: Vec<_> = names(folder).map(|name| folder.join(name)).collect();
        links.sort();
        let leads_here = |link: &PathBuf| fs::canonicalize(link).is_ok_and(|target| target == node);
        links.into_iter().find(leads_here)
    }
}

/// A link of udev's leads to the node; a node leads to itself.
fn real(node: &Path) -> PathBuf {
    fs::canonicalize(node).unwrap_or_else(|_| node.to_owned())
}

/// Empty when there is no such folder.
fn names(folder: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nodes_come_in_the_order_of_their_numbers_and_know_their_lasting_names() {
        let dev = std::env::temp_dir().join(format!("rovercast-nodes-{}", std::process::id()));
        for folder in ["v4l/by-id", "v4l/by-path"] {
            fs::create_dir_all(dev.join(folder)).unwrap();
        }
        for node in ["video10", "video2", "v4l-subdev0"] {
            fs::write(dev.join(node), "").unwrap();
        }
        symlink("../../video2", dev.join("v4l/by-path/usb-1")).unwrap();
        symlink("../../video2", dev.join("v4l/by-id/acme-2")).unwrap();
        symlink("../../video10", dev.join("v4l/by-path/soc")).unwrap();
        let nodes = Nodes::below(&fs::canonicalize(&dev).unwrap());

        let paths = nodes.paths();
        let names: Vec<_> = paths.iter().map(|node| nodes.lasting_name(node)).collect();
        let by_id = nodes.by_id(&paths[0]);
        fs::remove_dir_all(&dev).unwrap();

        assert!(paths[0].ends_with("video2") && paths[1].ends_with("video10"));
        assert!(names[0].as_ref().unwrap().ends_with("v4l/by-id/acme-2"));
        assert!(names[1].as_ref().unwrap().ends_with("v4l/by-path/soc"));
        assert_eq!(by_id.as_deref(), Some("acme-2"));
        assert!(nodes.is_lasting(names[0].as_ref().unwrap()) && !nodes.is_lasting(&paths[0]));
    }
}
