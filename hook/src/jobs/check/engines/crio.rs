//! CRI-O's crio.conf: which hooks.d directories it reads.
//!
//! Checked against the sources of CRI-O 1.35 (pkg/config/config.go).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::{self, Contents};
use super::hooks_d;

/// The relevant parts of a file.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Conf {
    crio: Crio,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Crio {
    runtime: Runtime,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Runtime {
    hooks_dir: Option<Vec<PathBuf>>,
}

/// Returns the files that it reads, in this order.
pub fn files() -> Vec<Contents> {
    let mut found: Vec<_> = files::contents(Path::new("/etc/crio/crio.conf"))
        .into_iter()
        .collect();
    let drop_ins = files::listed(Path::new("/etc/crio/crio.conf.d"), &[""]).unwrap_or_default();
    found.extend(drop_ins.into_iter().filter(|file| !file.path.is_dir()));
    found
}

/// Returns the directories that it reads; `files` are in the order of reading.
///
/// # Errors
///
/// Which file is not understood, and why.
pub fn directories(files: &[Contents]) -> Result<Vec<PathBuf>, String> {
    let mut directories = vec![PathBuf::from(hooks_d::DEFAULT)];
    for file in files {
        if let Some(names) = files::toml::<Conf>(file)?.crio.runtime.hooks_dir {
            directories = names;
        }
    }
    Ok(directories)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directories() {
        let texts = ["[crio.runtime]\nhooks_dir=[\"/a\"]", "[crio]"];
        assert_eq!(
            directories(&files::tests::of(&texts)),
            Ok(vec!["/a".into()])
        );
        assert_eq!(directories(&[]), Ok(vec![hooks_d::DEFAULT.into()]));
        assert!(directories(&files::tests::of(&["[crio.runtime]\nhooks_dir=1"])).is_err());
    }
}
