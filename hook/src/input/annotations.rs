//! Turns the annotations of a container into its request: strict and pure.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::input::config::Config;
use crate::input::request::{self, AllowLoopback, NAMES, Request, Setting};
use crate::text::quote;

mod similar;
#[cfg(test)]
mod tests;

pub use similar::{is_similar, similar};

/// The prefix of the hook's annotations.
pub const PREFIX: &str = "io.oci-bind-hook.";

/// The keys of a container's name within its pod: CRI-O's, then containerd's.
const CONTAINER_NAME: [&str; 2] = [
    "io.kubernetes.container.name",
    "io.kubernetes.cri.container-name",
];

/// The keys that are [`SANDBOX`] on a pod's pause container: CRI-O's, then containerd's.
const CONTAINER_TYPE: [&str; 2] = [
    "io.kubernetes.cri-o.ContainerType",
    "io.kubernetes.cri.container-type",
];
const SANDBOX: &str = "sandbox";

/// Parses the annotations of one container into its request.
///
/// The pairs are those of the container's state, in any order, repeated keys included. In
/// the container NAME, `KEY/container.NAME` takes precedence over `KEY`. The other
/// containers ignore it, but its value is checked all the same.
///
/// Returns `None` when the hook has nothing to do: none of its keys are there, or only
/// addresses for other containers of the pod.
///
/// # Errors
///
/// On a key under [`PREFIX`] that is unknown, has a bad value or contradicts an
/// earlier one; on keys for one container of a pod when this container has no
/// name, two names or two types; and on keys that apply here without an address
/// to apply them to.
pub fn parse(annotations: &[(String, String)]) -> Result<Option<Request>> {
    let keys = Keys::collect(annotations)?;
    let own = keys.own(annotations)?;
    let request = merge(own, &keys.bare);
    if has_address(&request) {
        return Ok(Some(request));
    }
    let address_elsewhere = keys.containers.values().any(has_address);
    let none = Request::default();
    if *own != none || (keys.bare != none && !address_elsewhere) {
        bail!(
            "annotations under {PREFIX} are set, but neither ipv4 nor ipv6: \
             add {PREFIX}ipv4 or {PREFIX}ipv6 with the address, or remove the others"
        );
    }
    Ok(None)
}

/// Checks that the configuration permits the annotations of a request.
///
/// # Errors
///
/// If it does not. The error names the first one that is not permitted.
pub fn permit(request: &Request, config: &Config) -> Result<()> {
    if let Some((setting, _)) =
        Setting::of(request).find(|(setting, _)| !config.permit.contains(setting))
    {
        bail!(
            "annotation \"{PREFIX}{setting}\" is not permitted by the configuration: \
             remove it, or add {setting} to permit"
        );
    }
    Ok(())
}

/// Whether they are those of a pod's sandbox, the pause container. A container that says
/// both is not one.
pub fn is_sandbox(annotations: &[(String, String)]) -> bool {
    let kind = agreed(annotations, CONTAINER_TYPE, "types");
    kind.is_ok_and(|kind| kind == Some(SANDBOX))
}

/// The hook's annotations, by the containers that they are meant for.
#[derive(Default)]
struct Keys<'a> {
    /// Keys for any container.
    bare: Request,
    /// Keys for one container of a pod, by its name.
    containers: BTreeMap<&'a str, Request>,
    /// Stands in for a container without keys of its own.
    none: Request,
}

impl<'a> Keys<'a> {
    fn collect(annotations: &'a [(String, String)]) -> Result<Self> {
        let mut keys = Self::default();
        for (key, value) in annotations {
            let Some(rest) = key.strip_prefix(PREFIX) else {
                continue;
            };
            let (setting, request) = match rest.split_once('/') {
                None => (rest, &mut keys.bare),
                Some((setting, scope)) => {
                    let name = scope
                        .strip_prefix("container.")
                        .filter(|name| !name.is_empty() && !name.contains('/'));
                    let Some(name) = name else {
                        bail!(
                            "annotation {}: unknown key (its value is {}): \
                             after the slash write container.NAME",
                            quote(key),
                            quote(value)
                        );
                    };
                    (setting, keys.containers.entry(name).or_default())
                }
            };
            set(request, setting, value).with_context(|| format!("annotation {}", quote(key)))?;
        }
        Ok(keys)
    }

