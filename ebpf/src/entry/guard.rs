//! Packets of the cgroup's sockets. Return values: 1 lets the packet go on, 0
//! drops it.

use aya_ebpf::{macros::cgroup_skb, programs::SkBuffContext};
use oci_bind_hook_ebpf::abi::{Hook, Policy};
use oci_bind_hook_ebpf::guard::{may_enter, may_leave};
use oci_bind_hook_ebpf::port::is_exempt;

use crate::programs::packet::{Side, address, is_multicast, socket_port};
use crate::programs::storage::{count, policy};

/// Packets that a socket sends.
#[cgroup_skb(egress)]
fn egress(ctx: SkBuffContext) -> i32 {
    let policy = policy();
    let source = address(&ctx, Side::Source);
    conclude(
        &ctx,
        policy,
        Hook::Egress,
        source.is_some_and(|source| may_leave(policy, source)),
    )
}

/// Packets that a socket receives.
#[cgroup_skb(ingress)]
fn ingress(ctx: SkBuffContext) -> i32 {
    let policy = policy();
    let destination = address(&ctx, Side::Destination);
    let is_multicast = is_multicast(&ctx);
    conclude(
        &ctx,
        policy,
        Hook::Ingress,
        destination.is_some_and(|destination| may_enter(policy, destination, is_multicast)),
    )
}

#[inline(always)]
fn conclude(ctx: &SkBuffContext, policy: &Policy, hook: Hook, may_pass: bool) -> i32 {
    if may_pass || is_of_exempt_port(ctx, policy) {
        return 1;
    }
    count(hook, |counters| &raw const counters.denied);
    0
}

#[inline(always)]
fn is_of_exempt_port(ctx: &SkBuffContext, policy: &Policy) -> bool {
    policy.rules != 0
        && socket_port(ctx).is_some_and(|(protocol, port)| is_exempt(policy, protocol, port))
}
