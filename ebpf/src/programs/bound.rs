//! What is kept of bound sockets: socket storage, which the kernel frees with the socket.

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::bpf_sk_storage_get;
use core::ffi::c_void;
use core::ptr::null_mut;
use oci_bind_hook_ebpf::bound::Bound;
use oci_bind_hook_ebpf::names::Endpoint;

use super::context::Call;

/// `BPF_SK_STORAGE_GET_F_CREATE`
const CREATE: u64 = 1;

#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static BOUND: SkStorage<Bound> = SkStorage::new();

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
        keep(socket, asked, 0);
    } else if let Some(bound) = of(socket) {
        *bound = Bound::default();
    }
}

/// Keeps what a bind asks for that is isolated. For lack of memory it is not kept, and the
/// program is told the real address.
#[inline(always)]
pub fn isolate(call: &Call, asked: Endpoint) {
    if call.local_port() == 0 {
        keep(call.socket(), asked, 1);
    }
}

#[inline(always)]
fn keep(socket: *mut bpf_sock, asked: Endpoint, is_isolated: u32) {
    if let Some(bound) = get(socket, CREATE) {
        *bound = Bound { asked, is_isolated };
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
