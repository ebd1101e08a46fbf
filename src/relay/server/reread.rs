//! Files that are read again when they change: keys and certificates are replaced under a relay that runs.

use std::error::Error;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracing::{info, warn};

/// Some files that are of use together.
pub(super) trait Files: fmt::Debug {
    /// What they are to the person who replaces them.
    const WHAT: &'static str;
    type Content;
    type Error: Error + 'static;

    fn paths(&self) -> Vec<&Path>;

    fn read(&self) -> Result<Self::Content, Self::Error>;
}

/// Files with what stands in them.
pub(super) struct Reread<F: Files> {
    files: F,
    /// Held for a look at the files and one use of what is in them, never across an await.
    loaded: Mutex<Loaded<F::Content>>,
}

struct Loaded<T> {
    content: T,
    versions: Vec<Option<Version>>,
}

impl<F: Files> Reread<F> {
    pub(super) fn open(files: F) -> Result<Self, F::Error> {
        // Looked at before they are read: what is replaced in between is read again.
        let versions = versions(&files);
        let content = files.read()?;
        let loaded = Mutex::new(Loaded { content, versions });
        Ok(Self { files, loaded })
    }

    /// What stands in the files now. Files that became unusable leave it as it was.
    pub(super) fn with<R>(&self, look: impl FnOnce(&F::Content) -> R) -> R {
        let mut loaded = self.lock();
        let versions = versions(&self.files);
        if versions != loaded.versions {
            match self.files.read() {
                Ok(content) => {
                    info!(files = ?self.files.paths(), "{} changed and was read again", F::WHAT);
                    loaded.content = content;
                }
                Err(error) => warn!(
                    error = &error as &dyn Error,
                    "{} changed and cannot be used, going on with the one before",
                    F::WHAT
                ),
            }
            // Until it changes again: the same complaint at each call would fill the log.
            loaded.versions = versions;
        }
        look(&loaded.content)
    }

    fn lock(&self) -> MutexGuard<'_, Loaded<F::Content>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Files> fmt::Debug for Reread<F> {
    /// Leaves out what was read: it is secret as a rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reread").field(&self.files).finish()
    }
}

/// Tells a file from the one that was there before, also when an editor put a new one in its place within a clock tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    modified: SystemTime,
    inode: u64,
    bytes: u64,
}

fn versions(files: &impl Files) -> Vec<Option<Version>> {
    let version = |path| {
        let metadata = fs::metadata(path).ok()?;
        Some(Version {
            modified: metadata.modified().ok()?,
            inode: metadata.ino(),
            bytes: metadata.len(),
        })
    };
    files.paths().into_iter().map(version).collect()
}
