//! What becomes of a call: it goes on or is refused, and is counted.

use aya_ebpf::bindings::sockaddr;
use aya_ebpf::helpers::{bpf_bind, bpf_set_retval};
use core::ptr::read_volatile;
use oci_bind_hook_ebpf::abi::{Cause, Hook};
use oci_bind_hook_ebpf::decide::verdict::{Action, Verdict};
use oci_bind_hook_ebpf::net::{V4, V6};

use super::call::Call;
use super::storage::{count, count_isolated, count_refusal};

/// Whether this kernel has `bpf_set_retval`; set by the loader, which tries it. The
/// verifier removes the call where it is 0.
#[unsafe(no_mangle)]
static HAS_SET_RETVAL: u8 = 0;

/// Lets the call go on.
const ALLOW: i32 = 1;
/// Refuses the call.
const REFUSE: i32 = 0;

/// Counts what has become of a call, which is refused if the verdict says so.
#[inline(always)]
pub fn conclude<A>(hook: Hook, verdict: &Verdict<A>) -> i32 {
    match verdict.action {
        Action::Pass => count(hook, |counters| &raw const counters.passed),
        Action::Rewrite => count(hook, |counters| &raw const counters.rewritten),
        Action::Isolate => count_isolated(hook),
        Action::Deny => return refuse(hook, verdict.cause),
    }
    ALLOW
}

/// Refuses a call for this cause, and counts it.
#[inline(always)]
pub fn refuse(hook: Hook, cause: Cause) -> i32 {
    count_refusal(hook, cause);
    // SAFETY: a static of this object; volatile, because the loader sets it.
    if unsafe { read_volatile(&raw const HAS_SET_RETVAL) } != 0 {
        // SAFETY: the helper takes any negative errno.
        let _ = unsafe { bpf_set_retval(-cause.errno()) };
    }
    REFUSE
}

/// `struct sockaddr_in`
#[repr(C)]
struct SockaddrIn {
    family: u16,
    port: u16,
    address: V4,
    zero: [u32; 2],
}

/// `struct sockaddr_in6`
#[repr(C)]
struct SockaddrIn6 {
    family: u16,
    port: u16,
    flowinfo: u32,
    address: V6,
    scope_id: u32,
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Binds the connecting socket to `address` without a port: the kernel chooses one when it
/// knows the peer, as with `IP_BIND_ADDRESS_NO_PORT`, so that connections to distinct
/// peers can share it. An IPv4 socket has an IPv4-mapped address.
#[inline(always)]
pub fn bind_source(call: &Call, address: V6) -> bool {
    if call.is_v6() {
        bind(
            call,
            SockaddrIn6 {
                family: AF_INET6,
                port: 0,
                flowinfo: 0,
                address,
                scope_id: 0,
            },
        )
    } else {
        bind(
            call,
            SockaddrIn {
                family: AF_INET,
                port: 0,
                address: address.v4(),
                zero: [0; 2],
            },
        )
    }
}

#[inline(always)]
fn bind<A>(call: &Call, mut address: A) -> bool {
    let pointer = (&raw mut address).cast::<sockaddr>();
    // SAFETY: the pointer is to initialised memory on the stack, of that length.
    unsafe { bpf_bind(call.context(), pointer, size_of::<A>() as i32) == 0 }
}
