//! One file of hooks.d, oci-hooks(5): whether engines accept it, whether it is ours, and
//! whether it would start the hook. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::binary::Binary;
use crate::input::annotations::PREFIX;
use crate::report::NAME;
use crate::text::one_line;

/// The only schema that has conditions on annotations.
const VERSION: &str = "1.0.0";
/// The stages that engines accept; `precreate` is podman's alone.
const STAGES: [&str; 7] = [
    "precreate",
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];
/// The condition on keys in the file that we install.
const KEY: &str = r"^io\.oci-bind-hook\.";
/// Conditions that every value meets, even one with line ends.
const ANY_VALUE: [&str; 4] = ["(?s)^.*$", "(?s).*", ".*", ""];

/// What a file is.
#[derive(Debug)]
pub enum Kind {
    /// Engines fail on it, for this reason.
    Malformed(String),
    /// Somebody else's.
    Theirs,
    /// It starts this program.
    Ours(Entry),
}

/// The relevant parts of a file that starts this program.
#[derive(Debug)]
pub struct Entry {
    /// The program that is started.
    pub path: PathBuf,
    version: String,
    args: Vec<String>,
    stages: Vec<String>,
    when: When,
}

/// The conditions. A member that is present counts, whatever its value.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct When {
    always: Option<bool>,
    annotations: BTreeMap<String, String>,
    commands: Option<Value>,
    hasbindmounts: Option<Value>,
}

/// A file in the current schema, with its keys in lower case.
#[derive(Deserialize)]
struct Current {
    hook: Option<Hook>,
    stages: Option<Vec<String>>,
    when: Option<When>,
}

#[derive(Deserialize)]
struct Hook {
    path: Option<PathBuf>,
    args: Option<Vec<String>>,
}

/// A file in the schema 0.1.0, with its keys in lower case.
#[derive(Deserialize)]
struct Former {
    hook: Option<PathBuf>,
    arguments: Option<Vec<String>>,
    stages: Option<Vec<String>>,
    stage: Option<Vec<String>>,
}

/// Something wrong with a file of ours, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Defect {
    /// What follows the file's name.
    pub what: String,
    /// The remedy.
    pub remedy: String,
}

/// Reads a file as engines do (`hooks.Read` and `Validate`).
pub fn parse(bytes: &[u8]) -> Kind {
    match entry(bytes) {
        Err(why) => Kind::Malformed(why),
        Ok(entry) if entry.is_ours() => Kind::Ours(entry),
        Ok(_) => Kind::Theirs,
    }
}

fn entry(bytes: &[u8]) -> Result<Entry, String> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| format!("not JSON: {}", one_line(&error.to_string())))?;
    let value = lower_case(value);
    let version = value["version"].as_str().unwrap_or_default().to_owned();
    let (path, args, stages, when) = match version.as_str() {
        VERSION => {
            let file: Current = typed(value)?;
            let hook = file.hook.ok_or("no hook is named")?;
            (hook.path, hook.args, file.stages, file.when)
        }
        "" | "0.1.0" => {
            let file: Former = typed(value)?;
            let stages = file.stages.or(file.stage);
            (file.hook, file.arguments, stages, None)
        }
        other => return Err(format!("unknown version {other:?}")),
    };
    let path = path.filter(|path| !path.as_os_str().is_empty());
    let stages = stages.ok_or("no stages are named")?;
    let mut named = stages.iter();
    if let Some(unknown) = named.find(|stage| !STAGES.contains(&stage.as_str())) {
        return Err(format!("unknown stage {unknown:?}"));
    }
    Ok(Entry {
        path: path.ok_or("no path of a hook is named")?,
        version,
        args: args.unwrap_or_default(),
        stages,
        when: when.unwrap_or_default(),
    })
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| one_line(&error.to_string()))
}

/// Returns a value with its keys in lower case, since Go's decoder ignores their case.
/// The keys of annotations stay as they are, since they are conditions.
fn lower_case(value: Value) -> Value {
    let Value::Object(object) = value else {
        return value;
    };
    let lower = |(key, value): (String, Value)| match key.to_ascii_lowercase() {
        key if key == "annotations" => (key, value),
        key => (key, lower_case(value)),
    };
    Value::Object(object.into_iter().map(lower).collect())
}

