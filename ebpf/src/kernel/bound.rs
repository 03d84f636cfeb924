//! What is kept about binds: socket storage, which the kernel frees with the socket.

use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::bpf_get_current_uid_gid;
use oci_bind_hook_ebpf::decide::address::{ANY4, Family, LOOPBACK6 as LOOPBACK, mapped};
use oci_bind_hook_ebpf::decide::bound::Bound;
use oci_bind_hook_ebpf::net::{Endpoint, Port, V4, V6};

use super::call::Call;
use super::socket_storage::{ClonedStorage, Storage as _};
use super::storage::policy;

/// For sockets at the private `::1`, whose connections have to be recognised.
#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static LOOPBACK6: ClonedStorage<Bound> = ClonedStorage::new();

/// For all others.
#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static BOUND: SkStorage<Bound> = SkStorage::new();

/// What is kept about a socket that is not at the private `::1`.
#[inline(always)]
pub fn of(socket: *mut bpf_sock) -> Option<&'static mut Bound> {
    BOUND.of(socket)
}

/// What is kept about a socket at the private `::1`.
#[inline(always)]
pub fn at_loopback6(socket: *mut bpf_sock) -> Option<&'static mut Bound> {
    LOOPBACK6.of(socket)
}

/// What is kept about a socket, at the private `::1` or elsewhere.
#[inline(always)]
pub fn any(socket: *mut bpf_sock) -> Option<&'static mut Bound> {
    at_loopback6(socket)
        .filter(|bound| bound.owner != ANY4)
        .or_else(|| of(socket))
}

/// Records what a bind asks for, and forgets what was kept about one that failed. If
/// memory runs out, nothing is recorded.
#[inline(always)]
pub fn note(call: &Call, kept: &Bound, asked: &Endpoint) {
    if call.has_port() {
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
    if kept.owner != ANY4
        && let Some(bound) = BOUND.create(socket)
    {
        *bound = *kept;
    }
}

/// Records what a bind that is made at `actual`, a loopback address, asks for, so that its
/// program is told that. If memory runs out, the program is told the real address.
#[inline(always)]
pub fn tell(call: &Call, asked: Endpoint, actual: Endpoint) {
    let (high, low) = asked.address.halves();
    let ports = u32::from(asked.port.0) << 16 | u32::from(actual.port.0);
    let address = match Family::of(actual.address) {
        Family::V4(address) => address,
        Family::V6(_) => ANY4,
    };
    // SAFETY: it is the context of the program.
    unsafe { tell_bind(call.context(), high, low, ports, address.0) };
}

/// [`tell`] as a function of its own: the port asked for is the upper half of `ports`, and
/// `address` is 0.0.0.0 for `::1`.
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
    address: u32,
) -> u32 {
    let call = Call::at(ctx);
    let asked = Endpoint::new(V6::from_halves(high, low), Port((ports >> 16) as u16));
    if call.has_port() {
        return 0;
    }
    let address = match V4(address) {
        ANY4 => LOOPBACK,
        address => mapped(address),
    };
    let actual = Endpoint::new(address, Port(ports as u16));
    // What the policy of an inner cgroup has recorded comes first.
    if let Some(bound) = any(call.socket())
        && bound.is_told != 0
        && bound.actual == asked
    {
        bound.actual = actual;
        return 0;
    }
    let bound = if asked.address == LOOPBACK {
        LOOPBACK6.create(call.socket())
    } else {
        BOUND.create(call.socket())
    };
    if let Some(bound) = bound {
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
