//! socket(2), bind(2), connect(2) and sendmsg(2). Return values: 1 lets the call
//! go on, 0 refuses it.

use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr};
use aya_ebpf::programs::{SockAddrContext, SockContext};
use oci_bind_hook_ebpf::abi::{Cause, Hook, Policy, flag};
use oci_bind_hook_ebpf::decide::address::{Family, Kind, LOOPBACK6, V6, mapped, same6};
use oci_bind_hook_ebpf::decide::bind::{self, Asked};
use oci_bind_hook_ebpf::decide::connect::{self, Client};
use oci_bind_hook_ebpf::decide::dual::is_dual_bind;
use oci_bind_hook_ebpf::decide::endpoint::Endpoint;
use oci_bind_hook_ebpf::decide::hide;
use oci_bind_hook_ebpf::decide::loopback::{meant, redirects_calls};
use oci_bind_hook_ebpf::decide::names::{Redirect, known_as};
use oci_bind_hook_ebpf::decide::sendmsg::{self, Datagram};
use oci_bind_hook_ebpf::decide::socket::may_open;
use oci_bind_hook_ebpf::decide::verdict::{Action, Path};

use crate::kernel::binding::{Binding, note};
use crate::kernel::context::{Call, protocol};
use crate::kernel::lookup::find;
use crate::kernel::outcome::{bind_source4, bind_source6, conclude, refuse};
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
    let address = call.user_ip4();
    let asked_for = Endpoint::new(mapped(address), call.user_port());
    let verdict = bind::bind4(policy, asked(&ctx, asked_for), address);
    let action = verdict.action;
    conclude(Hook::Bind4, verdict, |(own, port)| {
        call.set_user_ip4(own);
        call.set_user_port(port);
        if matches!(action, Action::Isolate) {
            bound::tell(&ctx, asked_for, Endpoint::new(mapped(own), port));
        }
        true
    })
}

/// bind(2) of IPv6 sockets.
#[cgroup_sock_addr(bind6)]
fn bind6(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let policy = policy();
    let address = dual::take(
        call.socket(),
        policy,
        call.user_ip6(),
        call.local_port() != 0,
    );
    let asked_for = Endpoint::new(address, call.user_port());
    let server = Binding {
        ctx: &ctx,
        call,
        policy,
    };
    let verdict = bind::bind6(policy, asked(&ctx, asked_for), address, &server);
    let action = verdict.action;
    conclude(Hook::Bind6, verdict, |(own, port)| {
        call.set_user_ip6(own);
        call.set_user_port(port);
        if matches!(action, Action::Isolate) || same6(&own, &LOOPBACK6) {
            bound::tell(&ctx, asked_for, Endpoint::new(own, port));
        }
        !is_dual_bind(policy, call.protocol(), &address, &own)
            || dual::remember(
                call.socket(),
                policy,
                call.protocol(),
                call.user_port(),
                call.local_port() != 0,
            )
    })
}

/// connect(2) to an IPv4 address: of IPv4 sockets, and of IPv6 datagram sockets
/// that are given an `AF_INET` address.
#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let policy = policy();
    let asked = mapped(call.user_ip4());
    let destination = meant(asked, call.local().address)[3];
    call.set_user_ip4(destination);
    forget(&call, policy, mapped(destination));
    let client = client(&call, policy, false);
    let verdict = connect::connect4(policy, destination, client, |address, port, asked| {
        find(&ctx, address, port, asked)
    });
    conclude(Hook::Connect4, verdict, |path| {
        let asked = mapped(call.user_ip4());
        carry_out(&ctx, &call, policy, path, asked, |address| {
            call.set_user_ip4(address[3]);
        })
    })
}

/// connect(2) of IPv6 sockets to an IPv6 address, IPv4-mapped ones included.
#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let policy = policy();
    let destination = meant(call.user_ip6(), call.local().address);
    call.set_user_ip6(destination);
    forget(&call, policy, destination);
    let client = client(&call, policy, !call.v6only());
    let verdict = connect::connect6(policy, destination, client, |address, port, asked| {
        find(&ctx, address, port, asked)
    });
    conclude(Hook::Connect6, verdict, |path| {
        let asked = call.user_ip6();
        carry_out(&ctx, &call, policy, path, asked, |address| {
            call.set_user_ip6(address);
        })
    })
}

/// Datagrams to an IPv4 address, from sockets of either family.
#[cgroup_sock_addr(sendmsg4)]
fn sendmsg4(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let policy = policy();
    let source = hide::number(policy, call.msg_src_ip4());
    let asked = mapped(call.destination4());
    let destination = hide::number(policy, meant(asked, mapped(source))[3]);
    // If the socket is connected, the kernel does not read this.
    call.set_user_ip4(destination);
    let datagram = datagram(&call, policy, mapped(destination));
    if !datagram.is_connected {
        forget(&call, policy, mapped(destination));
    }
    let verdict = sendmsg::sendmsg4(
        policy,
        destination,
        source,
        datagram,
        |address, port, asked| find(&ctx, address, port, asked),
    );
    conclude(Hook::Sendmsg4, verdict, |path| {
        if path.is_moved {
            call.set_msg_src_ip4(path.source);
        }
        if path.is_redirected {
            let asked = mapped(call.destination4());
            let actual = Endpoint::new(mapped(path.destination), path.port);
            remember(&call, policy, asked, actual, false);
            call.set_user_ip4(path.destination);
            call.set_user_port(path.port);
        }
        true
    })
}