impl Entry {
    fn is_ours(&self) -> bool {
        let named = |path: &str| Path::new(path).file_name().is_some_and(|name| name == NAME);
        self.path.file_name().is_some_and(|name| name == NAME)
            || self.args.first().is_some_and(|name| named(name))
    }

    /// Returns everything that would keep a container from its policy.
    pub fn defects(&self, binary: &Binary) -> Vec<Defect> {
        let mut defects = Vec::new();
        let mut add = |what: String, remedy: &str| {
            defects.push(Defect {
                what,
                remedy: remedy.to_owned(),
            });
        };
        const AS_INSTALLED: &str = "make install puts the right file in place";
        let path = self.path.display();
        match binary {
            Binary::Missing => add(
                format!(
                    "names {path}, which does not exist: engines silently ignore the file \
                     and start containers without a policy"
                ),
                "make install puts the program in place, or remove the file",
            ),
            Binary::Unfit(why) => add(
                format!("names {path}, which {why}"),
                "make install puts the program in place",
            ),
            Binary::Other | Binary::Same => {}
        }
        if self.version != VERSION {
            add(
                format!("is in schema {:?}, not {VERSION}", self.version),
                AS_INSTALLED,
            );
            return defects;
        }
        if !self.args.iter().skip(1).any(|arg| arg == "create-runtime") {
            add(
                "lacks the argument create-runtime: every annotated container fails to start"
                    .into(),
                AS_INSTALLED,
            );
        }
        if !self.stages.iter().any(|stage| stage == "createRuntime") {
            add("lacks the stage createRuntime".into(), AS_INSTALLED);
        }
        for stage in self.stages.iter().filter(|stage| *stage != "createRuntime") {
            add(
                format!(
                    "also names the stage {stage}: the hook must run only once, at createRuntime"
                ),
                AS_INSTALLED,
            );
        }
        if let Some(why) = self.narrows() {
            add(
                format!("{why}: the hook does not see every annotated container"),
                AS_INSTALLED,
            );
        }
        defects
    }

    /// Returns why the conditions leave annotated containers out, if they do.
    fn narrows(&self) -> Option<String> {
        let others = [
            ("commands", &self.when.commands),
            ("hasBindMounts", &self.when.hasbindmounts),
        ];
        if let Some((condition, _)) = others.iter().find(|(_, value)| value.is_some()) {
            return Some(format!("has the condition {condition}"));
        }
        for (key, value) in &self.when.annotations {
            if !ANY_VALUE.contains(&value.as_str()) {
                return Some(format!("has the condition {value:?} on values"));
            }
            if key != KEY && !is_wider(key) {
                return Some(format!("has the condition {key:?} on keys"));
            }
        }
        match self.when.always {
            Some(false) => Some("says always: false".into()),
            None if self.when.annotations.is_empty() => Some("has no condition".into()),
            _ => None,
        }
    }

    /// Whether the hook is started for all containers, annotated or not.
    pub fn is_for_all(&self) -> bool {
        self.when.always == Some(true) && self.when.annotations.is_empty()
    }

    /// Returns how the conditions also match foreign annotations, which the hook ignores.
    pub fn widens(&self) -> Option<String> {
        let mut keys = self.when.annotations.keys();
        keys.find(|key| *key != KEY).map(|key| {
            format!("has the condition {key:?} on keys, which keys of others also match")
        })
    }
}

