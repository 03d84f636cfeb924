//! The one file that reads and writes `struct bpf_sock_addr` and its socket.
//!
//! The verifier accepts an access to a context field only at the field's offset and width,
//! so each is a volatile read or write that the compiler can neither merge with its
//! neighbour nor make through a computed pointer.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr};
use aya_ebpf::helpers::{bpf_get_netns_cookie, bpf_skc_to_tcp6_sock, bpf_skc_to_udp6_sock};
use aya_ebpf::programs::SockAddrContext;
use core::ptr::read_volatile;
use oci_bind_hook_ebpf::abi::UNKNOWN_BIT;
use oci_bind_hook_ebpf::decide::address::{V4, V6, mapped};
use oci_bind_hook_ebpf::decide::connect::Local;
use oci_bind_hook_ebpf::decide::dual::{SHARES_ADDRESS, SHARES_PORT, Sharing};
use oci_bind_hook_ebpf::decide::endpoint::Endpoint;
use oci_bind_hook_ebpf::decide::port::Port;
use oci_bind_hook_ebpf::decide::sendmsg::is_connected;

/// `AF_INET6`
const AF_INET6: u32 = 10;

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

/// One call on a socket address.
#[derive(Clone, Copy)]
pub struct Call {
    addr: *mut bpf_sock_addr,
}

/// Reads one field of the context or of the socket.
macro_rules! field {
    ($pointer:expr, $($field:tt)+) => {
        // SAFETY: the kernel hands over a context, and with it a full socket,
        // that are valid while the program runs.
        unsafe { read_volatile(&raw const (*$pointer).$($field)+) }
    };
}

/// Writes one word of the context.
macro_rules! set_field {
    ($pointer:expr, $($field:tt)+) => {
        |value: u32| {
            // SAFETY: the field is writable for the attach types that use it;
            // the verifier refuses the program otherwise.
            unsafe { core::ptr::write_volatile(&raw mut (*$pointer).$($field)+, value) }
        }
    };
}

impl Call {
    /// Whether a datagram has no destination of its own, because the socket is
    /// connected.
    #[inline(always)]
    pub fn is_connected(&self) -> bool {
        is_connected(self.user_family(), self.user_port())
    }

    #[inline(always)]
    pub fn new(ctx: &SockAddrContext) -> Self {
        Self {
            addr: ctx.as_ptr().cast(),
        }
    }

    /// The family field of the address that the program passed.
    #[inline(always)]
    pub fn user_family(&self) -> u32 {
        field!(self.addr, user_family)
    }

    /// The family of the socket.
    #[inline(always)]
    pub fn family(&self) -> u32 {
        field!(self.addr, family)
    }

    /// The protocol of the socket, an `IPPROTO` number.
    #[inline(always)]
    pub fn protocol(&self) -> u32 {
        field!(self.addr, protocol)
    }

    /// The type of the socket, such as `SOCK_STREAM`.
    #[inline(always)]
    pub fn socket_type(&self) -> u32 {
        field!(self.addr, type_)
    }

    /// Whether the socket is an IPv6 socket.
    #[inline(always)]
    pub fn is_v6(&self) -> bool {
        self.family() == AF_INET6
    }

    /// The port of the address that the program passed, network byte order: a
    /// word whose upper half is empty.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the upper half is empty")]
    pub fn user_port(&self) -> Port {
        field!(self.addr, user_port) as Port
    }

    #[inline(always)]
    pub fn set_user_port(&self, port: Port) {
        set_field!(self.addr, user_port)(u32::from(port));
    }

    #[inline(always)]
    pub fn user_ip4(&self) -> V4 {
        field!(self.addr, user_ip4)
    }

    #[inline(always)]
    pub fn set_user_ip4(&self, address: V4) {
        set_field!(self.addr, user_ip4)(address);
    }

    #[inline(always)]
    pub fn user_ip6(&self) -> V6 {
        [
            field!(self.addr, user_ip6[0]),
            field!(self.addr, user_ip6[1]),
            field!(self.addr, user_ip6[2]),
            field!(self.addr, user_ip6[3]),
        ]
    }

    #[inline(always)]
    pub fn set_user_ip6(&self, address: V6) {
        set_field!(self.addr, user_ip6[0])(address[0]);
        set_field!(self.addr, user_ip6[1])(address[1]);
        set_field!(self.addr, user_ip6[2])(address[2]);
        set_field!(self.addr, user_ip6[3])(address[3]);
    }

    #[inline(always)]
    pub fn msg_src_ip4(&self) -> V4 {
        field!(self.addr, msg_src_ip4)
    }

    #[inline(always)]
    pub fn set_msg_src_ip4(&self, address: V4) {
        set_field!(self.addr, msg_src_ip4)(address);
    }

