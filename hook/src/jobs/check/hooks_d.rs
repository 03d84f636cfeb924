//! Judges the files in hooks.d by what engines read there: pure.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::Finding;
use super::binary::Binary;
use super::files::Contents;
use super::hook_file::{self, Entry, Kind};
use crate::input::config::WithoutPolicy;

/// Where packages put hooks: `hooks.DefaultDir`.
pub const DEFAULT: &str = "/usr/share/containers/oci/hooks.d";
/// Where administrators may put hooks, if an engine is configured to look there:
/// `hooks.OverrideDir`.
pub const OVERRIDE: &str = "/etc/containers/oci/hooks.d";

const SUBJECT: &str = "hooks.d";
const FOR_ALL: &str = "replace it with the example all-containers.json: see FILES in \
    oci-bind-hook(8)";

/// Returns what buildah (run_linux.go) and the hook injector of NRI read.
pub fn usual() -> Vec<PathBuf> {
    vec![DEFAULT.into(), OVERRIDE.into()]
}

/// Something that reads hooks.d.
#[derive(Debug)]
pub struct Reader {
    /// Its name.
    pub name: &'static str,
    /// The directories that it reads, those that take precedence last.
    pub directories: Vec<PathBuf>,
    /// Whether it passes annotations to hooks, so that it must start ours.
    pub needs_ours: bool,
}

/// Judges all files in every directory that might be read. Unless containers without a
/// policy are ignored, the hook must be started for all.
pub fn judge(
    readers: &[Reader],
    files: &[Contents],
    without_policy: WithoutPolicy,
    binary: impl Fn(&Path) -> Binary,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ours = Vec::new();
    for file in files {
        let kind = match &file.bytes {
            Ok(bytes) => hook_file::parse(bytes),
            Err(why) => Kind::Malformed(why.clone()),
        };
        match kind {
            Kind::Malformed(why) => findings.push(malformed(file, &why, readers)),
            Kind::Theirs => {}
            Kind::Ours(entry) => {
                let found = binary(&entry.path);
                findings.extend(judge_entry(&file.path, &entry, &found));
                ours.push((file.path.as_path(), entry));
            }
        }
    }
    let needing: Vec<_> = readers.iter().filter(|reader| reader.needs_ours).collect();
    // One that is replaced by another of the same name has an effect all the same.
    let is_read = |path: &Path| {
        let mut directories = needing.iter().flat_map(|reader| &reader.directories);
        directories.any(|directory| path.parent() == Some(directory))
    };
    for reader in &needing {
        let effective = effective(reader, files);
        let started: Vec<_> = ours
            .iter()
            .filter(|(path, _)| effective.values().any(|file| file == path))
            .collect();
        findings.push(judge_reader(reader, &started, without_policy));
    }
    for (path, _) in &ours {
        if !needing.is_empty() && !is_read(path) {
            findings.push(Finding::note(
                SUBJECT,
                &format!("{}: {} this file", path.display(), does_not_read(&needing)),
                &format!("move it to {DEFAULT}, or name its directory in hooks_dir"),
            ));
        }
    }
    findings
}

/// Returns the files that count for a reader: one in a later directory replaces one of
/// the same name.
fn effective<'a>(reader: &Reader, files: &'a [Contents]) -> BTreeMap<&'a OsStr, &'a Path> {
    let mut found = BTreeMap::new();
    for directory in &reader.directories {
        let here = files.iter().map(|file| file.path.as_path());
        for path in here.filter(|path| path.parent() == Some(directory)) {
            found.insert(path.file_name().unwrap_or_default(), path);
        }
    }
    found
}

fn malformed(file: &Contents, why: &str, readers: &[Reader]) -> Finding {
    let parent = file.path.parent().unwrap_or(&file.path);
    let names: Vec<_> = readers
        .iter()
        .filter(|reader| {
            reader
                .directories
                .iter()
                .any(|directory| directory == parent)
        })
        .map(|reader| reader.name)
        .collect();
    let path = file.path.display();
    if names.is_empty() {
        let message = format!("{path}: {why}: no engine here reads it");
        return Finding::note(SUBJECT, &message, "correct it, or remove it");
    }
    let message = format!(
        "{path}: {why}: every container start of {} fails",
        names.join(" and ")
    );
    Finding::problem(SUBJECT, &message, "correct it, or remove it")
}

fn judge_entry(path: &Path, entry: &Entry, binary: &Binary) -> Vec<Finding> {
    let path = path.display();
    let mut findings: Vec<_> = entry
        .defects(binary)
        .iter()
        .map(|defect| Finding::problem(SUBJECT, &format!("{path} {}", defect.what), &defect.remedy))
        .collect();
    if let Some(why) = entry.widens() {
        let remedy = "make install puts the right file in place";
        findings.push(Finding::note(SUBJECT, &format!("{path} {why}"), remedy));
    }
    if *binary == Binary::Other {
        let program = entry.path.display();
        findings.push(Finding::note(
            SUBJECT,
            &format!("{path} names {program}, another build than the one running this check"),
            &format!("to check with that build, run {program} check"),
        ));
    }
    findings
}

