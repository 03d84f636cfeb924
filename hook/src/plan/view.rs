//! The policy that the programs read, in the words of annotations: pure.

use std::fmt::{self, Display};
use std::net::{Ipv4Addr, Ipv6Addr};

use oci_bind_hook_ebpf::abi::{self, PortRule, flag};
use serde::Serialize;

use crate::input::request::PortRange;

/// A policy that is in force. Values are written as in annotations, lists as
/// arrays, and an address that is not assigned as `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyView {
    /// The assigned IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// The assigned IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// `auto`, `host`, or the address of a private loopback.
    pub loopback: String,
    /// `on` or `off`.
    pub guard: &'static str,
    /// Ports that are moved to other numbers.
    pub ports: Vec<String>,
    /// Ports whose binds are left alone.
    pub exempt: Vec<String>,
    /// UDP ports at which wildcard sockets hear multicast and broadcast.
    pub multicast: Vec<String>,
}

impl From<&abi::Policy> for PolicyView {
    fn from(policy: &abi::Policy) -> Self {
        let has = |bit| policy.flags & bit != 0;
        let loopback = if has(flag::LOOPBACK_PRIVATE) {
            Ipv4Addr::from(policy.loopback).to_string()
        } else if has(flag::LOOPBACK_AUTO) {
            "auto".to_owned()
        } else {
            "host".to_owned()
        };
        let (mut ports, mut exempt, mut multicast) = (Vec::new(), Vec::new(), Vec::new());
        for rule in policy.port_rules.iter().filter(|rule| rule.first != 0) {
            let asked = range(rule.first, rule);
            for (suffix, actual) in changes(rule) {
                match actual {
                    0 => exempt.push(format!("{asked}{suffix}")),
                    actual => ports.push(format!("{asked}:{}{suffix}", range(actual, rule))),
                }
            }
            if rule.multicast != 0 {
                multicast.push(asked.to_string());
            }
        }
        Self {
            ipv4: has(flag::IPV4).then(|| policy.ipv4.into()),
            ipv6: has(flag::IPV6).then(|| policy.ipv6.into()),
            loopback,
            guard: if has(flag::GUARD) { "on" } else { "off" },
            ports,
            exempt,
            multicast,
        }
    }
}

impl Display for PolicyView {
    /// Writes it as a [`super::Plan`] is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = [
            ("loopback", self.loopback.clone()),
            ("guard", self.guard.to_owned()),
            ("ports", self.ports.join(",")),
            ("exempt", self.exempt.join(",")),
            ("multicast", self.multicast.join(",")),
        ];
        super::describe(f, self.ipv4, self.ipv6, &settings)
    }
}

/// Returns the range that starts at this port and is as long as the rule's.
const fn range(first: u16, rule: &PortRule) -> PortRange {
    PortRange {
        first,
        last: first + (rule.last - rule.first),
    }
}

/// Returns what the first port of a rule becomes, each time with the suffix of the
/// protocol; unchanged ports are left out.
fn changes(rule: &PortRule) -> Vec<(&'static str, u16)> {
    let all = if rule.tcp == rule.udp {
        vec![("", rule.tcp)]
    } else {
        vec![("/tcp", rule.tcp), ("/udp", rule.udp)]
    };
    all.into_iter()
        .filter(|(_, actual)| *actual != rule.first)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::input::config;
    use crate::input::request::{PortMapping, Request, tests as requests};
    use crate::plan::decide;

    /// Returns the request that asks for what is shown.
    fn request(shown: &PolicyView) -> Request {
        let list = |items: &[String]| (!items.is_empty()).then(|| items.join(","));
        Request {
            ipv4: shown.ipv4,
            ipv6: shown.ipv6,
            loopback: Some(shown.loopback.parse().unwrap()),
            guard: Some(shown.guard.parse().unwrap()),
            ports: list(&shown.ports).map(|list| list.parse().unwrap()),
            exempt: list(&shown.exempt).map(|list| list.parse().unwrap()),
            multicast: list(&shown.multicast).map(|list| list.parse().unwrap()),
        }
    }

    proptest! {
        /// Except for a port that is moved to itself, which is not shown.
        #[test]
        fn what_is_shown_can_be_written(written in requests::request()) {
            let config = config::parse("", "test.toml").unwrap();
            let plan = decide(&written, &config).unwrap();
            let policy = abi::Policy::from(&plan);
            let shown = PolicyView::from(&policy);
            let again = decide(&request(&shown), &config).unwrap();
            let stays = |mapping: &PortMapping| mapping.asked == mapping.actual;
            if !plan.ports.as_slice().iter().any(stays) {
                prop_assert_eq!(abi::Policy::from(&again), policy);
            }
            prop_assert_eq!(PolicyView::from(&abi::Policy::from(&again)), shown);
        }

        #[test]
        fn a_plan_comes_back_as_it_was(
            v4 in any::<[u8; 4]>(),
            v6 in any::<[u8; 16]>(),
            guard in prop::sample::select(vec!["on", "off"]),
            loopback in prop::sample::select(vec!["auto", "host", "127.9.9.9"]),
            moved in 8_u16..=1000,
            free in 2000_u16..=3000,
        ) {
            let (moved, free) = (format!("{moved}-{}:7-8/udp", moved + 1), format!("{free}-4000"));
            let multicast = (guard == "on").then_some("5353");
            let request = Request {
                ipv4: Some(v4.into()),
                ipv6: Some(v6.into()),
                guard: Some(guard.parse().unwrap()),
                loopback: Some(loopback.parse().unwrap()),
                ports: Some(moved.parse().unwrap()),
                exempt: Some(free.parse().unwrap()),
                multicast: multicast.map(|list| list.parse().unwrap()),
            };
            let plan = decide(&request, &config::parse("", "test.toml").unwrap()).unwrap();
            let shown = PolicyView::from(&abi::Policy::from(&plan));
            prop_assert_eq!(shown, PolicyView {
                ipv4: request.ipv4,
                ipv6: request.ipv6,
                loopback: loopback.to_owned(),
                guard,
                ports: vec![moved],
                exempt: vec![free],
                multicast: multicast.iter().map(ToString::to_string).collect(),
            });
        }
    }
}
