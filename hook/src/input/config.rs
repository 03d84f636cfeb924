//! The host's configuration: which addresses may be claimed, and defaults.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::de::DeTable;

use crate::input::request::{Guard, Loopback, Setting};
use crate::text::{one_line, parse_decimal, quote};
use seconds::Seconds;
pub use without_policy::WithoutPolicy;

mod file;
mod seconds;
#[cfg(test)]
mod tests;
mod without_policy;

/// The path of the host's configuration.
pub const PATH: &str = "/etc/oci-bind-hook/config.toml";

/// The commented default, used when there is no file.
const BUILT_IN: &str = include_str!("../../../config/config.toml");
const BUILT_IN_ORIGIN: &str = "built-in configuration";

/// The host's configuration, as its administrator decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its origin, for messages: the path of a file, or the built-in configuration.
    pub origin: String,
    /// Networks from which a container may claim an address; empty for any.
    pub allow: Vec<IpNet>,
    /// Networks from which it may never claim one; takes precedence over `allow`.
    pub deny: Vec<IpNet>,
    /// Which annotations a container may carry.
    pub permit: Vec<Setting>,
    /// Whether an address must be configured in the container's network
    /// namespace.
    pub require_local_address: bool,
    /// How long a start waits for such an address to be there and usable.
    pub wait_for_address: Duration,
    /// What happens to a container on the host's network that asks for no policy.
    pub without_policy: WithoutPolicy,
    /// Whether the steps that lead to a decision are logged.
    pub debug: bool,
    /// Values for the keys that a request lacks.
    pub defaults: Defaults,
}

impl Config {
    /// Whether it is the built-in one, because there is no file.
    pub fn is_built_in(&self) -> bool {
        self.origin == BUILT_IN_ORIGIN
    }
}

/// Values for the keys that a request lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// What loopback addresses mean.
    pub loopback: Loopback,
    /// Whether packets with foreign addresses are dropped.
    pub guard: Guard,
}

/// Reads the configuration file.
///
/// If the file does not exist, the built-in default is used, unless `required`.
///
/// # Errors
///
/// When the file cannot be read, is not a regular file, or could be changed or replaced
/// by anyone but root and the caller (`host::ownership`), and as [`parse`] does.
pub fn load(path: &Path, required: bool) -> Result<Config> {
    let Some(bytes) = file::read(path, required)? else {
        return parse(BUILT_IN, BUILT_IN_ORIGIN);
    };
    let origin = file::shown(path);
    match str::from_utf8(&bytes) {
        Ok(text) => parse(text, &origin),
        Err(error) => bail!(
            "{origin}:{}: not UTF-8 text: write the file in UTF-8",
            line_number(&bytes, error.valid_up_to())
        ),
    }
}

/// Parses the text of a configuration; missing keys keep their defaults.
///
/// # Errors
///
/// On text that is not TOML, unknown keys and bad values, in one line that starts with
/// `origin` and the line number and names the key. For a key of more than 80 parts there
/// is no line number, since toml does not report it.
pub fn parse(text: &str, origin: &str) -> Result<Config> {
    let file = Raw::parse(text, origin)?;
    let built_in = Raw::parse(BUILT_IN, BUILT_IN_ORIGIN)?;
    Ok(Config {
        origin: origin.to_owned(),
        permit: either(file.permit, built_in.permit, "permit")?
            .into_iter()
            .map(|Written(setting)| setting)
            .collect(),
        allow: networks(either(file.allow, built_in.allow, "allow")?),
        deny: networks(either(file.deny, built_in.deny, "deny")?),
        require_local_address: either(
            file.require_local_address,
            built_in.require_local_address,
            "require-local-address",
        )?,
        wait_for_address: either(
            file.wait_for_address,
            built_in.wait_for_address,
            "wait-for-address",
        )?
        .0,
        without_policy: either(
            file.without_policy,
            built_in.without_policy,
            "without-policy",
        )?
        .0,
        debug: either(file.debug, built_in.debug, "debug")?,
        defaults: Defaults {
            loopback: either(
                file.defaults.loopback,
                built_in.defaults.loopback,
                "loopback",
            )?
            .0,
            guard: either(file.defaults.guard, built_in.defaults.guard, "guard")?.0,
        },
    })
}