    #[inline(always)]
    pub fn msg_src_ip6(&self) -> V6 {
        [
            field!(self.addr, msg_src_ip6[0]),
            field!(self.addr, msg_src_ip6[1]),
            field!(self.addr, msg_src_ip6[2]),
            field!(self.addr, msg_src_ip6[3]),
        ]
    }

    #[inline(always)]
    pub fn set_msg_src_ip6(&self, address: V6) {
        set_field!(self.addr, msg_src_ip6[0])(address[0]);
        set_field!(self.addr, msg_src_ip6[1])(address[1]);
        set_field!(self.addr, msg_src_ip6[2])(address[2]);
        set_field!(self.addr, msg_src_ip6[3])(address[3]);
    }

    /// The destination of an IPv4 datagram. If a connected socket passes ancillary data,
    /// the hook gets an empty address: the destination is then the peer.
    ///
    /// Both are read in any case. Otherwise the compiler would make one load through a
    /// pointer that it selects: "R1 pointer arithmetic on sock prohibited".
    #[inline(always)]
    pub fn destination4(&self) -> V4 {
        let named = self.user_ip4();
        let peer = field!(self.socket(), dst_ip4);
        if self.is_connected() { peer } else { named }
    }

    /// The destination of an IPv6 datagram; see [`Self::destination4`].
    #[inline(always)]
    pub fn destination6(&self) -> V6 {
        let named = self.user_ip6();
        let socket = self.socket();
        let peer = [
            field!(socket, dst_ip6[0]),
            field!(socket, dst_ip6[1]),
            field!(socket, dst_ip6[2]),
            field!(socket, dst_ip6[3]),
        ];
        if self.is_connected() { peer } else { named }
    }

    /// The socket's local address and port. Only IPv6 sockets have `src_ip6`; the
    /// `src_ip4` of one that is bound to an IPv6 address reads 127.0.0.6.
    #[inline(always)]
    pub fn local(&self) -> Local {
        let socket = self.socket();
        let port = field!(socket, src_port);
        if self.is_v6() {
            let address = [
                field!(socket, src_ip6[0]),
                field!(socket, src_ip6[1]),
                field!(socket, src_ip6[2]),
                field!(socket, src_ip6[3]),
            ];
            Local::of6(address, port)
        } else {
            Local::of4(field!(socket, src_ip4), port)
        }
    }

    /// The port of the socket, network byte order; 0 if it has none.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a port has 16 bits")]
    pub fn local_port(&self) -> Port {
        (field!(self.socket(), src_port) as Port).to_be()
    }

    /// The peer of the socket, an IPv4 address IPv4-mapped.
    #[inline(always)]
    pub fn peer(&self) -> Endpoint {
        let socket = self.socket();
        let port = field!(socket, dst_port);
        let address6 = [
            field!(socket, dst_ip6[0]),
            field!(socket, dst_ip6[1]),
            field!(socket, dst_ip6[2]),
            field!(socket, dst_ip6[3]),
        ];
        let address4 = field!(socket, dst_ip4);
        if self.is_v6() {
            Endpoint::new(address6, port)
        } else {
            Endpoint::new(mapped(address4), port)
        }
    }

    /// The socket's `IPV6_V6ONLY`; false if this kernel does not tell.
    #[inline(always)]
    pub fn v6only(&self) -> bool {
        let Some(bit) = member(&V6ONLY_BIT) else {
            return false;
        };
        kernels(self.socket(), |socket| is_set(socket, bit))
    }

    /// The index of the device that the socket is bound to (`SO_BINDTODEVICE`); 0 if there
    /// is none.
    #[inline(always)]
    pub fn device(&self) -> u32 {
        field!(self.socket(), bound_dev_if)
    }

    /// The inode number of the socket's network namespace; 0 if this kernel does not
    /// tell.
    #[inline(always)]
    pub fn namespace(&self) -> u64 {
        let (Some(net), Some(inode)) = (member(&NET_BIT), member(&INODE_BIT)) else {
            return 0;
        };
        kernels(self.socket(), |socket| {
            // SAFETY: as in `byte`: the verifier knows what the pointer points to.
            let net: *const u8 = unsafe { read_volatile(socket.add((net / 8) as usize).cast()) };
            u64::from(word(net, inode))
        })
    }

    /// The cookie of the socket's network namespace.
    #[inline(always)]
    pub fn cookie(&self) -> u64 {
        // SAFETY: the helper takes the context.
        unsafe { bpf_get_netns_cookie(self.addr.cast()) }
    }

    /// Whether the socket shares its port (`SO_REUSEPORT`).
    #[inline(always)]
    pub fn is_in_group(&self) -> bool {
        sharing(self.socket()).options & SHARES_PORT != 0
    }

    /// The socket of the call.
    #[inline(always)]
    pub fn socket(&self) -> *mut bpf_sock {
        field!(self.addr, __bindgen_anon_1.sk)
    }
}

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
