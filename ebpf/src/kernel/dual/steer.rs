//! Packets to servers, as `struct bpf_sk_lookup` has them.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{BPF_TCP_LISTEN, bpf_sk_lookup, bpf_sock};
use aya_ebpf::helpers::{bpf_map_lookup_elem, bpf_sk_assign};
use aya_ebpf::programs::SkLookupContext;
use core::ffi::c_void;
use core::ops::Range;
use core::ptr::read_volatile;
use oci_bind_hook_ebpf::decide::dual::{GROUPS, Place, has_servers};
use oci_bind_hook_ebpf::decide::port::TCP;
use oci_bind_hook_ebpf::net::Port;

use super::{DUAL, streams};
use crate::kernel::field::{field, field6};
use crate::kernel::lookup::release;

/// `AF_INET6`
const AF_INET6: u32 = 10;

/// The network namespace that this copy of `steer` is for; set by the loader,
/// since no helper tells the namespace of a packet there.
#[unsafe(no_mangle)]
static NAMESPACE: u64 = 0;

/// A packet that belongs to no connection.
pub struct Packet {
    lookup: *mut bpf_sk_lookup,
}

impl Packet {
    #[inline(always)]
    pub fn new(ctx: &SkLookupContext) -> Self {
        Self { lookup: ctx.lookup }
    }

    /// The place that it is for, if there can be servers in the map.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "16 bits are used")]
    pub fn place(&self) -> Option<Place> {
        if field!(self.lookup, family) != AF_INET6 || field!(self.lookup, protocol) != TCP {
            return None;
        }
        Some(Place {
            // SAFETY: a static of this object; volatile, because the loader
            // sets it.
            namespace: unsafe { read_volatile(&raw const NAMESPACE) },
            address: field6!(self.lookup, local_ip6),
            port: Port::new(field!(self.lookup, local_port) as u16),
            protocol: TCP as u16,
            slot: 0,
        })
    }
}

/// Makes the first server at this place the receiver of the packet.
#[inline(always)]
pub fn assign(ctx: &SkLookupContext, mut place: Place) {
    let Some(counts) = streams::count(&place) else {
        return;
    };
    // SAFETY: a word of a map's value, which others may change.
    let counts = unsafe { read_volatile(counts) };
    for bounds in GROUPS.windows(2) {
        if has_servers(counts, bounds[0]) && assign_from(ctx, &mut place, bounds[0]..bounds[1]) {
            return;
        }
    }
}

/// Searches only these slots; returns whether there was a server.
#[inline(always)]
fn assign_from(ctx: &SkLookupContext, place: &mut Place, slots: Range<u32>) -> bool {
    let map: *mut c_void = (&raw const DUAL).cast_mut().cast();
    let local = u32::from(place.port.number());
    for slot in slots {
        place.slot = slot;
        // SAFETY: the helper reads a key of the map's size, and returns a socket that is
        // held until it is released.
        let socket = unsafe { bpf_map_lookup_elem(map, (&raw const *place).cast()) };
        if !socket.is_null() {
            let socket: *mut bpf_sock = socket.cast();
            let device = field!(socket, bound_dev_if);
            let state = field!(socket, state);
            // In host byte order.
            let port = field!(socket, src_port);
            // A socket bound to a device does not receive everything, one that was shut
            // down or closed nothing. No branches: the verifier of Linux 6.1 follows each
            // of them through all slots.
            let is_open = device | (state ^ BPF_TCP_LISTEN) | (port ^ local) == 0;
            if is_open {
                // SAFETY: the socket is held until it is released below. If another program
                // has chosen a socket, the kernel refuses, and that one stays.
                let _ = unsafe { bpf_sk_assign(ctx.as_ptr(), socket.cast(), 0) };
            }
            release(socket);
            if is_open {
                return true;
            }
        }
    }
    false
}
