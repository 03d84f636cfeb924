//! A container as the hook meets it: an init process in a cgroup, and the
//! state that an engine would write.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::agent::Agent;
use crate::cgroup::Cgroup;
use crate::hook::Policy;

/// What all annotations of the hook begin with.
pub const PREFIX: &str = "io.oci-bind-hook.";

/// A process in a cgroup that is named after the container, as podman does.
#[derive(Debug)]
pub struct Container {
    /// Its init, which can make sockets.
    pub init: Agent,
    /// Its cgroup.
    pub cgroup: Cgroup,
    id: String,
}

impl Container {
    /// A container in the network namespace of the calling thread.
    pub fn new() -> Result<Self> {
        Self::make(fresh_id(), Cgroup::named)
    }

    /// The same, with its cgroup below another one.
    pub fn below(parent: &Cgroup) -> Result<Self> {
        Self::with_id(fresh_id(), parent)
    }

    /// The same, with an id that is known before.
    pub fn with_id(id: String, parent: &Cgroup) -> Result<Self> {
        Self::make(id, |name| parent.child(name))
    }

    fn make(id: String, cgroup: impl FnOnce(&str) -> Result<Cgroup>) -> Result<Self> {
        let cgroup = cgroup(&format!("libpod-{id}.scope"))?;
        Ok(Self {
            init: Agent::new(&cgroup)?,
            cgroup,
            id,
        })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its state with these annotations, as an engine writes it.
    pub fn state(&self, annotations: &[(&str, &str)]) -> Value {
        state(&self.id, self.init.id(), annotations)
    }

    /// Its state with annotations for the policy.
    pub fn state_with(&self, policy: Policy) -> Value {
        self.state(&borrowed(&annotations(policy)))
    }
}

/// The annotations for a policy.
pub fn annotations(policy: Policy) -> Vec<(String, String)> {
    policy
        .settings()
        .into_iter()
        .map(|(key, value)| (format!("{PREFIX}{key}"), value))
        .collect()
}

/// The same pairs, borrowed.
pub fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

/// A container's state as runc writes it.
pub fn state(id: &str, pid: u32, annotations: &[(&str, &str)]) -> Value {
    let annotations: Map<String, Value> = annotations
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    json!({
        "ociVersion": "1.2.0",
        "id": id,
        "status": "creating",
        "pid": pid,
        "bundle": "/run/bundle",
        "annotations": annotations,
    })
}

/// An id that no other container here has: 64 hexadecimal digits.
pub fn fresh_id() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:032x}{number:032x}", std::process::id())
}
