//! The one file that reads and writes `struct bpf_sock_addr`.
//!
//! The verifier accepts an access to a context field only at the field's offset and width,
//! so each is a volatile read or write that the compiler can neither merge with its
//! neighbour nor make through a computed pointer.

use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr};
use aya_ebpf::helpers::bpf_get_netns_cookie;
use aya_ebpf::programs::SockAddrContext;
use oci_bind_hook_ebpf::decide::address::mapped;
use oci_bind_hook_ebpf::decide::connect::Local;
use oci_bind_hook_ebpf::decide::sendmsg::is_connected;
use oci_bind_hook_ebpf::net::{Endpoint, Port, V4, V6};

use super::field::{field, field6};

/// `AF_INET6`
const AF_INET6: u32 = 10;

/// Which fields of the context a hook uses for addresses: it may touch no others.
#[derive(Clone, Copy)]
pub enum Version {
    /// Those of IPv4.
    V4,
    /// Those of IPv6.
    V6,
}

/// One call on a socket address. Addresses are IPv6 ones, or IPv4 ones IPv4-mapped.
#[derive(Clone, Copy)]
pub struct Call {
    addr: *mut bpf_sock_addr,
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

/// Writes an IPv6 address in the same way.
macro_rules! set_field6 {
    ($pointer:expr, $field:ident) => {
        |address: V6| {
            set_field!($pointer, $field[0])(address.0[0]);
            set_field!($pointer, $field[1])(address.0[1]);
            set_field!($pointer, $field[2])(address.0[2]);
            set_field!($pointer, $field[3])(address.0[3]);
        }
    };
}

impl Call {
    #[inline(always)]
    pub fn new(ctx: &SockAddrContext) -> Self {
        Self::at(ctx.sock_addr)
    }

    /// The call of a context.
    #[inline(always)]
    pub const fn at(context: *mut bpf_sock_addr) -> Self {
        Self { addr: context }
    }

    /// The context.
    #[inline(always)]
    pub const fn context(&self) -> *mut bpf_sock_addr {
        self.addr
    }

    /// Whether a datagram has no destination of its own, because the socket is
    /// connected.
    #[inline(always)]
    pub fn is_connected(&self) -> bool {
        is_connected(self.user_family(), self.port())
    }

    /// The family field of the address that the program passed.
    #[inline(always)]
    pub fn user_family(&self) -> u32 {
        field!(self.addr, user_family)
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
        field!(self.addr, family) == AF_INET6
    }

    /// The port of the address that the program passed: a word whose upper half is empty.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the upper half is empty")]
    pub fn port(&self) -> Port {
        Port(field!(self.addr, user_port) as u16)
    }

    #[inline(always)]
    pub fn set_port(&self, port: Port) {
        set_field!(self.addr, user_port)(u32::from(port.0));
    }

    /// The address that the program passed.
    #[inline(always)]
    pub fn address(&self, version: Version) -> V6 {
        match version {
            Version::V4 => mapped(V4(field!(self.addr, user_ip4))),
            Version::V6 => field6!(self.addr, user_ip6),
        }
    }

    #[inline(always)]
    pub fn set_address(&self, version: Version, address: V6) {
        match version {
            Version::V4 => set_field!(self.addr, user_ip4)(address.v4().0),
            Version::V6 => set_field6!(self.addr, user_ip6)(address),
        }
    }

    /// The address that a datagram would leave from.
    #[inline(always)]
    pub fn source(&self, version: Version) -> V6 {
        match version {
            Version::V4 => mapped(V4(field!(self.addr, msg_src_ip4))),
            Version::V6 => field6!(self.addr, msg_src_ip6),
        }
    }

    #[inline(always)]
    pub fn set_source(&self, version: Version, address: V6) {
        match version {
            Version::V4 => set_field!(self.addr, msg_src_ip4)(address.v4().0),
            Version::V6 => set_field6!(self.addr, msg_src_ip6)(address),
        }
    }

    /// The destination of a datagram. If a connected socket passes ancillary data, the
    /// hook gets an empty address: the destination is then the peer.
    ///
    /// Both are read in any case. Otherwise the compiler would make one load through a
    /// pointer that it selects: "R1 pointer arithmetic on sock prohibited".
    #[inline(always)]
    pub fn destination(&self, version: Version) -> V6 {
        let named = self.address(version);
        let socket = self.socket();
        let peer = match version {
            Version::V4 => mapped(V4(field!(socket, dst_ip4))),
            Version::V6 => field6!(socket, dst_ip6),
        };
        if self.is_connected() { peer } else { named }
    }

    /// The socket's local address and port. Only IPv6 sockets have `src_ip6`; the
    /// `src_ip4` of one that is bound to an IPv6 address reads 127.0.0.6.
    #[inline(always)]
    pub fn local(&self) -> Local {
        let socket = self.socket();
        let port = field!(socket, src_port);
        if self.is_v6() {
            Local::of6(field6!(socket, src_ip6), port)
        } else {
            Local::of4(V4(field!(socket, src_ip4)), port)
        }
    }

    /// The port of the socket, [`Port::ANY`] if it has none.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a port has 16 bits")]
    pub fn local_port(&self) -> Port {
        Port::new(field!(self.socket(), src_port) as u16)
    }

    /// Whether the socket has a port, so that it cannot be bound again: the kernel will
    /// refuse that.
    #[inline(always)]
    pub fn has_port(&self) -> bool {
        self.local_port() != Port::ANY
    }

    /// The peer of the socket; both its addresses are read, as in [`Self::destination`].
    #[inline(always)]
    pub fn peer(&self) -> Endpoint {
        let socket = self.socket();
        let port = Port(field!(socket, dst_port));
        let address6 = field6!(socket, dst_ip6);
        let address4 = V4(field!(socket, dst_ip4));
        if self.is_v6() {
            Endpoint::new(address6, port)
        } else {
            Endpoint::new(mapped(address4), port)
        }
    }

    /// The index of the device that the socket is bound to (`SO_BINDTODEVICE`); 0 if there
    /// is none.
    #[inline(always)]
    pub fn device(&self) -> u32 {
        field!(self.socket(), bound_dev_if)
    }

    /// The cookie of the socket's network namespace.
    #[inline(always)]
    pub fn cookie(&self) -> u64 {
        // SAFETY: the helper takes the context.
        unsafe { bpf_get_netns_cookie(self.addr.cast()) }
    }

    /// The socket of the call.
    #[inline(always)]
    pub fn socket(&self) -> *mut bpf_sock {
        field!(self.addr, __bindgen_anon_1.sk)
    }
}
