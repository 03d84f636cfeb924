//! Whether others can change a file or directory that the hook relies on.
//!
//! The rule is that of sshd's StrictModes (`safe_path`, OpenSSH misc.c): it must belong
//! to root or to the caller, and neither its group nor others may write to it. A sticky
//! directory such as /tmp is the one exception, since nobody can remove there what
//! belongs to root.

use std::fmt;

use rustix::fs::{FileType, Mode, Stat};

/// Why something is not trusted: its owner and its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distrust {
    owner: u32,
    mode: u32,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, mode } = self;
        write!(
            f,
            "can be changed by others: its owner is uid {owner}, its mode {mode:04o}"
        )
    }
}

/// Judges the result of stat(2) for a process whose effective user is `caller`.
///
/// # Errors
///
/// If somebody other than root and the caller could change it.
pub fn judge(found: &Stat, caller: u32) -> Result<(), Distrust> {
    judge_parts(found.st_uid, found.st_mode, caller)
}

/// Judges by the owner and the mode, which includes the file type. A symbolic link has no
/// mode of its own, only an owner.
fn judge_parts(owner: u32, mode: u32, caller: u32) -> Result<(), Distrust> {
    let bits = Mode::from_raw_mode(mode);
    let is_spared = match FileType::from_raw_mode(mode) {
        FileType::Symlink => true,
        FileType::Directory => bits.contains(Mode::SVTX),
        _ => false,
    };
    let is_writable = bits.intersects(Mode::WGRP | Mode::WOTH) && !is_spared;
    if (owner != 0 && owner != caller) || is_writable {
        let mode = bits.as_raw_mode();
        return Err(Distrust { owner, mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: u32 = libc::S_IFREG;
    const DIRECTORY: u32 = libc::S_IFDIR;
    const LINK: u32 = libc::S_IFLNK;
    const ROOT: u32 = 0;
    const ALICE: u32 = 1000;
    const BOB: u32 = 1001;

    #[test]
    fn belongs_to_root_or_the_caller() {
        for kind in [FILE, DIRECTORY, LINK] {
            for (owner, caller, is_trusted) in [
                (ROOT, ROOT, true),
                (ROOT, ALICE, true),
                (ALICE, ALICE, true),
                (ALICE, ROOT, false),
                (ALICE, BOB, false),
            ] {
                let judged = judge_parts(owner, kind | 0o644, caller);
                assert_eq!(judged.is_ok(), is_trusted, "{kind:o} {owner} {caller}");
            }
        }
    }

    #[test]
    fn nobody_else_writes() {
        for (mode, is_trusted) in [
            (FILE | 0o600, true),
            (FILE | 0o444, true),
            (FILE | 0o4755, true),
            (FILE | 0o664, false),
            (FILE | 0o646, false),
            (FILE | 0o620, false),
            (FILE | 0o602, false),
            // The sticky bit of a file says nothing.
            (FILE | 0o1666, false),
            (DIRECTORY | 0o755, true),
            (DIRECTORY | 0o2755, true),
            (DIRECTORY | 0o775, false),
            (DIRECTORY | 0o757, false),
            (DIRECTORY | 0o1777, true),
            (LINK | 0o777, true),
        ] {
            assert_eq!(
                judge_parts(ROOT, mode, ROOT).is_ok(),
                is_trusted,
                "{mode:o}"
            );
        }
    }

    #[test]
    fn a_sticky_directory_has_a_trusted_owner_too() {
        assert!(judge_parts(ALICE, DIRECTORY | 0o1777, ROOT).is_err());
    }

    #[test]
    fn says_what_it_found() {
        let distrust = judge_parts(ALICE, FILE | 0o66, ROOT).unwrap_err();
        assert_eq!(
            distrust.to_string(),
            "can be changed by others: its owner is uid 1000, its mode 0066"
        );
    }
}
