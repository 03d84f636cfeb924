//! `check`: looks at this host, piece by piece, and says what would keep a container from
//! its policy.
//!
//! What engines read is judged by pure functions on texts. Whether the kernel does what
//! is asked of it is tried, with real programs in a scratch cgroup.

mod addresses;
mod binary;
mod calls;
mod cdi;
mod containers;
mod engines;
mod failover;
mod files;
mod hook_file;
mod hooks_d;
mod host;
mod kernel;
mod network;
mod policies;
mod probe;
mod protocols;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::input::config::{Config, WithoutPolicy};
use crate::kernel::inventory;
use crate::text::one_line;

pub(crate) use probe::probe;

const AS_ROOT: &str = "run oci-bind-hook check as root, in the host's own namespaces";

/// How serious a finding is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It works.
    Ok,
    /// It works, or is not needed, but is worth knowing.
    Note,
    /// It could not be seen, for lack of privileges.
    Unknown,
    /// A container would start without its policy, or would not start.
    Problem,
}

/// The result of one check.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How serious it is.
    pub level: Level,
    /// What was checked, in a word or two.
    pub subject: String,
    /// What was found, in one line.
    pub message: String,
    /// What to do about it, in one line. All but those that are ok have one.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(subject: &str, message: &str) -> Self {
        Self::new(Level::Ok, subject, message, None)
    }

    fn note(subject: &str, message: &str, remedy: &str) -> Self {
        Self::new(Level::Note, subject, message, Some(remedy))
    }

    fn unknown(subject: &str, message: &str) -> Self {
        Self::new(Level::Unknown, subject, message, Some(AS_ROOT))
    }

    fn problem(subject: &str, message: &str, remedy: &str) -> Self {
        Self::new(Level::Problem, subject, message, Some(remedy))
    }

    /// Messages repeat what is in files, so they are put on one line of limited length.
    fn new(level: Level, subject: &str, message: &str, remedy: Option<&str>) -> Self {
        Self {
            level,
            subject: subject.to_owned(),
            message: one_line(message),
            remedy: remedy.map(one_line),
        }
    }
}

/// Runs all checks; `config` is the result of reading the configuration file.
pub fn findings(config: &Result<Config>) -> Vec<Finding> {
    let (privileges, is_privileged) = host::privileges();
    let engines = engines::Installed::find();
    let mut all = vec![privileges, host::cgroup2(), host::bpffs(is_privileged)];
    all.extend(kernel::findings(is_privileged));
    let entries = is_privileged.then(inventory::collect);
    all.extend(policies::findings(entries.as_ref()));
    all.extend(policies::devices(is_privileged));
    all.extend(containers::findings(entries.as_ref()));
    all.extend(host::config(config.as_ref()));
    all.extend(addresses::findings(config.as_ref().ok()));
    all.extend(config.as_ref().ok().and_then(failover::finding));
    all.extend(protocols::findings());
    all.push(host::syslog(engines.has("crun")));
    // If the configuration has an error, another finding says so.
    let without_policy = config.as_ref().map(|config| config.without_policy);
    all.extend(engines.findings(without_policy.unwrap_or(WithoutPolicy::Ignore)));
    all
}
