//! connect(2): which address a client connects from, and where a connect to
//! loopback goes.

use crate::abi::{Cause, Policy};
use crate::address::{ANY6, Family, Kind, V4, V6, kind4, kind6, mapped, same6};
use crate::loopback::{self, Found, Loopback, Route, route};
use crate::port::{Port, is_exempt};
use crate::verdict::{Path, Verdict, assigned4, assigned6, is_active, private_loopback};

/// The local side of a socket that is about to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// No address and no port: free to be moved.
    Unbound,
    /// A port without an address: a datagram socket that has already sent,
    /// which the kernel will not let a program bind any more.
    Port,
    /// Bound to this address, or left there by an earlier connect.
    Address(Family),
}

impl Local {
    /// From the fields of an `AF_INET` socket.
    #[inline(always)]
    pub const fn of4(address: V4, port: u32) -> Self {
        match (address, port) {
            (0, 0) => Self::Unbound,
            (0, _) => Self::Port,
            _ => Self::Address(Family::V4(address)),
        }
    }

    /// From the fields of an `AF_INET6` socket.
    #[inline(always)]
    pub const fn of6(address: V6, port: u32) -> Self {
        match (same6(&address, &ANY6), port) {
            (true, 0) => Self::Unbound,
            (true, _) => Self::Port,
            _ => Self::Address(Family::of(address)),
        }
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
    /// Whether it can connect to IPv4-mapped addresses: an IPv6 socket that is
    /// not v6only. IPv4 sockets say no.
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
    find: impl FnMut(Family, Port) -> Found,
) -> Verdict<Path<V6>> {
    if !is_active(policy) {
        return Verdict::deny(Cause::NoPolicy);
    }
    if matches!(kind4(destination), Kind::Loopback | Kind::Unspecified) {
        return to_loopback(policy, client, true, false, find);
    }
    match assigned4(policy) {
        None => Verdict::deny(Cause::Unreachable),
        Some(own) => source(policy, client, mapped(own)),
    }
}

/// Decides a connect to an IPv6 destination that is not IPv4-mapped. `find` is
/// as in [`route`]. The verdict may be an IPv4-mapped address.
///
/// `::` means loopback. Link-local destinations are left to the kernel, which
/// reaches them from a link-local source.
#[inline(always)]
pub fn connect6(
    policy: &Policy,
    destination: V6,
    client: Client,
    find: impl FnMut(Family, Port) -> Found,
) -> Verdict<Path<V6>> {
    if !is_active(policy) {
        return Verdict::deny(Cause::NoPolicy);
    }
    let kind = kind6(&destination);
    if matches!(kind, Kind::Loopback | Kind::Unspecified) {
        return to_loopback(policy, client, client.can_be_mapped, true, find);
    }
    match assigned6(policy) {
        None => Verdict::deny(Cause::Unreachable),
        Some(_) if matches!(kind, Kind::LinkLocal) => Verdict::pass(),
        Some(own) => source(policy, client, own),
    }
}

#[inline(always)]
fn to_loopback(
    policy: &Policy,
    client: Client,
    can_be_v4: bool,
    can_be_v6: bool,
    find: impl FnMut(Family, Port) -> Found,
) -> Verdict<Path<V6>> {
    let call = Loopback {
        protocol: client.protocol,
        port: client.port,
        can_be_v4,
        can_be_v6,
    };
    match route(policy, call, find) {
        Route::Host => Verdict::pass(),
        Route::Deny(cause) => Verdict::deny(cause),
        // The kernel would choose the host's 127.0.0.1, where replies from the
        // private loopback do not go. Near the assigned address it is right.
        Route::To(Family::V4(address), _)
            if matches!(client.local, Local::Port) && private_loopback(policy) == Some(address) =>
        {
            Verdict::deny(Cause::Immovable)
        }
        Route::To(address, port) => Verdict::rewrite(Path {
            is_moved: matches!(client.local, Local::Unbound),
            source: loopback::source(policy, address),
            is_redirected: true,
            destination: address.to_v6(),
            port,
        }),
    }
}

/// A free socket is moved to `own`. One that already is at an assigned address
/// or on loopback stays there: the kernel itself refuses a destination of the
/// other family (`ip6_dst_lookup_tail`) or one that is off the host. Any other
/// cannot be moved, and must not leave from where it is.
#[inline(always)]
fn source(policy: &Policy, client: Client, own: V6) -> Verdict<Path<V6>> {
    match client.local {
        Local::Unbound => Verdict::rewrite(Path::from(own)),
        Local::Address(address) if may_stay(policy, &address) => Verdict::pass(),
        // Late, since the verifier follows each way out of the search.
        _ if is_exempt(policy, client.protocol, client.local_port) => Verdict::pass(),
        Local::Address(_) | Local::Port => Verdict::deny(Cause::Immovable),
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
