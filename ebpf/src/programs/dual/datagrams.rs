//! UDP servers: reported when they are bound, by `struct bpf_sock`, and entered
//! by an iterator over all sockets, `struct bpf_iter__udp`.

use aya_ebpf::bindings::{BPF_NOEXIST, bpf_sock};
use aya_ebpf::btf_maps::{RingBuf, SockHash};
use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_map_lookup_elem, bpf_map_update_elem, bpf_sk_release,
};
use core::ffi::c_void;
use core::ptr::read_volatile;
use oci_bind_hook_ebpf::address::same6;
use oci_bind_hook_ebpf::dual::{DualBind, Place};
use oci_bind_hook_ebpf::port::UDP;

use super::{DUAL, discount, enter, of};

/// Room for the reports of four thousand binds.
const ROOM: usize = 1 << 16;

/// Reports of binds: the process that made each, by its id in the first
/// namespace, host byte order.
#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static DUAL_REPORTS: RingBuf<u32, ROOM> = RingBuf::new();

/// A socket of the process that waits for reports: when that ends, however, the
/// kernel takes its socket out.
#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static DUAL_KEEPER: SockHash<u32, 1> = SockHash::new();

/// Whether somebody waits for reports.
#[inline(always)]
pub fn has_keeper() -> bool {
    let map: *mut c_void = (&raw const DUAL_KEEPER).cast_mut().cast();
    let key = 0_u32;
    // SAFETY: the helper reads a key of the map's size, and answers a socket
    // that is held until it is released.
    let socket = unsafe { bpf_map_lookup_elem(map, (&raw const key).cast()) };
    if socket.is_null() {
        return false;
    }
    // SAFETY: the reference came from the lookup, and is used no more.
    let _ = unsafe { bpf_sk_release(socket) };
    true
}

/// Reports a socket that has been bound, if it was as a dual-stack server.
#[inline(always)]
pub fn report(socket: *mut bpf_sock) {
    let word = |index: usize| {
        // SAFETY: the context, valid while the program runs.
        unsafe { read_volatile(&raw const (*socket).src_ip6[index]) }
    };
    let local = [word(0), word(1), word(2), word(3)];
    // SAFETY: as above.
    let port = unsafe { read_volatile(&raw const (*socket).src_port) };
    let Some(bind) = datagrams(socket) else {
        return;
    };
    if bind.is_counted != 0 || !same6(&local, &bind.bound) {
        return;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a port has 16 bits")]
    let port = (port as u16).to_be();
    bind.place.port = port;
    bind.is_waiting = 1;
    // Without room there are others to be read, and with them this one is
    // entered too.
    #[expect(clippy::cast_possible_truncation, reason = "the upper half")]
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    let _ = DUAL_REPORTS.output(process, 0);
}

/// Counts a socket no longer that is closed.
#[inline(always)]
pub fn close(socket: *mut bpf_sock) {
    if let Some(bind) = datagrams(socket)
        && bind.is_counted != 0
    {
        discount(bind);
    }
}

/// The context of an iterator over UDP sockets (`udp_prog_seq_show`).
#[repr(C)]
struct Iteration {
    meta: *mut c_void,
    /// Null after the last one.
    socket: *mut c_void,
}

/// UDP sockets of a network namespace, one by one, whenever somebody reads: those
/// that were reported are entered into the map. aya has no macro for an iterator.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/udp")]
fn collect(ctx: *mut Iteration) -> i32 {
    // SAFETY: the context, valid while the program runs.
    let socket = unsafe { read_volatile(&raw const (*ctx).socket) };
    if !socket.is_null()
        && let Some(bind) = datagrams(socket.cast())
        && bind.is_waiting != 0
    {
        bind.is_waiting = 0;
        let port = bind.place.port;
        enter(bind, port, |place| update(socket, place));
    }
    0
}

#[inline(always)]
fn datagrams(socket: *mut bpf_sock) -> Option<&'static mut DualBind> {
    of(socket, 0).filter(|bind| u32::from(bind.place.protocol) == UDP)
}

/// Answers the errno. The verifier has the map's own function called, which
/// returns an `int` before Linux 6.4: the upper half says nothing.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "see above")]
fn update(socket: *mut c_void, place: &Place) -> i64 {
    let map: *mut c_void = (&raw const DUAL).cast_mut().cast();
    let key: *const c_void = (&raw const *place).cast();
    // SAFETY: the helper reads a key of the map's size, and takes a socket for
    // the value.
    let error = unsafe { bpf_map_update_elem(map, key, socket, u64::from(BPF_NOEXIST)) };
    i64::from(error as i32)
}
