//! Docker's daemon.json: whether a container can get the hook.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Finding;
use super::files::{self, Contents};
use crate::cdi::{DEVICE, KIND};

const SUBJECT: &str = "docker";
/// `cdi.DefaultSpecDirs`
const SPECIFICATIONS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// The relevant parts of the file.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "kebab-case")]
pub struct Settings {
    features: Features,
    cdi_spec_dirs: Option<Vec<PathBuf>>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct Features {
    cdi: Option<bool>,
}

/// Reads the file, if there is one.
pub fn file() -> Option<Contents> {
    files::contents(Path::new("/etc/docker/daemon.json"))
}

impl Settings {
    /// Parses the file, if there is one.
    ///
    /// # Errors
    ///
    /// Why it is not understood.
    pub fn parse(file: Option<&Contents>) -> Result<Self, String> {
        file.map_or_else(|| Ok(Self::default()), files::json)
    }

    /// Returns where the daemon looks for CDI specifications.
    pub fn directories(&self) -> Vec<PathBuf> {
        let usual = || SPECIFICATIONS.iter().map(PathBuf::from).collect();
        self.cdi_spec_dirs.clone().unwrap_or_else(usual)
    }
}

/// Judges whether a container can get the hook when it asks for it.
pub fn judge(settings: &Result<Settings, String>, has_device: bool) -> Finding {
    let is_on = settings.as_ref().map(|settings| settings.features.cdi);
    match is_on {
        Err(why) => Finding::note(
            SUBJECT,
            &format!("{why}: dockerd does not start"),
            "correct it",
        ),
        Ok(Some(false)) => Finding::note(
            SUBJECT,
            "features.cdi is false in daemon.json: no container can have the hook",
            "remove it, or set it to true, and restart Docker",
        ),
        Ok(_) if !has_device => Finding::note(
            SUBJECT,
            "no CDI specification of oci-bind-hook: no container can have the hook",
            "mkdir -p /etc/cdi && oci-bind-hook cdi >/etc/cdi/oci-bind-hook.json",
        ),
        Ok(None) => Finding::note(
            SUBJECT,
            &format!(
                "a container gets the hook by --device {KIND}={DEVICE}; \
                 before Docker 28.2 that needs features.cdi"
            ),
            "with Docker 25 to 28.1, set features.cdi to true in /etc/docker/daemon.json",
        ),
        Ok(_) => Finding::ok(
            SUBJECT,
            &format!("a container gets the hook by --device {KIND}={DEVICE}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::check::Level;

    fn settings(text: &str) -> Result<Settings, String> {
        Settings::parse(Some(&Contents {
            path: "daemon.json".into(),
            bytes: Ok(text.into()),
        }))
    }

    #[test]
    fn whether_a_container_can_have_the_hook() {
        for (text, has_device, level, wanted) in [
            ("{", true, Level::Note, "does not start"),
            (
                r#"{"features": {"cdi": false}}"#,
                true,
                Level::Note,
                "is false",
            ),
            (
                r#"{"features": {"cdi": true}}"#,
                false,
                Level::Note,
                "no CDI",
            ),
            (
                r#"{"features": {"cdi": true}}"#,
                true,
                Level::Ok,
                "--device",
            ),
            ("{}", true, Level::Note, "28.2"),
        ] {
            let finding = judge(&settings(text), has_device);
            assert_eq!(finding.level, level, "{text}");
            assert!(finding.message.contains(wanted), "{text}: {finding:?}");
        }
    }

    #[test]
    fn where_it_looks() {
        let found = settings(r#"{"cdi-spec-dirs": ["/a"]}"#)
            .unwrap()
            .directories();
        assert_eq!(found, [PathBuf::from("/a")]);
        assert_eq!(Settings::default().directories().len(), 2);
    }
}
