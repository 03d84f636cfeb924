//! Embeds the committed eBPF object, after checking that it is the one that
//! its sources give: `ebpf/build.sh` records the hash of each of them.

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

const OBJECT: &str = "ebpf/oci-bind-hook.bpf.o";
const RECORD: &str = "ebpf/oci-bind-hook.bpf.sha256";
const SOURCES: &str = "ebpf/src";
const REMEDY: &str = "run make ebpf";

fn main() -> Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    println!("cargo::rerun-if-changed=../{RECORD}");
    println!("cargo::rerun-if-changed=../{SOURCES}");

    let record = fs::read_to_string(root.join(RECORD))
        .with_context(|| format!("read {RECORD}: {REMEDY}"))?;
    let mut recorded = BTreeSet::new();
    for line in record.lines() {
        let (hash, path) = line
            .split_once("  ")
            .with_context(|| format!("{RECORD}: malformed line {line:?}: {REMEDY}"))?;
        println!("cargo::rerun-if-changed=../{path}");
        ensure!(
            hash_of(&root.join(path))? == hash,
            "{path} has changed since {OBJECT} was built: {REMEDY}"
        );
        recorded.insert(root.join(path));
    }
    for source in rust_files(&root.join(SOURCES))? {
        if !recorded.contains(&source) {
            bail!("{} is not in {RECORD}: {REMEDY}", source.display());
        }
    }

    let object = root.join(OBJECT);
    ensure!(
        recorded.contains(&object),
        "{OBJECT} is not in {RECORD}: {REMEDY}"
    );
    println!("cargo::rustc-env=OBJECT_HASH={}", &hash_of(&object)?[..16]);
    fs::copy(
        &object,
        Path::new(&env::var("OUT_DIR")?).join("oci-bind-hook.bpf.o"),
    )
    .context("copy the object")?;
    Ok(())
}

fn hash_of(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("read {}: {REMEDY}", path.display()))?;
    Ok(Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn rust_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}
