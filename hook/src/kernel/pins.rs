//! Where the pins are, and how one is opened.

use anyhow::{Context as _, Result};
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::host::privileges::REMEDY;
use crate::kernel::bpffs::DIRECTORY;
use crate::kernel::catalogue::VERSION;
use crate::kernel::syscall;

/// Where this version is pinned.
pub fn directory() -> PathBuf {
    Path::new(DIRECTORY).join(VERSION)
}

/// The directories of pins, of any version.
///
/// # Errors
///
/// If the directory of pins cannot be read; that there is none is no error.
pub fn directories() -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(DIRECTORY) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("read {DIRECTORY}"))?,
    };
    entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("read {DIRECTORY}"))
}

/// What to say of a pin that is missing.
pub fn missing(path: &Path) -> String {
    format!(
        "open {}: no such pin: remove its directory, then run oci-bind-hook load to recreate it",
        path.display()
    )
}

/// Opens one; none if it is not there.
///
/// # Errors
///
/// If it cannot be opened, for lack of privileges for one.
pub fn open(path: &Path) -> Result<Option<OwnedFd>> {
    match syscall::open_pin(path) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(error).with_context(|| format!("open {}: {REMEDY}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("open {}", path.display())),
    }
}
