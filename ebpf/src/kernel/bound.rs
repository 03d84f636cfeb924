//! What is kept about binds: socket storage, which the kernel frees with the socket.

use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_SK_STORAGE;
use aya_ebpf::bindings::{BPF_F_CLONE, BPF_F_NO_PREALLOC, bpf_sock, bpf_sock_addr};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::{bpf_get_current_uid_gid, bpf_sk_storage_get};
use aya_ebpf::programs::SockAddrContext;
use core::ffi::c_void;
use core::ptr::{null, null_mut};
use oci_bind_hook_ebpf::decide::address::{
    Family, LOOPBACK6 as LOOPBACK, V4, halves, mapped, same6, whole,
};
use oci_bind_hook_ebpf::decide::bound::Bound;
use oci_bind_hook_ebpf::decide::endpoint::Endpoint;
use oci_bind_hook_ebpf::decide::port::Port;

use super::context::Call;
use super::storage::policy;

/// `BPF_SK_STORAGE_GET_F_CREATE`
const CREATE: u64 = 1;

const TYPE: usize = BPF_MAP_TYPE_SK_STORAGE as usize;
const FLAGS: usize = (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize;

/// Socket storage that is copied to the sockets of accepted connections. aya has no type
/// for it, but the loader looks only at the type of this struct.
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

/// For sockets at the private `::1`, whose connections have to be recognised.
#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static LOOPBACK6: ClonedStorage<Bound> = ClonedStorage {
    r#type: null(),
    key: null(),
    value: null(),
    max_entries: null(),
    map_flags: null(),
};

/// For all others.
#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static BOUND: SkStorage<Bound> = SkStorage::new();

/// What is kept about a socket that is not at the private `::1`.
#[inline(always)]
pub fn of(socket: *mut bpf_sock) -> Option<&'static mut Bound> {
    get((&raw const BOUND).cast(), socket, 0)
}

/// What is kept about a socket at the private `::1`.
#[inline(always)]
pub fn at_loopback6(socket: *mut bpf_sock) -> Option<&'static mut Bound> {
    get((&raw const LOOPBACK6).cast(), socket, 0)
}

/// What is kept about a socket, at the private `::1` or elsewhere.
#[inline(always)]
pub fn any(socket: *mut bpf_sock) -> Option<&'static mut Bound> {
    at_loopback6(socket)
        .filter(|bound| bound.owner != 0)
        .or_else(|| of(socket))
}

/// Records what a bind asks for, and forgets what was kept about one that failed. If
/// memory runs out, nothing is recorded.
///
/// A socket that has a port cannot be bound again: the kernel will refuse that.
#[inline(always)]
pub fn note(call: &Call, kept: &Bound, asked: &Endpoint) {
    if call.local_port() != 0 {
        return;
    }
    let socket = call.socket();
    for known in [of(socket), at_loopback6(socket)] {
        if let Some(bound) = known {
            // What the policy of an inner cgroup has recorded comes first.
            if bound.is_made_at(asked) {
                return;
            }
            *bound = Bound::default();
        }
    }
    if kept.owner != 0
        && let Some(bound) = get((&raw const BOUND).cast(), socket, CREATE)
    {
        *bound = *kept;
    }
}

/// Records what a bind that is made at `actual`, a loopback address, asks for, so that its
/// program is told that. If memory runs out, the program is told the real address.
#[inline(always)]
pub fn tell(ctx: &SockAddrContext, asked: Endpoint, actual: Endpoint) {
    let (high, low) = halves(asked.address);
    let ports = u32::from(asked.port) << 16 | u32::from(actual.port);
    let address = match Family::of(actual.address) {
        Family::V4(address) => address,
        Family::V6(_) => 0,
    };
    // SAFETY: it is the context of the program.
    unsafe { tell_bind(ctx.sock_addr, high, low, ports, address) };
}

/// [`tell`] as a function of its own: the port asked for is the upper half of `ports`, and
/// `address` is 0 for `::1`.
///
/// # Safety
///
/// `ctx` is the context of a program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn tell_bind(
    ctx: *mut bpf_sock_addr,
    high: u64,
    low: u64,
    ports: u32,
    address: V4,
) -> u32 {
    let call = Call::new(&SockAddrContext::new(ctx));
    let asked = Endpoint::new(whole(high, low), (ports >> 16) as Port);
    if call.local_port() != 0 {
        return 0;
    }
    let map = if same6(&asked.address, &LOOPBACK) {
        (&raw const LOOPBACK6).cast()
    } else {
        (&raw const BOUND).cast()
    };
    let address = match address {
        0 => LOOPBACK,
        address => mapped(address),
    };
    let actual = Endpoint::new(address, ports as Port);
    // What the policy of an inner cgroup has recorded comes first.
    if let Some(bound) = any(call.socket())
        && bound.is_told != 0
        && bound.actual.is(&asked)
    {
        bound.actual = actual;
        return 0;
    }
    if let Some(bound) = get(map, call.socket(), CREATE) {
        *bound = Bound {
            asked,
            actual,
            is_told: 1,
            owner: policy().loopback,
            uid: uid(),
        };
    }
    0
}

/// The user who makes the call: the lower half of what the helper returns.
#[inline(always)]
pub fn uid() -> u32 {
    bpf_get_current_uid_gid() as u32
}

#[inline(always)]
fn get(map: *const c_void, socket: *mut bpf_sock, flags: u64) -> Option<&'static mut Bound> {
    // SAFETY: the helper accepts any full socket; the value is zero at first.
    let value = unsafe { bpf_sk_storage_get(map.cast_mut(), socket.cast(), null_mut(), flags) };
    // SAFETY: the value is as large as the map says, and lives as long as the program
    // runs. The socket is locked, or the value is only read: a bind that goes on at the
    // same time may be seen or not.
    unsafe { value.cast::<Bound>().as_mut() }
}
