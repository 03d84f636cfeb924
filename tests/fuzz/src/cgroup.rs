//! The text of /proc/PID/cgroup, and the choice of a container's cgroup.

use oci_bind_hook::host::cgroup::{choose, container, parse_proc};

use crate::text;

/// The id in the seeds, which are files of procfs.
const ID: &str = "3b1e0c8f5d7a49e2b6c4d8f0a1e3b5c7d9f2a4c6e8b0d1f3a5c7e9b2d4f6a8c0";

/// The input: the file, and the container's id if it is another.
pub fn check(data: &[u8]) {
    let text = text::of(data);
    let (text, id) = text::two(&text);
    let id = if id.is_empty() { ID } else { id };
    let Ok(path) = parse_proc(text) else {
        return;
    };
    let line = format!("0::{path}");
    assert!(text.split('\n').any(|given| given == line), "{path:?}");
    assert_plain(&path);
    if let Ok(chosen) = choose(&path, id) {
        assert_ne!(chosen, "/", "the root, out of {path:?}");
        let below = path.strip_prefix(&chosen);
        let below = below.unwrap_or_else(|| panic!("{chosen:?} is not on {path:?}"));
        assert!(below.is_empty() || below.starts_with('/'), "{chosen:?}");
    }
    if let Some((_, id)) = container(&path) {
        assert!(path.contains(id) && id.len() == 64, "{id:?}");
    }
}

/// A path that means one cgroup, and is its only name: what it holds is told
/// by comparing text.
fn assert_plain(path: &str) {
    let below = path.strip_prefix('/');
    let below = below.unwrap_or_else(|| panic!("{path:?} is not absolute"));
    let is_plain = |part| !matches!(part, "" | "." | "..");
    assert!(
        below.is_empty() || below.split('/').all(is_plain),
        "{path:?}"
    );
}
