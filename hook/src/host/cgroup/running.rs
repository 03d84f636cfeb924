//! Finds the cgroup of a container that runs by the container's id.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};

use super::{Cgroup, Hierarchy, choose, is_populated, walk_names};
use crate::text::quote;

/// The cgroups of containers, by id.
type Containers = BTreeMap<String, BTreeSet<String>>;

/// Opens the cgroup of the running container whose id begins with `which`, judging by the
/// names that engines give to cgroups.
///
/// # Errors
///
/// If `which` is empty, no container that runs has such an id, or more than one cgroup is
/// such a container's.
pub fn of_running_container(which: &str) -> Result<Cgroup> {
    if which.is_empty() {
        bail!("the container's id is empty: give an id, or its first characters");
    }
    let mut found = Containers::new();
    walk_names(|path, fd| {
        // A cgroup that is not UTF-8 is no engine's.
        let Some((id, path)) = path.to_str().and_then(|path| Some((own_id(path)?, path))) else {
            return Ok(());
        };
        // One that cannot be read was removed in the meantime.
        let is_running = || is_populated(fd).unwrap_or(false);
        if id.starts_with(which) && is_running() {
            let name = choose(path, id)?;
            found.entry(id.to_owned()).or_default().insert(name);
        }
        Ok(())
    })?;
    let name = only(which, &found)?;
    Cgroup::open(&Hierarchy::find()?, name)
}

/// Returns the id of the container that an engine created this very cgroup for.
fn own_id(path: &str) -> Option<&str> {
    let is_own = choose::innermost_container(path) == Some(path);
    let (_, id) = choose::container(path).filter(|_| is_own)?;
    choose::names(path, id).then_some(id)
}

/// Returns the one cgroup that was found.
fn only<'a>(which: &str, found: &'a Containers) -> Result<&'a str> {
    let shown = quote(which);
    let mut ids = found.iter();
    let (id, cgroups) = ids.next().with_context(|| {
        format!(
            "no container that runs has an id that begins with {shown}: give the id that the \
             engine shows, or its first characters, or use --pid or --cgroup"
        )
    })?;
    if let Some((other, _)) = ids.next() {
        bail!(
            "more than one container that runs is meant by {shown}, such as {id} and {other}: give more of the id"
        );
    }
    let mut cgroups = cgroups.iter();
    match (cgroups.next(), cgroups.next()) {
        (Some(one), Some(other)) => {
            bail!("container {id} has more than one cgroup, {one} and {other}: use --cgroup PATH")
        }
        (Some(one), None) => Ok(one),
        (None, _) => bail!("container {id} has no cgroup: use --pid or --cgroup"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "5f2a7c1e9b3d4f60a8c2e4b6d8f0a1c3e5b7d9f1a3c5e7092b4d6f8091a3c5e7";
    const TWO: &str = "5f99991e9b3d4f60a8c2e4b6d8f0a1c3e5b7d9f1a3c5e7092b4d6f8091a3c5e7";

    #[test]
    fn the_cgroup_is_the_container_s_own() {
        for path in [
            format!("/machine.slice/libpod-{ONE}.scope"),
            format!("/docker/{ONE}"),
            format!("/kubepods.slice/kubepods-pod1.slice/crio-{ONE}.scope"),
            format!("/docker/{TWO}/kubelet/kubepods/cri-containerd-{ONE}.scope"),
        ] {
            assert_eq!(own_id(&path), Some(ONE), "{path}");
        }
        for path in [
            format!("/machine.slice/libpod-{ONE}.scope/container"),
            format!("/machine.slice/libpod-conmon-{ONE}.scope"),
            format!("/docker/{ONE}/init.scope"),
            "/system.slice/web.service".to_owned(),
        ] {
            assert_eq!(own_id(&path), None, "{path}");
        }
    }

    fn containers(all: &[(&str, &[&str])]) -> Containers {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        all.iter()
            .map(|&(id, cgroups)| (id.to_owned(), names(cgroups)))
            .collect()
    }

    #[test]
    fn one_container_is_meant() {
        let found = containers(&[(ONE, &["/docker/a"])]);
        assert_eq!(only("5f", &found).expect("one"), "/docker/a");
        for (found, wanted) in [
            (containers(&[]), "no container that runs"),
            (
                containers(&[(ONE, &["/docker/a"]), (TWO, &["/docker/b"])]),
                "give more of the id",
            ),
            (containers(&[(ONE, &["/a", "/b"])]), "use --cgroup PATH"),
        ] {
            let error = only("5f", &found).expect_err("not one").to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
