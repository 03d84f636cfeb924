//! A socket that is about to be bound.

use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::address::{Family, Kind, V6};
use oci_bind_hook_ebpf::bind::Socket;
use oci_bind_hook_ebpf::bound::Bound;
use oci_bind_hook_ebpf::loopback::Found;
use oci_bind_hook_ebpf::names::Endpoint;
use oci_bind_hook_ebpf::port::{Port, UDP};

use super::bound;
use super::context::{Call, halves, has_groups, whole};
use super::lookup::{bound_at, find, find_unshared};
use super::storage::policy;

/// A socket that is about to be bound.
pub struct Binding<'a> {
    ctx: &'a SockAddrContext,
    call: Call,
    policy: &'a Policy,
    /// Whether it is one of many addresses that its program binds.
    is_repeated: bool,
}

impl<'a> Binding<'a> {
    /// The socket of a bind that asks for this, which is kept.
    #[inline(always)]
    pub fn new(ctx: &'a SockAddrContext, policy: &'a Policy, asked: Endpoint) -> Self {
        Self {
            ctx,
            call: Call::new(ctx),
            policy,
            is_repeated: note(ctx, asked),
        }
    }
}

impl Socket for Binding<'_> {
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
    fn find(&self, address: V6, port: Port) -> Found {
        find(self.ctx, Family::V6(address), port)
    }

    #[inline(always)]
    fn find_unshared(&self, address: V6, port: Port) -> Found {
        find_unshared(self.ctx, address, port)
    }

    #[inline(always)]
    fn is_repeated(&self) -> bool {
        self.is_repeated
    }
}

/// Keeps what a bind asks for, and says whether its program binds one address of the host
/// after another.
#[inline(always)]
fn note(ctx: &SockAddrContext, asked: Endpoint) -> bool {
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
