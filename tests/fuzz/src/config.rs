//! The configuration of the host.

use std::net::IpAddr;

use oci_bind_hook::input::config::{Config, parse};

use crate::{refusal, text};

const ORIGIN: &str = "fuzz.toml";

/// The one error that toml gives no place for: a key of more than 80 parts.
const NO_PLACE: &str = "fuzz.toml: recursion limit";

/// The input: TOML.
pub fn check(data: &[u8]) {
    let text = text::of(data);
    match parse(&text, ORIGIN) {
        Ok(config) => accepted(&config),
        Err(error) => {
            refusal::check(&error);
            let text = format!("{error:#}");
            assert!(has_line(&text) || text == NO_PLACE, "no line: {text}");
        }
    }
}

/// Whether a message starts with the place in the file.
fn has_line(text: &str) -> bool {
    let place = text
        .strip_prefix(ORIGIN)
        .and_then(|rest| rest.strip_prefix(':'));
    let line = place.and_then(|place| place.split_once(':'));
    line.is_some_and(|(line, _)| line.parse().is_ok_and(|line: usize| line > 0))
}

/// Networks are written without bits beyond their prefix, and IPv4 as IPv4:
/// otherwise one would not contain what it seems to.
fn accepted(config: &Config) {
    for network in config.allow.iter().chain(&config.deny) {
        assert_eq!(*network, network.trunc());
        if let IpAddr::V6(address) = network.addr() {
            assert!(address.to_ipv4_mapped().is_none(), "{network}");
        }
    }
}
