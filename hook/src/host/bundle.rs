//! The bundles of running containers, in which engines write their annotations
//! (runtime-spec, "Filesystem Bundle").

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

/// Where engines that run as root keep bundles, unless they are configured otherwise: podman,
/// CRI-O, and containerd, which Docker uses too.
const PLACES: [[&str; 2]; 3] = [
    ["/var/lib/containers/storage/*-containers", "userdata"],
    ["/run/containers/storage/*-containers", "userdata"],
    ["/run/containerd/io.containerd.runtime.v2.task/*", ""],
];

/// The longest file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// The part of `config.json` that is used.
#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Returns the annotations of the container with this id, which consists of hexadecimal
/// digits; none if its bundle is not found, or cannot be read.
pub fn annotations(id: &str) -> Vec<(String, String)> {
    let bundles = PLACES.iter().flat_map(|[place, below]| {
        let pattern = format!("{place}/{id}/{below}");
        glob::glob(&pattern).into_iter().flatten().flatten()
    });
    let mut specs = bundles.filter_map(|bundle| read(&bundle.join("config.json")));
    let annotations = specs.next().map(|spec| spec.annotations);
    annotations.unwrap_or_default().into_iter().collect()
}

fn read(path: &Path) -> Option<Spec> {
    let mut text = Vec::new();
    let file = File::open(path).ok()?;
    file.take(LIMIT).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
