//! Finds the socket that would answer at an address and port of this network
//! namespace.

use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr, bpf_sock_tuple};
use aya_ebpf::helpers::{bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::address::{ANY4, Family, Kind, LOOPBACK6, kind4};
use oci_bind_hook_ebpf::decide::bound::Bound;
use oci_bind_hook_ebpf::decide::dual::{can_share, found, is_dual};
use oci_bind_hook_ebpf::decide::loopback::Found;
use oci_bind_hook_ebpf::decide::policy::private_loopback;
use oci_bind_hook_ebpf::decide::port::UDP;
use oci_bind_hook_ebpf::net::{Port, V4, V6};

use super::call::Call;
use super::field::{field, field6};
use super::socket::sharing;
use super::storage::policy;
use super::{bound, dual, redirects};

/// `BPF_F_CURRENT_NETNS`: the namespace of the socket that makes the call.
const CURRENT_NETNS: u64 = u64::MAX;
/// `SOCK_STREAM`
pub const SOCK_STREAM: u32 = 1;
/// `SOCK_DGRAM`
pub const SOCK_DGRAM: u32 = 2;
/// `BPF_TCP_LISTEN`
const LISTEN: u32 = 10;

/// `bpf_sock_tuple.ipv4` with addresses [`V4`], and `bpf_sock_tuple.ipv6` with [`V6`].
#[repr(C)]
pub struct Tuple<A> {
    pub from: A,
    pub to: A,
    pub from_port: Port,
    pub to_port: Port,
}

impl<A: Default> Tuple<A> {
    /// From nobody, so that only servers match.
    #[inline(always)]
    pub fn to(to: A, to_port: Port) -> Self {
        Self {
            from: A::default(),
            to,
            from_port: Port::ANY,
            to_port,
        }
    }
}

/// Who answers at `address` and `port`, by the type of the calling socket, to a call for
/// the port `asked`, which is another one where loopback is private.
///
/// A datagram socket that has sent without a bind is at the wildcard address; it is the
/// cgroup's own if it was redirected under the same private loopback.
#[inline(always)]
pub fn find(call: &Call, address: Family, port: Port, asked: Port) -> Found {
    let (high, low) = address.to_v6().halves();
    // SAFETY: it is the context of the program.
    unsafe { find_server(call.context(), high, low, both(port, asked), 0) }.into()
}

/// The same at an IPv6 address, for a socket that is being bound: a server at the wildcard
/// address that lets the socket share its port counts as nobody.
#[inline(always)]
pub fn find_unshared(call: &Call, address: V6, port: Port) -> Found {
    let (high, low) = address.halves();
    // SAFETY: it is the context of the program.
    unsafe { find_server(call.context(), high, low, both(port, port), 1) }.into()
}

/// Two ports in a number: a function takes five at most.
#[inline(always)]
const fn both(port: Port, asked: Port) -> u32 {
    (asked.0 as u32) << 16 | port.0 as u32
}

/// [`find`], or [`find_unshared`] if `is_unshared` is not 0, as a function of its own;
/// `ports` are of [`both`].
///
/// # Safety
///
/// `ctx` is the context of a program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_server(
    ctx: *mut bpf_sock_addr,
    high: u64,
    low: u64,
    ports: u32,
    is_unshared: u32,
) -> u32 {
    let (call, policy) = (Call::at(ctx), policy());
    let (port, asked) = (Port(ports as u16), Port((ports >> 16) as u16));
    let socket_type = call.socket_type();
    let found = match Family::of(V6::from_halves(high, low)) {
        Family::V4(address) => find4(ctx, policy, socket_type, Tuple::to(address, port), asked),
        Family::V6(address) => find6(
            &call,
            policy,
            socket_type,
            address,
            [port, asked],
            |socket| {
                is_unshared != 0
                    && can_share(call.protocol(), sharing(call.socket()), sharing(socket))
            },
        ),
    };
    found as u32
}

/// What is kept about the socket that answers at `address` and `port`.
#[inline(always)]
pub fn bound_at(call: &Call, address: Family, port: Port) -> Bound {
    let (ctx, socket_type) = (call.context(), call.socket_type());
    let socket = match address {
        Family::V4(address) => look_up(ctx, socket_type, Tuple::to(address, port)),
        Family::V6(address) => look_up(ctx, socket_type, Tuple::to(address, port)),
    };
    if socket.is_null() {
        return Bound::default();
    }
    let bound = bound::of(socket).map_or_else(Bound::default, |bound| *bound);
    release(socket);
    bound
}

/// Who answers at the destination of a tuple; otherwise like [`find`]. `ctx` is the context
/// of a program.
#[inline(always)]
pub fn find4<C>(
    ctx: *mut C,
    policy: &Policy,
    socket_type: u32,
    tuple: Tuple<V4>,
    asked: Port,
) -> Found {
    let address = tuple.to;
    let socket = look_up(ctx, socket_type, tuple);
    let is_loopback = matches!(kind4(address), Kind::Loopback);
    judge(socket, policy, socket_type, is_loopback, asked, |socket| {
        // An IPv6 socket that was found this way has the IPv4 address here too.
        if V4(field!(socket, src_ip4)) == address {
            Found::Own
        } else {
            Found::Other
        }
    })
}

