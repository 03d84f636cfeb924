//! podman's containers.conf: which hooks.d directories it reads.
//!
//! Checked against the sources of podman 5 (vendor/go.podman.io/common/pkg/config,
//! libpod/container_internal.go).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::{self, Contents};
use super::hooks_d;

/// The relevant parts of a file.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Conf {
    engine: Engine,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Engine {
    hooks_dir: Option<Vec<Item>>,
}

/// An item of a list: a path, or what happens to the previous list.
#[derive(Deserialize)]
#[serde(untagged, expecting = "hooks_dir has something that is no path")]
enum Item {
    Path(PathBuf),
    Mark { append: Option<bool> },
}

/// Returns what podman reads as root, in this order. It also reads the files in root's
/// home, and what CONTAINERS_CONF names, but those can differ at each start.
pub fn files() -> Vec<Contents> {
    let mut found = Vec::new();
    for main in [
        "/usr/share/containers/containers.conf",
        "/etc/containers/containers.conf",
    ] {
        found.extend(files::contents(Path::new(main)));
    }
    // By name, wherever they are: those in /etc replace those in /usr.
    let mut drop_ins = BTreeMap::new();
    for place in ["/usr/share/containers", "/etc/containers"] {
        for directory in ["containers.conf.d", "containers.rootful.conf.d"] {
            let listed = files::listed(&Path::new(place).join(directory), &[".conf"]);
            for file in listed.unwrap_or_default() {
                let name = file.path.file_name().unwrap_or_default().to_owned();
                drop_ins.insert(name, file);
            }
        }
    }
    found.extend(drop_ins.into_values());
    found
}

/// Returns the directories that it reads; `files` are in the order in which they are
/// read. A list replaces the previous one, unless it has `{append=true}`.
///
/// # Errors
///
/// Which file is not understood, and why.
pub fn directories(files: &[Contents]) -> Result<Vec<PathBuf>, String> {
    let mut directories = vec![PathBuf::from(hooks_d::DEFAULT)];
    for file in files {
        let Some(items) = files::toml::<Conf>(file)?.engine.hooks_dir else {
            continue;
        };
        let mut appends = false;
        let mut names = Vec::new();
        for item in items {
            match item {
                Item::Path(name) => names.push(name),
                Item::Mark { append } => appends = append.unwrap_or(appends),
            }
        }
        if !appends {
            directories.clear();
        }
        directories.extend(names);
    }
    // An empty list means both directories (`setupOCIHooks`).
    Ok(match directories.is_empty() {
        true => hooks_d::usual(),
        false => directories,
    })
}

#[cfg(test)]
mod tests {
    use super::super::hooks_d::{DEFAULT, OVERRIDE};
    use super::*;

    #[test]
    fn the_directories() {
        for (texts, wanted) in [
            (&[][..], &[DEFAULT][..]),
            (&["[engine]\nruntime=\"crun\""], &[DEFAULT]),
            (&["[engine]\nhooks_dir=[\"/a\",\"/b\"]"], &["/a", "/b"]),
            (
                &[
                    "[engine]\nhooks_dir=[\"/a\"]",
                    "[engine]\nhooks_dir=[\"/b\"]",
                ],
                &["/b"],
            ),
            (
                &["[engine]\nhooks_dir=[\"/a\",{append=true}]"],
                &[DEFAULT, "/a"],
            ),
            (&["[engine]\nhooks_dir=[]"], &[DEFAULT, OVERRIDE]),
        ] {
            let wanted: Vec<_> = wanted.iter().map(PathBuf::from).collect();
            assert_eq!(
                directories(&files::tests::of(texts)),
                Ok(wanted),
                "{texts:?}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for text in [
            "[engine",
            "[engine]\nhooks_dir=1",
            "[engine]\nhooks_dir=[1]",
        ] {
            let why = directories(&files::tests::of(&[text])).unwrap_err();
            assert!(why.starts_with("/etc/a.conf: "), "{why}");
        }
    }
}
