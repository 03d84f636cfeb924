//! Dual-stack TCP servers: added to a map, and found there for the packets that open a
//! connection.

use aya_ebpf::bindings::sk_action::SK_PASS;
use aya_ebpf::macros::{cgroup_sock, sk_lookup, sock_ops};
use aya_ebpf::programs::{SkLookupContext, SockContext, SockOpsContext};

use crate::kernel::dual::close;
use crate::kernel::dual::steer::{Packet, assign};
use crate::kernel::dual::streams::{Socket, State};

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
