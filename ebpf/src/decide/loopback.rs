//! Calls to loopback: whose loopback is meant.

use crate::abi::{Cause, Policy, flag};
use crate::decide::address::{ANY4, ANY6, Family, Kind, LOOPBACK4, LOOPBACK6, mapped};
use crate::decide::policy::{assigned4, assigned6, private_loopback};
use crate::decide::port::{PortUse, port};
use crate::net::{Port, V4, V6};

/// Who is at an address and port, according to `bpf_sk_lookup_tcp` and
/// `bpf_sk_lookup_udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A server bound to exactly this address; at loopback, not one of another policy.
    Own,
    /// A server of the cgroup's own at `::1`, where loopback is private, that did not ask
    /// for the port that is called.
    Moved,
    /// A dual-stack server of the cgroup itself, which is bound to its IPv4 address.
    Dual,
    /// A dual-stack server of another policy, or of an earlier one.
    Steered,
    /// Somebody else's server: bound to the wildcard address, by the host or before the
    /// policy, or to this very loopback address under another policy.
    Other,
    /// Nobody.
    Nobody,
}

impl From<u32> for Found {
    /// By the order of the variants.
    #[inline(always)]
    fn from(number: u32) -> Self {
        match number {
            0 => Self::Own,
            1 => Self::Moved,
            2 => Self::Dual,
            3 => Self::Steered,
            4 => Self::Other,
            _ => Self::Nobody,
        }
    }
}

/// Where a call to loopback goes. A struct for the reason that
/// [`crate::decide::verdict::Verdict`] is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which way.
    pub way: Way,
    /// The address for [`Way::To`], an IPv4 one IPv4-mapped.
    pub address: V6,
    /// The port for [`Way::To`].
    pub port: Port,
    /// The cause for [`Way::Nowhere`].
    pub cause: Cause,
}

/// Which way a call to loopback goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the host's loopback, as the program asked.
    Host,
    /// To an address and port.
    To,
    /// It is refused.
    Nowhere,
}

impl Route {
    /// To the host's loopback.
    pub const HOST: Self = Self {
        way: Way::Host,
        address: ANY6,
        port: Port::ANY,
        cause: Cause::NoPolicy,
    };

    /// To this address and port.
    #[inline(always)]
    pub const fn to(address: Family, port: Port) -> Self {
        Self {
            way: Way::To,
            address: address.to_v6(),
            port,
            ..Self::HOST
        }
    }

    /// Nowhere.
    #[inline(always)]
    pub const fn nowhere(cause: Cause) -> Self {
        Self {
            way: Way::Nowhere,
            cause,
            ..Self::HOST
        }
    }
}

/// A call to loopback.
#[derive(Clone, Copy, Debug)]
pub struct Loopback {
    /// The address called: a loopback address, or the unspecified one, which means
    /// loopback.
    pub address: Family,
    /// The protocol of the socket, an `IPPROTO` number.
    pub protocol: u32,
    /// The port called.
    pub port: Port,
    /// Whether the call may be the answer to another: a datagram that names its
    /// destination.
    pub can_be_answer: bool,
    /// Which addresses the socket can call.
    pub reach: Reach,
}

/// Which addresses a socket can call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// IPv4 ones.
    V4,
    /// IPv6 ones.
    V6,
    /// Those of both families.
    Both,
}

impl Reach {
    #[inline(always)]
    const fn has_v4(self) -> bool {
        matches!(self, Self::V4 | Self::Both)
    }

    #[inline(always)]
    const fn has_v6(self) -> bool {
        matches!(self, Self::V6 | Self::Both)
    }
}

/// What a destination means, with IPv4 addresses IPv4-mapped. 0.0.0.0 means loopback, but
/// if the socket has an address, here the assigned one, or the datagram names a source,
/// the kernel would send to that (`ip_route_output_key_hash_rcu`).
#[inline(always)]
pub fn meant(destination: V6, source: V6) -> V6 {
    match (Family::of(destination), Family::of(source).kind()) {
        (Family::V4(ANY4), Kind::Unicast) => mapped(LOOPBACK4),
        _ => destination,
    }
}

/// Whether calls to loopback can go elsewhere under this policy.
#[inline(always)]
pub const fn redirects_calls(policy: &Policy) -> bool {
    policy.flags & (flag::LOOPBACK_AUTO | flag::LOOPBACK_PRIVATE) != 0
}

/// Decides where a call to loopback goes. `find` looks up the socket that
/// would answer at an address and port.
///
/// Under `auto`, a server that a wildcard bind moved to the assigned address is found
/// there, unless somebody listens at the very address called, which comes first on any
/// host, or systemd-resolved may do so; without such a server the call goes to the host's
/// loopback. Under `private` the cgroup's own loopback comes first, and the host's is
/// never reached, not even through a wildcard server of the host.
#[inline(always)]
pub fn route(
    policy: &Policy,
    call: Loopback,
    mut find: impl FnMut(Family, Port, Port) -> Found,
) -> Route {
    let is_exact = policy.flags & flag::LOOPBACK_AUTO != 0
        && (is_resolved(&call)
            || matches!(
                find(call.address.or_loopback(), call.port, call.port),
                Found::Own
            ));
    if is_exact {
        return Route::HOST;
    }
    to_own(policy, call, &mut find)
}

