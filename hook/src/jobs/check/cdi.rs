//! Compares CDI specifications with what `oci-bind-hook cdi` prints: pure.
//!
//! Engines skip a specification that they cannot read, and fail containers that
//! ask for its devices (`Cache.refresh` of the CDI library).

use std::path::Path;

use serde::Deserialize;

use super::Finding;
use super::binary::Binary;
use super::files::Contents;
use crate::cdi::{DEVICE, KIND};
use crate::text::one_line;

const SUBJECT: &str = "cdi";
const RENEW: &str = "oci-bind-hook cdi >/etc/cdi/oci-bind-hook.json";

/// Judges the specifications of some directories, those that take precedence last. Also
/// returns whether one of them gives the hook's device.
pub fn judge(files: &[Contents], binary: impl Fn(&Path) -> Binary) -> (Vec<Finding>, bool) {
    let mut findings = Vec::new();
    let mut ours: Vec<&Path> = Vec::new();
    for file in files {
        let path = file.path.display();
        match hook_path(file) {
            Read::Theirs => {}
            Read::Unreadable(why) => findings.push(Finding::note(
                SUBJECT,
                &format!("{path}: {why}: engines skip it"),
                "correct it, or remove it",
            )),
            Read::Broken(why) => findings.push(Finding::problem(
                SUBJECT,
                &format!("{path}: {why}: containers that use the device fail to start"),
                RENEW,
            )),
            Read::Ours(program) => {
                if let Some(finding) = judge_program(&file.path, &program, &binary) {
                    findings.push(finding);
                }
                let twin = ours
                    .iter()
                    .find(|other| other.parent() == file.path.parent());
                if let Some(twin) = twin {
                    findings.push(Finding::problem(
                        SUBJECT,
                        &format!(
                            "{} and {path} both define the device {KIND}={DEVICE}, \
                             so engines use neither",
                            twin.display()
                        ),
                        "remove one of them",
                    ));
                }
                ours.push(&file.path);
            }
        }
    }
    if let Some(path) = ours.last() {
        let message = format!("{}: the device {KIND}={DEVICE}", path.display());
        findings.push(Finding::ok(SUBJECT, &message));
    }
    let has_device = !ours.is_empty();
    (findings, has_device)
}

/// What a file turns out to be.
enum Read {
    Theirs,
    Unreadable(String),
    /// Ours, but it gives no device, for this reason.
    Broken(String),
    /// Ours, with the program that it starts.
    Ours(String),
}

fn hook_path(file: &Contents) -> Read {
    let bytes = match &file.bytes {
        Ok(bytes) => bytes,
        Err(why) => return Read::Unreadable(why.clone()),
    };
    let mentions_us = bytes
        .windows(KIND.len())
        .any(|part| part == KIND.as_bytes());
    if file
        .path
        .extension()
        .is_some_and(|extension| extension == "yaml")
    {
        return match mentions_us {
            true => Read::Broken("YAML, which check does not read".into()),
            false => Read::Theirs,
        };
    }
    let kind = match serde_json::from_slice::<Kind>(bytes) {
        Ok(Kind { kind }) => kind,
        Err(error) => {
            let why = format!("not JSON: {}", one_line(&error.to_string()));
            return match mentions_us {
                true => Read::Broken(why),
                false => Read::Unreadable(why),
            };
        }
    };
    if kind.as_deref() != Some(KIND) {
        return Read::Theirs;
    }
    match serde_json::from_slice::<Specification>(bytes) {
        Ok(specification) => specification.hook_path(),
        Err(error) => Read::Broken(one_line(&error.to_string())),
    }
}

/// The part that shows whose a specification is.
#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

/// The relevant parts of one of ours.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Specification {
    devices: Vec<Device>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Device {
    name: String,
    container_edits: Edits,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Edits {
    hooks: Vec<Hook>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Hook {
    hook_name: String,
    path: String,
    args: Vec<String>,
}

impl Specification {
    fn hook_path(self) -> Read {
        let mut devices = self.devices.into_iter();
        let Some(device) = devices.find(|device| device.name == DEVICE) else {
            return Read::Broken(format!("no device {DEVICE}"));
        };
        let mut hooks = device.container_edits.hooks.into_iter();
        let hook = hooks.find(|hook| hook.hook_name == "createRuntime");
        match hook.filter(Hook::is_ours) {
            Some(hook) => Read::Ours(hook.path),
            None => Read::Broken("no createRuntime hook that starts create-runtime".into()),
        }
    }
}

impl Hook {
    fn is_ours(&self) -> bool {
        !self.path.is_empty()
            && self
                .args
                .iter()
                .any(|argument| argument == "create-runtime")
    }
}

fn judge_program(file: &Path, program: &str, binary: impl Fn(&Path) -> Binary) -> Option<Finding> {
    let why = match binary(Path::new(program)) {
        Binary::Missing => "does not exist".to_owned(),
        Binary::Unfit(why) => why,
        Binary::Other | Binary::Same => return None,
    };
    let file = file.display();
    let message = format!(
        "{file} names {program}, which {why}: containers that use the device fail to start"
    );
    Some(Finding::problem(SUBJECT, &message, RENEW))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Level::{self, Note, Ok, Problem};
    use super::*;

    fn specification() -> Value {
        json!({
            "cdiVersion": "0.3.0",
            "kind": KIND,
            "devices": [{ "name": DEVICE, "containerEdits": { "hooks": [{
                "hookName": "createRuntime",
                "path": "/a/oci-bind-hook",
                "args": ["oci-bind-hook", "create-runtime"],
            }] } }],
        })
    }

    fn levels(files: &[(&str, String)], binary: Binary) -> (Vec<Level>, bool) {
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| Contents {
                path: (*path).into(),
                bytes: Result::Ok(text.clone().into()),
            })
            .collect();
        let (findings, has_device) = judge(&files, |_| binary.clone());
        (
            findings.iter().map(|finding| finding.level).collect(),
            has_device,
        )
    }

    #[test]
    fn specifications() {
        let good = || specification().to_string();
        let edited = |pointer: &str| {
            let mut value = specification();
            *value.pointer_mut(pointer).unwrap() = json!("other");
            value.to_string()
        };
        let one = |text: String| vec![("/etc/cdi/a.json", text)];
        for (files, binary, wanted) in [
            (one(good()), Binary::Same, (vec![Ok], true)),
            (one(good()), Binary::Missing, (vec![Problem, Ok], true)),
            (one("{".into()), Binary::Same, (vec![Note], false)),
            (
                one(format!("{KIND} {{")),
                Binary::Same,
                (vec![Problem], false),
            ),
            (one(edited("/kind")), Binary::Same, (vec![], false)),
            (
                one(edited("/devices/0/name")),
                Binary::Same,
                (vec![Problem], false),
            ),
            (
                one(edited("/devices/0/containerEdits/hooks/0/hookName")),
                Binary::Same,
                (vec![Problem], false),
            ),
            (
                vec![("/etc/cdi/a.json", good()), ("/etc/cdi/b.json", good())],
                Binary::Same,
                (vec![Problem, Ok], true),
            ),
            (
                vec![("/etc/cdi/a.json", good()), ("/var/run/cdi/a.json", good())],
                Binary::Same,
                (vec![Ok], true),
            ),
        ] {
            assert_eq!(levels(&files, binary), wanted, "{files:?}");
        }
    }
}
