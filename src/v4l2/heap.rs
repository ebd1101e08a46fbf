//! dma-heaps: memory that camera and encoder can both import. `CONFIG_DMABUF_HEAPS`

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::error::{V4l2Error, refused};
use super::ioctl::{self, Access, Mapping};
use crate::camera::SharedBuffer;

/// A heap that is open.
#[derive(Debug)]
pub struct Heap {
    node: OwnedFd,
    name: String,
}

/// A dma-buf of a heap. Its memory is cached: the CPU's part is between two syncs.
#[derive(Debug)]
pub struct HeapBuffer {
    dma_buf: OwnedFd,
    length: usize,
    mapping: Option<Mapping>,
}

impl Heap {
    /// The best heap that there is; `None` when there is none, or none that this user may open.
    ///
    /// `contiguous`: an importer without an IOMMU takes no scattered pages.
    pub fn open_best(contiguous: bool) -> Option<Self> {
        by_preference(all_names().collect(), contiguous)
            .into_iter()
            .find_map(|name| Self::open(&Path::new(HEAPS).join(&name)).ok())
    }

    pub fn open(path: &Path) -> Result<Self, V4l2Error> {
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

    pub fn allocate(&self, bytes: usize) -> Result<HeapBuffer, V4l2Error> {
        let dma_buf = ioctl::allocate_from_heap(self.node.as_fd(), bytes as u64)
            .map_err(refused("allocate from a dma-heap"))?;
        Ok(HeapBuffer {
            dma_buf,
            length: bytes,
            mapping: None,
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

impl HeapBuffer {
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// For devices alone, from here on.
    pub fn into_shared(self) -> SharedBuffer {
        SharedBuffer {
            length: u32::try_from(self.length).unwrap_or(u32::MAX),
            dma_buf: self.dma_buf,
        }
    }

    /// Lets the CPU write. No device may have the buffer meanwhile.
    pub fn write<T>(&mut self, write: impl FnOnce(&mut [u8]) -> T) -> Result<T, V4l2Error> {
        if self.mapping.is_none() {
            let mapping = Mapping::new(self.dma_buf.as_fd(), 0, self.length, Access::ReadWrite);
            self.mapping = Some(mapping.map_err(refused("map a dma-heap's memory"))?);
        }
        sync_dma_buf(self.dma_buf.as_fd(), Sync::BeginWrite)?;
        let written = write(self.mapping.as_mut().map_or(&mut [], Mapping::bytes_mut));
        sync_dma_buf(self.dma_buf.as_fd(), Sync::EndWrite)?;
        Ok(written)
    }
}

impl AsFd for HeapBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dma_buf.as_fd()
    }
}

/// What the CPU is about to do with a dma-buf, or has done. A kernel driver that writes with the CPU (uvcvideo) counts as the
/// CPU and does not say so itself: `EndWrite` after its buffer was dequeued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    BeginRead,
    EndRead,
    BeginWrite,
    EndWrite,
}

pub fn sync_dma_buf(dma_buf: BorrowedFd<'_>, sync: Sync) -> Result<(), V4l2Error> {
    const READ: u64 = 1;
    const WRITE: u64 = 2;
    const END: u64 = 4;
    let flags = match sync {
        Sync::BeginRead => READ,
        Sync::EndRead => READ | END,
        Sync::BeginWrite => WRITE,
        Sync::EndWrite => WRITE | END,
    };
    // dma-buf.h asks to try again after EINTR, which `ioctl` does, and EAGAIN. Bounded, because it never blocks for long.
    for _ in 0..SYNCS_AT_MOST {
        match ioctl::sync_dma_buf(dma_buf, flags) {
            Err(Errno::AGAIN) => {}
            result => return result.map_err(refused("sync a dma-buf")),
        }
    }
    Err(refused("sync a dma-buf")(Errno::AGAIN))
}

/// `vidbuf_cached` is the Raspberry Pi's; Linux calls its CMA heap `linux,cma`, `reserved` or `default_cma_region`, device trees
/// call it what they like. `system` has scattered pages.
fn by_preference(names: Vec<String>, contiguous: bool) -> Vec<String> {
    let rank = |name: &str| match name {
        "vidbuf_cached" => Some(0),
        "linux,cma" => Some(1),
        "reserved" => Some(2),
        "default_cma_region" => Some(3),
        name if name.contains("cma") => Some(4),
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
            ["system", "secure", "my_cma", "linux,cma"]
                .map(String::from)
                .into()
        };
        assert_eq!(by_preference(names(), true), ["linux,cma", "my_cma"]);
        assert_eq!(
            by_preference(names(), false),
            ["linux,cma", "my_cma", "system"]
        );
    }
}