/// A server at the wildcard address that `is_shared` holds for counts as nobody.
///
/// A dual-stack UDP socket is not found at its IPv6 address, where datagrams are delivered
/// to it ([`super::datagram`]), but at its IPv4 address.
#[inline(always)]
fn find6(
    call: &Call,
    policy: &Policy,
    socket_type: u32,
    address: V6,
    [port, asked]: [Port; 2],
    is_shared: impl FnOnce(*mut bpf_sock) -> bool,
) -> Found {
    let socket = look_up(call.context(), socket_type, Tuple::to(address, port));
    let is_loopback = address == LOOPBACK6;
    let found = judge(socket, policy, socket_type, is_loopback, asked, |socket| {
        match found(policy, address, field6!(socket, src_ip6)) {
            Found::Other if is_shared(socket) => Found::Nobody,
            // All cgroups share the address: what is kept about the socket says whose it is.
            Found::Own if is_loopback && private_loopback(policy).is_some() => Found::Other,
            kind => kind,
        }
    });
    let can_be_dual = socket_type == SOCK_DGRAM
        && is_dual(policy, UDP)
        && address == policy.ipv6
        && matches!(found, Found::Other | Found::Nobody);
    if can_be_dual && has_dual(call, policy, port) {
        return Found::Dual;
    }
    found
}

/// Whether a dual-stack UDP socket with the addresses of the policy has this port.
#[inline(always)]
fn has_dual(call: &Call, policy: &Policy, port: Port) -> bool {
    let socket = look_up(call.context(), SOCK_DGRAM, Tuple::to(policy.ipv4, port));
    if socket.is_null() {
        return false;
    }
    let is_dual = V4(field!(socket, src_ip4)) == policy.ipv4
        && dual::of(socket).is_some_and(|bind| bind.place.address == policy.ipv6);
    release(socket);
    is_dual
}

/// The socket at the destination of a tuple, which has to be released; null if there is
/// none. `ctx` is the context of a program.
#[inline(always)]
pub fn look_up<C, T>(ctx: *mut C, socket_type: u32, mut tuple: T) -> *mut bpf_sock {
    let pointer = (&raw mut tuple).cast::<bpf_sock_tuple>();
    let size = size_of::<T>() as u32;
    if socket_type == SOCK_STREAM {
        // SAFETY: the tuple is initialised, and of that size.
        unsafe { bpf_sk_lookup_tcp(ctx.cast(), pointer, size, CURRENT_NETNS, 0) }
    } else {
        // SAFETY: as above.
        unsafe { bpf_sk_lookup_udp(ctx.cast(), pointer, size, CURRENT_NETNS, 0) }
    }
}

/// Releases a socket that was found, as the verifier requires. It is not used again.
#[inline(always)]
pub fn release(socket: *mut bpf_sock) {
    // SAFETY: the reference came from a lookup, and is not used again.
    let _ = unsafe { bpf_sk_release(socket.cast()) };
}

/// Says what a socket that was found is, and releases it; `kind` tells by its address. At a
/// loopback address that all share, a socket that was bound under another policy is somebody
/// else's.
#[inline(always)]
fn judge(
    socket: *mut bpf_sock,
    policy: &Policy,
    socket_type: u32,
    is_loopback: bool,
    asked: Port,
    kind: impl FnOnce(*mut bpf_sock) -> Found,
) -> Found {
    if socket.is_null() {
        return Found::Nobody;
    }
    let kind = kind(socket);
    let state = field!(socket, state);
    let is_stream = socket_type == SOCK_STREAM;
    let kind = match private_loopback(policy) {
        Some(private) => own(socket, private, asked).unwrap_or(kind),
        None if is_loopback && is_foreign(socket, policy.loopback) => Found::Other,
        None => kind,
    };
    release(socket);
    if is_stream && state != LISTEN {
        Found::Nobody
    } else {
        kind
    }
}

/// Whether a socket was bound under another policy than the one with this loopback address.
#[inline(always)]
fn is_foreign(socket: *mut bpf_sock, loopback: V4) -> bool {
    bound::any(socket).is_some_and(|bound| bound.owner != ANY4 && bound.owner != loopback)
}

/// What a socket is to the cgroup with this private loopback, if it belongs to that
/// cgroup: it was bound to `::1`, or redirected, under its policy.
#[inline(always)]
fn own(socket: *mut bpf_sock, private: V4, asked: Port) -> Option<Found> {
    let bound = bound::at_loopback6(socket);
    let is_moved = bound
        .as_ref()
        .is_some_and(|bound| !bound.is_for(private, asked));
    let is_own = bound.is_some_and(|bound| bound.owner == private)
        || redirects::of(socket).is_some_and(|redirects| redirects.owner == private);
    let found = if is_moved { Found::Moved } else { Found::Own };
    is_own.then_some(found)
}

/// Who receives a packet with this tuple at `::1`, where loopback is private: a server, or
/// the other end of a connection. `ctx` is the context of a program.
#[inline(always)]
pub fn find_private6<C>(ctx: *mut C, private: V4, socket_type: u32, tuple: Tuple<V6>) -> Found {
    let socket = look_up(ctx, socket_type, tuple);
    if socket.is_null() {
        return Found::Nobody;
    }
    let found = own(socket, private, Port::ANY).unwrap_or(Found::Other);
    release(socket);
    found
}