/// Datagrams of IPv6 sockets to an IPv6 address.
#[cgroup_sock_addr(sendmsg6)]
fn sendmsg6(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let destination = call.destination6();
    let policy = policy();
    let datagram = datagram(&call, policy, destination);
    if !datagram.is_connected {
        forget(&call, policy, destination);
    }
    let verdict = sendmsg::sendmsg6(
        policy,
        destination,
        call.msg_src_ip6(),
        datagram,
        |address, port, asked| find(&ctx, address, port, asked),
    );
    conclude(Hook::Sendmsg6, verdict, |path| {
        if path.is_moved {
            call.set_msg_src_ip6(path.source);
        }
        if path.is_redirected {
            let asked = call.destination6();
            let actual = Endpoint::new(path.destination, path.port);
            remember(&call, policy, asked, actual, false);
            call.set_user_ip6(path.destination);
            call.set_user_port(path.port);
        }
        true
    })
}

/// Carries out a connect, with another destination, another source, or both. `asked` is as
/// in [`remember`]; `set` writes the destination.
#[inline(always)]
fn carry_out(
    ctx: &SockAddrContext,
    call: &Call,
    policy: &Policy,
    path: Path<V6>,
    asked: V6,
    set: impl FnOnce(V6),
) -> bool {
    if path.is_redirected {
        let actual = Endpoint::new(path.destination, path.port);
        remember(call, policy, asked, actual, path.is_moved);
        set(path.destination);
        call.set_user_port(path.port);
    }
    if !path.is_moved {
        true
    } else if call.is_v6() {
        bind_source6(ctx, path.source)
    } else {
        bind_source4(ctx, path.source[3])
    }
}

/// Remembers where a call went. `asked` is what was asked for, read again, since the
/// verifier knows too much about the value that the decision has used
/// ([`hide`](oci_bind_hook_ebpf::decide::hide)).
#[inline(always)]
fn remember(call: &Call, policy: &Policy, asked: V6, actual: Endpoint, is_moved: bool) {
    let asked = Endpoint::new(known_as(asked), call.user_port());
    redirects::remember(call.socket(), policy, Redirect { asked, actual }, is_moved);
}

/// A peer that is called by its real address is no longer a redirected one. This comes
/// before the decision: a redirect is remembered afterwards, and the verifier would follow
/// each path through here once for each verdict.
#[inline(always)]
fn forget(call: &Call, policy: &Policy, destination: V6) {
    if redirects_calls(policy) {
        let actual = Endpoint::new(destination, call.user_port());
        redirects::forget(call.socket(), &actual);
    }
}

/// What a bind asks for. It is also recorded.
#[inline(always)]
fn asked(ctx: &SockAddrContext, asked: Endpoint) -> Asked {
    let call = Call::new(ctx);
    Asked {
        family: call.user_family(),
        protocol: call.protocol(),
        port: asked.port,
        is_repeated: note(ctx, asked),
    }
}

#[inline(always)]
fn client(call: &Call, policy: &Policy, can_be_mapped: bool) -> Client {
    Client {
        local: call.local().hidden(policy),
        local_port: call.local_port(),
        protocol: call.protocol(),
        can_be_mapped,
        port: call.user_port(),
    }
}

/// For a connected IPv6 socket whose peer is IPv4-mapped, the kernel names that peer at
/// every send (`udpv6_sendmsg`), whatever the program called it.
#[inline(always)]
fn datagram(call: &Call, policy: &Policy, destination: V6) -> Datagram {
    let port = call.user_port();
    let peer = call.peer();
    let kind = Family::of(destination).kind();
    let is_at_home = matches!(kind, Kind::Loopback | Kind::Unspecified)
        && policy.flags & flag::LOOPBACK_UDP != 0
        && call.cookie() == policy.cookie;
    // Looked up only then: every other call would pay for it.
    let is_answer = is_at_home
        && redirects::of(call.socket())
            .is_some_and(|redirects| redirects.is_answer(&Endpoint::new(destination, port)));
    let is_peer_on_loopback = matches!(Family::of(peer.address).kind(), Kind::Loopback);
    Datagram {
        local: call.local().hidden(policy),
        protocol: call.protocol(),
        port,
        is_connected: call.is_connected() || peer.is(&Endpoint::new(destination, port)),
        is_peer_on_loopback: hide::truth(policy, is_peer_on_loopback),
        is_answer: hide::truth(policy, is_answer),
        is_at_home: hide::truth(policy, is_at_home),
    }
}
