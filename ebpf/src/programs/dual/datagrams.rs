//! UDP servers: reported when they are bound, by `struct bpf_sock`, and entered
//! by an iterator over all sockets, `struct bpf_iter__udp`.

use aya_ebpf::bindings::{BPF_NOEXIST, bpf_sock, bpf_sockopt};
use aya_ebpf::btf_maps::{Array, RingBuf, SockHash};
use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_map_lookup_elem, bpf_map_update_elem, bpf_sk_release,
};
use core::ffi::c_void;
use core::ptr::{read_volatile, write_volatile};
use oci_bind_hook_ebpf::abi::DUAL_SEEN as SEEN;
use oci_bind_hook_ebpf::address::same6;
use oci_bind_hook_ebpf::dual::{DualBind, Place, bucket, one};
use oci_bind_hook_ebpf::port::UDP;

use super::{DUAL, add, delete, enter, of};

/// `IPPROTO_IPV6`
const IPPROTO_IPV6: i32 = 41;
/// `IPV6_ADDRFORM`
const IPV6_ADDRFORM: i32 = 1;
/// Room for the reports of four thousand binds.
const ROOM: usize = 1 << 16;

/// Reports of binds: the process that made each, by its id in the first
/// namespace, host byte order.
#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static DUAL_REPORTS: RingBuf<u32, ROOM> = RingBuf::new();

#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static DUAL_SEEN: Array<u64, { SEEN as usize }> = Array::new();

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
    if !same6(&local, &bind.bound) {
        return;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a port has 16 bits")]
    let port = (port as u16).to_be();
    bind.place.port = port;
    bind.is_waiting = 1;
    // Without room there are others to be read: with those of its network
    // namespace it is entered too.
    #[expect(clippy::cast_possible_truncation, reason = "the upper half")]
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    let _ = DUAL_REPORTS.output(process, 0);
}

/// Whether an option would make an IPv4 socket of a UDP one, which the kernel
/// does without a look at the map: the socket would stay there for ever.
#[inline(always)]
pub fn leaves_map(option: *mut bpf_sockopt) -> bool {
    // SAFETY: the context, valid while the program runs.
    let (level, name) = unsafe {
        (
            read_volatile(&raw const (*option).level),
            read_volatile(&raw const (*option).optname),
        )
    };
    if level != IPPROTO_IPV6 || name != IPV6_ADDRFORM {
        return false;
    }
    // SAFETY: as above; a union of one pointer.
    let socket = unsafe { read_volatile(&raw const (*option).__bindgen_anon_1.sk) };
    // SAFETY: as above.
    !socket.is_null() && unsafe { read_volatile(&raw const (*socket).protocol) } == UDP
}

/// Leaves the value of an option to the kernel, however long it is: a program sees
/// no more than a page of it, and would cut it off.
#[inline(always)]
pub fn keep_value(option: *mut bpf_sockopt) {
    // SAFETY: the context, valid while the program runs.
    unsafe { write_volatile(&raw mut (*option).optlen, 0) };
}

/// In which slots UDP servers have been at a place, and at those that share the
/// word. It is never taken back: what it costs is a lookup in vain.
#[inline(always)]
pub fn seen(place: &Place) -> Option<*mut u64> {
    DUAL_SEEN.get_ptr_mut(bucket(place) % SEEN)
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
        && bind.is_closed == 0
    {
        let port = bind.place.port;
        let is_entered = enter(bind, port, |place| update(socket, place));
        bind.is_waiting = 0;
        if is_entered {
            settle(bind);
        }
    }
    0
}

/// Makes known that a socket was entered. If it was closed meanwhile, the kernel
/// may have had its `close` in hand before it was entered, and would leave it there:
/// either `close` above comes first and is seen here, or the kernel sees the map.
#[inline(always)]
fn settle(bind: &mut DualBind) {
    let place = bind.place;
    add(&raw mut bind.is_closed, 0);
    // SAFETY: a word of the socket's storage, which others change.
    if unsafe { read_volatile(&raw const bind.is_closed) } != 0 {
        delete(&place);
    } else if let Some(seen) = seen(&place) {
        // SAFETY: a word of a map's value.
        let before = unsafe { read_volatile(seen) };
        // SAFETY: as above. Nobody else writes it: one process reads from the
        // iterator, one socket after the other.
        unsafe { write_volatile(seen, before | one(place.slot)) };
    }
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
