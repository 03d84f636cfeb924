//! Dual-stack servers: entered into a map, and found there for the packets that
//! open a connection, and for datagrams.

use aya_ebpf::bindings::sk_action::SK_PASS;
use aya_ebpf::macros::{cgroup_sock, cgroup_sockopt, sk_lookup, sock_ops};
use aya_ebpf::programs::{SkLookupContext, SockContext, SockOpsContext, SockoptContext};

use crate::programs::dual::close;
use crate::programs::dual::datagrams::{keep_value, leaves_map, report};
use crate::programs::dual::steer::{Packet, assign};
use crate::programs::dual::streams::{Socket, State};

/// TCP sockets of the cgroup whose state changes.
#[sock_ops]
fn listen(ctx: SockOpsContext) -> u32 {
    let socket = Socket::new(&ctx);
    match socket.state() {
        State::Listens => socket.enter(),
        State::Closes => socket.leave(),
        State::Other => {}
    }
    1
}

/// IPv6 sockets of the cgroup that the kernel has bound.
#[cgroup_sock(post_bind6)]
fn bound6(ctx: SockContext) -> i32 {
    report(ctx.sock);
    1
}

/// Options of the cgroup's sockets that are set.
#[cgroup_sockopt(setsockopt)]
fn options(ctx: SockoptContext) -> i32 {
    if leaves_map(ctx.sockopt) {
        return 0;
    }
    keep_value(ctx.sockopt);
    1
}

/// Sockets of the cgroup that are closed.
#[cgroup_sock(sock_release)]
fn release(ctx: SockContext) -> i32 {
    close(ctx.sock);
    1
}

/// The receiver of a packet of this network namespace that belongs to no
/// connection. Whatever is found, the kernel does not drop the packet: it goes
/// on to look for a receiver itself if there is none.
#[sk_lookup]
fn steer(ctx: SkLookupContext) -> u32 {
    if let Some(place) = Packet::new(&ctx).place() {
        assign(&ctx, place);
    }
    SK_PASS
}
