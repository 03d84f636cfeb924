//! Reads the state of a container from standard input (runtime-spec, "State").

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{ContainerState, State};
use rustix::process::Pid;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::text::{one_line, quote};

#[cfg(test)]
mod tests;
mod timed;

pub use timed::Timed;

/// The longest state that is accepted, in bytes.
pub const LIMIT: usize = 1024 * 1024;

/// How much more of a longer state is read and discarded, in bytes, so that the runtime
/// can finish writing and see why the hook failed.
const DRAIN_LIMIT: u64 = 64 * LIMIT as u64;

/// The longest container id that is accepted, in bytes. Runtimes create a directory of
/// that name, so it cannot be longer than `NAME_MAX`.
const ID_LIMIT: usize = 255;

/// The container that a hook is called for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id: not empty, no longer than a file name, made of characters that runc
    /// permits, and neither `.` nor `..`.
    pub id: String,
    /// Its init process, in the pid namespace of the runtime.
    pub pid: Pid,
    /// Its bundle directory as the runtime gave it; it is not checked.
    pub bundle: PathBuf,
    /// Its annotations in the order of the JSON text, repeated keys included.
    pub annotations: Vec<(String, String)>,
}

/// Reads the state of a container to the end of the input.
///
/// # Errors
///
/// When the input cannot be read, is empty or is longer than [`LIMIT`], and as
/// [`parse`] does.
pub fn read(mut input: impl Read) -> Result<Container> {
    let mut json = Vec::new();
    input
        .by_ref()
        .take(LIMIT as u64)
        .read_to_end(&mut json)
        .context("read container state from standard input")?;
    if json.len() == LIMIT {
        let rest = io::copy(&mut input.take(DRAIN_LIMIT), &mut io::sink())
            .context("read container state from standard input")?;
        if rest > 0 {
            bail!(
                "container state on standard input is longer than {LIMIT} bytes: \
                 give the container fewer or shorter annotations"
            );
        }
    }
    parse(&json)
}

/// Parses the state of a container that is being created.
///
/// Unknown fields, any `ociVersion` and a missing bundle are accepted.
///
/// # Errors
///
/// When the text is not the JSON of a state; when the id, which ends up in log
/// lines and in the names of cgroups, is missing or not one that runc would
/// permit; when the pid is missing or not positive; and when the status, which
/// runtime-spec requires, is missing or is neither `creating` (runc, youki) nor
/// `created` (crun).
pub fn parse(json: &[u8]) -> Result<Container> {
    if json.trim_ascii().is_empty() {
        bail!(
            "container state on standard input is empty: \
             let an OCI runtime call this as a createRuntime hook"
        );
    }
    let state: State = from_json(json)?;
    let raw: Raw = from_json(json)?;
    check_id(state.id())?;
    if raw.status.is_none() {
        bail!("container state has no status: the runtime must set it to creating or created");
    }
    let status = *state.status();
    if !matches!(status, ContainerState::Creating | ContainerState::Created) {
        bail!("container is {status}: call this as a createRuntime hook, before it runs");
    }
    Ok(Container {
        id: state.id().clone(),
        pid: check_pid(*state.pid())?,
        bundle: state.bundle().clone(),
        annotations: raw.annotations.unwrap_or_default().0,
    })
}

fn from_json<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| {
        let reason = one_line(&error.to_string());
        anyhow::anyhow!(
            "container state on standard input is not a valid runtime-spec state: {reason}"
        )
    })
}

/// Accepts what runc accepts, `[\w+.-]+` in ASCII.
fn check_id(id: &str) -> Result<()> {
    if id.is_empty() {
        bail!("container state has no id: the runtime must give one");
    }
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
    if id.len() > ID_LIMIT || !id.bytes().all(permitted) || id == "." || id == ".." {
        bail!(
            "container id {} is not usable: write up to {ID_LIMIT} letters, digits and _ + . -",
            quote(id)
        );
    }
    Ok(())
}

fn check_pid(pid: Option<i32>) -> Result<Pid> {
    const REMEDY: &str = "the runtime must give the pid of the container's init";
    let raw = pid.with_context(|| format!("container state has no pid: {REMEDY}"))?;
    (raw > 0)
        .then(|| Pid::from_raw(raw))
        .flatten()
        .with_context(|| format!("container state has pid {raw}: {REMEDY}"))
}

/// What the type of oci-spec loses: whether there is a status, and repeated keys among
/// the annotations.
#[derive(Deserialize)]
struct Raw {
    status: Option<IgnoredAny>,
    annotations: Option<Pairs>,
}

/// A JSON object as a list of its members.
#[derive(Default)]
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}
