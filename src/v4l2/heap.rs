//! dma-heaps: memory that camera and encoder can both import. `CONFIG_DMABUF_HEAPS`

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::error::{V4l2Error, refused};
use super::ioctl;
use crate::camera::SharedBuffer;

/// A heap that is open.
#[derive(Debug)]
pub struct Heap {
    node: OwnedFd,
    name: String,
}

impl Heap {
    /// The heaps that this user may open, best first.
    ///
    /// `contiguous`: an importer without an IOMMU takes no scattered pages.
    pub fn usable(contiguous: bool) -> impl Iterator<Item = Self> {
        by_preference(all_names().collect(), contiguous)
            .into_iter()
            .filter_map(|name| Self::open(&Path::new(HEAPS).join(&name)).ok())
    }

    fn open(path: &Path) -> Result<Self, V4l2Error> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let node =
            rustix::fs::open(path, flags, Mode::empty()).map_err(refused("open a dma-heap"))?;
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        Ok(Self {
            node,
            name: name.display().to_string(),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its memory is cached: what a processor wrote is a device's to see after [`end_of_writing`].
    pub fn allocate(&self, bytes: u32) -> Result<SharedBuffer, V4l2Error> {
        let dma_buf = ioctl::allocate_from_heap(self.node.as_fd(), bytes.into())
            .map_err(refused("allocate from a dma-heap"))?;
        Ok(SharedBuffer {
            dma_buf,
            length: bytes,
        })
    }
}

/// Every heap there is, and whether this user may take memory from it.
pub fn names() -> Vec<(String, bool)> {
    let mut names: Vec<_> = all_names()
        .map(|name| {
            let usable = Heap::open(&Path::new(HEAPS).join(&name)).is_ok();
            (name, usable)
        })
        .collect();
    names.sort();
    names
}

fn all_names() -> impl Iterator<Item = String> {
    fs::read_dir(HEAPS)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
}

/// Makes what a processor wrote to a dma-buf visible to devices. A kernel driver that writes with the processor (uvcvideo) does not
/// do so itself: this is due after its buffer was dequeued. Memory that no processor wrote to loses nothing by it.
pub fn end_of_writing(dma_buf: BorrowedFd<'_>) -> Result<(), V4l2Error> {
    const WRITE: u64 = 2;
    const END: u64 = 4;
    // dma-buf.h asks to try again after EINTR, which `ioctl` does, and EAGAIN. Bounded, because it never blocks for long.
    for _ in 0..SYNCS_AT_MOST {
        match ioctl::sync_dma_buf(dma_buf, WRITE | END) {
            Err(Errno::AGAIN) => {}
            result => return result.map_err(refused("sync a dma-buf")),
        }
    }
    Err(refused("sync a dma-buf")(Errno::AGAIN))
}

/// `vidbuf_cached` is the Raspberry Pi's; Linux calls its CMA heap `linux,cma`, `reserved` or `default_cma_region`, device trees
/// call it what they like: a name is no promise, and who imports the memory decides. `system` has scattered pages. Others may be
/// memory that no processor, or not every device, can reach.
fn by_preference(names: Vec<String>, contiguous: bool) -> Vec<String> {
    let rank = |name: &str| match name {
        "vidbuf_cached" => Some(0),
        "linux,cma" => Some(1),
        "reserved" => Some(2),
        "default_cma_region" => Some(3),
        name if name.contains("cma") || name.contains("carveout") => Some(4),
        "system" if !contiguous => Some(5),
        _ => None,
    };
    let mut ranked: Vec<_> = names
        .into_iter()
        .filter_map(|name| Some((rank(&name)?, name)))
        .collect();
    ranked.sort();
    ranked.into_iter().map(|(_, name)| name).collect()
}

const HEAPS: &str = "/dev/dma_heap";

const SYNCS_AT_MOST: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contiguous_memory_comes_first_and_scattered_only_where_it_will_do() {
        let names = || {
            ["system", "secure", "carveout_video", "my_cma", "linux,cma"]
                .map(String::from)
                .into()
        };
        let contiguous = ["linux,cma", "carveout_video", "my_cma"];
        assert_eq!(by_preference(names(), true), contiguous);
        assert_eq!(
            by_preference(names(), false),
            [&contiguous[..], &["system"]].concat()
        );
    }
}
