//! connect(2): which address a client connects from, and where a connect to
//! loopback goes.

use crate::abi::{Cause, Policy, flag};
use crate::decide::address::{ANY4, ANY6, Family, Kind, V4, V6, kind4, kind6, mapped, same6};
use crate::decide::hide;
use crate::decide::loopback::{self, Found, Loopback, Way, is_private, route};
use crate::decide::port::{Port, is_exempt};
use crate::decide::verdict::{Path, Verdict, assigned4, assigned6, is_active, private_loopback};

/// The local side of a socket that is about to connect. A struct for the reason
/// that [`Verdict`] is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// What the socket has.
    pub bound: Bound,
    /// The address for [`Bound::Address`], an IPv4 one IPv4-mapped; else `::`.
    pub address: V6,
}

/// What a socket has on its local side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// No address and no port: free to be moved.
    Nothing,
    /// A port without an address: a datagram socket that has already sent, which the
    /// kernel no longer lets a program bind.
    Port,
    /// An address: it was bound there, or left there by an earlier connect.
    Address,
}

impl Local {
    /// The same, with `bound` hidden from the verifier ([`hide`]).
    #[inline(always)]
    pub fn hidden(self, policy: &Policy) -> Self {
        Self {
            bound: match hide::number(policy, self.bound as u32) {
                0 => Bound::Nothing,
                1 => Bound::Port,
                _ => Bound::Address,
            },
            ..self
        }
    }

    /// From the fields of an `AF_INET` socket.
    #[inline(always)]
    pub const fn of4(address: V4, port: u32) -> Self {
        if address == ANY4 {
            Self::of6(ANY6, port)
        } else {
            Self::of6(mapped(address), port)
        }
    }

    /// From the fields of an `AF_INET6` socket.
    #[inline(always)]
    pub const fn of6(address: V6, port: u32) -> Self {
        let bound = match (same6(&address, &ANY6), port) {
            (true, 0) => Bound::Nothing,
            (true, _) => Bound::Port,
            _ => Bound::Address,
        };
        Self { bound, address }
    }
}

/// The socket that is about to connect.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its local side.
    pub local: Local,
    /// Its local port; 0 if it has none.
    pub local_port: Port,
    /// Its protocol, an `IPPROTO` number.
    pub protocol: u32,
    /// Whether it can connect to IPv4-mapped addresses: true for an IPv6 socket that is
    /// not v6only, false for an IPv4 socket.
    pub can_be_mapped: bool,
    /// The port it connects to.
    pub port: Port,
}

/// Decides a connect to an IPv4 destination, from a socket of either family.
/// `find` is as in [`route`]. Addresses in the verdict are IPv4-mapped.
///
/// 0.0.0.0 means loopback.
#[inline(always)]
pub fn connect4(
    policy: &Policy,
    destination: V4,
    client: Client,
    find: impl FnMut(Family, Port, Port) -> Found,
) -> Verdict<Path<V6>> {
    connect(policy, Family::V4(destination), client, true, false, find)
}

/// Decides a connect to an IPv6 destination, which may be IPv4-mapped, and so may
/// the addresses in the verdict. `find` is as in [`route`].
///
/// `::` means loopback. Link-local destinations are left to the kernel, which
/// reaches them from a link-local source.
#[inline(always)]
pub fn connect6(
    policy: &Policy,
    destination: V6,
    client: Client,
    find: impl FnMut(Family, Port, Port) -> Found,
) -> Verdict<Path<V6>> {
    let destination = Family::of(destination);
    let is_v6 = matches!(destination, Family::V6(_));
    let can_be_v4 = !is_v6 || client.can_be_mapped;
    connect(policy, destination, client, can_be_v4, is_v6, find)
}

#[inline(always)]
fn connect(
    policy: &Policy,
    destination: Family,
    client: Client,
    can_be_v4: bool,
    can_be_v6: bool,
    find: impl FnMut(Family, Port, Port) -> Found,
) -> Verdict<Path<V6>> {
    if !is_active(policy) {
        return Verdict::deny(Cause::NoPolicy);
    }
    let kind = destination.kind();
    if matches!(kind, Kind::Loopback | Kind::Unspecified) {
        return to_loopback(policy, destination, client, can_be_v4, can_be_v6, find);
    }
    let own = match destination {
        Family::V4(_) => assigned4(policy).map(mapped),
        Family::V6(_) => assigned6(policy),
    };
    match own {
        None => Verdict::deny(Cause::Unreachable),
        Some(_) if matches!(kind, Kind::LinkLocal) => Verdict::pass(),
        Some(own) => source(policy, client, own),
    }
}

#[inline(always)]
fn to_loopback(
    policy: &Policy,
    address: Family,
    client: Client,
    can_be_v4: bool,
    can_be_v6: bool,
    find: impl FnMut(Family, Port, Port) -> Found,
) -> Verdict<Path<V6>> {
    let call = Loopback {
        address,
        protocol: client.protocol,
        port: client.port,
        can_be_answer: false,
        can_be_v4,
        can_be_v6,
    };
    let route = route(policy, call, find);
    match route.way {
        Way::Host => Verdict::pass(),
        Way::Nowhere => Verdict::deny(route.cause),
        // The kernel would choose the source 127.0.0.1, the host's, where replies from the
        // private loopback do not go. For the assigned address it is right.
        Way::To
            if matches!(client.local.bound, Bound::Port) && is_private(policy, route.address) =>
        {
            Verdict::deny(Cause::Immovable)
        }
        Way::To => Verdict::rewrite(Path {
            is_moved: matches!(client.local.bound, Bound::Nothing),
            source: loopback::source(policy, route.address),
            is_redirected: true,
            destination: route.address,
            port: route.port,
        }),
    }
}

/// A socket with neither address nor port is moved to `own`. One at an assigned or
/// link-local address, or on loopback, stays there: the kernel itself refuses a
/// destination of the other family (`ip6_dst_lookup_tail`) or one off the host. Any other
/// cannot be moved, and must not send from where it is: the guard would drop what it
/// sends. Without the guard, one at an exempt port may.
#[inline(always)]
fn source(policy: &Policy, client: Client, own: V6) -> Verdict<Path<V6>> {
    match client.local.bound {
        Bound::Nothing => Verdict::rewrite(Path::from(own)),
        Bound::Address if may_stay(policy, &Family::of(client.local.address)) => Verdict::pass(),
        // Checked late, since the verifier follows each way out of the search.
        _ if policy.flags & flag::GUARD == 0
            && is_exempt(policy, client.protocol, client.local_port) =>
        {
            Verdict::pass()
        }
        Bound::Address | Bound::Port => Verdict::deny(Cause::Immovable),
    }
}

#[inline(always)]
fn may_stay(policy: &Policy, address: &Family) -> bool {
    if matches!(address.kind(), Kind::LinkLocal) {
        return true;
    }
    match address {
        Family::V4(address) if matches!(kind4(*address), Kind::Loopback) => {
            private_loopback(policy).is_none_or(|private| private == *address)
        }
        Family::V4(address) => assigned4(policy) == Some(*address),
        Family::V6(address) => {
            matches!(kind6(address), Kind::Loopback)
                || assigned6(policy).is_some_and(|own| same6(&own, address))
        }
    }
}
