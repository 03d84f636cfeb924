//! Policies, addresses and ports; and what a policy says, told by other means
//! than the programs'.

use arbitrary::{Result, Unstructured};
use oci_bind_hook_ebpf::abi::{PORT_RULES, Policy, PortRule, flag};
use oci_bind_hook_ebpf::decide::address::{
    ANY4, ANY6, Family, Kind, LOOPBACK6, kind4, kind6, mapped,
};
use oci_bind_hook_ebpf::net::{Port, V4, V6};

/// Any policy, that of a cgroup nobody has written yet included.
pub fn any(input: &mut Unstructured<'_>) -> Result<Policy> {
    let flags: u32 = input.arbitrary()?;
    // Loopback is one or the other.
    let impossible = match flags & flag::LOOPBACK_PRIVATE {
        0 => 0,
        _ => flag::LOOPBACK_AUTO,
    };
    let mut policy = Policy {
        flags: flags & !impossible,
        ipv4: own4(V4(input.arbitrary()?)),
        ipv6: own6(V6(input.arbitrary()?)),
        loopback: V4::from_octets([127, 128, 2, 10]),
        ..Policy::default()
    };
    let count = input.int_in_range(0..=PORT_RULES)?;
    let (mut rules, mut next) = (Vec::new(), 1);
    for _ in 0..count {
        let first = next + input.int_in_range(0..=2)?;
        let rule = rule(first, first + input.int_in_range(0..=4)?, input)?;
        next = rule.last + 1;
        rules.push(rule);
    }
    assert!(policy.set_rules(&rules));
    let broadcast = any4(&policy, input)?;
    if broadcast != policy.ipv4 {
        policy.broadcast = broadcast;
    }
    Ok(policy)
}

/// A rule for these ports. What they become may be what they are.
fn rule(first: u16, last: u16, input: &mut Unstructured<'_>) -> Result<PortRule> {
    let unchanged = PortRule::unchanged(first, last);
    let mut becomes = || match input.int_in_range(0..=2)? {
        0 => Ok(first),
        1 => Ok(0),
        _ => input.int_in_range(1..=u16::MAX - (last - first)),
    };
    let (tcp, udp) = (becomes()?, becomes()?);
    let multicast = input.int_in_range(0..=1)?;
    Ok(PortRule {
        tcp,
        udp: if multicast == 0 { udp } else { first },
        multicast,
        ..unchanged
    })
}

/// The address, or another if a policy cannot have it.
fn own4(address: V4) -> V4 {
    match kind4(address) {
        Kind::Unicast => address,
        _ => V4::from_octets([192, 0, 2, 10]),
    }
}

fn own6(address: V6) -> V6 {
    match (Family::of(address), kind6(&address)) {
        (Family::V6(_), Kind::Unicast) => address,
        _ => V6([u32::from_ne_bytes([0x20, 1, 0xd, 0xb8]), 0, 0, 1]),
    }
}

/// One of a few ports, so that rules are met, or any.
pub fn near_port(input: &mut Unstructured<'_>) -> Result<Port> {
    match input.int_in_range(0..=40_u16)? {
        40 => input.arbitrary().map(Port),
        port => Ok(Port::new(port)),
    }
}

/// A protocol with ports, or any number.
pub fn any_protocol(input: &mut Unstructured<'_>) -> Result<u32> {
    let known = [6, 17, 136, 262];
    match input.int_in_range(0..=known.len())? {
        4 => input.arbitrary(),
        index => Ok(known[index]),
    }
}

/// An IPv4 address: one that is treated apart, or any.
pub fn any4(policy: &Policy, input: &mut Unstructured<'_>) -> Result<V4> {
    Ok(match input.int_in_range(0..=7)? {
        0 => policy.ipv4,
        7 => policy.broadcast,
        1 => policy.loopback,
        2 => ANY4,
        3 => V4::from_octets([127, 0, 0, input.arbitrary()?]),
        4 => V4::from_octets([input.int_in_range(224..=239)?, 0, 0, input.arbitrary()?]),
        _ => V4(input.arbitrary()?),
    })
}

