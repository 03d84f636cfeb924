//! From a configuration and annotations to what the programs read, and back to
//! what `status` shows.

use std::net::IpAddr;

use oci_bind_hook::input::annotations::{self, PREFIX};
use oci_bind_hook::input::config::{self, Config};
use oci_bind_hook::plan::view::PolicyView;
use oci_bind_hook::plan::{Plan, decide};
use oci_bind_hook_ebpf::abi::{self, PORT_RULES, flag};

use crate::{refusal, text};

/// The input: the configuration and the annotations.
pub fn check(data: &[u8]) {
    let text = text::of(data);
    let (configured, annotated) = text::two(&text);
    let Ok(config) = config::parse(configured, "fuzz.toml") else {
        return;
    };
    let Ok(Some(request)) = annotations::parse(&text::annotations(annotated)) else {
        return;
    };
    match decide(&request, &config) {
        Ok(plan) => decided(&plan, &config),
        Err(error) => refusal::check(&error),
    }
}

fn decided(plan: &Plan, config: &Config) {
    let addresses = [plan.ipv4.map(IpAddr::V4), plan.ipv6.map(IpAddr::V6)];
    for address in addresses.iter().flatten() {
        assert!(!config.deny.iter().any(|net| net.contains(address)));
        assert!(config.allow.is_empty() || config.allow.iter().any(|net| net.contains(address)));
    }
    let policy = abi::Policy::from(plan);
    assert_eq!(policy.flags & flag::LAYOUT_MASK, flag::LAYOUT);
    assert!(policy.flags & flag::ACTIVE != 0);
    let rules = &policy.port_rules[PORT_RULES - policy.rules as usize..];
    assert!(
        rules.is_sorted_by(|one, next| one.last < next.first),
        "{rules:?}"
    );
    let is_guarded = policy.flags & flag::GUARD != 0;
    assert!(is_guarded || rules.iter().all(|rule| rule.multicast == 0));
    let shown = PolicyView::from(&policy);
    assert_eq!((shown.ipv4, shown.ipv6), (plan.ipv4, plan.ipv6));
    assert_eq!(shown.guard, plan.guard.to_string());

    // Who writes what is shown gets the same, where the derived loopback
    // address and what the configuration says are now written out.
    let annotations = annotations(&shown);
    let request = annotations::parse(&annotations)
        .unwrap_or_else(|error| panic!("{annotations:?}: {error:#}"));
    let Some(request) = request else {
        panic!("nothing in {annotations:?}");
    };
    let again = decide(&request, config).unwrap_or_else(|error| panic!("{shown:?}: {error:#}"));
    let again = abi::Policy::from(&again);
    assert_eq!(PolicyView::from(&again), shown);
    assert_eq!(again.flags, policy.flags);
    assert_eq!(again.loopback, policy.loopback);
}

/// What `status` shows, as annotations.
fn annotations(shown: &PolicyView) -> Vec<(String, String)> {
    let list = |items: &[String]| (!items.is_empty()).then(|| items.join(","));
    [
        ("ipv4", shown.ipv4.map(|address| address.to_string())),
        ("ipv6", shown.ipv6.map(|address| address.to_string())),
        ("loopback", Some(shown.loopback.clone())),
        ("guard", Some(shown.guard.to_owned())),
        ("ports", list(&shown.ports)),
        ("exempt", list(&shown.exempt)),
        ("multicast", list(&shown.multicast)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((format!("{PREFIX}{key}"), value?)))
    .collect()
}
