//! bind(2): which local address and port a server gets.

use crate::abi::{Cause, Policy};
use crate::decide::address::{ANY4, Family, Kind, LOOPBACK4, LOOPBACK6, kind6, mapped};
use crate::decide::dual::is_dual;
use crate::decide::loopback::{Found, port6};
use crate::decide::policy::{assigned4, assigned6, is_active, kind, private_loopback};
use crate::decide::port::{PortUse, port};
use crate::decide::verdict::Verdict;
use crate::net::{Port, V4, V6};

/// `AF_UNSPEC` of the socket address that a program passed.
const AF_UNSPEC: u32 = 0;
/// `AF_INET6` of the socket address that a program passed.
const AF_INET6: u32 = 10;

/// What a program asks for, besides the address.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The family field of the socket address that the program passed.
    pub family: u32,
    /// The protocol of the socket, an `IPPROTO` number.
    pub protocol: u32,
    /// The port.
    pub port: Port,
    /// Whether the program binds one address of the host after another, and already has a
    /// socket at the assigned one ([`crate::decide::bound`]).
    pub is_repeated: bool,
}

/// What is looked up about an IPv6 socket only where it matters, since each answer costs a
/// helper call or two.
pub trait Server {
    /// Its `IPV6_V6ONLY`.
    fn v6only(&self) -> bool;
    /// Whether calls to it can be steered: it is in the policy's network namespace, is not
    /// bound to a device, and is not a UDP socket in an `SO_REUSEPORT` group that this
    /// kernel delivers nothing to.
    fn can_be_dual(&self) -> bool;
    /// Who listens at an IPv6 address and port, as seen by who asks for `asked`.
    fn find(&self, address: V6, port: Port, asked: Port) -> Found;
    /// The same, but [`Found::Nobody`] if that one is at the wildcard and lets this
    /// socket have the port too.
    fn find_unshared(&self, address: V6, port: Port) -> Found;
}

/// Decides a bind of an IPv4 socket to `address`.
///
/// `AF_UNSPEC` with 0.0.0.0 is the only other family that the kernel accepts
/// (`__inet_bind`, for old programs). It would bind to the wildcard address, so it is
/// refused.
#[inline(always)]
pub fn bind4(policy: &Policy, asked: Asked, address: V4) -> Verdict<(V4, Port)> {
    if !is_active(policy) {
        return Verdict::deny(Cause::NoPolicy);
    }
    if asked.family == AF_UNSPEC && address == ANY4 {
        return Verdict::deny(Cause::Family);
    }
    if asked.is_repeated {
        return isolate4(policy);
    }
    let port = port(policy, asked.protocol, asked.port);
    local4(policy, asked, address, port)
}

/// Decides a bind of an IPv6 socket to `address`.
///
/// A wildcard socket that is open to both families, if both are assigned, becomes a
/// dual-stack server (see [`crate::decide::dual`]): it gets the IPv4 address. Any other
/// can have only one address, the IPv6 one if there is one. A socket for multicast stays
/// at the wildcard address, which covers both families anyway.
#[inline(always)]
pub fn bind6(
    policy: &Policy,
    asked: Asked,
    address: V6,
    server: &impl Server,
) -> Verdict<(V6, Port)> {
    if !is_active(policy) {
        return Verdict::deny(Cause::NoPolicy);
    }
    if asked.family != AF_INET6 {
        return Verdict::deny(Cause::Family);
    }
    let port = port(policy, asked.protocol, asked.port);
    match Family::of(address) {
        Family::V4(_) if asked.is_repeated => to_mapped(isolate4(policy)),
        Family::V6(_) if asked.is_repeated => isolate6(),
        Family::V4(address) => to_mapped(local4(policy, asked, address, port)),
        // `::`, as a pattern: after a comparison in each guard, the verifier goes through a
        // tenth more instructions.
        Family::V6(V6([0, 0, 0, 0])) if assigned6(policy).is_none() && !server.v6only() => {
            match port {
                PortUse::Multicast(actual) if assigned4(policy).is_some() => {
                    Verdict::rewrite((mapped(ANY4), actual))
                }
                _ => to_mapped(local4(policy, asked, ANY4, port)),
            }
        }
        Family::V6(V6([0, 0, 0, 0]))
            if is_dual(policy, asked.protocol) && !server.v6only() && server.can_be_dual() =>
        {
            dual(policy, port, server)
        }
        Family::V6(address) => local6(policy, asked, address, port, server),
    }
}