/// An IPv6 address that is not IPv4-mapped: one that is treated apart, or any.
pub fn any6(policy: &Policy, input: &mut Unstructured<'_>) -> Result<V6> {
    let words: [u32; 4] = input.arbitrary()?;
    let address = match input.int_in_range(0..=6)? {
        0 => policy.ipv6,
        1 => ANY6,
        2 => LOOPBACK6,
        3 => V6([
            u32::from_ne_bytes([0xfe, 0x80, 0, 0]),
            0,
            words[2],
            words[3],
        ]),
        4 => V6([u32::from_ne_bytes([0xff, 2, 0, 0]), 0, words[2], words[3]]),
        _ => V6(words),
    };
    Ok(match Family::of(address) {
        Family::V4(_) => V6([1, 0, 0, 0]),
        Family::V6(address) => address,
    })
}

/// An address of either family, IPv4 ones IPv4-mapped.
pub fn any_address(policy: &Policy, input: &mut Unstructured<'_>) -> Result<V6> {
    Ok(if input.arbitrary()? {
        mapped(any4(policy, input)?)
    } else {
        any6(policy, input)?
    })
}

/// What a policy says.
pub trait Says {
    /// Whether it was written.
    fn is_written(&self) -> bool;
    /// The IPv4 address, as a program may have it.
    fn own4(&self) -> Option<V4>;
    /// The IPv6 address.
    fn own6(&self) -> Option<V6>;
    /// The private loopback address.
    fn private(&self) -> Option<V4>;
    /// The kind of an address; the broadcast address of the network is for all.
    fn kind(&self, address: Family) -> Kind;
    /// Whether this is an assigned address; IPv4 ones IPv4-mapped.
    fn owns(&self, address: V6) -> bool;
    /// The port that a socket of the protocol gets for this one; none if it is
    /// left alone.
    fn moved(&self, number: u32, asked: Port) -> Option<Port>;
    /// Whether the wildcard stays where it is on a socket of the protocol at this port.
    fn is_multicast(&self, number: u32, asked: Port) -> bool;
}

/// The rule for a port, if there is one.
fn rule_of(policy: &Policy, asked: Port) -> Option<&PortRule> {
    let port = asked.number();
    let mut rules = policy.port_rules.iter();
    rules.find(|rule| port != 0 && (rule.first..=rule.last).contains(&port))
}

impl Says for Policy {
    fn is_written(&self) -> bool {
        self.flags & flag::ACTIVE != 0
    }

    fn own4(&self) -> Option<V4> {
        (self.flags & flag::IPV4 != 0).then_some(self.ipv4)
    }

    fn own6(&self) -> Option<V6> {
        (self.flags & flag::IPV6 != 0).then_some(self.ipv6)
    }

    fn private(&self) -> Option<V4> {
        (self.flags & flag::LOOPBACK_PRIVATE != 0).then_some(self.loopback)
    }

    fn kind(&self, address: Family) -> Kind {
        let is_broadcast = address == Family::V4(self.broadcast);
        match address.kind() {
            Kind::Unicast if is_broadcast => Kind::Multicast,
            kind => kind,
        }
    }

    fn owns(&self, address: V6) -> bool {
        self.own6() == Some(address) || self.own4().map(mapped) == Some(address)
    }

    fn moved(&self, number: u32, asked: Port) -> Option<Port> {
        let rule = rule_of(self, asked);
        let (first, becomes) = match (rule, number) {
            (Some(rule), 6) => (rule.first, rule.tcp),
            (Some(rule), 17 | 136) => (rule.first, rule.udp),
            _ => return Some(asked),
        };
        (becomes != 0).then(|| Port::new(becomes + (asked.number() - first)))
    }

    fn is_multicast(&self, number: u32, asked: Port) -> bool {
        number == 17
            && self.moved(number, asked).is_some()
            && rule_of(self, asked).is_some_and(|rule| rule.multicast != 0)
    }
}
