//! What each socket remembers about its redirected peers: socket storage, which the kernel
//! frees with the socket.

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::bpf_sk_storage_get;
use core::ffi::c_void;
use core::ptr::null_mut;
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::endpoint::Endpoint;
use oci_bind_hook_ebpf::decide::names::{Redirect, Redirects};
use oci_bind_hook_ebpf::decide::verdict::private_loopback;

/// `BPF_SK_STORAGE_GET_F_CREATE`
const CREATE: u64 = 1;

#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static REDIRECTS: SkStorage<Redirects> = SkStorage::new();

/// What the socket remembers, if it was ever redirected.
#[inline(always)]
pub fn of(socket: *mut bpf_sock) -> Option<&'static mut Redirects> {
    get(socket, 0)
}

/// Remembers a peer of the socket; `is_moved` says that connect also binds the socket to a
/// new source. If memory runs out, nothing is remembered, and the program is told the real
/// address.
#[inline(always)]
pub fn remember(socket: *mut bpf_sock, policy: &Policy, redirect: Redirect, is_moved: bool) {
    if let Some(redirects) = get(socket, CREATE) {
        redirects.owner = private_loopback(policy).unwrap_or(0);
        redirects.remember(redirect);
        if is_moved {
            redirects.is_moved = 1;
        }
    }
}

/// Records that somebody on loopback has called the socket. If memory runs out, that is
/// not recorded, and the socket answers from loopback.
#[inline(always)]
pub fn note_call(socket: *mut bpf_sock) {
    if let Some(redirects) = get(socket, CREATE) {
        redirects.is_called = 1;
    }
}

/// Forgets a peer that the program has called by its real address.
#[inline(always)]
pub fn forget(socket: *mut bpf_sock, actual: &Endpoint) {
    if let Some(redirects) = of(socket) {
        redirects.forget(actual);
    }
}

#[inline(always)]
fn get(socket: *mut bpf_sock, flags: u64) -> Option<&'static mut Redirects> {
    let map: *mut c_void = (&raw const REDIRECTS).cast_mut().cast();
    // SAFETY: the helper accepts any full socket; the value is zero at first.
    let value = unsafe { bpf_sk_storage_get(map, socket.cast(), null_mut(), flags) };
    // SAFETY: the value is as large as the map says, and lives as long as the
    // program runs; the socket is locked, or its owner's alone.
    unsafe { value.cast::<Redirects>().as_mut() }
}
