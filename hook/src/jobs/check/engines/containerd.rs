//! containerd's configuration: which annotations of pods reach the hook.
//!
//! Checked against the sources of containerd 2.2: cmd/containerd/server/config,
//! docs/cri/config.md and `GetPassthroughAnnotations`.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use serde::Deserialize;

use super::Finding;
use super::files::{self, Contents};
use crate::input::annotations::PREFIX;
use crate::input::request::SETTINGS;

const SUBJECT: &str = "containerd";
/// The CRI plugin, by the version of the configuration: 3 and later, 2, 1.
const PLUGINS: [&str; 3] = [
    "io.containerd.cri.v1.runtime",
    "io.containerd.grpc.v1.cri",
    "cri",
];
/// The version of the configuration that came with containerd 2.0, which enables NRI
/// unless it is disabled.
const NRI_IS_ON: i64 = 3;
/// How many files are read, imports included.
const IMPORTS: usize = 100;
/// The runtime that is used if the configuration names none.
const USUAL_RUNTIME: &str = "runc";
/// The suffix of a key for one container, with a name that Kubernetes allows.
const FOR_ONE: &str = "/container.web-1";

/// The relevant parts of a file.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    version: Option<i64>,
    imports: Vec<String>,
    disabled_plugins: Vec<String>,
    plugins: Plugins,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Plugins {
    #[serde(rename = "io.containerd.nri.v1.nri")]
    nri: Nri,
    #[serde(rename = "io.containerd.cri.v1.runtime")]
    cri3: Cri,
    #[serde(rename = "io.containerd.grpc.v1.cri")]
    cri2: Cri,
    #[serde(rename = "cri")]
    cri1: Cri,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Nri {
    disable: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cri {
    containerd: Containerd,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Containerd {
    default_runtime_name: Option<String>,
    runtimes: BTreeMap<String, Runtime>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Runtime {
    pod_annotations: Option<Vec<String>>,
}

/// The relevant settings of all files together.
#[derive(Debug, Default)]
struct Settings {
    version: Option<i64>,
    is_cri_off: bool,
    nri_is_off: Option<bool>,
    default_runtime: Option<String>,
    runtimes: BTreeMap<String, Option<Vec<String>>>,
}

/// Reads config.toml and what it imports, in the order in which containerd adds them.
pub fn files() -> Vec<Contents> {
    let mut pending = VecDeque::from([PathBuf::from("/etc/containerd/config.toml")]);
    let mut found: Vec<Contents> = Vec::new();
    while let Some(path) = pending.pop_front() {
        if found.len() >= IMPORTS || found.iter().any(|file| file.path == path) {
            continue;
        }
        if let Some(file) = files::contents(&path) {
            pending.extend(imports(&file));
            found.push(file);
        }
    }
    found
}

/// Returns the files that a file imports (`resolveImports`).
fn imports(file: &Contents) -> Vec<PathBuf> {
    let imports = files::toml::<Config>(file).unwrap_or_default().imports;
    let parent = file.path.parent().unwrap_or(Path::new("/"));
    let paths = imports.iter().map(|import| parent.join(import));
    paths
        .flat_map(|path| match glob::glob(&path.to_string_lossy()) {
            Ok(found) if path.to_string_lossy().contains('*') => found.flatten().collect(),
            _ => vec![path],
        })
        .collect()
}

/// Judges config.toml and what it imports, in the order in which they are read.
/// `has_injector` says whether NRI's hook injector is there, which adds our hook.
pub fn judge(files: &[Contents], has_injector: bool) -> Vec<Finding> {
    let mut settings = Settings::default();
    for file in files {
        match files::toml(file) {
            Ok(config) => settings.add(config),
            Err(why) => {
                let message = format!("{why}: containerd does not start");
                return vec![Finding::note(SUBJECT, &message, "correct it")];
            }
        }
    }
    if settings.is_cri_off {
        return vec![Finding::ok(
            SUBJECT,
            "its CRI plugin is off: it runs no pods",
        )];
    }
    let mut findings = Vec::new();
    if has_injector && settings.nri_is_off == Some(true) {
        findings.push(Finding::problem(
            SUBJECT,
            "NRI is disabled, so its hook injector starts no hook: \
             annotated pods start without a policy",
            "set disable = false in [plugins.'io.containerd.nri.v1.nri'], and restart containerd",
        ));
    }
    let is_old = settings.version.is_some_and(|version| version < NRI_IS_ON);
    if has_injector && settings.nri_is_off.is_none() && is_old {
        findings.push(Finding::note(
            SUBJECT,
            "disable is not set for NRI: containerd before 2.0 then leaves NRI off",
            "set disable = false in [plugins.'io.containerd.nri.v1.nri']",
        ));
    }
    for (name, patterns) in settings.named_runtimes() {
        findings.push(judge_runtime(&name, &patterns, has_injector));
    }
    if !has_injector {
        findings.push(Finding::note(
            SUBJECT,
            "no plugin in /opt/nri/plugins reads hooks.d: pods get the hook only through a CDI device",
            "NRI's hook-injector plugin starts the hook by annotations, as podman does",
        ));
    }
    findings
}

/// Judges whether the annotations of a pod reach its containers' hooks.
fn judge_runtime(name: &str, patterns: &[String], has_injector: bool) -> Finding {
    let lost = |suffix: &str| {
        let mut keys = SETTINGS
            .iter()
            .map(|name| format!("{PREFIX}{name}{suffix}"));
        keys.find(|key| !patterns.iter().any(|pattern| matches(pattern, key)))
    };
    let Some(key) = lost("").or_else(|| lost(FOR_ONE)) else {
        let message = format!("runtime {name} passes the annotations of pods to the hook");
        return Finding::ok(SUBJECT, &message);
    };
    let message = format!(
        "runtime {name} does not pass {key} to the hook: \
         pods start without that setting"
    );
    let remedy = format!(
        "pod_annotations = [\"{PREFIX}*\", \"{PREFIX}*/*\"] \
         in [plugins.'{}'.containerd.runtimes.{name}] of /etc/containerd/config.toml \
         (version 2: '{}')",
        PLUGINS[0], PLUGINS[1]
    );
    match has_injector {
        true => Finding::problem(SUBJECT, &message, &remedy),
        false => Finding::note(SUBJECT, &message, &remedy),
    }
}

impl Settings {
    /// Adds a file: its settings replace earlier ones, except that the list of disabled
    /// plugins grows.
    fn add(&mut self, file: Config) {
        self.version = file.version.or(self.version);
        let is_cri = |plugin: &String| PLUGINS.contains(&plugin.as_str());
        self.is_cri_off |= file.disabled_plugins.iter().any(is_cri);
        let plugins = file.plugins;
        self.nri_is_off = plugins.nri.disable.or(self.nri_is_off);
        for plugin in [plugins.cri3, plugins.cri2, plugins.cri1] {
            let containerd = plugin.containerd;
            let default = containerd.default_runtime_name;
            self.default_runtime = default.or(self.default_runtime.take());
            for (name, runtime) in containerd.runtimes {
                let known = self.runtimes.entry(name).or_default();
                *known = runtime.pod_annotations.or(known.take());
            }
        }
    }

    /// Returns each runtime with its patterns, at least the default one.
    fn named_runtimes(self) -> Vec<(String, Vec<String>)> {
        let mut runtimes = self.runtimes;
        let default = self.default_runtime.as_deref().unwrap_or(USUAL_RUNTIME);
        runtimes.entry(default.to_owned()).or_default();
        runtimes
            .into_iter()
            .map(|(name, patterns)| (name, patterns.unwrap_or_default()))
            .collect()
    }
}

/// Matches as Go's `path.Match` does: a star stops at a slash, and two stars are one. A
/// pattern that glob would understand differently counts as one that does not match.
fn matches(pattern: &str, key: &str) -> bool {
    const OPTIONS: MatchOptions = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    let mut pattern = pattern.to_owned();
    while pattern.contains("**") {
        pattern = pattern.replace("**", "*");
    }
    let is_common = !pattern.contains('\\') && !pattern.contains("[^") && !pattern.contains("[!");
    is_common && Pattern::new(&pattern).is_ok_and(|pattern| pattern.matches_with(key, OPTIONS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::check::Level::{self, Note, Ok, Problem};

    const ALL: &str = r#"pod_annotations = ["io.oci-bind-hook.*", "io.oci-bind-hook.*/*"]"#;
    const V3: &str = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n";

    fn levels(texts: &[String], has_injector: bool) -> Vec<Level> {
        let files: Vec<_> = texts
            .iter()
            .map(|text| Contents {
                path: "config.toml".into(),
                bytes: Result::Ok(text.clone().into()),
            })
            .collect();
        let findings = judge(&files, has_injector);
        findings.into_iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn annotations_that_reach_the_hook() {
        let v2 = "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]\n";
        let v1 = "[plugins.cri.containerd.runtimes.runc]\n";
        let plain = r#"pod_annotations = ["io.oci-bind-hook.*"]"#;
        let kata = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.kata]\n";
        for (texts, wanted) in [
            (vec![], vec![Problem]),
            (vec![format!("{V3}{ALL}")], vec![Ok]),
            (vec![format!("{v2}{ALL}")], vec![Note, Ok]),
            (vec![format!("{v1}{ALL}")], vec![Ok]),
            // Keys for one container have a slash.
            (vec![format!("{V3}{plain}")], vec![Problem]),
            (vec![format!("{V3}{ALL}\n{kata}")], vec![Problem, Ok]),
            (
                vec![format!("{V3}{ALL}"), format!("{V3}pod_annotations = []")],
                vec![Problem],
            ),
            (
                vec![format!("{V3}pod_annotations = []"), format!("{V3}{ALL}")],
                vec![Ok],
            ),
            (vec!["disabled_plugins = ['cri']".to_owned()], vec![Ok]),
            (
                vec![format!(
                    "{V3}{ALL}\n[plugins.'io.containerd.nri.v1.nri']\ndisable = true"
                )],
                vec![Problem, Ok],
            ),
            (vec!["[plugins".to_owned()], vec![Note]),
        ] {
            assert_eq!(levels(&texts, true), wanted, "{texts:?}");
        }
        assert_eq!(levels(&[], false), [Note, Note]);
    }

    #[test]
    fn patterns() {
        for (pattern, key, wanted) in [
            ("a.*", "a.b", true),
            ("a.*", "a.b/c", false),
            ("a.*/*", "a.b/c.d", true),
            ("a.?", "a.b", true),
            ("*.b", "a.b", true),
            ("a", "ab", false),
            ("", "", true),
            ("[ab]", "a", true),
            ("[^b]", "a", false),
            ("a\\.*", "a.b", false),
            ("a.**", "a.b", true),
            ("a.**", "a.b/c", false),
            ("*é*", "é", true),
            ("a.*b*c", "a.bbxbc", true),
            ("a.*b*c/*", "a.bbxbc/d", true),
            ("*a/b", "ab/b", false),
            ("a*", "a", true),
        ] {
            assert_eq!(matches(pattern, key), wanted, "{pattern} {key}");
        }
    }
}
