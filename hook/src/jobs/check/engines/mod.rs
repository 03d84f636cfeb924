//! The engines that are installed: what each is configured to read, and what that means.

mod containerd;
mod crio;
mod docker;
mod podman;

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::files::{self, Contents};
use super::hooks_d::{self, Reader};
use super::{Finding, binary, cdi};
use crate::input::config::WithoutPolicy;

/// Where engines are installed, whatever PATH says.
const PLACES: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
/// Engines and runtimes.
const NAMES: [&str; 8] = [
    "podman",
    "buildah",
    "crio",
    "dockerd",
    "containerd",
    "crun",
    "runc",
    "youki",
];
/// Where hooks.d files are looked for, whoever reads them.
const HOOKS: [&str; 3] = [
    hooks_d::DEFAULT,
    hooks_d::OVERRIDE,
    "/usr/local/share/containers/oci/hooks.d",
];
const NRI_PLUGINS: &str = "/opt/nri/plugins";
const READABLE: &str = "make it readable, and run oci-bind-hook check as root";

/// The programs that were found.
pub struct Installed {
    programs: Vec<(&'static str, PathBuf)>,
}

impl Installed {
    /// Looks for the programs.
    pub fn find() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        let places: Vec<_> = PLACES
            .iter()
            .map(PathBuf::from)
            .chain(env::split_paths(&path).filter(|place| place.is_absolute()))
            .collect();
        let program = |name: &'static str| {
            let mut found = places.iter().map(|place| place.join(name));
            Some((name, found.find(|path| is_program(path))?))
        };
        Self {
            programs: NAMES.iter().filter_map(|name| program(name)).collect(),
        }
    }

    /// Whether a program was found.
    pub fn has(&self, name: &str) -> bool {
        self.programs.iter().any(|(found, _)| *found == name)
    }

    /// Returns everything about them. `without_policy` is what the configuration says.
    pub fn findings(&self, without_policy: WithoutPolicy) -> Vec<Finding> {
        let has_injector = has_injector();
        let mut findings = vec![self.listed()];
        findings.extend(self.hooks_d(has_injector, without_policy));
        let settings = docker::Settings::parse(docker::file().as_ref());
        let places = settings
            .as_ref()
            .unwrap_or(&docker::Settings::default())
            .directories();
        let mut specifications = Vec::new();
        for place in places {
            read_into(
                &mut specifications,
                &mut findings,
                "cdi",
                &place,
                &[".json", ".yaml"],
            );
        }
        let (found, has_device) = cdi::judge(&specifications, binary::look);
        findings.extend(found);
        if self.has("dockerd") {
            findings.push(docker::judge(&settings, has_device));
        }
        if self.has("containerd") {
            findings.extend(containerd::judge(&containerd::files(), has_injector));
        }
        findings
    }

    fn listed(&self) -> Finding {
        if self.programs.is_empty() {
            return Finding::note(
                "engines",
                "none found: run, attach and systemd units need none",
                "if an engine is installed, put its directory into PATH",
            );
        }
        let paths = self
            .programs
            .iter()
            .map(|(_, path)| path.display().to_string());
        Finding::ok("engines", &paths.collect::<Vec<_>>().join(", "))
    }

    fn hooks_d(&self, has_injector: bool, without_policy: WithoutPolicy) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut readers = Vec::new();
        let mut add = |name, found: Result<Vec<PathBuf>, String>| match found {
            Ok(directories) => readers.push(Reader {
                name,
                directories,
                needs_ours: matches!(name, "podman" | "CRI-O"),
            }),
            Err(why) => findings.push(Finding::problem(
                "hooks.d",
                &format!("{why}: cannot tell what {name} reads"),
                "correct it",
            )),
        };
        if self.has("podman") {
            add("podman", podman::directories(&podman::files()));
        }
        if self.has("crio") {
            add("CRI-O", crio::directories(&crio::files()));
        }
        if self.has("buildah") {
            add("buildah", Ok(hooks_d::usual()));
        }
        if has_injector {
            add("NRI's hook injector", Ok(hooks_d::usual()));
        }
        let mut places: Vec<_> = HOOKS.iter().map(PathBuf::from).collect();
        places.extend(readers.iter().flat_map(|reader| reader.directories.clone()));
        places.sort();
        places.dedup();
        let mut found = Vec::new();
        for place in places {
            read_into(&mut found, &mut findings, "hooks.d", &place, &[".json"]);
        }
        findings.extend(hooks_d::judge(
            &readers,
            &found,
            without_policy,
            binary::look,
        ));
        findings
    }
}

/// Reads a directory, and adds a finding if that fails.
fn read_into(
    found: &mut Vec<Contents>,
    findings: &mut Vec<Finding>,
    subject: &str,
    place: &Path,
    suffixes: &[&str],
) {
    match files::listed(place, suffixes) {
        Ok(files) => found.extend(files),
        Err(error) => {
            let message = format!("{}: {error}: cannot tell what is there", place.display());
            findings.push(Finding::problem(subject, &message, READABLE));
        }
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Whether NRI's hook injector is started with the engine.
fn has_injector() -> bool {
    let entries = fs::read_dir(NRI_PLUGINS).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name())
        .any(|name| name.to_string_lossy().contains("hook-injector"))
}
