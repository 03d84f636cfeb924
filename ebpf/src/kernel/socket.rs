//! A socket, and the kernel's own struct behind it.

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::{bpf_skc_to_tcp6_sock, bpf_skc_to_udp6_sock};
use core::ptr::read_volatile;
use oci_bind_hook_ebpf::abi::UNKNOWN_BIT;
use oci_bind_hook_ebpf::decide::dual::{SHARES_ADDRESS, SHARES_PORT, Sharing};

use super::field::field;

/// Where `sock_common.skc_ipv6only` is on this kernel, in bits from the start
/// of the socket; set by the loader from the kernel's own type information,
/// since `bpf_getsockopt` does not know `IPV6_V6ONLY`.
#[unsafe(no_mangle)]
static V6ONLY_BIT: u32 = UNKNOWN_BIT;

/// The same for `sock_common.skc_reuse`, `sock_common.skc_reuseport` and `sock.sk_uid`.
#[unsafe(no_mangle)]
static REUSE_BIT: u32 = UNKNOWN_BIT;
#[unsafe(no_mangle)]
static REUSE_PORT_BIT: u32 = UNKNOWN_BIT;
#[unsafe(no_mangle)]
static UID_BIT: u32 = UNKNOWN_BIT;

/// The same for `sock_common.skc_net`, and for `net.ns.inum` from the start of `net`.
#[unsafe(no_mangle)]
static NET_BIT: u32 = UNKNOWN_BIT;
#[unsafe(no_mangle)]
static INODE_BIT: u32 = UNKNOWN_BIT;

/// Whether this kernel delivers datagrams to members of a group (`SO_REUSEPORT`).
#[unsafe(no_mangle)]
static HAS_GROUPS: u8 = 0;

/// Whether this kernel delivers datagrams to members of a group (`SO_REUSEPORT`).
#[inline(always)]
pub fn has_groups() -> bool {
    // SAFETY: a static of this object; volatile, because the loader sets it.
    unsafe { read_volatile(&raw const HAS_GROUPS) != 0 }
}

/// The protocol of a socket, an `IPPROTO` number.
#[inline(always)]
pub fn protocol(socket: *mut bpf_sock) -> u32 {
    field!(socket, protocol)
}

/// The socket's `IPV6_V6ONLY`; false if this kernel does not tell.
#[inline(always)]
pub fn v6only(socket: *mut bpf_sock) -> bool {
    let Some(bit) = member(&V6ONLY_BIT) else {
        return false;
    };
    kernels(socket, |socket| is_set(socket, bit))
}

/// The inode number of the socket's network namespace; 0 if this kernel does not tell.
#[inline(always)]
pub fn namespace(socket: *mut bpf_sock) -> u64 {
    let (Some(net), Some(inode)) = (member(&NET_BIT), member(&INODE_BIT)) else {
        return 0;
    };
    kernels(socket, |socket| {
        // SAFETY: as in `byte`: the verifier knows what the pointer points to.
        let net: *const u8 = unsafe { read_volatile(socket.add((net / 8) as usize).cast()) };
        u64::from(word(net, inode))
    })
}

/// Whether the socket shares its port (`SO_REUSEPORT`).
#[inline(always)]
pub fn is_in_group(socket: *mut bpf_sock) -> bool {
    sharing(socket).options & SHARES_PORT != 0
}

/// The value of a global that says where a member of the kernel's socket is, if it is
/// known.
#[inline(always)]
fn member(bit: &'static u32) -> Option<u32> {
    // SAFETY: a static of this object; volatile, because the loader sets it.
    let bit = unsafe { read_volatile(bit) };
    (bit != UNKNOWN_BIT).then_some(bit)
}

/// What `read` finds in the kernel's own struct of a TCP or UDP socket over IPv6.
#[inline(always)]
fn kernels<T: Default>(socket: *mut bpf_sock, read: impl Fn(*const u8) -> T) -> T {
    // SAFETY: both helpers accept any socket, and return null for one of another
    // protocol.
    let tcp: *const u8 = unsafe { bpf_skc_to_tcp6_sock(socket.cast()) }.cast();
    if !tcp.is_null() {
        return read(tcp);
    }
    // SAFETY: as above.
    let udp: *const u8 = unsafe { bpf_skc_to_udp6_sock(socket.cast()) }.cast();
    if udp.is_null() {
        T::default()
    } else {
        read(udp)
    }
}

/// Under which conditions a TCP or UDP socket over IPv6 shares its port with others: under
/// none, if this kernel does not tell.
#[inline(always)]
pub fn sharing(socket: *mut bpf_sock) -> Sharing {
    let (Some(address), Some(port), Some(uid)) = (
        member(&REUSE_BIT),
        member(&REUSE_PORT_BIT),
        member(&UID_BIT),
    ) else {
        return Sharing::default();
    };
    kernels(socket, |socket| Sharing {
        options: shifted(socket, address) & SHARES_ADDRESS
            | (shifted(socket, port) << 1) & SHARES_PORT,
        uid: word(socket, uid),
    })
}

/// The word of the kernel's socket that begins with bit `bit`, counted from its start.
#[inline(always)]
fn word(socket: *const u8, bit: u32) -> u32 {
    // SAFETY: as in `byte`; the kernel aligns it.
    unsafe { read_volatile(socket.add((bit / 8) as usize).cast()) }
}

/// The byte of the kernel's socket that contains bit `bit`, counted from its start.
#[inline(always)]
fn byte(socket: *const u8, bit: u32) -> u8 {
    // SAFETY: the verifier checks the offset, a constant when it loads the
    // program, against the kernel's type of the socket.
    unsafe { read_volatile(socket.add((bit / 8) as usize)) }
}

/// The bits of that byte from this one on.
#[inline(always)]
fn shifted(socket: *const u8, bit: u32) -> u32 {
    u32::from(byte(socket, bit) >> (bit % 8))
}

#[inline(always)]
fn is_set(socket: *const u8, bit: u32) -> bool {
    shifted(socket, bit) & 1 != 0
}
