//! A bind: what is looked up about its socket, and what is kept about it.

use aya_ebpf::bindings::bpf_sock_addr;
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::address::{Family, Kind};
use oci_bind_hook_ebpf::decide::bind::Server;
use oci_bind_hook_ebpf::decide::bound::Bound;
use oci_bind_hook_ebpf::decide::loopback::Found;
use oci_bind_hook_ebpf::decide::port::UDP;
use oci_bind_hook_ebpf::net::{Endpoint, Port, V6};

use super::call::Call;
use super::lookup::{bound_at, find, find_unshared};
use super::storage::policy;
use super::{bound, socket};

/// An IPv6 socket that is about to be bound.
pub struct Binding<'a> {
    pub call: Call,
    pub policy: &'a Policy,
}

impl Server for Binding<'_> {
    #[inline(always)]
    fn v6only(&self) -> bool {
        socket::v6only(self.call.socket())
    }

    #[inline(always)]
    fn can_be_dual(&self) -> bool {
        socket::namespace(self.call.socket()) == self.policy.namespace
            && self.call.device() == 0
            && (self.call.protocol() != UDP
                || socket::has_groups()
                || !socket::is_in_group(self.call.socket()))
    }

    #[inline(always)]
    fn find(&self, address: V6, port: Port, asked: Port) -> Found {
        find(&self.call, Family::V6(address), port, asked)
    }

    #[inline(always)]
    fn find_unshared(&self, address: V6, port: Port) -> Found {
        find_unshared(&self.call, address, port)
    }
}

/// Records what a bind asks for, and returns whether its program binds one address of the
/// host after another.
#[inline(always)]
pub fn note(call: &Call, asked: Endpoint) -> bool {
    let (high, low) = asked.address.halves();
    // SAFETY: it is the context of the program.
    unsafe { note_bind(call.context(), high, low, asked.port.0.into()) != 0 }
}

/// [`note`] as a function of its own.
///
/// # Safety
///
/// `ctx` is the context of a program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn note_bind(ctx: *mut bpf_sock_addr, high: u64, low: u64, port: u32) -> u32 {
    let (call, policy) = (Call::at(ctx), policy());
    let asked = Endpoint::new(V6::from_halves(high, low), Port(port as u16));
    let kept = Bound::kept(policy, call.protocol(), asked, bound::uid());
    let at = Family::of(kept.actual.address);
    let is_repeated = matches!(at.kind(), Kind::Unicast)
        && bound_at(&call, at, kept.actual.port).is_repeated_by(&kept, call.protocol());
    bound::note(&call, &kept, &asked);
    is_repeated.into()
}
