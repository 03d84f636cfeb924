//! Finds where the cgroup2 hierarchy is mounted, from the text of mountinfo: pure.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

/// Where nearly every host mounts cgroup2; the second is for hosts that use v1 too.
pub(super) const USUAL_POINTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A mount of the cgroup2 hierarchy, as /proc/PID/mountinfo lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The mount point in the file system.
    pub point: PathBuf,
    /// The cgroup that the mount point shows; `/` for the whole hierarchy (of our cgroup
    /// namespace).
    pub root: String,
}

/// The fields of one line of mountinfo, proc_pid_mountinfo(5).
struct Line<'a> {
    id: &'a str,
    parent: &'a str,
    root: &'a str,
    point: &'a str,
    kind: &'a str,
}

fn line(text: &str) -> Option<Line<'_>> {
    let (left, right) = text.split_once(" - ")?;
    let mut left = left.split(' ');
    let (id, parent) = (left.next()?, left.next()?);
    let mut left = left.skip(1);
    Some(Line {
        id,
        parent,
        root: left.next()?,
        point: left.next()?,
        kind: right.split(' ').next()?,
    })
}

/// Whether the path of this mount leads to another one: one on top of it, or of a mount
/// that it is in, or on a directory above it.
fn hidden(lines: &[Line<'_>], mount: &Line<'_>) -> bool {
    let mut from = "";
    let mut at = mount;
    // At most one step per mount, whatever the text says of parents.
    for _ in lines {
        // The root can be the last of several at one point: what is below shows.
        if at.point == "/" {
            break;
        }
        let hides = |other: &Line<'_>| {
            let on_top = other.parent == at.id && other.point == at.point;
            // A root file system on an initramfs is its own parent.
            let above = other.parent == at.parent
                && other.id != at.parent
                && other.point != at.point
                && Path::new(at.point).starts_with(other.point);
            other.id != at.id && other.id != from && (on_top || above)
        };
        if lines.iter().any(hides) {
            return true;
        }
        let Some(parent) = lines.iter().find(|line| line.id == at.parent) else {
            break;
        };
        from = at.id;
        at = parent;
    }
    false
}

/// Undoes the kernel's `mangle`, which writes a space, tab, newline, backslash or hash in
/// a path as a backslash and three octal digits.
fn unescape(text: &str) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if let [
            b'\\',
            a @ b'0'..=b'3',
            b @ b'0'..=b'7',
            c @ b'0'..=b'7',
            tail @ ..,
        ] = rest
        {
            bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    OsString::from_vec(bytes)
}

/// Returns all cgroup2 mounts that their paths lead to, in the order of the text. Those
/// whose root lies outside our cgroup namespace (`/..`) are left out: their paths do not
/// match those in /proc/PID/cgroup.
fn all(mountinfo: &str) -> Vec<Mount> {
    let lines: Vec<Line<'_>> = mountinfo.lines().filter_map(line).collect();
    lines
        .iter()
        .filter(|line| line.kind == "cgroup2" && !hidden(&lines, line))
        .map(|line| Mount {
            point: unescape(line.point).into(),
            root: unescape(line.root).to_string_lossy().into_owned(),
        })
        .filter(|mount| is_plain(&mount.point) && is_plain(Path::new(&mount.root)))
        .collect()
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

/// Chooses the cgroup2 mount to use, from the text of /proc/self/mountinfo: one that
/// shows the whole hierarchy before one that shows a part, /sys/fs/cgroup before other
/// places, and otherwise the last one listed.
#[must_use]
pub fn parse(mountinfo: &str) -> Option<Mount> {
    all(mountinfo)
        .into_iter()
        .max_by_key(|mount| (mount.root == "/", mount.point == Path::new(USUAL_POINTS[0])))
}

/// Whether there is a mount of a cgroup v1 hierarchy.
pub(super) fn has_v1(mountinfo: &str) -> bool {
    let mut lines = mountinfo.lines().filter_map(line);
    lines.any(|line| line.kind == "cgroup")
}

/// Returns the cgroup2 mount that contains an absolute path without symbolic links.
pub(super) fn holding(mountinfo: &str, path: &Path) -> Option<Mount> {
    all(mountinfo)
        .into_iter()
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

#[cfg(test)]
mod tests;
