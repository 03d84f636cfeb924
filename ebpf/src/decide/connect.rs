//! connect(2): which address a client connects from, and where a connect to
//! loopback goes.

use crate::abi::{Cause, Policy, flag};
use crate::decide::address::{ANY4, ANY6, Family, Kind, kind4, kind6, mapped};
use crate::decide::hide;
use crate::decide::loopback::{self, Found, Loopback, Reach, Way, is_private, route};
use crate::decide::policy::{assigned, is_active, is_assigned, private_loopback};
use crate::decide::port::is_exempt;
use crate::decide::verdict::{Path, Verdict};
use crate::net::{Port, V4, V6};

/// The local side of a socket that is about to connect. A struct for the reason
/// that [`Verdict`] is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// What the socket is bound to.
    pub bound: BoundTo,
    /// The address for [`BoundTo::Address`], an IPv4 one IPv4-mapped; else `::`.
    pub address: V6,
}

/// What a socket is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundTo {
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
                0 => BoundTo::Nothing,
                1 => BoundTo::Port,
                _ => BoundTo::Address,
            },
            ..self
        }
    }

    /// From the fields of an `AF_INET` socket.
    #[inline(always)]
    pub fn of4(address: V4, port: u32) -> Self {
        if address == ANY4 {
            Self::of6(ANY6, port)
        } else {
            Self::of6(mapped(address), port)
        }
    }

    /// From the fields of an `AF_INET6` socket.
    #[inline(always)]
    pub fn of6(address: V6, port: u32) -> Self {
        let bound = match (address == ANY6, port) {
            (true, 0) => BoundTo::Nothing,
            (true, _) => BoundTo::Port,
            _ => BoundTo::Address,
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

/// Decides a connect. An IPv6 socket can have an IPv4 destination, and so may the addresses
/// in the verdict. `find` is as in [`route`].
///
/// An unspecified destination means loopback. Link-local destinations are left to the
/// kernel, which reaches them from a link-local source.
#[inline(always)]
pub fn connect(
    policy: &Policy,
    destination: Family,
    client: Client,
    find: impl FnMut(Family, Port, Port) -> Found,
) -> Verdict<Path> {
    if !is_active(policy) {
        return Verdict::deny(Cause::NoPolicy);
    }
    let kind = destination.kind();
    if matches!(kind, Kind::Loopback | Kind::Unspecified) {
        return to_loopback(policy, destination, client, find);
    }
    match assigned(policy, destination) {
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
    find: impl FnMut(Family, Port, Port) -> Found,
) -> Verdict<Path> {
    let call = Loopback {
        address,
        protocol: client.protocol,
        port: client.port,
        can_be_answer: false,
        reach: match address {
            Family::V4(_) => Reach::V4,
            Family::V6(_) if client.can_be_mapped => Reach::Both,
            Family::V6(_) => Reach::V6,
        },
    };
    let route = route(policy, call, find);
    match route.way {
        Way::Host => Verdict::pass(),
        Way::Nowhere => Verdict::deny(route.cause),
        // The kernel would choose the source 127.0.0.1, the host's, where replies from the
        // private loopback do not go. For the assigned address it is right.
        Way::To
            if matches!(client.local.bound, BoundTo::Port) && is_private(policy, route.address) =>
        {
            Verdict::deny(Cause::Immovable)
        }
        Way::To => Verdict::rewrite(Path {
            is_moved: matches!(client.local.bound, BoundTo::Nothing),
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
fn source(policy: &Policy, client: Client, own: V6) -> Verdict<Path> {
    match client.local.bound {
        BoundTo::Nothing => Verdict::rewrite(Path::from(own)),
        BoundTo::Address if may_stay(policy, &Family::of(client.local.address)) => Verdict::pass(),
        // Checked late, since the verifier follows each way out of the search.
        _ if policy.flags & flag::GUARD == 0
            && is_exempt(policy, client.protocol, client.local_port) =>
        {
            Verdict::pass()
        }
        BoundTo::Address | BoundTo::Port => Verdict::deny(Cause::Immovable),
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
        Family::V6(address) if matches!(kind6(address), Kind::Loopback) => true,
        _ => is_assigned(policy, *address),
    }
}
