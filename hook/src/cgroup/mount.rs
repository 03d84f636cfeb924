//! Where the cgroup2 hierarchy is mounted: decisions on the text of mountinfo.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

/// Where nearly every host mounts cgroup2, the unified place first.
pub(super) const USUAL_POINTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A mount of the cgroup2 hierarchy, as /proc/PID/mountinfo lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The mount point in the file system.
    pub point: PathBuf,
    /// The cgroup that shows at the mount point; `/` for the whole hierarchy
    /// (of our cgroup namespace).
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

/// Whether a path leads to another mount than this one: something is mounted on
/// top of it, or of what it is mounted in, or on a directory above it.
fn hidden(lines: &[Line<'_>], mount: &Line<'_>) -> bool {
    let mut from = "";
    let mut at = mount;
    // No further than there are mounts, whatever the text says of parents.
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

/// Undoes the kernel's `mangle`: a space, tab, newline, backslash or hash in a
/// path shows as a backslash and three octal digits.
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

/// Every cgroup2 mount that its path leads to, in the order of the text. One
/// whose root lies outside our cgroup namespace (`/..`) is left out: its paths
/// do not match those in /proc/PID/cgroup.
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

/// The cgroup2 mount to use, out of the text of /proc/self/mountinfo: one that
/// shows the whole hierarchy before one that shows a part, /sys/fs/cgroup
/// before other places, and otherwise the last one listed.
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

/// The cgroup2 mount that an absolute path without symbolic links lies in.
pub(super) fn holding(mountinfo: &str, path: &Path) -> Option<Mount> {
    all(mountinfo)
        .into_iter()
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../../tests/fixtures/proc/mountinfo/", $name))
        };
    }

    #[test]
    fn mounts_of_real_hosts() {
        type Row = (
            &'static str,
            &'static str,
            Option<(&'static str, &'static str)>,
        );
        let table: &[Row] = &[
            (
                "unified",
                fixture!("unified"),
                Some(("/sys/fs/cgroup", "/")),
            ),
            (
                "hybrid",
                fixture!("hybrid"),
                Some(("/sys/fs/cgroup/unified", "/")),
            ),
            ("pure v1", fixture!("v1"), None),
            (
                "initramfs as the root",
                fixture!("initramfs"),
                Some(("/sys/fs/cgroup", "/")),
            ),
            (
                "hybrid with cgroup2 mounted over it in a private mount namespace",
                fixture!("hybrid-private"),
                Some(("/sys/fs/cgroup", "/")),
            ),
            (
                "container with a cgroup namespace",
                fixture!("kind"),
                Some(("/sys/fs/cgroup", "/")),
            ),
            (
                "container without a cgroup namespace",
                fixture!("container-host-cgroupns"),
                Some((
                    "/sys/fs/cgroup",
                    "/docker/5f2a7c1e9b3d4f60a8c2e4b6d8f0a1c3e5b7d9f1a3c5e7092b4d6f8091a3c5e7",
                )),
            ),
            (
                "host's mount seen from a cgroup namespace",
                fixture!("foreign-root"),
                None,
            ),
            (
                "mount point with a space",
                fixture!("escaped"),
                Some(("/mnt/my cgroup\\2", "/")),
            ),
            ("covered by a tmpfs", fixture!("covered"), None),
        ];
        for (what, text, wanted) in table {
            let found = parse(text);
            let found = found
                .as_ref()
                .map(|mount| (mount.point.to_str().unwrap(), mount.root.as_str()));
            assert_eq!(found, *wanted, "{what}");
        }
    }

    #[test]
    fn hybrid_hosts_have_both() {
        assert!(has_v1(fixture!("hybrid")) && has_v1(fixture!("v1")));
        assert!(!has_v1(fixture!("unified")));
    }

    #[test]
    fn a_path_is_in_the_innermost_mount() {
        let text = fixture!("kind");
        let point = |path| holding(text, Path::new(path)).map(|mount| mount.point);
        assert_eq!(
            point("/sys/fs/cgroup/kubelet/a"),
            Some("/sys/fs/cgroup/kubelet".into())
        );
        assert_eq!(point("/sys/fs/cgroup/a"), Some("/sys/fs/cgroup".into()));
        assert_eq!(point("/sys/fs/cgroups"), None);
    }

    #[test]
    fn a_hidden_mount_does_not_hold_a_path() {
        let held = |text| holding(text, Path::new("/sys/fs/cgroup/unified/a")).unwrap();
        assert_eq!(
            held(fixture!("hybrid")).point,
            Path::new("/sys/fs/cgroup/unified")
        );
        // There, `unified` is a cgroup of that name.
        assert_eq!(
            held(fixture!("hybrid-private")).point,
            Path::new("/sys/fs/cgroup")
        );
    }

    #[test]
    fn what_is_mounted_through_an_automount_shows() {
        let text = "1 1 0:2 / / rw - rootfs rootfs rw\n\
                    20 1 8:1 / / rw - ext4 /dev/vda1 rw\n\
                    30 20 0:30 / /mnt/cg rw - autofs systemd-1 rw\n\
                    40 30 0:26 / /mnt/cg rw - cgroup2 cgroup2 rw\n";
        assert_eq!(parse(text).unwrap().point, Path::new("/mnt/cg"));
    }

    #[test]
    fn paths_that_the_kernel_does_not_write_are_left_out() {
        for (root, point) in [
            ("a", "/mnt"),
            ("/", "mnt"),
            ("/..", "/mnt"),
            ("/a/..", "/mnt"),
            ("/\\056\\056", "/mnt"),
            ("/", "/mnt/.."),
        ] {
            let text = format!("30 20 0:30 {root} {point} rw - cgroup2 cgroup2 rw\n");
            assert_eq!(parse(&text), None, "{text}");
        }
    }

    /// As the kernel does.
    fn mangle(path: &str) -> String {
        let mut mangled = String::new();
        for c in path.chars() {
            match c {
                ' ' | '\t' | '\n' | '\\' | '#' => mangled.push_str(&format!("\\{:03o}", c as u32)),
                other => mangled.push(other),
            }
        }
        mangled
    }

    proptest! {
        #[test]
        fn unescape_undoes_mangle(path in "[a-z/ \t\n\\\\#é]{0,40}") {
            prop_assert_eq!(unescape(&mangle(&path)), OsString::from(path));
        }

        #[test]
        fn a_mount_is_what_the_kernel_wrote(
            root in "/[a-z \t\n\r\\\\#é-]{0,10}", point in "(/[a-z \t\n\r\\\\#é-]{1,10}){1,3}"
        ) {
            let text = format!(
                "30 20 0:30 {} {} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n",
                mangle(&root),
                mangle(&point)
            );
            prop_assert_eq!(parse(&text), Some(Mount { point: point.into(), root }));
        }

        #[test]
        fn any_text_is_survived(text in "(.{0,30} - cgroup2|[1-3] [1-3] 0:1 / /[ab/]{0,3} rw - cgroup2 a b|/|\\\\| |\n|.){0,30}") {
            let _ = parse(&text);
        }
    }
}
