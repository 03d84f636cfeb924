//! One boot of a machine, and how it ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::program;

/// What `tests/vm/boot.sh` boots.
pub struct Boot<'a> {
    /// A directory of `tests/vm/fetch.sh`.
    pub kernel: &'a Path,
    /// The directory that the machine has at `/payload`.
    pub payload: &'a Path,
    /// The directory for what it says.
    pub out: PathBuf,
    /// How many seconds it has.
    pub patience: &'a str,
    /// An image with a system and a disk for what that writes, if there is one.
    pub system: Option<[&'a Path; 2]>,
}

impl Boot<'_> {
    /// Boots it, and returns the status when it has ended: that of what it ran, or one
    /// of the script's own.
    pub fn run(&self) -> Result<i32> {
        let mut command = Command::new("tests/vm/boot.sh");
        command.arg(self.kernel).arg(self.payload);
        command.arg(&self.out).arg(self.patience);
        program::status(command.args(self.system.iter().flatten()))
    }

    /// What it has said: nothing if it was not even started.
    pub fn output(&self) -> String {
        let output = fs::read(self.out.join("output")).unwrap_or_default();
        String::from_utf8_lossy(&output).into_owned()
    }
}

/// Whether a machine ended badly without a test that failed to tell it.
pub fn has_ended_badly(status: i32, has_failure: bool) -> bool {
    match status {
        0 => false,
        1 => !has_failure,
        _ => true,
    }
}

/// Makes this directory anew.
pub fn make_directory(directory: &Path) -> Result<()> {
    remove_directory(directory)?;
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))
}

/// Removes a directory and all that is in it, if it is there.
pub fn remove_directory(directory: &Path) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_test_explains_the_status_1_alone() {
        assert!(!has_ended_badly(0, false));
        assert!(!has_ended_badly(1, true));
        assert!(has_ended_badly(1, false));
        // Out of time.
        assert!(has_ended_badly(124, true));
    }
}
