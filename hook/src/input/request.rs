//! Strict parsers of what users write in annotations and on the command line.
//!
//! ASCII white space around a whole value is trimmed, so that the newline at the end of a
//! YAML block does no harm. Nothing else is repaired.

use std::fmt::{self, Display};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use anyhow::{Error, Result, bail};

use crate::text::quote;

mod ports;
mod setting;
#[cfg(test)]
pub(crate) mod tests;

pub use ports::{
    ExemptPorts, ExemptRange, MulticastPorts, PortMapping, PortMappings, PortRange, Protocol,
};
pub use setting::{NAMES, SETTINGS, Setting};

/// The settings that a user gave for one container or one command.
///
/// `None` means that the key was not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The IPv4 address to assign.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address to assign.
    pub ipv6: Option<Ipv6Addr>,
    /// What loopback addresses mean.
    pub loopback: Option<Loopback>,
    /// Ports that are moved to other numbers.
    pub ports: Option<PortMappings>,
    /// Ports whose binds are left alone.
    pub exempt: Option<ExemptPorts>,
    /// UDP ports for multicast and broadcast.
    pub multicast: Option<MulticastPorts>,
    /// Whether packets with foreign addresses are dropped.
    pub guard: Option<Guard>,
}

/// Whether a parser accepts a loopback address as the one to assign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowLoopback {
    /// For containers: the host's loopback is not theirs.
    No,
    /// For commands started by hand and for tests.
    Yes,
}

/// Parses one IPv4 unicast address.
///
/// # Errors
///
/// When the text is not an address, or is one that cannot be assigned: unspecified,
/// multicast, broadcast, or loopback without the opt-in.
pub fn parse_ipv4(value: &str, loopback: AllowLoopback) -> Result<Ipv4Addr> {
    const REMEDY: &str = "write one unicast address such as 192.0.2.10";
    let quoted = quote(value);
    let Ok(address) = value.trim_ascii().parse::<Ipv4Addr>() else {
        bail!("{quoted} is not an IPv4 address: {REMEDY}");
    };
    let kind = if address.is_unspecified() {
        "the unspecified address"
    } else if address.is_multicast() {
        "a multicast address"
    } else if address.is_broadcast() {
        "the broadcast address"
    } else if address.is_loopback() && loopback == AllowLoopback::No {
        "a loopback address"
    } else {
        return Ok(address);
    };
    bail!("{quoted} is {kind}: {REMEDY}");
}

/// Parses one IPv6 unicast address.
///
/// # Errors
///
/// When the text is not an address, or is one that cannot be assigned: unspecified,
/// multicast, IPv4-mapped, loopback without the opt-in, or link-local, which needs a zone
/// (RFC 4007, section 11) that a policy cannot hold.
pub fn parse_ipv6(value: &str, loopback: AllowLoopback) -> Result<Ipv6Addr> {
    const REMEDY: &str = "write one unicast address such as 2001:db8::10";
    let quoted = quote(value);
    if value.contains('%') {
        bail!("{quoted} has a zone, which is not supported: {REMEDY}");
    }
    let Ok(address) = value.trim_ascii().parse::<Ipv6Addr>() else {
        bail!("{quoted} is not an IPv6 address: {REMEDY}");
    };
    if let Some(ipv4) = address.to_ipv4_mapped() {
        bail!("{quoted} is an IPv4-mapped address: assign {ipv4} as the IPv4 address");
    }
    let kind = if address.is_unspecified() {
        "the unspecified address"
    } else if address.is_multicast() {
        "a multicast address"
    } else if address.is_unicast_link_local() {
        "a link-local address, which needs a zone"
    } else if address.is_loopback() && loopback == AllowLoopback::No {
        "the loopback address"
    } else {
        return Ok(address);
    };
    bail!("{quoted} is {kind}: {REMEDY}");
}

/// What loopback addresses mean to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    /// Calls go to the listener at exactly that address, or else to the container's own
    /// server at the wildcard address, or else to the host's.
    Auto,
    /// Loopback is the host's and is never touched.
    Host,
    /// Loopback is the container's own: at the given address, or at one that is derived
    /// from its IPv4 address, or else from its IPv6 address.
    Private(Option<Ipv4Addr>),
}

impl FromStr for Loopback {
    type Err = Error;

    /// Parses `auto`, `host`, `private` or a private address in 127.0.0.0/8.
    ///
    /// 127.0.0.1 is refused because it is the host's own. The first and the
    /// last address of the network are refused because Linux treats the last
    /// as broadcast, and older kernels the first as well.
    fn from_str(value: &str) -> Result<Self> {
        match value.trim_ascii() {
            "auto" => return Ok(Self::Auto),
            "host" => return Ok(Self::Host),
            "private" => return Ok(Self::Private(None)),
            text => {
                if let Ok(address) = text.parse::<Ipv4Addr>()
                    && address.is_loopback()
                    && !matches!(address.octets(), [_, 0, 0, 0 | 1] | [_, 255, 255, 255])
                {
                    return Ok(Self::Private(Some(address)));
                }
            }
        }
        bail!(
            "{} is not a loopback policy: write auto, host, private, \
             or an address from 127.0.0.2 to 127.255.255.254",
            quote(value)
        );
    }
}

impl Display for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Host => f.write_str("host"),
            Self::Private(None) => f.write_str("private"),
            Self::Private(Some(address)) => address.fmt(f),
        }
    }
}

/// Whether packets whose own address is not the assigned one are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// They are dropped.
    On,
    /// They pass, and no packet program is attached.
    Off,
}

impl FromStr for Guard {
    type Err = Error;

    /// Parses `on` or `off`.
    fn from_str(value: &str) -> Result<Self> {
        match value.trim_ascii() {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => bail!("{} is not a guard setting: write on or off", quote(value)),
        }
    }
}

impl Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
        })
    }
}