    /// The keys for the container that has these annotations.
    fn own(&self, annotations: &[(String, String)]) -> Result<&Request> {
        if self.containers.is_empty()
            || agreed(annotations, CONTAINER_TYPE, "types")? == Some(SANDBOX)
        {
            return Ok(&self.none);
        }
        let Some(name) = agreed(annotations, CONTAINER_NAME, "names")? else {
            bail!(
                "annotations KEY/container.NAME are set, but this container has no name: \
                 only CRI-O and containerd pass it to hooks: \
                 annotate each container with {PREFIX}KEY instead"
            );
        };
        Ok(self.containers.get(name).unwrap_or(&self.none))
    }
}

/// Parses one value into the request.
fn set(request: &mut Request, setting: &str, value: &str) -> Result<()> {
    let Some(setting) = Setting::named(setting) else {
        bail!(
            "unknown key (its value is {}): after {PREFIX} write {NAMES}",
            quote(value)
        );
    };
    match setting {
        Setting::Ipv4 => put(&mut request.ipv4, value, |value| {
            request::parse_ipv4(value, AllowLoopback::No)
        }),
        Setting::Ipv6 => put(&mut request.ipv6, value, |value| {
            request::parse_ipv6(value, AllowLoopback::No)
        }),
        Setting::Loopback => put(&mut request.loopback, value, FromStr::from_str),
        Setting::Ports => put(&mut request.ports, value, FromStr::from_str),
        Setting::Exempt => put(&mut request.exempt, value, FromStr::from_str),
        Setting::Multicast => put(&mut request.multicast, value, FromStr::from_str),
        Setting::Guard => put(&mut request.guard, value, FromStr::from_str),
    }
}

/// Sets a field. A key may be repeated if its value is the same.
fn put<T: PartialEq + Display>(
    field: &mut Option<T>,
    value: &str,
    parse: impl Fn(&str) -> Result<T>,
) -> Result<()> {
    let new = parse(value)?;
    if let Some(old) = field
        && *old != new
    {
        bail!(
            "{} contradicts {} in the same key: give the key once",
            quote(value),
            quote(&old.to_string())
        );
    }
    *field = Some(new);
    Ok(())
}

fn has_address(request: &Request) -> bool {
    request.ipv4.is_some() || request.ipv6.is_some()
}

fn merge(own: &Request, bare: &Request) -> Request {
    Request {
        ipv4: own.ipv4.or(bare.ipv4),
        ipv6: own.ipv6.or(bare.ipv6),
        loopback: own.loopback.or(bare.loopback),
        ports: own.ports.clone().or_else(|| bare.ports.clone()),
        exempt: own.exempt.clone().or_else(|| bare.exempt.clone()),
        multicast: own.multicast.clone().or_else(|| bare.multicast.clone()),
        guard: own.guard.or(bare.guard),
    }
}

/// Returns the value of either key. The engine writes one of them. The other is unknown
/// to it, and comes from whoever made the pod, so both must agree.
fn agreed<'a>(
    annotations: &'a [(String, String)],
    keys: [&'static str; 2],
    what: &str,
) -> Result<Option<&'a str>> {
    let mut values = annotations
        .iter()
        .filter(|(key, _)| keys.contains(&key.as_str()))
        .map(|(_, value)| value.as_str());
    let first = values.next();
    if let Some(first) = first
        && let Some(other) = values.find(|other| *other != first)
    {
        bail!(
            "this container has two {what}, {} and {}: {} and {} must agree",
            quote(first),
            quote(other),
            keys[0],
            keys[1]
        );
    }
    Ok(first)
}
