//! A bind: what is looked up about its socket, and what is kept about it.

use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::address::{Family, Kind, V6, halves, whole};
use oci_bind_hook_ebpf::decide::bind::Server;
use oci_bind_hook_ebpf::decide::bound::Bound;
use oci_bind_hook_ebpf::decide::endpoint::Endpoint;
use oci_bind_hook_ebpf::decide::loopback::Found;
use oci_bind_hook_ebpf::decide::port::{Port, UDP};

use super::bound;
use super::context::{Call, has_groups};
use super::lookup::{bound_at, find, find_unshared};
use super::storage::policy;

/// An IPv6 socket that is about to be bound.
pub struct Binding<'a> {
    pub ctx: &'a SockAddrContext,
    pub call: Call,
    pub policy: &'a Policy,
}

impl Server for Binding<'_> {
    #[inline(always)]
    fn v6only(&self) -> bool {
        self.call.v6only()
    }

    #[inline(always)]
    fn can_be_dual(&self) -> bool {
        self.call.namespace() == self.policy.namespace
            && self.call.device() == 0
            && (self.call.protocol() != UDP || has_groups() || !self.call.is_in_group())
    }

    #[inline(always)]
    fn find(&self, address: V6, port: Port, asked: Port) -> Found {
        find(self.ctx, Family::V6(address), port, asked)
    }

    #[inline(always)]
    fn find_unshared(&self, address: V6, port: Port) -> Found {
        find_unshared(self.ctx, address, port)
    }
}

/// Records what a bind asks for, and returns whether its program binds one address of the
/// host after another.
#[inline(always)]
pub fn note(ctx: &SockAddrContext, asked: Endpoint) -> bool {
    let (high, low) = halves(asked.address);
    // SAFETY: it is the context of the program.
    unsafe { note_bind(ctx.sock_addr, high, low, asked.port.into()) != 0 }
}

/// [`note`] as a function of its own.
///
/// # Safety
///
/// `ctx` is the context of a program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn note_bind(ctx: *mut bpf_sock_addr, high: u64, low: u64, port: u32) -> u32 {
    let ctx = &SockAddrContext::new(ctx);
    let (call, policy) = (Call::new(ctx), policy());
    let asked = Endpoint::new(whole(high, low), port as Port);
    let kept = Bound::kept(policy, call.protocol(), asked, bound::uid());
    let at = Family::of(kept.actual.address);
    let is_repeated = matches!(at.kind(), Kind::Unicast)
        && bound_at(ctx, call.socket_type(), at, kept.actual.port)
            .is_repeated_by(&kept, call.protocol());
    bound::note(&call, &kept, &asked);
    is_repeated.into()
}
