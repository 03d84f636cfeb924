//! getpeername(2), getsockname(2) and the source of received datagrams. These
//! hooks may not refuse: they return 1.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use oci_bind_hook_ebpf::abi::Hook;
use oci_bind_hook_ebpf::decide::address::Family;
use oci_bind_hook_ebpf::decide::names::{is_call, local_name, peer_name};
use oci_bind_hook_ebpf::net::Endpoint;

use crate::kernel::call::{Call, Version};
use crate::kernel::storage::{count, policy};
use crate::kernel::{bound, redirects};

/// getpeername(2) and accept(2) of IPv4 sockets.
#[cgroup_sock_addr(getpeername4)]
fn getpeername4(ctx: SockAddrContext) -> i32 {
    tell_peer(&Call::new(&ctx), Version::V4, Hook::Getpeername4)
}

/// getpeername(2) and accept(2) of IPv6 sockets.
#[cgroup_sock_addr(getpeername6)]
fn getpeername6(ctx: SockAddrContext) -> i32 {
    tell_peer(&Call::new(&ctx), Version::V6, Hook::Getpeername6)
}

/// The source of a datagram that an IPv4 socket receives.
#[cgroup_sock_addr(recvmsg4)]
fn recvmsg4(ctx: SockAddrContext) -> i32 {
    hear(&Call::new(&ctx), Version::V4, Hook::Recvmsg4)
}

/// The source of a datagram that an IPv6 socket receives, IPv4-mapped ones
/// included.
#[cgroup_sock_addr(recvmsg6)]
fn recvmsg6(ctx: SockAddrContext) -> i32 {
    hear(&Call::new(&ctx), Version::V6, Hook::Recvmsg6)
}

/// getsockname(2) of IPv4 sockets.
#[cgroup_sock_addr(getsockname4)]
fn getsockname4(ctx: SockAddrContext) -> i32 {
    tell_local(&Call::new(&ctx), Version::V4, Hook::Getsockname4)
}

/// getsockname(2) of IPv6 sockets.
#[cgroup_sock_addr(getsockname6)]
fn getsockname6(ctx: SockAddrContext) -> i32 {
    tell_local(&Call::new(&ctx), Version::V6, Hook::Getsockname6)
}

#[inline(always)]
fn tell_local(call: &Call, version: Version, hook: Hook) -> i32 {
    let redirects = redirects::of(call.socket());
    let bound = bound::any(call.socket());
    let local = Endpoint::new(call.address(version), call.port());
    let name = local_name(
        policy(),
        redirects.as_deref(),
        bound.as_deref(),
        local,
        call.peer(),
    );
    tell(call, version, hook, name)
}

/// Records that somebody on loopback has called the socket, and tells who it was.
#[inline(always)]
fn hear(call: &Call, version: Version, hook: Hook) -> i32 {
    let peer = Endpoint::new(call.address(version), call.port());
    let redirects = || redirects::of(call.socket()).map(|redirects| &*redirects);
    if is_call(policy(), redirects, &peer) {
        redirects::note_call(call.socket());
    }
    tell_peer(call, version, hook)
}

#[inline(always)]
fn tell_peer(call: &Call, version: Version, hook: Hook) -> i32 {
    let redirects = redirects::of(call.socket());
    let actual = Endpoint::new(call.address(version), call.port());
    let name = peer_name(policy(), redirects.as_deref(), actual);
    tell(call, version, hook, name)
}

/// Puts a name in place of the real one, if there is one that the hook can tell.
#[inline(always)]
fn tell(call: &Call, version: Version, hook: Hook, name: Option<Endpoint>) -> i32 {
    if let Some(name) = name
        && (matches!(version, Version::V6) || matches!(Family::of(name.address), Family::V4(_)))
    {
        call.set_address(version, name.address);
        call.set_port(name.port);
        count(hook, |counters| &raw const counters.rewritten);
    }
    1
}
