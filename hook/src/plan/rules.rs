//! Turns the ports of a plan into the rules that the programs read: pure.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use oci_bind_hook_ebpf::abi::{PORT_RULES, PortRule};

use super::Plan;
use crate::input::request::{PortMapping, PortRange, Protocol};

/// Refuses ports that have two uses, and more port ranges than a policy can hold.
pub(super) fn check(plan: &Plan) -> Result<()> {
    let (moved, exempt) = (plan.ports.as_slice(), plan.exempt.as_slice());
    for one in exempt {
        if let Some(mapping) = mapping(moved, one.ports, one.protocol) {
            bail!("port {one} is exempt, but also moved by {mapping}: choose one");
        }
    }
    for &ports in plan.multicast.as_slice() {
        if let Some(mapping) = mapping(moved, ports, Protocol::Udp) {
            bail!("port {ports} is for multicast, but also moved by {mapping}: choose one");
        }
        let left = exempt
            .iter()
            .find(|one| one.ports.overlaps(ports) && one.protocol.overlaps(Protocol::Udp));
        if let Some(left) = left {
            bail!("port {ports} is for multicast, but {left} is exempt: choose one");
        }
    }
    let rules = rules(plan).len();
    if rules > PORT_RULES {
        bail!(
            "ports, exempt and multicast make {rules} port ranges, but a policy can have at most \
             {PORT_RULES}: write consecutive ports as FIRST-LAST"
        );
    }
    Ok(())
}

/// Returns the mapping that moves one of these ports.
fn mapping(moved: &[PortMapping], ports: PortRange, protocol: Protocol) -> Option<&PortMapping> {
    moved
        .iter()
        .find(|mapping| mapping.asked.overlaps(ports) && mapping.protocol.overlaps(protocol))
}

/// One entry of a list.
struct Entry {
    ports: PortRange,
    protocol: Protocol,
    becomes: Becomes,
}

/// What the ports of an entry become.
enum Becomes {
    /// The first one becomes this port, the next one the next, and so on.
    Port(u16),
    Exempt,
    Multicast,
}

/// Returns the rules of a plan, in ascending order. No port is in two of them:
/// overlapping ranges are split where one begins or ends.
pub(super) fn rules(plan: &Plan) -> Vec<PortRule> {
    let moved = plan.ports.as_slice().iter().map(|mapping| Entry {
        ports: mapping.asked,
        protocol: mapping.protocol,
        becomes: Becomes::Port(mapping.actual.first),
    });
    let exempt = plan.exempt.as_slice().iter().map(|exempt| Entry {
        ports: exempt.ports,
        protocol: exempt.protocol,
        becomes: Becomes::Exempt,
    });
    let multicast = plan.multicast.as_slice().iter().map(|&ports| Entry {
        ports,
        protocol: Protocol::Udp,
        becomes: Becomes::Multicast,
    });
    let entries: Vec<_> = moved.chain(exempt).chain(multicast).collect();
    // Where a rule may begin. A range that is in no entry yields no rule.
    let firsts: BTreeSet<u16> = entries
        .iter()
        .flat_map(|entry| [Some(entry.ports.first), entry.ports.last.checked_add(1)])
        .flatten()
        .collect();
    let nexts = firsts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
    firsts
        .iter()
        .zip(nexts)
        .filter_map(|(&first, last)| rule(&entries, PortRange { first, last }))
        .collect()
}

/// Returns the rule for ports of which each entry has all or none, if any entry has them.
fn rule(entries: &[Entry], ports: PortRange) -> Option<PortRule> {
    let mut rule = None;
    for entry in entries {
        if !entry.ports.overlaps(ports) {
            continue;
        }
        let rule = rule.get_or_insert(PortRule::unchanged(ports.first, ports.last));
        let actual = match entry.becomes {
            Becomes::Port(first) => first + (ports.first - entry.ports.first),
            Becomes::Exempt => 0,
            Becomes::Multicast => {
                rule.multicast = 1;
                continue;
            }
        };
        if entry.protocol.overlaps(Protocol::Tcp) {
            rule.tcp = actual;
        }
        if entry.protocol.overlaps(Protocol::Udp) {
            rule.udp = actual;
        }
    }
    rule
}
