//! Dual-stack servers: the maps, and what is kept about each socket.

pub mod steer;
pub mod streams;

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::btf_maps::{SkStorage, SockHash};
use aya_ebpf::helpers::{bpf_map_delete_elem, bpf_sk_storage_get};
use core::arch::asm;
use core::ffi::c_void;
use core::ptr::null_mut;
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::address::V6;
use oci_bind_hook_ebpf::decide::dual::{DualBind, Place, SLOTS, asked, dual_bind};
use oci_bind_hook_ebpf::decide::port::Port;

/// The most dual-stack servers that one host can have at a time.
const SERVERS: usize = 1 << 14;
/// `BPF_SK_STORAGE_GET_F_CREATE`
const CREATE: u64 = 1;
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
pub fn remember(
    socket: *mut bpf_sock,
    policy: &Policy,
    protocol: u32,
    port: Port,
    has_port: bool,
) -> bool {
    match of(socket, CREATE) {
        None => false,
        Some(bind) => {
            if !has_port {
                *bind = dual_bind(policy, protocol, port);
            }
            true
        }
    }
}

/// What the program that binds the socket to `address` asked for. What an inner cgroup's
/// policy has recorded about this bind is forgotten, and so is a bind that failed.
///
/// A socket that has a port cannot be bound again: the kernel will refuse that.
#[inline(always)]
pub fn take(socket: *mut bpf_sock, policy: &Policy, address: V6, has_port: bool) -> V6 {
    match of(socket, 0) {
        None => address,
        Some(bind) => {
            let asked = asked(policy, bind, address);
            if !has_port {
                *bind = DualBind::default();
            }
            asked
        }
    }
}

/// What is kept about the socket; `socket` may be the context of a program.
#[inline(always)]
pub fn of(socket: *mut bpf_sock, flags: u64) -> Option<&'static mut DualBind> {
    let map: *mut c_void = (&raw const DUAL_BINDS).cast_mut().cast();
    // SAFETY: the helper accepts any full socket; the value is zero at first.
    let value = unsafe { bpf_sk_storage_get(map, socket.cast(), null_mut(), flags) };
    // SAFETY: the value is as large as the map says, and lives as long as the program
    // runs. The socket is locked, or the value is only read: a bind that goes on at the
    // same time may be seen or not.
    unsafe { value.cast::<DualBind>().as_mut() }
}

/// Adds a socket to the map with `update`, at its place with this port, in the first free
/// slot, and returns whether that succeeded; its place then says where it is. Without a
/// free slot or memory, the socket answers only at its IPv4 address.
#[inline(always)]
fn enter(bind: &mut DualBind, port: u16, update: impl Fn(&Place) -> i64) -> bool {
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
    if let Some(bind) = of(socket, 0) {
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

/// Atomic, and on x86 ordered with everything before and after it; in assembly, because
/// core has no atomics for this target.
#[inline(always)]
fn add(count: *mut u64, change: i64) {
    // SAFETY: the counter is aligned, and inside the value of a map.
    unsafe {
        asm!(
            "lock *(u64 *)({count} + 0) += {change}",
            count = in(reg) count,
            change = in(reg) change,
            options(nostack),
        );
    }
}
