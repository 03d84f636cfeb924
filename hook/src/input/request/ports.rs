//! Ports and lists of ports.

use std::fmt::{self, Display};
use std::str::FromStr;

use anyhow::{Error, Result, bail};
use serde::{Serialize, Serializer};

use crate::text::{parse_decimal, quote};

#[cfg(test)]
pub(super) mod tests;

/// A list of ports, sorted, without repeats: empty by default, at least one item when
/// parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(Vec<T>);

/// Port mappings, in the order of the asked ports, without contradictions.
pub type PortMappings = List<PortMapping>;
/// Ports whose binds are left alone.
pub type ExemptPorts = List<ExemptRange>;
/// UDP ports for multicast and broadcast.
pub type MulticastPorts = List<PortRange>;

impl<T> List<T> {
    /// Returns the items.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Display> Display for List<T> {
    /// Writes the list as it is in an annotation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

impl<T: Display> Serialize for List<T> {
    /// Writes an array of the items as they are in an annotation.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

/// The transport protocols that a port entry applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, written `/tcp`.
    Tcp,
    /// UDP, written `/udp`.
    Udp,
    /// Both, written without a suffix.
    Both,
}

impl Protocol {
    /// Whether the two have a protocol in common.
    pub fn overlaps(self, other: Self) -> bool {
        self == other || self == Self::Both || other == Self::Both
    }

    /// Splits the protocol off the end of a list item.
    fn split(item: &str) -> Option<(&str, Self)> {
        match item.split_once('/') {
            None => Some((item, Self::Both)),
            Some((port, "tcp")) => Some((port, Self::Tcp)),
            Some((port, "udp")) => Some((port, Self::Udp)),
            Some(_) => None,
        }
    }
}

impl Display for Protocol {
    /// Writes the suffix of a list item.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "/tcp",
            Self::Udp => "/udp",
            Self::Both => "",
        })
    }
}

/// Consecutive ports in host byte order, none of them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port, which is also the first if there is only one.
    pub last: u16,
}

impl PortRange {
    /// Parses `PORT` or `FIRST-LAST`.
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (parse_port(first)?, parse_port(last)?);
        (first <= last).then_some(Self { first, last })
    }

    /// Whether the two have a port in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Returns the distance from the first port to the last.
    fn distance(self) -> u16 {
        self.last - self.first
    }
}

impl Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A range of ports that is moved to another range of the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortMapping {
    /// The ports that programs ask for.
    pub asked: PortRange,
    /// The ports that they get.
    pub actual: PortRange,
    /// The protocols that this applies to.
    pub protocol: Protocol,
}

impl PortMapping {
    /// Parses an item of a list.
    fn parse(item: &str) -> Option<Self> {
        let (ports, protocol) = Protocol::split(item)?;
        let (asked, actual) = ports.split_once(':')?;
        let (asked, actual) = (PortRange::parse(asked)?, PortRange::parse(actual)?);
        (asked.distance() == actual.distance()).then_some(Self {
            asked,
            actual,
            protocol,
        })
    }

    /// Whether the two move a port of one protocol to different ports.
    fn contradicts(&self, other: &Self) -> bool {
        let distance =
            |mapping: &Self| i32::from(mapping.actual.first) - i32::from(mapping.asked.first);
        self.asked.overlaps(other.asked)
            && self.protocol.overlaps(other.protocol)
            && distance(self) != distance(other)
    }
}

impl Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.asked, self.actual, self.protocol)
    }
}

impl FromStr for PortMappings {
    type Err = Error;

    /// Parses a comma-separated list of `ASKED:ACTUAL[/tcp|/udp]`, where both are ports,
    /// or both are ranges of the same length.
    ///
    /// A repeated item counts once. Two items that move the same port and protocol to
    /// different ports are refused.
    fn from_str(value: &str) -> Result<Self> {
        let mappings = parse_list(
            value,
            PortMapping::parse,
            "port mapping: write ASKED:ACTUAL, ASKED:ACTUAL/tcp or ASKED:ACTUAL/udp, \
             with two ports or two ranges FIRST-LAST of the same length",
        )?;
        for (index, one) in mappings.iter().enumerate() {
            let mut others = mappings[index + 1..].iter();
            if let Some(other) = others.find(|other| other.contradicts(one)) {
                bail!(
                    "{} maps port {} twice, as {one} and as {other}: keep one of them",
                    quote(value),
                    one.asked.first.max(other.asked.first)
                );
            }
        }
        Ok(Self(mappings))
    }
}

/// A range of ports whose binds are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExemptRange {
    /// The ports.
    pub ports: PortRange,
    /// The protocols that this applies to.
    pub protocol: Protocol,
}

impl Display for ExemptRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.ports, self.protocol)
    }
}

impl FromStr for ExemptPorts {
    type Err = Error;

    /// Parses a comma-separated list of `PORT[-PORT][/tcp|/udp]`; repeats count once.
    fn from_str(value: &str) -> Result<Self> {
        parse_list(
            value,
            |item| {
                let (ports, protocol) = Protocol::split(item)?;
                let ports = PortRange::parse(ports)?;
                Some(ExemptRange { ports, protocol })
            },
            "port: write PORT or FIRST-LAST, followed by /tcp or /udp for one protocol",
        )
        .map(Self)
    }
}

impl FromStr for MulticastPorts {
    type Err = Error;

    /// Parses a comma-separated list of `PORT[-PORT]`; repeats count once.
    fn from_str(value: &str) -> Result<Self> {
        let what = "UDP port: write PORT or FIRST-LAST";
        parse_list(value, PortRange::parse, what).map(Self)
    }
}

/// Parses a comma-separated list without empty items, then sorts it and removes repeats.
fn parse_list<T: Ord>(
    value: &str,
    parse: impl Fn(&str) -> Option<T>,
    what: &str,
) -> Result<Vec<T>> {
    let mut items = Vec::new();
    for item in value.trim_ascii().split(',') {
        let Some(parsed) = parse(item) else {
            bail!(
                "{} in {} is not a {what}; ports are from 1 to 65535; \
                 separate items with commas and no spaces",
                quote(item),
                quote(value)
            );
        };
        items.push(parsed);
    }
    items.sort_unstable();
    items.dedup();
    Ok(items)
}

/// Parses a port, which is never 0.
fn parse_port(text: &str) -> Option<u16> {
    parse_decimal(text).filter(|port| *port != 0)
}
