//! What is kept of bound sockets: socket storage, which the kernel frees with the socket,
//! and copies for the connections that a server accepts.

use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_SK_STORAGE;
use aya_ebpf::bindings::{BPF_F_CLONE, BPF_F_NO_PREALLOC, bpf_sock};
use aya_ebpf::helpers::bpf_sk_storage_get;
use core::ffi::c_void;
use core::ptr::{null, null_mut};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::bound::Bound;
use oci_bind_hook_ebpf::names::Endpoint;
use oci_bind_hook_ebpf::verdict::private_loopback;

use super::context::Call;

/// `BPF_SK_STORAGE_GET_F_CREATE`
const CREATE: u64 = 1;

const TYPE: usize = BPF_MAP_TYPE_SK_STORAGE as usize;
const FLAGS: usize = (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize;

/// Socket storage that the sockets of accepted connections have a copy of, which aya has
/// no name for: the loader goes by the type of this struct alone.
#[repr(C)]
struct ClonedStorage<T> {
    r#type: *const [i32; TYPE],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; FLAGS],
}

// SAFETY: nothing is behind the pointers, and nothing reads them.
unsafe impl<T> Sync for ClonedStorage<T> {}

#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static BOUND: ClonedStorage<Bound> = ClonedStorage {
    r#type: null(),
    key: null(),
    value: null(),
    max_entries: null(),
    map_flags: null(),
};

/// What is kept of the socket.
#[inline(always)]
pub fn of(socket: *mut bpf_sock) -> Option<&'static mut Bound> {
    get(socket, 0)
}

/// Keeps which address of the host a bind asks for, and forgets what was kept of one that
/// failed. For lack of memory it is not kept, and a bind to another address fails.
///
/// A socket that has a port is not bound again: the kernel will refuse that.
#[inline(always)]
pub fn note(call: &Call, asked: Endpoint) {
    if call.local_port() != 0 || Bound::may_be_isolated(&asked) {
        return;
    }
    let socket = call.socket();
    if Bound::is_kept(&asked) {
        if let Some(bound) = get(socket, CREATE) {
            *bound = Bound {
                asked,
                ..Bound::default()
            };
        }
    } else if let Some(bound) = of(socket) {
        *bound = Bound::default();
    }
}

/// Keeps what a bind asks for that is told so. For lack of memory it is not kept, and the
/// program is told the real address.
#[inline(always)]
pub fn tell(call: &Call, policy: &Policy, asked: Endpoint) {
    if call.local_port() != 0 {
        return;
    }
    if let Some(bound) = get(call.socket(), CREATE) {
        // What a policy further in has kept comes first.
        if bound.is_told == 0 {
            bound.asked = asked;
            bound.is_told = 1;
        }
        bound.owner = private_loopback(policy).unwrap_or(0);
    }
}

#[inline(always)]
fn get(socket: *mut bpf_sock, flags: u64) -> Option<&'static mut Bound> {
    let map: *mut c_void = (&raw const BOUND).cast_mut().cast();
    // SAFETY: the helper takes any full socket; the value is zero at first.
    let value = unsafe { bpf_sk_storage_get(map, socket.cast(), null_mut(), flags) };
    // SAFETY: the value is as large as the map says, and lives as long as the
    // program runs. The socket is locked, or the value is only read: a bind that
    // goes on at the same time is seen or not.
    unsafe { value.cast::<Bound>().as_mut() }
}
