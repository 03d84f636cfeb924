//! socket(2), bind(2), connect(2) and sendmsg(2). Return values: 1 lets the call
//! go on, 0 refuses it.

use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr};
use aya_ebpf::programs::{SockAddrContext, SockContext};
use oci_bind_hook_ebpf::abi::{Cause, Hook, Policy, flag};
use oci_bind_hook_ebpf::decide::address::{Family, Kind, LOOPBACK6, mapped};
use oci_bind_hook_ebpf::decide::bind::{self, Asked};
use oci_bind_hook_ebpf::decide::connect::{self, Client};
use oci_bind_hook_ebpf::decide::dual::is_dual_bind;
use oci_bind_hook_ebpf::decide::hide;
use oci_bind_hook_ebpf::decide::loopback::{meant, redirects_calls};
use oci_bind_hook_ebpf::decide::names::{Redirect, known_as};
use oci_bind_hook_ebpf::decide::sendmsg::{self, Datagram};
use oci_bind_hook_ebpf::decide::socket::may_open;
use oci_bind_hook_ebpf::decide::verdict::Path;
use oci_bind_hook_ebpf::net::{Endpoint, V4, V6};

use crate::kernel::binding::{Binding, note};
use crate::kernel::call::{Call, Version};
use crate::kernel::lookup::find;
use crate::kernel::outcome::{bind_source, conclude, refuse};
use crate::kernel::socket::{protocol, v6only};
use crate::kernel::storage::policy;
use crate::kernel::{bound, dual, redirects};

/// socket(2) of both families.
#[cgroup_sock(sock_create)]
fn socket(ctx: SockContext) -> i32 {
    if may_open(protocol(ctx.sock)) {
        return 1;
    }
    refuse(Hook::Socket, Cause::Protocol)
}

/// bind(2) of IPv4 sockets.
#[cgroup_sock_addr(bind4)]
fn bind4(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let policy = policy();
    let asked_for = Endpoint::new(call.address(Version::V4), call.port());
    let verdict = bind::bind4(policy, asked(&call, asked_for), asked_for.address.v4());
    if verdict.is_rewritten() {
        let (own, port) = verdict.rewrite;
        call.set_address(Version::V4, mapped(own));
        call.set_port(port);
        if verdict.is_isolated() {
            bound::tell(&call, asked_for, Endpoint::new(mapped(own), port));
        }
    }
    conclude(Hook::Bind4, &verdict)
}

/// bind(2) of IPv6 sockets.
#[cgroup_sock_addr(bind6)]
fn bind6(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let policy = policy();
    let address = dual::take(&call, policy);
    let asked_for = Endpoint::new(address, call.port());
    let server = Binding { call, policy };
    let verdict = bind::bind6(policy, asked(&call, asked_for), address, &server);
    if verdict.is_rewritten() {
        let (own, port) = verdict.rewrite;
        call.set_address(Version::V6, own);
        call.set_port(port);
        if verdict.is_isolated() || own == LOOPBACK6 {
            bound::tell(&call, asked_for, Endpoint::new(own, port));
        }
        let is_dual = is_dual_bind(policy, call.protocol(), address, own);
        if is_dual && !dual::remember(&call, policy) {
            return refuse(Hook::Bind6, Cause::Immovable);
        }
    }
    conclude(Hook::Bind6, &verdict)
}

/// connect(2) to an IPv4 address: of IPv4 sockets, and of IPv6 datagram sockets
/// that are given an `AF_INET` address.
#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    connect(&Call::new(&ctx), Version::V4, Hook::Connect4)
}

/// connect(2) of IPv6 sockets to an IPv6 address, IPv4-mapped ones included.
#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    connect(&Call::new(&ctx), Version::V6, Hook::Connect6)
}

/// Datagrams to an IPv4 address, from sockets of either family.
#[cgroup_sock_addr(sendmsg4)]
fn sendmsg4(ctx: SockAddrContext) -> i32 {
    sendmsg(&Call::new(&ctx), Version::V4, Hook::Sendmsg4)
}

/// Datagrams of IPv6 sockets to an IPv6 address, which is never IPv4-mapped
/// (`udpv6_sendmsg`).
#[cgroup_sock_addr(sendmsg6)]
fn sendmsg6(ctx: SockAddrContext) -> i32 {
    sendmsg(&Call::new(&ctx), Version::V6, Hook::Sendmsg6)
}

