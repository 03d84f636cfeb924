//! Packets of the cgroup's sockets. Return values: 1 lets the packet go on, 0
//! drops it.

use aya_ebpf::{macros::cgroup_skb, programs::SkBuffContext};
use oci_bind_hook_ebpf::abi::Hook;
use oci_bind_hook_ebpf::decide::guard::{Packet as _, may_enter, may_leave};

use crate::kernel::packet::Packet;
use crate::kernel::storage::{count, policy};

/// Packets that a socket sends.
#[cgroup_skb(egress)]
fn egress(ctx: SkBuffContext) -> i32 {
    let policy = policy();
    let packet = Packet::new(&ctx, policy);
    conclude(Hook::Egress, may_leave(policy, &packet))
}

/// Packets that a socket receives.
#[cgroup_skb(ingress)]
fn ingress(ctx: SkBuffContext) -> i32 {
    let policy = policy();
    let packet = Packet::new(&ctx, policy);
    let destination = packet.destination();
    conclude(
        Hook::Ingress,
        destination.is_some_and(|destination| may_enter(policy, destination)),
    )
}

#[inline(always)]
fn conclude(hook: Hook, may_pass: bool) -> i32 {
    if may_pass {
        return 1;
    }
    count(hook, |counters| &raw const counters.denied);
    0
}
