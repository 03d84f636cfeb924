//! The annotations of a container.

use std::net::{Ipv4Addr, Ipv6Addr};

use oci_bind_hook::input::annotations::{PREFIX, parse};
use oci_bind_hook::input::request::{Request, Setting};

use crate::{refusal, text};

/// The input: lines `KEY=VALUE`.
pub fn check(data: &[u8]) {
    hold(&text::annotations(&text::of(data)));
}

/// What holds for any annotations.
pub fn hold(annotations: &[(String, String)]) {
    match parse(annotations) {
        Ok(None) => {}
        Ok(Some(request)) => accepted(&request),
        Err(error) => {
            refusal::check(&error);
            let ours = |(key, _): &(String, String)| key.starts_with(PREFIX);
            assert!(annotations.iter().any(ours), "not our business: {error:#}");
        }
    }
}

fn accepted(request: &Request) {
    assert!(request.ipv4.is_some() || request.ipv6.is_some());
    assert!(request.ipv4.is_none_or(can_be_owned4), "{request:?}");
    assert!(request.ipv6.is_none_or(can_be_owned6), "{request:?}");
    let printed = print(request);
    let again = parse(&printed).unwrap_or_else(|error| panic!("{printed:?}: {error:#}"));
    assert_eq!(again.as_ref(), Some(request), "{printed:?}");
}

fn can_be_owned4(address: Ipv4Addr) -> bool {
    !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !address.is_broadcast()
}

fn can_be_owned6(address: Ipv6Addr) -> bool {
    !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !address.is_unicast_link_local()
        && address.to_ipv4_mapped().is_none()
}

/// The annotations that say what a request says.
fn print(request: &Request) -> Vec<(String, String)> {
    let settings = Setting::of(request);
    settings
        .map(|(setting, value)| (format!("{PREFIX}{setting}"), value.to_string()))
        .collect()
}