#[inline(always)]
fn connect(call: &Call, version: Version, hook: Hook) -> i32 {
    let policy = policy();
    let destination = meant(call.address(version), call.local().address);
    call.set_address(version, destination);
    forget(call, policy, destination);
    let client = Client {
        local: call.local().hidden(policy),
        local_port: call.local_port(),
        protocol: call.protocol(),
        can_be_mapped: matches!(version, Version::V6) && !v6only(call.socket()),
        port: call.port(),
    };
    let destination = Family::of(destination);
    let verdict = connect::connect(policy, destination, client, |address, port, asked| {
        find(call, address, port, asked)
    });
    if verdict.is_rewritten() {
        let path = verdict.rewrite;
        let asked = call.address(version);
        redirect(call, version, policy, &path, asked, path.is_moved);
        if path.is_moved && !bind_source(call, path.source) {
            return refuse(hook, Cause::Immovable);
        }
    }
    conclude(hook, &verdict)
}

#[inline(always)]
fn sendmsg(call: &Call, version: Version, hook: Hook) -> i32 {
    let policy = policy();
    let (destination, source) = match version {
        Version::V4 => {
            let source = hidden4(policy, call.source(version));
            let destination = hidden4(policy, meant(call.destination(version), source));
            // If the socket is connected, the kernel does not read this.
            call.set_address(version, destination);
            (Family::V4(destination.v4()), source)
        }
        Version::V6 => (Family::V6(call.destination(version)), call.source(version)),
    };
    let datagram = datagram(call, policy, destination);
    if !datagram.is_connected {
        forget(call, policy, destination.to_v6());
    }
    let verdict = sendmsg::sendmsg(
        policy,
        destination,
        source,
        datagram,
        |address, port, asked| find(call, address, port, asked),
    );
    if verdict.is_rewritten() {
        let path = verdict.rewrite;
        if path.is_moved {
            call.set_source(version, path.source);
        }
        let asked = call.destination(version);
        redirect(call, version, policy, &path, asked, false);
    }
    conclude(hook, &verdict)
}

/// An IPv4-mapped address that the verifier does not know ([`hide`]).
#[inline(always)]
fn hidden4(policy: &Policy, address: V6) -> V6 {
    mapped(V4(hide::number(policy, address.v4().0)))
}

/// Gives a call its new destination, if it has one, and remembers that. `asked` is what was
/// asked for, read again, since the verifier knows too much about the value that the
/// decision has used ([`hide`]); `is_moved` is as in [`redirects::remember`].
#[inline(always)]
fn redirect(
    call: &Call,
    version: Version,
    policy: &Policy,
    path: &Path,
    asked: V6,
    is_moved: bool,
) {
    if path.is_redirected {
        let redirect = Redirect {
            asked: Endpoint::new(known_as(asked), call.port()),
            actual: Endpoint::new(path.destination, path.port),
        };
        redirects::remember(call.socket(), policy, redirect, is_moved);
        call.set_address(version, path.destination);
        call.set_port(path.port);
    }
}

/// A peer that is called by its real address is no longer a redirected one. This comes
/// before the decision: a redirect is remembered afterwards, and the verifier would follow
/// each path through here once for each verdict.
#[inline(always)]
fn forget(call: &Call, policy: &Policy, destination: V6) {
    if redirects_calls(policy) {
        let actual = Endpoint::new(destination, call.port());
        redirects::forget(call.socket(), &actual);
    }
}

/// What a bind asks for. It is also recorded.
#[inline(always)]
fn asked(call: &Call, asked: Endpoint) -> Asked {
    Asked {
        family: call.user_family(),
        protocol: call.protocol(),
        port: asked.port,
        is_repeated: note(call, asked),
    }
}

/// For a connected IPv6 socket whose peer is IPv4-mapped, the kernel names that peer at
/// every send (`udpv6_sendmsg`), whatever the program called it.
#[inline(always)]
fn datagram(call: &Call, policy: &Policy, destination: Family) -> Datagram {
    let peer = call.peer();
    let kind = destination.kind();
    let destination = Endpoint::new(destination.to_v6(), call.port());
    let is_at_home = matches!(kind, Kind::Loopback | Kind::Unspecified)
        && policy.flags & flag::LOOPBACK_UDP != 0
        && call.cookie() == policy.cookie;
    // Looked up only then: every other call would pay for it.
    let is_answer = is_at_home
        && redirects::of(call.socket()).is_some_and(|redirects| redirects.is_answer(&destination));
    let is_peer_on_loopback = matches!(Family::of(peer.address).kind(), Kind::Loopback);
    Datagram {
        local: call.local().hidden(policy),
        protocol: call.protocol(),
        port: destination.port,
        is_connected: call.is_connected() || peer == destination,
        is_peer_on_loopback: hide::truth(policy, is_peer_on_loopback),
        is_answer: hide::truth(policy, is_answer),
        is_at_home: hide::truth(policy, is_at_home),
    }
}
