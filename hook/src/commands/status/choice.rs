//! Which of the cgroups under a policy the user means.

use std::path::Path;

use anyhow::{Result, bail};

use crate::host::cgroup;
use crate::kernel::inventory::Entry;
use crate::text::printable;

/// Returns the entries of one container or cgroup.
///
/// # Errors
///
/// If nothing of that name is under a policy, or if it is a path, but not of a cgroup.
pub(super) fn chosen(entries: Vec<Entry>, which: &str) -> Result<Vec<Entry>> {
    if which.is_empty() {
        bail!(
            "the container's id is empty: give an id, its first characters, a unit's name, or a cgroup's path"
        );
    }
    let is_meant = |entry: &Entry| {
        let container = entry.container.as_deref();
        entry.cgroup == which
            || printable(&entry.cgroup) == which
            || container.is_some_and(|id| id.starts_with(which))
            || is_unit(&entry.cgroup, which)
    };
    let (mut found, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_meant);
    if found.is_empty() && which.starts_with('/') {
        // Another way to write a path, such as the one in the file system.
        let cgroup = cgroup::of_path(Path::new(which))?;
        let entries = others.into_iter();
        found = entries
            .filter(|entry| entry.cgroup == cgroup.name())
            .collect();
    }
    if found.is_empty() {
        bail!(
            "no container or cgroup \"{which}\" is under a policy: \
             give a container's id, its first characters, a unit's name, or a cgroup's path; \
             status lists them"
        );
    }
    Ok(found)
}

/// Whether a cgroup is that of a unit: `web.service` or, as for systemctl, `web`.
fn is_unit(cgroup: &str, which: &str) -> bool {
    cgroup::unit(cgroup).is_some_and(|unit| {
        let service = unit.strip_suffix(".service");
        unit == which || service == Some(which)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_known_by_its_name() {
        let cgroup = "/system.slice/web.service";
        for name in ["web.service", "web"] {
            assert!(is_unit(cgroup, name), "{name}");
        }
        for name in ["eb.service", "service", "system.slice", "web.serv", ""] {
            assert!(!is_unit(cgroup, name), "{name}");
        }
    }
}
