//! Containers on the host's network that no policy covers, by the names of their cgroups.

use std::fmt;
use std::os::fd::BorrowedFd;

use anyhow::Result;
use serde::Serialize;

use crate::host::netns::Namespace;
use crate::host::{bundle, cgroup};
use crate::input::annotations;
use crate::kernel::inventory::{self, Entry};
use crate::text::{printable, quote};

/// A container with processes in our network namespace, and without a policy.
#[derive(Clone, Debug, Serialize)]
pub struct Exposed {
    /// The path of its cgroup within the hierarchy.
    pub cgroup: String,
    /// Its id, if the path has one.
    pub container: Option<String>,
    /// The engine, if the path tells.
    pub engine: Option<&'static str>,
    /// Whether it has annotations of the hook that apply to it, as far as its engine's files
    /// tell.
    pub is_annotated: bool,
    /// The key of an annotation that is nearly one of the hook's, likewise.
    pub misspelt: Option<String>,
    /// The name of a label that was meant to be such an annotation, likewise.
    pub label: Option<String>,
}

/// Lists them, without those that are known as a pod's sandbox.
///
/// # Errors
///
/// If the hierarchy cannot be read.
pub fn collect(entries: &[Entry]) -> Result<Vec<Exposed>> {
    let mut all: Vec<Exposed> = Vec::new();
    cgroup::walk_names(|path, fd| {
        let path = path.to_string_lossy();
        if let Some(container) = cgroup::innermost_container(&path)
            && !all.iter().any(|known| known.cgroup == container)
            && !inventory::covers(entries, &path)
            && is_on_our_network(fd)
        {
            all.extend(exposed(container));
        }
        Ok(())
    })?;
    Ok(all)
}

fn is_on_our_network(cgroup: BorrowedFd<'_>) -> bool {
    let mut processes = cgroup::processes(cgroup).into_iter();
    // One that has ended meanwhile is on no network.
    processes.any(|pid| Namespace::OfProcess(pid).is_own().unwrap_or(false))
}

/// Describes the container of a cgroup; `None` if it is a pod's sandbox.
fn exposed(cgroup: &str) -> Option<Exposed> {
    let container = cgroup::container(cgroup);
    let id = container.map(|(_, id)| id.to_owned());
    let annotations = id.as_deref().map(bundle::annotations).unwrap_or_default();
    if annotations::is_sandbox(&annotations) {
        return None;
    }
    let keys = annotations.iter().map(|(key, _)| key.as_str());
    let labels = id.as_deref().map(bundle::labels).unwrap_or_default();
    let labels = labels.into_iter();
    let label = labels.filter(|label| annotations::is_similar(label)).min();
    Some(Exposed {
        cgroup: cgroup.to_owned(),
        container: id,
        engine: container.and_then(|(engine, _)| engine),
        // Bad ones would have kept it from starting.
        is_annotated: !matches!(annotations::parse(&annotations), Ok(None)),
        misspelt: annotations::similar(keys).map(str::to_owned),
        label,
    })
}

impl fmt::Display for Exposed {
    /// Writes one line: the container, and why it has no policy if that is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.container {
            Some(id) => f.write_str(cgroup::short_id(id))?,
            None => f.write_str(&printable(&self.cgroup))?,
        }
        if let Some(engine) = self.engine {
            write!(f, " ({engine})")?;
        }
        if let Some(key) = &self.misspelt {
            write!(
                f,
                ": its annotation {} is not a key of this hook",
                quote(key)
            )?;
        } else if let Some(label) = &self.label {
            write!(f, ": its label {} is not an annotation", quote(label))?;
        } else if self.is_annotated {
            f.write_str(
                ": it is annotated, but the hook was not started for it, or its policy was detached",
            )?;
        }
        Ok(())
    }
}
