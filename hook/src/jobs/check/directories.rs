//! Which hooks.d directories an engine reads, from the texts of its
//! configuration files: pure.
//!
//! Checked with the sources of podman 5 (vendor/go.podman.io/common/pkg/config,
//! libpod/container_internal.go), of buildah (run_linux.go) and of CRI-O 1.35
//! (pkg/config/config.go).

use std::path::PathBuf;

use toml::{Table, Value};

use super::files::Contents;
use crate::text::one_line;

/// Where packages put hooks: `hooks.DefaultDir`.
pub const DEFAULT: &str = "/usr/share/containers/oci/hooks.d";
/// Where administrators may put some, if an engine is told to look there:
/// `hooks.OverrideDir`.
pub const OVERRIDE: &str = "/etc/containers/oci/hooks.d";

/// What podman reads; `files` are its containers.conf and drop-ins, in the order
/// in which they are read.
///
/// # Errors
///
/// Which file is not understood, and why.
pub fn of_podman(files: &[Contents]) -> Result<Vec<PathBuf>, String> {
    let mut directories = vec![PathBuf::from(DEFAULT)];
    for file in files {
        if let Some(value) = setting(file, &["engine", "hooks_dir"])? {
            change(&mut directories, &value).map_err(|why| failed(file, &why))?;
        }
    }
    // An empty list means both (`setupOCIHooks`).
    Ok(match directories.is_empty() {
        true => of_buildah(),
        false => directories,
    })
}

/// What CRI-O reads; `files` are its crio.conf and drop-ins, in the order in
/// which they are read.
///
/// # Errors
///
/// As [`of_podman`].
pub fn of_crio(files: &[Contents]) -> Result<Vec<PathBuf>, String> {
    let mut directories = vec![PathBuf::from(DEFAULT)];
    for file in files {
        if let Some(value) = setting(file, &["crio", "runtime", "hooks_dir"])? {
            directories = strings(&value).map_err(|why| failed(file, &why))?;
        }
    }
    Ok(directories)
}

/// What buildah reads, and the hook injector of NRI.
pub fn of_buildah() -> Vec<PathBuf> {
    vec![DEFAULT.into(), OVERRIDE.into()]
}

fn failed(file: &Contents, why: &str) -> String {
    format!("{}: {why}", file.path.display())
}

/// The value at a path of keys.
fn setting(file: &Contents, keys: &[&str]) -> Result<Option<Value>, String> {
    let table = table(file)?;
    let (last, tables) = keys.split_last().ok_or("no key")?;
    let mut at = Some(&table);
    for key in tables {
        at = at
            .and_then(|table| table.get(*key))
            .and_then(Value::as_table);
    }
    Ok(at.and_then(|table| table.get(*last)).cloned())
}

/// A TOML file.
///
/// # Errors
///
/// Which file it is, and why it is none.
pub fn table(file: &Contents) -> Result<Table, String> {
    let bytes = file.bytes.as_ref().map_err(|why| failed(file, why))?;
    let text = str::from_utf8(bytes).map_err(|error| failed(file, &error.to_string()))?;
    text.parse()
        .map_err(|error: toml::de::Error| failed(file, &one_line(error.message())))
}

/// A list in containers.conf replaces the one before, unless it says
/// `{append=true}`.
fn change(directories: &mut Vec<PathBuf>, value: &Value) -> Result<(), String> {
    let items = value.as_array().ok_or("hooks_dir is not a list")?;
    let (marks, names): (Vec<_>, Vec<_>) = items.iter().cloned().partition(Value::is_table);
    let appends = |mark: &Value| mark.get("append").and_then(Value::as_bool);
    if !marks
        .iter()
        .filter_map(appends)
        .next_back()
        .unwrap_or(false)
    {
        directories.clear();
    }
    directories.extend(strings(&Value::Array(names))?);
    Ok(())
}

fn strings(value: &Value) -> Result<Vec<PathBuf>, String> {
    let items = value.as_array().ok_or("hooks_dir is not a list")?;
    items
        .iter()
        .map(|item| {
            let item = item
                .as_str()
                .ok_or("hooks_dir has something that is no path")?;
            Ok(PathBuf::from(item))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[&str]) -> Vec<Contents> {
        texts
            .iter()
            .map(|text| Contents {
                path: "/etc/a.conf".into(),
                bytes: Ok(text.as_bytes().to_vec()),
            })
            .collect()
    }

    #[test]
    fn podman() {
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
            assert_eq!(of_podman(&files(texts)), Ok(wanted), "{texts:?}");
        }
    }

    #[test]
    fn cri_o() {
        let found = of_crio(&files(&["[crio.runtime]\nhooks_dir=[\"/a\"]", "[crio]"]));
        assert_eq!(found, Ok(vec!["/a".into()]));
        assert_eq!(of_crio(&[]), Ok(vec![DEFAULT.into()]));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for text in [
            "[engine",
            "[engine]\nhooks_dir=1",
            "[engine]\nhooks_dir=[1]",
        ] {
            let why = of_podman(&files(&[text])).unwrap_err();
            assert!(why.starts_with("/etc/a.conf: "), "{why}");
        }
    }
}
