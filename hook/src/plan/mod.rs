//! Turns a request and the host's configuration into the plan that is carried out: pure.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};
use oci_bind_hook_ebpf::abi::{self, flag};
use serde::{Serialize, Serializer};

use crate::host::addresses::setting_of;
use crate::input::config::Config;
use crate::input::request::{ExemptPorts, Guard, Loopback, MulticastPorts, PortMappings, Request};

pub mod kept;
mod rules;
#[cfg(test)]
mod tests;
pub mod view;

/// What is done to one cgroup, with all defaults filled in.
///
/// Its JSON, shown by `--dry-run`, has the fields in this order. Values are
/// written as in annotations, lists as arrays of such values, and an address
/// that is not assigned as `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The assigned IPv4 address. At least one of the two addresses is present.
    pub ipv4: Option<Ipv4Addr>,
    /// The assigned IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// What loopback addresses mean.
    #[serde(serialize_with = "written")]
    pub loopback: Loopback,
    /// Whether packets with foreign addresses are dropped.
    #[serde(serialize_with = "written")]
    pub guard: Guard,
    /// Ports that are moved to other numbers.
    pub ports: PortMappings,
    /// Ports whose binds are left alone.
    pub exempt: ExemptPorts,
    /// UDP ports at which wildcard sockets hear multicast and broadcast.
    pub multicast: MulticastPorts,
    /// Whether the addresses must be configured in the network namespace.
    pub require_local_address: bool,
}

/// Decides what to do for a request under the host's configuration.
///
/// # Errors
///
/// When the request has no address, or one that the configuration denies or does not
/// allow; when a port has two uses, or there are too many port ranges; and when it has
/// multicast ports but the guard is off.
pub fn decide(request: &Request, config: &Config) -> Result<Plan> {
    if request.ipv4.is_none() && request.ipv6.is_none() {
        bail!("no address to assign: give ipv4, ipv6 or both");
    }
    if let Some(address) = request.ipv4 {
        may_claim(address.into(), config)?;
    }
    if let Some(address) = request.ipv6 {
        may_claim(address.into(), config)?;
    }
    let plan = Plan {
        ipv4: request.ipv4,
        ipv6: request.ipv6,
        loopback: request.loopback.unwrap_or(config.defaults.loopback),
        guard: request.guard.unwrap_or(config.defaults.guard),
        ports: request.ports.clone().unwrap_or_default(),
        exempt: request.exempt.clone().unwrap_or_default(),
        multicast: request.multicast.clone().unwrap_or_default(),
        require_local_address: config.require_local_address,
    };
    rules::check(&plan)?;
    if plan.guard == Guard::Off && !plan.multicast.as_slice().is_empty() {
        bail!(
            "multicast {} needs the guard, which keeps unicast to other addresses away \
             from these ports: set guard to on, or remove multicast",
            plan.multicast
        );
    }
    Ok(plan)
}

/// Checks an address against the lists of the configuration; `deny` wins.
pub(crate) fn may_claim(address: IpAddr, config: &Config) -> Result<()> {
    let setting = setting_of(address);
    if let Some(network) = config.deny.iter().find(|net| net.contains(&address)) {
        bail!(
            "{setting} address {address} is denied by {network} in the configuration: \
             choose another address or change deny"
        );
    }
    if !config.allow.is_empty() && !config.allow.iter().any(|net| net.contains(&address)) {
        bail!(
            "{setting} address {address} is not allowed by the configuration: \
             choose another address or add it to allow"
        );
    }
    Ok(())
}

impl Display for Plan {
    /// Writes the addresses as in a sentence, with the other settings in parentheses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = [
            ("loopback", self.loopback.to_string()),
            ("guard", self.guard.to_string()),
            ("ports", self.ports.to_string()),
            ("exempt", self.exempt.to_string()),
            ("multicast", self.multicast.to_string()),
        ];
        describe(f, self.ipv4, self.ipv6, &settings)
    }
}

/// Writes a policy for a reader. Settings without a value are left out.
fn describe(
    f: &mut fmt::Formatter<'_>,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    settings: &[(&str, String)],
) -> fmt::Result {
    match (ipv4, ipv6) {
        (Some(ipv4), Some(ipv6)) => write!(f, "{ipv4} and {ipv6}"),
        (Some(ipv4), None) => ipv4.fmt(f),
        (None, Some(ipv6)) => ipv6.fmt(f),
        (None, None) => f.write_str("no address"),
    }?;
    let settings = settings.iter().filter(|(_, value)| !value.is_empty());
    let settings: Vec<_> = settings
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    write!(f, " ({})", settings.join(", "))
}

impl From<&Plan> for abi::Policy {
    fn from(plan: &Plan) -> Self {
        let mut policy = Self {
            flags: flag::LAYOUT | flag::ACTIVE,
            ..Self::default()
        };
        if let Some(address) = plan.ipv4 {
            policy.flags |= flag::IPV4;
            policy.ipv4 = address.into();
        }
        if let Some(address) = plan.ipv6 {
            policy.flags |= flag::IPV6;
            policy.ipv6 = address.into();
        }
        let loopback = match plan.loopback {
            Loopback::Private(Some(address)) => address,
            _ => derived_loopback(plan),
        };
        policy.loopback = loopback.into();
        match plan.loopback {
            Loopback::Host => {}
            Loopback::Auto => policy.flags |= flag::LOOPBACK_AUTO,
            Loopback::Private(_) => policy.flags |= flag::LOOPBACK_PRIVATE,
        }
        if plan.guard == Guard::On {
            policy.flags |= flag::GUARD;
        }
        let fits = policy.set_rules(&rules::rules(plan));
        debug_assert!(fits, "a plan has no more ports than a policy");
        policy
    }
}

/// Derives a container's own loopback address: the low 23 bits of its IPv4 address in
/// 127.128.0.0/9, which programs do not use. So it is the same at every start, easy to
/// recognise, and different for any two addresses of a host that differ in those bits.
/// Without an IPv4 address, the words of the IPv6 address are folded into one.
fn derived_loopback(plan: &Plan) -> Ipv4Addr {
    const NETWORK: u32 = 0x7f80_0000;
    const HOST_BITS: u32 = 0x007f_ffff;
    let bits = match (plan.ipv4, plan.ipv6) {
        (Some(address), _) => address.to_bits(),
        (None, Some(address)) => {
            let octets = address.octets();
            let words = octets.as_chunks().0.iter();
            words.fold(0, |folded, word| folded ^ u32::from_be_bytes(*word))
        }
        (None, None) => 0,
    };
    // The last address of 127.0.0.0/8 is its broadcast address.
    Ipv4Addr::from_bits(NETWORK | (bits & HOST_BITS).min(HOST_BITS - 1))
}

fn written<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
