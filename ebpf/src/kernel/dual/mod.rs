//! Dual-stack servers: the maps, and what is kept about each socket.

pub mod steer;
pub mod streams;

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::btf_maps::{SkStorage, SockHash};
use aya_ebpf::helpers::bpf_map_delete_elem;
use core::ffi::c_void;
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::dual::{DualBind, Place, SLOTS, asked, dual_bind};
use oci_bind_hook_ebpf::net::{Port, V6};

use super::atomic::add;
use super::call::{Call, Version};
use super::socket_storage::Storage as _;

/// The most dual-stack servers that one host can have at a time.
const SERVERS: usize = 1 << 14;
/// `-EEXIST`
const EXISTS: i64 = -17;

#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static DUAL: SockHash<Place, SERVERS> = SockHash::new();

#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static DUAL_BINDS: SkStorage<DualBind> = SkStorage::new();

/// Remembers that the socket is bound as a dual-stack server; false if memory runs
/// out.
#[inline(always)]
pub fn remember(call: &Call, policy: &Policy) -> bool {
    match DUAL_BINDS.create(call.socket()) {
        None => false,
        Some(bind) => {
            if !call.has_port() {
                *bind = dual_bind(policy, call.protocol(), call.port());
            }
            true
        }
    }
}

/// What the program that binds the socket asked for. What an inner cgroup's policy has
/// recorded about this bind is forgotten, and so is a bind that failed.
#[inline(always)]
pub fn take(call: &Call, policy: &Policy) -> V6 {
    let address = call.address(Version::V6);
    match of(call.socket()) {
        None => address,
        Some(bind) => {
            let asked = asked(policy, bind, address);
            if !call.has_port() {
                *bind = DualBind::default();
            }
            asked
        }
    }
}

/// What is kept about the socket; `socket` may be the context of a program.
#[inline(always)]
pub fn of(socket: *mut bpf_sock) -> Option<&'static mut DualBind> {
    DUAL_BINDS.of(socket)
}

/// Adds a socket to the map with `update`, at its place with this port, in the first free
/// slot, and returns whether that succeeded; its place then says where it is. Without a
/// free slot or memory, the socket answers only at its IPv4 address.
#[inline(always)]
fn enter(bind: &mut DualBind, port: Port, update: impl Fn(&Place) -> i64) -> bool {
    let mut place = Place {
        port,
        slot: 0,
        ..bind.place
    };
    for slot in 0..SLOTS {
        place.slot = slot;
        let error = update(&place);
        if error == 0 {
            bind.place = place;
            return true;
        }
        if error != EXISTS {
            return false;
        }
    }
    false
}

/// Records that a socket is being closed, ordered before what the kernel does next: it
/// calls the socket's `close`, which removes it from the map if it is there.
#[inline(always)]
pub fn close(socket: *mut bpf_sock) {
    if let Some(bind) = of(socket) {
        add(&raw mut bind.is_closed, 1);
    }
}

/// Removes a socket from the map.
#[inline(always)]
fn delete(place: &Place) {
    let map: *mut c_void = (&raw const DUAL).cast_mut().cast();
    let key: *const c_void = (&raw const *place).cast();
    // SAFETY: the helper reads a key of the map's size.
    let _ = unsafe { bpf_map_delete_elem(map, key) };
}
