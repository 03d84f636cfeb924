//! Ports that are moved, left alone, or for multicast.

use core::hint::black_box;

use crate::abi::{PORT_RULES, Policy, PortRule};
use crate::decide::hide;
use crate::net::Port;

/// `IPPROTO_TCP`
pub const TCP: u32 = 6;
/// `IPPROTO_UDP`
pub const UDP: u32 = 17;
/// `IPPROTO_UDPLITE`
const UDP_LITE: u32 = 136;

/// What happens to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortUse {
    /// The socket gets this port.
    Is(Port),
    /// The same, but a bind to the wildcard address stays there.
    Multicast(Port),
    /// The socket is left alone.
    Exempt,
}

/// What happens to `asked` on a socket of the protocol with this number.
///
/// UDP-Lite is excluded from multicast, since no hook sees it connect.
#[inline(always)]
pub fn port(policy: &Policy, number: u32, asked: Port) -> PortUse {
    if policy.rules == 0 || asked == Port::ANY {
        return PortUse::Is(asked);
    }
    let port = asked.number();
    let rule = search(&policy.port_rules, port);
    if port < rule.first || rule.last < port {
        return PortUse::Is(asked);
    }
    let number = hide::number(policy, number);
    let first = match number {
        TCP => rule.tcp,
        UDP | UDP_LITE => rule.udp,
        _ => rule.first,
    };
    if first == 0 {
        return PortUse::Exempt;
    }
    let actual = Port::new(first.wrapping_add(port - rule.first));
    if number == UDP && rule.multicast != 0 {
        PortUse::Multicast(actual)
    } else {
        PortUse::Is(actual)
    }
}

/// The first rule that does not end below `port`, which is in host byte order, or else the
/// last one: a binary search without a branch. The verifier walks a loop that can end
/// early once for each exit, together with all the code that follows: 40 times as many
/// instructions.
#[inline(always)]
fn search(rules: &[PortRule; PORT_RULES], port: u16) -> &PortRule {
    let mut index = 0;
    let mut bit = PORT_RULES.ilog2();
    while bit > 0 {
        bit -= 1;
        let middle = at(rules, index | ((1 << bit) - 1));
        let difference = u64::from(middle.last).wrapping_sub(port.into());
        // Hidden, or the compiler turns the sign into a branch.
        let is_below = black_box(difference) >> 63;
        index |= (is_below as usize) << bit;
    }
    at(rules, index)
}

/// The index is hidden from the compiler, which would drop the bound as redundant. The
/// verifier needs it: before Linux 6.10 it assumes that the result of an OR can be any
/// number ("math between map_value pointer and register with unbounded min value is not
/// allowed").
#[inline(always)]
fn at(rules: &[PortRule; PORT_RULES], index: usize) -> &PortRule {
    &rules[black_box(index) % PORT_RULES]
}

/// Whether a socket of that protocol that asks for this port is left alone.
#[inline(always)]
pub fn is_exempt(policy: &Policy, number: u32, asked: Port) -> bool {
    matches!(port(policy, number, asked), PortUse::Exempt)
}
