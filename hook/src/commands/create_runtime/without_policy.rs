//! A container that asks for no policy: whether it may start.

use anyhow::{Result, bail};

use crate::host::cgroup;
use crate::host::netns::Namespace;
use crate::input::annotations;
use crate::input::config::{Config, WithoutPolicy};
use crate::input::state::Container;
use crate::kernel::nested;
use crate::text::quote;

/// Warns of a container on the host's network, or refuses it, as the configuration says.
///
/// # Errors
///
/// If it is refused, or might have been: if the configuration has an error.
pub(super) fn judge(container: &Container, config: Result<Config>) -> Result<()> {
    let setting = match config {
        Ok(config) => config.without_policy,
        Err(error) => return check(container).map_err(|_| error),
    };
    match setting {
        WithoutPolicy::Ignore => Ok(()),
        WithoutPolicy::Warn => {
            if let Err(error) = check(container) {
                log::warn!("{error:#}");
            }
            Ok(())
        }
        WithoutPolicy::Refuse => check(container),
    }
}

/// Fails if the container is on the host's network, which is the one that engines run hooks
/// in, and no policy covers it. A pod's sandbox opens no sockets.
fn check(container: &Container) -> Result<()> {
    if annotations::is_sandbox(&container.annotations)
        || !Namespace::OfProcess(container.pid).is_own()?
        || is_covered(container)
    {
        return Ok(());
    }
    let keys = container.annotations.iter().map(|(key, _)| key.as_str());
    let misspelt = match annotations::similar(keys) {
        Some(key) => format!(", and {} is not a key of this hook", quote(key)),
        None => String::new(),
    };
    bail!(
        "on the host's network without a policy{misspelt}: annotate it with {0}ipv4 or {0}ipv6, \
         or give it a network of its own (see without-policy in the configuration)",
        annotations::PREFIX
    )
}

/// Whether a cgroup that the container is in has a policy, such as that of a service.
fn is_covered(container: &Container) -> bool {
    let path = cgroup::path_of(container.pid, "the container ended before the hook ran");
    // A rootless engine may not look, so its container counts as one without a policy; and
    // without cgroup2 there is none.
    path.and_then(|path| nested::covers(&path)).unwrap_or(false)
}
