//! getpeername(2), getsockname(2) and the source of received datagrams. These
//! hooks may not refuse: they return 1.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use oci_bind_hook_ebpf::abi::Hook;
use oci_bind_hook_ebpf::decide::address::{Family, V6, mapped};
use oci_bind_hook_ebpf::decide::endpoint::Endpoint;
use oci_bind_hook_ebpf::decide::names::{is_call, local_name, peer_name};

use crate::kernel::context::Call;
use crate::kernel::storage::{count, policy};
use crate::kernel::{bound, redirects};

/// getpeername(2) and accept(2) of IPv4 sockets.
#[cgroup_sock_addr(getpeername4)]
fn getpeername4(ctx: SockAddrContext) -> i32 {
    tell_peer4(&ctx, Hook::Getpeername4)
}

/// getpeername(2) and accept(2) of IPv6 sockets.
#[cgroup_sock_addr(getpeername6)]
fn getpeername6(ctx: SockAddrContext) -> i32 {
    tell_peer6(&ctx, Hook::Getpeername6)
}

/// The source of a datagram that an IPv4 socket receives.
#[cgroup_sock_addr(recvmsg4)]
fn recvmsg4(ctx: SockAddrContext) -> i32 {
    hear(&ctx, mapped(Call::new(&ctx).user_ip4()));
    tell_peer4(&ctx, Hook::Recvmsg4)
}

/// The source of a datagram that an IPv6 socket receives, IPv4-mapped ones
/// included.
#[cgroup_sock_addr(recvmsg6)]
fn recvmsg6(ctx: SockAddrContext) -> i32 {
    hear(&ctx, Call::new(&ctx).user_ip6());
    tell_peer6(&ctx, Hook::Recvmsg6)
}

/// getsockname(2) of IPv4 sockets.
#[cgroup_sock_addr(getsockname4)]
fn getsockname4(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let local = Endpoint::new(mapped(call.user_ip4()), call.user_port());
    if let Some(name) = name(&call, local)
        && let Family::V4(address) = Family::of(name.address)
    {
        call.set_user_ip4(address);
        call.set_user_port(name.port);
        count(Hook::Getsockname4, |counters| &raw const counters.rewritten);
    }
    1
}

/// getsockname(2) of IPv6 sockets.
#[cgroup_sock_addr(getsockname6)]
fn getsockname6(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let local = Endpoint::new(call.user_ip6(), call.user_port());
    if let Some(name) = name(&call, local) {
        call.set_user_ip6(name.address);
        call.set_user_port(name.port);
        count(Hook::Getsockname6, |counters| &raw const counters.rewritten);
    }
    1
}

#[inline(always)]
fn name(call: &Call, local: Endpoint) -> Option<Endpoint> {
    let redirects = redirects::of(call.socket());
    let bound = bound::any(call.socket());
    local_name(
        policy(),
        redirects.as_deref(),
        bound.as_deref(),
        local,
        call.peer(),
    )
}

/// Records that somebody on loopback has called the socket.
#[inline(always)]
fn hear(ctx: &SockAddrContext, from: V6) {
    let call = Call::new(ctx);
    let peer = Endpoint::new(from, call.user_port());
    let redirects = || redirects::of(call.socket()).map(|redirects| &*redirects);
    if is_call(policy(), redirects, &peer) {
        redirects::note_call(call.socket());
    }
}

#[inline(always)]
fn tell_peer4(ctx: &SockAddrContext, hook: Hook) -> i32 {
    let call = Call::new(ctx);
    let redirects = redirects::of(call.socket());
    let actual = Endpoint::new(mapped(call.user_ip4()), call.user_port());
    if let Some(name) = peer_name(policy(), redirects.as_deref(), actual)
        && let Family::V4(address) = Family::of(name.address)
    {
        call.set_user_ip4(address);
        call.set_user_port(name.port);
        count(hook, |counters| &raw const counters.rewritten);
    }
    1
}

#[inline(always)]
fn tell_peer6(ctx: &SockAddrContext, hook: Hook) -> i32 {
    let call = Call::new(ctx);
    let redirects = redirects::of(call.socket());
    let actual = Endpoint::new(call.user_ip6(), call.user_port());
    if let Some(name) = peer_name(policy(), redirects.as_deref(), actual) {
        call.set_user_ip6(name.address);
        call.set_user_port(name.port);
        count(hook, |counters| &raw const counters.rewritten);
    }
    1
}