/// Returns the file's value, or else the built-in one: the built-in file has every key.
fn either<T>(file: Option<T>, built_in: Option<T>, key: &str) -> Result<T> {
    file.or(built_in)
        .with_context(|| format!("{BUILT_IN_ORIGIN} lacks {key}: report this as a bug"))
}

fn networks(written: Vec<Written<Network>>) -> Vec<IpNet> {
    written
        .into_iter()
        .map(|Written(Network(net))| net)
        .collect()
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    allow: Option<Vec<Written<Network>>>,
    deny: Option<Vec<Written<Network>>>,
    permit: Option<Vec<Written<Setting>>>,
    require_local_address: Option<bool>,
    wait_for_address: Option<Seconds>,
    without_policy: Option<Written<WithoutPolicy>>,
    debug: Option<bool>,
    #[serde(default)]
    defaults: RawDefaults,
}

/// The table `defaults` as written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDefaults {
    loopback: Option<Written<Loopback>>,
    guard: Option<Written<Guard>>,
}

impl Raw {
    fn parse(text: &str, origin: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            let message = one_line(error.message());
            let Some(span) = error.span() else {
                return anyhow!("{origin}: {message}");
            };
            let line = line_number(text.as_bytes(), span.start);
            match key_at(text, span.start) {
                Some(key) => anyhow!("{origin}:{line}: key {}: {message}", one_line(&key)),
                None => anyhow!("{origin}:{line}: {message}"),
            }
        })
    }
}

/// Returns the key whose name or value is at this byte offset, if the text is valid TOML.
fn key_at(text: &str, offset: usize) -> Option<String> {
    fn find(table: &DeTable<'_>, offset: usize) -> Option<String> {
        table.iter().find_map(|(key, value)| {
            if let Some(inner) = value.get_ref().as_table()
                && let Some(found) = find(inner, offset)
            {
                return Some(format!("{}.{found}", key.get_ref()));
            }
            let here = key.span().contains(&offset) || value.span().contains(&offset);
            here.then(|| key.get_ref().to_string())
        })
    }
    find(DeTable::parse(text).ok()?.get_ref(), offset)
}

/// Returns the number, from 1, of the line that contains the byte at this offset.
fn line_number(text: &[u8], offset: usize) -> usize {
    let before = &text[..offset.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// A value that is written as a string.
struct Written<T>(T);

impl<'de, T: FromStr<Err = Error>> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Parses within the deserializer, so that its errors have a position.
        struct Parse<T>(PhantomData<T>);

        impl<T: FromStr<Err = Error>> Visitor<'_> for Parse<T> {
            type Value = Written<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map(Written).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Parse(PhantomData))
    }
}

/// A network. A single address is one with the full prefix length.
struct Network(IpNet);

impl FromStr for Network {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self> {
        let quoted = quote(value);
        let (address, length) = match value.trim_ascii().split_once('/') {
            None => (value.trim_ascii(), None),
            Some((address, length)) => (address, Some(length)),
        };
        let network = address.parse::<IpAddr>().ok().and_then(|address| {
            let whole = if address.is_ipv4() { 32 } else { 128 };
            let length = match length {
                None => whole,
                Some(text) => parse_decimal(text)?,
            };
            IpNet::new(address, length).ok()
        });
        let Some(network) = network else {
            bail!(
                "{quoted} is not a network: write one such as 192.0.2.0/24 or 2001:db8:1::/64, \
                 or a single address"
            );
        };
        if let IpAddr::V6(address) = network.addr()
            && let Some(ipv4) = address.to_ipv4_mapped()
        {
            bail!("{quoted} is an IPv4-mapped network: write it as IPv4, such as {ipv4}");
        }
        if network != network.trunc() {
            bail!(
                "{quoted} has host bits set: write {} for the network \
                 or {} for the address",
                network.trunc(),
                network.addr()
            );
        }
        Ok(Self(network))
    }
}