/// Whether a call is for systemd-resolved, at 127.0.0.53 or 127.0.0.54
/// (systemd-resolved.service(8)), which no lookup finds: its sockets are bound to `lo`
/// (`manager_dns_stub_fd`).
#[inline(always)]
fn is_resolved(call: &Loopback) -> bool {
    const DNS: Port = Port::new(53);
    let Family::V4(address) = call.address else {
        return false;
    };
    call.port == DNS && matches!(address.octets(), [127, 0, 0, 53 | 54])
}

/// Routes the call to a server of the cgroup itself, or else to the host or nowhere.
#[inline(always)]
fn to_own(
    policy: &Policy,
    call: Loopback,
    find: &mut impl FnMut(Family, Port, Port) -> Found,
) -> Route {
    if !redirects_calls(policy) {
        return Route::HOST;
    }
    let private = private_loopback(policy);
    let mut is_answered = false;
    // The port at `::1` for a call that finds nobody, if it is free.
    let mut free = Port::ANY;
    if let Some(private) = private
        && call.reach.has_v6()
    {
        // A client of a server is at the port that the kernel chose, or at another one
        // that it has asked for, and is answered there.
        let caller = find(Family::V6(LOOPBACK6), call.port, call.port);
        let is_caller = match caller {
            Found::Own => true,
            Found::Moved => call.can_be_answer,
            _ => false,
        };
        if is_caller {
            return Route::to(Family::V6(LOOPBACK6), call.port);
        }
        // Who asked for another port that comes to the same place is not called.
        let own = port6(private, call.port);
        let server = find(Family::V6(LOOPBACK6), own, call.port);
        if matches!(server, Found::Own) {
            return Route::to(Family::V6(LOOPBACK6), own);
        }
        if call.can_be_answer {
            if matches!(caller, Found::Nobody) {
                free = call.port;
            }
        } else if matches!(server, Found::Nobody) {
            free = own;
        }
    }
    if let Some(private) = private
        && call.reach.has_v4()
    {
        let private = Family::V4(private);
        let found = find(private, call.port, call.port);
        if matches!(found, Found::Own) {
            return Route::to(private, call.port);
        }
        is_answered = !matches!(found, Found::Nobody);
    }
    if let PortUse::Is(actual) | PortUse::Multicast(actual) = port(policy, call.protocol, call.port)
    {
        if let Some(own) = assigned6(policy)
            && call.reach.has_v6()
        {
            match find(Family::V6(own), actual, actual) {
                Found::Own => return Route::to(Family::V6(own), actual),
                // If possible it is called over IPv4 instead, from the private loopback.
                Found::Dual if private.is_none() || !call.reach.has_v4() => {
                    return Route::to(Family::V6(own), actual);
                }
                _ => {}
            }
        }
        if let Some(own) = assigned4(policy)
            && call.reach.has_v4()
            && matches!(find(Family::V4(own), actual, actual), Found::Own)
        {
            return Route::to(Family::V4(own), actual);
        }
    }
    match private {
        None => Route::HOST,
        // Nobody is there: the kernel itself says so, or a server comes later. A socket
        // that is connected to the caller is not found.
        Some(_) if free != Port::ANY => Route::to(Family::V6(LOOPBACK6), free),
        Some(private) if call.reach.has_v4() && !is_answered => {
            Route::to(Family::V4(private), call.port)
        }
        Some(_) => Route::nowhere(Cause::Refused),
    }
}

/// The ports that [`port6`] returns: below those that the kernel chooses from.
const FIRST_PORT: u16 = 1024;
const PORTS: u16 = 32768 - FIRST_PORT;

/// The actual port of a server that a program binds to `::1` at `port`, where loopback is
/// private. There is only one IPv6 loopback address, so the ports are what makes it a
/// cgroup's own.
///
/// Two servers can get the same port: the second one is refused.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a port has 16 bits")]
pub const fn port6(private: V4, port: Port) -> Port {
    /// 2^64 divided by the golden ratio, as in [`crate::decide::dual::bucket`].
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    if port.0 == Port::ANY.0 {
        return port;
    }
    let key = (private.0 as u64) << 16 | port.0 as u64;
    let hash = key.wrapping_mul(MULTIPLIER) >> 32;
    Port::new(FIRST_PORT + (hash % PORTS as u64) as u16)
}

/// The source of a call that [`route`] sends to `destination`, both with IPv4
/// addresses IPv4-mapped: loopback, so that a server that trusts its own host still does.
///
/// Where loopback is private, a server at the assigned IPv6 address could not reply to
/// `::1`, so the source of such a call is its destination.
#[inline(always)]
pub fn source(policy: &Policy, destination: V6) -> V6 {
    match (Family::of(destination), private_loopback(policy)) {
        (Family::V4(_), private) => mapped(private.unwrap_or(LOOPBACK4)),
        (Family::V6(_), None) => LOOPBACK6,
        (Family::V6(_), Some(_)) => destination,
    }
}

/// Whether `address` is the cgroup's own loopback address, which programs know as
/// 127.0.0.1: its private loopback, or the address that sockets at the assigned address
/// call from. IPv4 addresses are IPv4-mapped.
#[inline(always)]
pub fn is_own(policy: &Policy, address: V6) -> bool {
    let has_own = policy.flags & (flag::LOOPBACK_PRIVATE | flag::LOOPBACK_UDP) != 0;
    has_own && matches!(Family::of(address), Family::V4(address) if address == policy.loopback)
}

/// Whether `address` is the cgroup's private loopback address. An IPv4 address is passed
/// IPv4-mapped.
#[inline(always)]
pub fn is_private(policy: &Policy, address: V6) -> bool {
    match (private_loopback(policy), Family::of(address)) {
        (Some(private), Family::V4(address)) => private == address,
        _ => false,
    }
}
