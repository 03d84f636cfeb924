//! TCP servers, as `struct bpf_sock_ops` has them: added to the map when they listen.

use aya_ebpf::bindings::{
    BPF_NOEXIST, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_LISTEN_CB,
    BPF_TCP_LISTEN, bpf_sock, bpf_sock_ops,
};
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::{bpf_sock_hash_update, bpf_sock_ops_cb_flags_set};
use aya_ebpf::programs::SockOpsContext;
use core::ffi::c_void;
use oci_bind_hook_ebpf::abi::DUAL_COUNTS as COUNTS;
use oci_bind_hook_ebpf::decide::dual::{DualBind, Place, bucket, one};
use oci_bind_hook_ebpf::net::Port;

use super::{DUAL, delete, enter, of};
use crate::kernel::atomic::add;
use crate::kernel::field::{field, field6};

#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static DUAL_COUNTS: Array<u64, { COUNTS as usize }> = Array::new();

/// How the state of a socket changes.
pub enum State {
    /// It has begun to listen.
    Listens,
    /// It no longer listens.
    Closes,
    /// Something else.
    Other,
}

/// A TCP socket whose state changes.
pub struct Socket {
    ops: *mut bpf_sock_ops,
}

impl Socket {
    #[inline(always)]
    pub fn new(ctx: &SockOpsContext) -> Self {
        Self { ops: ctx.ops }
    }

    #[inline(always)]
    pub fn state(&self) -> State {
        match field!(self.ops, op) {
            BPF_SOCK_OPS_TCP_LISTEN_CB => State::Listens,
            // The first argument is the old state.
            BPF_SOCK_OPS_STATE_CB
                if field!(self.ops, __bindgen_anon_1.args[0]) == BPF_TCP_LISTEN =>
            {
                State::Closes
            }
            _ => State::Other,
        }
    }

    /// Adds the socket to the map if it was bound as a dual-stack server.
    #[inline(always)]
    pub fn enter(&self) {
        let Some(bind) = self.bind() else { return };
        // If still counted, it stopped listening while this program was not attached. The
        // kernel has removed it from the map, and another socket may have its slot.
        uncount(bind);
        let local = field6!(self.ops, local_ip6);
        if local != bind.bound {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a port has 16 bits")]
        let port = Port::new(field!(self.ops, local_port) as u16);
        if enter(bind, port, |place| self.update(place))
            && let Some(count) = count(&bind.place)
        {
            add(count, one(bind.place.slot).cast_signed());
            bind.is_counted = 1;
            self.ask_for_states();
        }
    }

    /// Removes the socket from the map again, unless it is being closed: the kernel has
    /// then already done so, and another socket may have its slot. A socket that was shut
    /// down before it listened, or that no longer listens, does not count as closed: it
    /// may listen again.
    #[inline(always)]
    pub fn leave(&self) {
        let Some(bind) = self.bind() else { return };
        if bind.is_counted != 0 && bind.is_closed == 0 {
            let place = bind.place;
            delete(&place);
        }
        uncount(bind);
    }

    #[inline(always)]
    fn bind(&self) -> Option<&'static mut DualBind> {
        of(self.socket()?)
    }

    #[inline(always)]
    fn socket(&self) -> Option<*mut bpf_sock> {
        let socket = field!(self.ops, __bindgen_anon_2);
        // SAFETY: a union of one pointer.
        let socket = unsafe { socket.sk };
        (!socket.is_null()).then_some(socket)
    }

    #[inline(always)]
    fn update(&self, place: &Place) -> i64 {
        let map: *mut c_void = (&raw const DUAL).cast_mut().cast();
        let key: *mut c_void = (&raw const *place).cast_mut().cast();
        // SAFETY: the helper reads a key of the map's size.
        unsafe { bpf_sock_hash_update(self.ops, map, key, u64::from(BPF_NOEXIST)) }
    }

    /// Has the kernel call this program when the socket's state changes.
    #[inline(always)]
    fn ask_for_states(&self) {
        let flags = field!(self.ops, bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_STATE_CB_FLAG;
        // SAFETY: the helper takes flags that the kernel defines.
        let _ = unsafe { bpf_sock_ops_cb_flags_set(self.ops, flags.cast_signed()) };
    }
}

/// Stops counting the socket at its place.
#[inline(always)]
fn uncount(bind: &mut DualBind) {
    if bind.is_counted != 0
        && let Some(count) = count(&bind.place)
    {
        bind.is_counted = 0;
        add(count, -one(bind.place.slot).cast_signed());
    }
}

/// The count of the servers at a place, and at the places that share the count.
#[inline(always)]
pub fn count(place: &Place) -> Option<*mut u64> {
    DUAL_COUNTS.get_ptr_mut(bucket(place))
}
