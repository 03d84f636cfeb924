//! What each socket remembers about its redirected peers: socket storage, which the kernel
//! frees with the socket.

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::btf_maps::SkStorage;
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::address::ANY4;
use oci_bind_hook_ebpf::decide::names::{Redirect, Redirects};
use oci_bind_hook_ebpf::decide::policy::private_loopback;
use oci_bind_hook_ebpf::net::Endpoint;

use super::socket_storage::Storage as _;

#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static REDIRECTS: SkStorage<Redirects> = SkStorage::new();

/// What the socket remembers, if it was ever redirected.
#[inline(always)]
pub fn of(socket: *mut bpf_sock) -> Option<&'static mut Redirects> {
    REDIRECTS.of(socket)
}

/// Remembers a peer of the socket; `is_moved` says that connect also binds the socket to a
/// new source. If memory runs out, nothing is remembered, and the program is told the real
/// address.
#[inline(always)]
pub fn remember(socket: *mut bpf_sock, policy: &Policy, redirect: Redirect, is_moved: bool) {
    if let Some(redirects) = REDIRECTS.create(socket) {
        redirects.owner = private_loopback(policy).unwrap_or(ANY4);
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
    if let Some(redirects) = REDIRECTS.create(socket) {
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
