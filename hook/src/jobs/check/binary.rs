//! The program that a file of an engine names.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// A program that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binary {
    /// There is none.
    Missing,
    /// It cannot be started, or should not be, for this reason.
    Unfit(String),
    /// Another build than the one that is running.
    Other,
    /// The one that is running.
    Same,
}

/// Looks at the program at a path that a file names: engines start it as root.
pub fn look(path: &Path) -> Binary {
    if !path.is_absolute() {
        return Binary::Unfit("is not an absolute path".into());
    }
    let file = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Binary::Missing,
        Err(error) => return Binary::Unfit(format!("cannot be looked at: {error}")),
        Ok(file) => file,
    };
    let mode = file.permissions().mode();
    if !file.is_file() {
        return Binary::Unfit("is not a regular file".into());
    }
    if mode & 0o111 == 0 {
        return Binary::Unfit("is not executable".into());
    }
    let by_group = mode & 0o020 != 0 && file.gid() != 0;
    if file.uid() != 0 || mode & 0o002 != 0 || by_group {
        return Binary::Unfit("others than root can write to: whoever does becomes root".into());
    }
    match is_this(path, &file) {
        true => Binary::Same,
        false => Binary::Other,
    }
}

/// Whether it is the program that is running, or a copy of it.
fn is_this(path: &Path, file: &fs::Metadata) -> bool {
    const OWN: &str = "/proc/self/exe";
    let Ok(own) = fs::metadata(OWN) else {
        return false;
    };
    let is_same_file = (own.dev(), own.ino()) == (file.dev(), file.ino());
    let is_copy = || fs::read(OWN).is_ok_and(|own| fs::read(path).is_ok_and(|copy| own == copy));
    is_same_file || own.len() == file.len() && is_copy()
}
