//! Ports that are moved, and ports that are left alone.

use crate::abi::{Policy, protocol};

/// A port, network byte order.
pub type Port = u16;

/// `IPPROTO_TCP`
const TCP: u32 = 6;
/// `IPPROTO_UDP`
const UDP: u32 = 17;
/// `IPPROTO_UDPLITE`
const UDP_LITE: u32 = 136;
/// `IPPROTO_MPTCP`
const MPTCP: u32 = 262;

/// What becomes of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortUse {
    /// The socket gets this port.
    Is(Port),
    /// The socket is left alone.
    Exempt,
}

/// What becomes of `asked` on a socket of the protocol with this number.
#[inline(always)]
pub fn port(policy: &Policy, number: u32, asked: Port) -> PortUse {
    let protocols = match number {
        TCP | MPTCP => protocol::TCP,
        UDP | UDP_LITE => protocol::UDP,
        _ => return PortUse::Is(asked),
    };
    let mut rules = policy.rules;
    for rule in &policy.port_rules {
        if rules == 0 {
            break;
        }
        rules -= 1;
        if rule.asked == asked && rule.protocols & protocols != 0 {
            return match rule.actual {
                0 => PortUse::Exempt,
                actual => PortUse::Is(actual),
            };
        }
    }
    PortUse::Is(asked)
}

/// Whether a socket of that protocol at `port` is left alone.
#[inline(always)]
pub fn is_exempt(policy: &Policy, number: u32, asked: Port) -> bool {
    matches!(port(policy, number, asked), PortUse::Exempt)
}
