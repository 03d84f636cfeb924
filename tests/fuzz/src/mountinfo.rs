//! The text of /proc/self/mountinfo.

use std::path::Component;

use oci_bind_hook::host::cgroup::parse_mountinfo;

use crate::text;

/// The input: the file.
pub fn check(data: &[u8]) {
    let text = text::of(data);
    let Some(mount) = parse_mountinfo(&text) else {
        return;
    };
    assert!(text.contains(" - cgroup2"), "{mount:?} is not there");
    assert!(mount.point.is_absolute(), "{mount:?}");
    // Or the paths of /proc/PID/cgroup would not be below it.
    assert!(mount.root.starts_with('/'), "{mount:?}");
    let root = std::path::Path::new(&mount.root);
    assert!(
        !root.components().any(|part| part == Component::ParentDir),
        "{mount:?}"
    );
}
