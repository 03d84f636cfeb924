//! Ports and lists of ports.

use std::fmt::{self, Display};
use std::str::FromStr;

use anyhow::{Error, Result, bail};

use super::{parse_decimal, quote};

/// The transport protocols that a port entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, written `/tcp`.
    Tcp,
    /// UDP, written `/udp`.
    Udp,
    /// Both, written as nothing.
    Both,
}

impl Protocol {
    /// Whether some packet belongs to both.
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

/// One port that is bound at another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortMapping {
    /// The port that the program asks for, host byte order, never 0.
    pub asked: u16,
    /// The port that it gets, host byte order, never 0.
    pub actual: u16,
    /// The protocols this is about.
    pub protocol: Protocol,
}

impl Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.asked, self.actual, self.protocol)
    }
}

/// Port mappings, sorted by asked port, without repeats or contradictions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortMappings(Vec<PortMapping>);

impl PortMappings {
    /// The mappings; empty by default, never empty when parsed.
    pub fn as_slice(&self) -> &[PortMapping] {
        &self.0
    }
}

impl FromStr for PortMappings {
    type Err = Error;

    /// Parses a comma list of `ASKED:ACTUAL[/tcp|/udp]`.
    ///
    /// An item given twice counts once. Two items that send one asked port and
    /// protocol to different ports are refused.
    fn from_str(value: &str) -> Result<Self> {
        let mappings = parse_list(
            value,
            |item| {
                let (ports, protocol) = Protocol::split(item)?;
                let (asked, actual) = ports.split_once(':')?;
                Some(PortMapping {
                    asked: parse_port(asked)?,
                    actual: parse_port(actual)?,
                    protocol,
                })
            },
            "port mapping: write ASKED:ACTUAL, ASKED:ACTUAL/tcp or ASKED:ACTUAL/udp",
        )?;
        for (index, one) in mappings.iter().enumerate() {
            let same_port = mappings[index + 1..]
                .iter()
                .take_while(|other| other.asked == one.asked);
            for other in same_port {
                if other.actual != one.actual && other.protocol.overlaps(one.protocol) {
                    bail!(
                        "{} maps port {} twice, as {one} and as {other}: keep one of them",
                        quote(value),
                        one.asked
                    );
                }
            }
        }
        Ok(Self(mappings))
    }
}

impl Display for PortMappings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, &self.0)
    }
}

/// One port that is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExemptPort {
    /// The port, host byte order, never 0.
    pub port: u16,
    /// The protocols this is about.
    pub protocol: Protocol,
}

impl Display for ExemptPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.port, self.protocol)
    }
}

/// Ports that are left alone, sorted, without repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExemptPorts(Vec<ExemptPort>);

impl ExemptPorts {
    /// The ports; empty by default, never empty when parsed.
    pub fn as_slice(&self) -> &[ExemptPort] {
        &self.0
    }
}

impl FromStr for ExemptPorts {
    type Err = Error;

    /// Parses a comma list of `PORT[/tcp|/udp]`. An item given twice counts once.
    fn from_str(value: &str) -> Result<Self> {
        parse_list(
            value,
            |item| {
                let (port, protocol) = Protocol::split(item)?;
                let port = parse_port(port)?;
                Some(ExemptPort { port, protocol })
            },
            "port: write PORT, PORT/tcp or PORT/udp",
        )
        .map(Self)
    }
}

impl Display for ExemptPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, &self.0)
    }
}

/// Parses a comma list without empty items into sorted items without repeats.
fn parse_list<T: Ord>(
    value: &str,
    parse: impl Fn(&str) -> Option<T>,
    what: &str,
) -> Result<Vec<T>> {
    let mut items = Vec::new();
    for item in value.trim_ascii().split(',') {
        let Some(parsed) = parse(item) else {
            bail!(
                "{} in {} is not a {what}, ports from 1 to 65535, separated by commas without blanks",
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

fn write_list<T: Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(",")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

/// Parses a port, which is never 0.
fn parse_port(text: &str) -> Option<u16> {
    parse_decimal(text).filter(|port| *port != 0)
}