#[inline(always)]
const fn is_for_multicast(port: PortUse) -> bool {
    matches!(port, PortUse::Multicast(_))
}

#[inline(always)]
fn to_mapped(verdict: Verdict<(V4, Port)>) -> Verdict<(V6, Port)> {
    verdict.map(|(address, port)| (mapped(address), port))
}

/// A bind to `::` that makes a dual-stack server. The kernel sees no conflict with a
/// server at the IPv6 address, or at `::` for IPv6 alone, so the bind is refused here: it
/// would take that server's calls.
///
/// At a port that is exempt or for multicast, the bind is left at the wildcard address.
#[inline(always)]
fn dual(policy: &Policy, port: PortUse, server: &impl Server) -> Verdict<(V6, Port)> {
    let PortUse::Is(actual) = port else {
        return Verdict::pass();
    };
    // A port that the kernel chooses is free at the IPv4 address.
    if actual != Port::ANY
        && matches!(
            server.find_unshared(policy.ipv6, actual),
            Found::Own | Found::Other | Found::Steered
        )
    {
        return Verdict::deny(Cause::InUse);
    }
    Verdict::rewrite((mapped(policy.ipv4), actual))
}

#[inline(always)]
fn local4(policy: &Policy, asked: Asked, address: V4, port: PortUse) -> Verdict<(V4, Port)> {
    let kind = kind(policy, &Family::V4(address));
    if matches!(kind, Kind::Loopback) {
        return match private_loopback(policy) {
            None => Verdict::pass(),
            Some(private) => Verdict::rewrite((private, asked.port)),
        };
    }
    let (PortUse::Is(actual) | PortUse::Multicast(actual)) = port else {
        return Verdict::pass();
    };
    match assigned4(policy) {
        None if matches!(kind, Kind::Unspecified) => isolate4(policy),
        None => Verdict::deny(Cause::NotAssigned),
        Some(_) if matches!(kind, Kind::Multicast) => Verdict::pass(),
        Some(_) if matches!(kind, Kind::Unspecified) && is_for_multicast(port) => Verdict::pass(),
        Some(own) if own == address && actual == asked.port => Verdict::pass(),
        Some(own) => Verdict::rewrite((own, actual)),
    }
}

#[inline(always)]
fn local6(
    policy: &Policy,
    asked: Asked,
    address: V6,
    port: PortUse,
    server: &impl Server,
) -> Verdict<(V6, Port)> {
    let kind = kind6(&address);
    if matches!(kind, Kind::Loopback) {
        return match private_loopback(policy) {
            None => Verdict::pass(),
            Some(private) => private6(private, asked.port, server),
        };
    }
    let (PortUse::Is(actual) | PortUse::Multicast(actual)) = port else {
        return Verdict::pass();
    };
    match assigned6(policy) {
        None if matches!(kind, Kind::Unspecified) => isolate6(),
        None => Verdict::deny(Cause::NotAssigned),
        Some(_) if matches!(kind, Kind::Multicast | Kind::LinkLocal) => Verdict::pass(),
        Some(_) if matches!(kind, Kind::Unspecified) && is_for_multicast(port) => Verdict::pass(),
        Some(own)
            if is_dual(policy, asked.protocol)
                && actual != Port::ANY
                && matches!(
                    server.find(own, actual, actual),
                    Found::Dual | Found::Steered
                ) =>
        {
            Verdict::deny(Cause::InUse)
        }
        Some(own) if own == address && actual == asked.port => Verdict::pass(),
        Some(own) => Verdict::rewrite((own, actual)),
    }
}

/// A bind to `::1` where loopback is private. All cgroups share the address, so a port
/// that somebody else has, or a server that asked for another one, is not shared,
/// whatever the options say.
#[inline(always)]
fn private6(private: V4, asked: Port, server: &impl Server) -> Verdict<(V6, Port)> {
    let port = port6(private, asked);
    if port != Port::ANY
        && matches!(
            server.find(LOOPBACK6, port, asked),
            Found::Other | Found::Moved
        )
    {
        return Verdict::deny(Cause::InUse);
    }
    Verdict::rewrite((LOOPBACK6, port))
}

#[inline(always)]
fn isolate4(policy: &Policy) -> Verdict<(V4, Port)> {
    Verdict::isolate((private_loopback(policy).unwrap_or(LOOPBACK4), Port::ANY))
}

#[inline(always)]
fn isolate6() -> Verdict<(V6, Port)> {
    Verdict::isolate((LOOPBACK6, Port::ANY))
}
