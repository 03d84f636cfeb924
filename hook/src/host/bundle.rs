//! What engines have written to disk about running containers: the annotations in their
//! bundles (runtime-spec, "Filesystem Bundle"), and Docker's labels.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Where engines that run as root keep bundles, unless they are configured otherwise: podman,
/// CRI-O, and containerd, which Docker uses too.
const PLACES: [[&str; 2]; 3] = [
    ["/var/lib/containers/storage/*-containers", "userdata"],
    ["/run/containers/storage/*-containers", "userdata"],
    ["/run/containerd/io.containerd.runtime.v2.task/*", ""],
];

/// Where Docker keeps its containers, unless it is configured otherwise.
const DOCKER: &str = "/var/lib/docker/containers";

/// The longest file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// The part of `config.json` that is used.
#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The part of Docker's `config.v2.json` that is used.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Docker {
    config: DockerConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    labels: Option<BTreeMap<String, String>>,
}

/// Returns the annotations of the container with this id, which consists of hexadecimal
/// digits; none if its bundle is not found, or cannot be read.
pub fn annotations(id: &str) -> Vec<(String, String)> {
    let bundles = PLACES.iter().flat_map(|[place, below]| {
        let pattern = format!("{place}/{id}/{below}");
        glob::glob(&pattern).into_iter().flatten().flatten()
    });
    let mut specs = bundles.filter_map(|bundle| read::<Spec>(&bundle.join("config.json")));
    let annotations = specs.next().map(|spec| spec.annotations);
    annotations.unwrap_or_default().into_iter().collect()
}

/// Returns the names of the labels of Docker's container with this id, likewise.
pub fn labels(id: &str) -> Vec<String> {
    let found: Option<Docker> = read(&Path::new(DOCKER).join(id).join("config.v2.json"));
    let labels = found.and_then(|docker| docker.config.labels);
    labels.unwrap_or_default().into_keys().collect()
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut text = Vec::new();
    let file = File::open(path).ok()?;
    file.take(LIMIT).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