/// Whether a regular expression is just the start of our prefix, with or without an
/// anchor, with dots escaped or not.
fn is_wider(key: &str) -> bool {
    let plain = key.strip_prefix('^').unwrap_or(key).replace('\\', "");
    PREFIX.starts_with(&plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INSTALLED: &str = include_str!("../../../../config/oci-bind-hook.json");

    fn ours(text: &str) -> Entry {
        match parse(text.as_bytes()) {
            Kind::Ours(entry) => entry,
            other => panic!("{other:?}: {text}"),
        }
    }

    fn defects(text: &str) -> Vec<String> {
        let defects = ours(text).defects(&Binary::Same);
        defects.into_iter().map(|defect| defect.what).collect()
    }

    #[test]
    fn the_installed_file_is_flawless() {
        assert_eq!(defects(INSTALLED), [""; 0]);
        assert_eq!(ours(INSTALLED).widens(), None);
    }

    #[test]
    fn each_change_is_a_defect() {
        for (from, to, wanted) in [
            ("\"createRuntime\"", "\"prestart\"", "createRuntime"),
            (
                "\"createRuntime\"",
                "\"createRuntime\", \"prestart\"",
                "prestart",
            ),
            ("\"create-runtime\"", "\"status\"", "create-runtime"),
            (
                r"^io\\.oci-bind-hook\\.",
                r"^io\\.oci-bind-hook\\.ipv4$",
                "on keys",
            ),
            ("(?s)^.*$", "^.*$", "on values"),
            (
                "\"annotations\": {",
                "\"commands\": [\".*\"], \"annotations\": {",
                "commands",
            ),
            (
                "\"annotations\": {",
                "\"always\": false, \"annotations\": {",
                "always",
            ),
            ("\"annotations\"", "\"other\"", "no condition"),
            (
                "\"annotations\": {",
                "\"HasBindMounts\": null, \"Commands\": [], \"ANNOTATIONS\": {",
                "commands",
            ),
        ] {
            assert!(INSTALLED.contains(from), "{from}");
            let found = defects(&INSTALLED.replacen(from, to, 1)).join("\n");
            assert!(found.contains(wanted), "{to}: {found}");
        }
        for binary in [Binary::Missing, Binary::Unfit("is a directory".into())] {
            assert_eq!(ours(INSTALLED).defects(&binary).len(), 1, "{binary:?}");
        }
    }

    #[test]
    fn conditions_that_are_wider_do_no_harm() {
        for key in [r"io\\.oci-bind-hook\\.", "^io.oci-bind-hook.", r"^io\\."] {
            let text = INSTALLED.replacen(r"^io\\.oci-bind-hook\\.", key, 1);
            assert_eq!(defects(&text), [""; 0], "{key}");
            assert!(ours(&text).widens().is_some(), "{key}");
        }
        let always = INSTALLED.replacen("\"annotations\"", "\"always\": true, \"other\"", 1);
        assert_eq!(defects(&always), [""; 0]);
        let both = INSTALLED.replacen("\"annotations\"", "\"always\": true, \"annotations\"", 1);
        assert!(!ours(&both).is_for_all());
    }

    #[test]
    fn the_example_starts_the_hook_for_all_containers() {
        let example = include_str!("../../../../config/all-containers.json");
        assert_eq!(defects(example), [""; 0]);
        assert!(ours(example).is_for_all() && !ours(INSTALLED).is_for_all());
    }

    #[test]
    fn what_engines_fail_on() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            r#"{"version": "2.0.0"}"#,
            r#"{"version": "1.0.0"}"#,
            r#"{"version": "1.0.0", "hook": {"path": ""}, "stages": []}"#,
            r#"{"version": "1.0.0", "hook": {"path": "/a"}}"#,
            r#"{"version": "1.0.0", "hook": {"path": "/a"}, "stages": ["precook"]}"#,
            r#"{"hook": "/a"}"#,
            r#"{"version": "1.0.0", "hook": {"path": "/a"}, "stages": [1]}"#,
            r#"{"version": "1.0.0", "hook": {"path": "/a"}, "stages": [], "when": {"always": 1}}"#,
        ] {
            let kind = parse(text.as_bytes());
            assert!(matches!(kind, Kind::Malformed(_)), "{text}: {kind:?}");
        }
    }

    #[test]
    fn files_of_others() {
        for text in [
            r#"{"version": "1.0.0", "hook": {"path": "/a"}, "when": {"always": true}, "stages": ["prestart"]}"#,
            r#"{"Version": "1.0.0", "Hook": {"Path": "/a"}, "Stages": ["poststop"]}"#,
            r#"{"hook": "/a", "stage": ["prestart"], "cmd": [".*"]}"#,
        ] {
            let kind = parse(text.as_bytes());
            assert!(matches!(kind, Kind::Theirs), "{text}: {kind:?}");
        }
    }

    proptest! {
        #[test]
        fn any_change_is_survived(at in 0..INSTALLED.len(), with in ".{0,3}", bytes: Vec<u8>) {
            let (before, after) = INSTALLED.split_at(at);
            for text in [format!("{before}{with}{after}").into_bytes(), bytes] {
                if let Kind::Ours(entry) = parse(&text) {
                    let _ = (entry.defects(&Binary::Same), entry.widens());
                }
            }
        }
    }
}
