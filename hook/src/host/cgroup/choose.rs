//! Finds the container's cgroup on a process's path, by its text alone: pure.

use std::iter::successors;

use anyhow::{Result, bail};

/// Prefixes that engines put before a container's id in a cgroup's name.
const PREFIXES: [&str; 10] = [
    "libpod-",
    "libpod-payload-",
    "crio-",
    "cri-containerd-",
    "docker-",
    "ctr-",
    "runc-",
    "crun-",
    "youki-",
    "buildah-",
];

/// The suffix of systemd's units for processes that it did not start (systemd.scope(5)).
const SCOPE: &str = ".scope";

/// What precedes the container's id in the name of the engine's monitor.
const MONITOR: &str = "conmon-";

/// From this length on, an id of hexadecimal digits does not occur by chance.
const LONG_ID: usize = 32;

/// Length of the ids that engines generate at random.
const FULL_ID: usize = 64;

/// What the kernel appends to the path of a deleted cgroup.
pub(super) const DELETED: &str = " (deleted)";

/// Returns the cgroup2 path in the text of /proc/PID/cgroup (cgroups(7)): the line that
/// starts with `0::`. The path of a deleted cgroup ends in ` (deleted)`, but so may the
/// name of one that exists: only opening it tells.
///
/// # Errors
///
/// There is no such line (pure cgroup v1), the cgroup lies outside our cgroup
/// namespace, or the path is not one that the kernel writes.
pub fn parse_proc(text: &str) -> Result<String> {
    // Not `lines`: the name of a cgroup may end in a carriage return.
    let mut lines = text.split('\n');
    let Some(path) = lines.find_map(|line| line.strip_prefix("0::")) else {
        bail!(
            "not in the cgroup2 hierarchy: programs cannot be attached to cgroup v1: \
             boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2"
        );
    };
    if path.split('/').any(|component| component == "..") {
        bail!(
            "cgroup {path} is outside this process's cgroup namespace: \
             run in the host's cgroup namespace"
        );
    }
    // Two spellings of one cgroup would not compare equal.
    let is_plain = |below: &str| {
        let mut components = below.split('/');
        below.is_empty() || components.all(|component| !matches!(component, "" | "."))
    };
    if !path.strip_prefix('/').is_some_and(is_plain) {
        bail!("cgroup path {path:?} is not absolute and normalised: report this as a bug");
    }
    Ok(path.to_owned())
}

/// Chooses the cgroup to attach to, for a container whose init is at `path`: the
/// innermost one that carries the id, otherwise the leaf. This covers the engine's
/// sub-cgroups (crun's `container`) and the container's own, whichever a later process is
/// put into, but not others that have the id in a name above (`/default/default` of
/// `ctr run IMAGE default`).
///
/// # Errors
///
/// The result would be the root, or the path names another container.
pub fn choose(path: &str, id: &str) -> Result<String> {
    let mut levels = upwards(path).skip_while(|level| !names(level, id));
    if let Some(innermost) = levels.next() {
        // A sub-cgroup of the runtime's scope may have the container's name.
        let scope = levels.next().filter(|above| {
            !innermost.ends_with(SCOPE) && above.ends_with(SCOPE) && names(above, id)
        });
        return Ok(scope.unwrap_or(innermost).to_owned());
    }
    refuse_root(path)?;
    // The innermost id decides, since nested engines put theirs in names too.
    if let Some(other) = path.rsplit('/').find_map(full_id)
        && other != id
    {
        bail!(
            "cgroup {path} belongs to container {other}, but the state is of {id}: \
             the runtime must give the pid of that container's init"
        );
    }
    Ok(path.to_owned())
}

/// Yields a path and those of the cgroups above it, innermost first, without the root.
pub(super) fn upwards(path: &str) -> impl Iterator<Item = &str> {
    successors(Some(path), |path| Some(path.rsplit_once('/')?.0)).filter(|path| !is_root(path))
}

/// Returns the name of the cgroup itself.
pub(super) fn last(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Whether a cgroup is the one that an engine created for the container.
pub(super) fn names(path: &str, id: &str) -> bool {
    carries(last(path), id)
}

/// Returns the cgroup of the innermost container on a path, judging by names: one that an
/// engine created, but not its monitor's beside it.
pub fn innermost_container(path: &str) -> Option<&str> {
    upwards(path).find(|level| is_container(last(level)))
}

/// Whether a name is one that an engine gives to a container's cgroup. A short
/// id alone could be anything.
fn is_container(name: &str) -> bool {
    let (stem, is_scope) = match name.strip_suffix(SCOPE) {
        Some(stem) => (stem, true),
        None => (name, false),
    };
    let has_prefix = || {
        let rest = PREFIXES.iter().find_map(|prefix| stem.strip_prefix(prefix));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(MONITOR))
    };
    full_id(stem).is_some_and(|id| stem.ends_with(id) && carries(stem, id))
        || (is_scope && has_prefix())
}

/// Returns the beginning of a container's id, as long as engines show it.
pub fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Returns the engine and the id of the container that a cgroup belongs to, judging by
/// its path.
pub fn container(path: &str) -> Option<(Option<&'static str>, &str)> {
    const ENGINES: [(&str, &str); 5] = [
        ("libpod-", "podman"),
        ("crio-", "cri-o"),
        ("cri-containerd-", "containerd"),
        ("docker-", "docker"),
        ("buildah-", "buildah"),
    ];
    let mut parents = path.rsplit('/');
    let (component, id) = parents.find_map(|component| Some((component, full_id(component)?)))?;
    let parent = parents.next();
    let engine = ENGINES.iter().find_map(|(prefix, engine)| {
        (component.starts_with(prefix) || parent == Some(engine)).then_some(*engine)
    });
    Some((engine, id))
}

/// Refuses the root cgroup, which every process is in or below.
pub(super) fn refuse_root(path: &str) -> Result<()> {
    if is_root(path) {
        bail!(
            "the process is in the root cgroup, which holds every process of the host: \
             give it a cgroup of its own (podman: without --cgroups=disabled)"
        );
    }
    Ok(())
}

/// Whether a path is that of the root cgroup.
pub(super) fn is_root(path: &str) -> bool {
    path.trim_end_matches('/').is_empty()
}

/// Whether the process at the cgroup path `own` is in `target` or below it.
pub fn contains(target: &str, own: &str) -> bool {
    own.strip_prefix(target.trim_end_matches('/'))
        .is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// Whether a component is the cgroup that an engine created for a container.
fn carries(component: &str, id: &str) -> bool {
    if id.is_empty() {
        return false;
    }
    if id.len() >= LONG_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return component.match_indices(id).any(|(at, _)| {
            let (before, after) = (&component[..at], &component[at + id.len()..]);
            !before.ends_with(char::is_alphanumeric)
                && !after.starts_with(char::is_alphanumeric)
                && !before.ends_with(MONITOR)
        });
    }
    // A short id may well be a word in some other name: `1` in `session-1.scope`.
    component == id
        || PREFIXES.iter().any(|prefix| {
            component
                .strip_prefix(prefix)
                .is_some_and(|rest| rest == id || rest.strip_suffix(SCOPE) == Some(id))
        })
}

/// Returns the full container id that a component carries.
fn full_id(component: &str) -> Option<&str> {
    component
        .split(|c: char| !c.is_alphanumeric())
        .find(|word| word.len() == FULL_ID && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests;
