//! The paths of the pins, and how to open one.

use anyhow::{Context as _, Result};
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::host::privileges::REMEDY;
use crate::kernel::bpffs::DIRECTORY;
use crate::kernel::catalogue::VERSION;
use crate::kernel::syscall;

/// Returns the directory of this version's pins.
pub fn directory() -> PathBuf {
    Path::new(DIRECTORY).join(VERSION)
}

/// Returns the directories of pins of all versions.
///
/// # Errors
///
/// If the directory of pins cannot be read. It is not an error if there is none.
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

/// Returns the message for a missing pin.
pub fn missing(path: &Path) -> String {
    format!(
        "open {}: no such pin: remove its directory, then run oci-bind-hook load to recreate it",
        path.display()
    )
}

/// Opens a pin; `None` if it does not exist.
///
/// # Errors
///
/// If it cannot be opened, for example for lack of privileges.
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
