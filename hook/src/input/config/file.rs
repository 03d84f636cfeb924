//! Reads the configuration file: a regular file of bounded size that only root and the
//! caller can change or replace.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, lstat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::host::ownership::judge;
use crate::host::privileges;
use crate::text::one_line;

#[cfg(test)]
mod tests;

/// The longest file that is accepted, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// The owner of what belongs to somebody without an id in this user namespace
/// (`DEFAULT_OVERFLOWUID`, include/linux/highuid.h).
const UNMAPPED: u32 = 65534;

/// Reads the file, or returns `None` if there is none, unless it is `required`.
///
/// The check is made on the open file itself. If there is none, someone who can write to
/// its directory may have removed it, so the path to it is checked all the same.
///
/// # Errors
///
/// If anyone else can change the file or something on the path to it, if it is not a
/// regular file or is too long, and if it cannot be read. A dangling symbolic link does
/// not count as a missing file.
pub(super) fn read(path: &Path, required: bool) -> Result<Option<Vec<u8>>> {
    let reading = || format!("read configuration {}", shown(path));
    // Neither a FIFO nor a terminal may keep a container waiting.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) if !required && !path.is_symlink() => {
            judge_way(path)?;
            return Ok(None);
        }
        Err(error) => return Err(error).with_context(reading),
    };
    let found = fstat(&file).with_context(reading)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        bail!("configuration {} is not a regular file", shown(path));
    }
    judge_one(path, path, &found)?;
    judge_way(path)?;
    let mut bytes = Vec::new();
    file.take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .with_context(reading)?;
    if bytes.len() as u64 > LIMIT {
        bail!(
            "configuration {} is longer than {LIMIT} bytes: write a shorter one",
            shown(path)
        );
    }
    Ok(Some(bytes))
}

/// Checks each directory and symbolic link on the path to the file.
fn judge_way(path: &Path) -> Result<()> {
    let absolute = std::path::absolute(path)
        .with_context(|| format!("find the directory of configuration {}", shown(path)))?;
    follow(path, &absolute, &mut BTreeSet::new())
}

fn follow(config: &Path, path: &Path, seen: &mut BTreeSet<PathBuf>) -> Result<()> {
    for name in path.ancestors() {
        if !seen.insert(name.to_owned()) {
            break;
        }
        let found = match lstat(name) {
            Err(Errno::NOENT) => continue,
            found => found.with_context(|| format!("look at {}", shown(name)))?,
        };
        let kind = FileType::from_raw_mode(found.st_mode);
        if matches!(kind, FileType::Directory | FileType::Symlink) {
            judge_one(config, name, &found)?;
        }
        if kind == FileType::Symlink {
            let target =
                fs::read_link(name).with_context(|| format!("read link {}", shown(name)))?;
            let parent = name.parent().unwrap_or(name);
            follow(config, &parent.join(target), seen)?;
        }
    }
    Ok(())
}

/// Checks the file, or something on the path to it.
fn judge_one(config: &Path, path: &Path, found: &Stat) -> Result<()> {
    let mut seen = *found;
    // For the hook of a rootless engine, what belongs to the host's root does.
    if seen.st_uid == UNMAPPED && !privileges::is_initial()? {
        seen.st_uid = 0;
    }
    let Err(distrust) = judge(&seen, geteuid().as_raw()) else {
        return Ok(());
    };
    let (config, name) = (shown(config), shown(path));
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => bail!(
            "configuration {config}: directory {name} {distrust}: \
             chown root {name}; chmod go-w {name}"
        ),
        FileType::Symlink => {
            bail!("configuration {config}: link {name} {distrust}: chown -h root {name}")
        }
        _ => bail!("configuration {name} {distrust}: chown root {name}; chmod go-w {name}"),
    }
}

/// Returns the path as shown in messages.
pub(super) fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}