/// Judges whether an engine starts the hook, only once, and for all containers if it must.
fn judge_reader(
    reader: &Reader,
    started: &[&(&Path, Entry)],
    without_policy: WithoutPolicy,
) -> Finding {
    let name = reader.name;
    match started {
        [] => {
            let directories = reader
                .directories
                .iter()
                .map(|path| path.display().to_string());
            let message = format!(
                "{name} reads {}, where no file starts oci-bind-hook: \
                 it starts annotated containers without a policy",
                directories.collect::<Vec<_>>().join(" and ")
            );
            let into = reader
                .directories
                .first()
                .map_or(Path::new(DEFAULT), PathBuf::as_path);
            let remedy = match into == Path::new(DEFAULT) {
                true => "make install".to_owned(),
                false => format!(
                    "copy {DEFAULT}/oci-bind-hook.json to {}, or add {DEFAULT} to hooks_dir",
                    into.display()
                ),
            };
            Finding::problem(SUBJECT, &message, &remedy)
        }
        [(path, entry)] => {
            let message = format!("{name} reads {}", path.display());
            if entry.is_for_all() {
                Finding::ok(SUBJECT, &format!("{message}, for all containers"))
            } else if without_policy == WithoutPolicy::Ignore {
                Finding::ok(SUBJECT, &message)
            } else {
                let message = format!(
                    "{message}, which starts the hook for annotated containers only: others start, \
                     although without-policy is {without_policy}"
                );
                Finding::problem(SUBJECT, &message, FOR_ALL)
            }
        }
        more => {
            let paths = more.iter().map(|(path, _)| path.display().to_string());
            let message = format!(
                "{name} starts the hook more than once: {}",
                paths.collect::<Vec<_>>().join(" and ")
            );
            Finding::problem(SUBJECT, &message, "remove all but one of them")
        }
    }
}

fn does_not_read(readers: &[&Reader]) -> String {
    match readers {
        [one] => format!("{} does not read", one.name),
        _ => {
            let names: Vec<_> = readers.iter().map(|reader| reader.name).collect();
            format!("{} do not read", names.join(" and "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    const INSTALLED: &str = include_str!("../../../../config/oci-bind-hook.json");

    fn reader(name: &'static str, directories: &[&str]) -> Reader {
        Reader {
            name,
            directories: directories.iter().map(PathBuf::from).collect(),
            needs_ours: name != "buildah",
        }
    }

    fn file(directory: &str, name: &str, text: &str) -> Contents {
        Contents {
            path: Path::new(directory).join(name),
            bytes: Ok(text.into()),
        }
    }

    fn levels(readers: &[Reader], files: &[Contents]) -> Vec<Level> {
        let findings = judge(readers, files, WithoutPolicy::Ignore, |_| Binary::Same);
        findings.into_iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn where_ours_is_and_who_reads_there() {
        use Level::{Note, Ok, Problem};
        let podman = || reader("podman", &[DEFAULT]);
        let ours = |directory, name| file(directory, name, INSTALLED);
        for (what, readers, files, wanted) in [
            ("no engine", vec![], vec![ours(DEFAULT, "a.json")], vec![]),
            ("nothing", vec![podman()], vec![], vec![Problem]),
            (
                "installed",
                vec![podman()],
                vec![ours(DEFAULT, "a.json")],
                vec![Ok],
            ),
            (
                "elsewhere",
                vec![podman()],
                vec![ours(OVERRIDE, "a.json")],
                vec![Problem, Note],
            ),
            (
                "twice",
                vec![podman()],
                vec![ours(DEFAULT, "a.json"), ours(DEFAULT, "b.json")],
                vec![Problem],
            ),
            (
                "replaced by one of the same name",
                vec![reader("podman", &[DEFAULT, OVERRIDE])],
                vec![ours(DEFAULT, "a.json"), ours(OVERRIDE, "a.json")],
                vec![Ok],
            ),
            (
                "read by one of two",
                vec![podman(), reader("CRI-O", &["/a"])],
                vec![ours(DEFAULT, "a.json")],
                vec![Ok, Problem],
            ),
            (
                "buildah has no annotations",
                vec![reader("buildah", &[DEFAULT])],
                vec![],
                vec![],
            ),
        ] {
            assert_eq!(levels(&readers, &files), wanted, "{what}");
        }
    }

    #[test]
    fn malformed_files_name_whom_they_break() {
        let readers = [
            reader("podman", &[DEFAULT]),
            reader("buildah", &[DEFAULT, OVERRIDE]),
        ];
        let message = |directory| {
            let file = file(directory, "theirs.json", "{");
            malformed(&file, "not JSON", &readers).message
        };
        assert!(
            message(DEFAULT).ends_with("of podman and buildah fails"),
            "{}",
            message(DEFAULT)
        );
        assert!(
            message(OVERRIDE).ends_with("start of buildah fails"),
            "{}",
            message(OVERRIDE)
        );
        assert!(
            message("/a").ends_with("no engine here reads it"),
            "{}",
            message("/a")
        );
    }
}
