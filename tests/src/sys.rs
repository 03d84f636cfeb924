//! The few calls that no safe crate offers.
#![expect(
    unsafe_code,
    reason = "raw system calls, each a few lines with its argument"
)]

use std::io::{Error, IoSlice, Result};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::net::SocketAddrAny;
use rustix::thread::UnshareFlags;

/// Gives the calling thread a mount namespace of its own.
pub fn unshare_mounts() -> Result<()> {
    // SAFETY: a new mount namespace takes no memory or descriptor away.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?)
}

/// Gives the calling thread a network namespace of its own.
pub fn unshare_net() -> Result<()> {
    // SAFETY: a new network namespace takes no memory or descriptor away.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?)
}

/// Gives the calling thread a table of descriptors of its own, with standard
/// input, output and error alone.
///
/// A process that another thread starts holds a copy of all descriptors of
/// that thread's table until it executes its program: sockets in it outlive
/// their last user by that much, and keep their ports.
pub(crate) fn unshare_descriptors() -> Result<()> {
    const FIRST: u32 = 3;
    // SAFETY: the table is copied first, so only the calling thread loses the
    // descriptors; its caller promises that it owns none.
    let closed = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            u32::MAX,
            libc::CLOSE_RANGE_UNSHARE,
        )
    };
    check(closed.try_into().unwrap_or(-1))
}

/// sendto(2) of a whole frame, by the interface with this index (packet(7)).
pub fn send_frame(socket: BorrowedFd<'_>, link: u32, frame: &[u8]) -> Result<()> {
    let to = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET.try_into().map_err(Error::other)?,
        sll_protocol: 0,
        sll_ifindex: link.try_into().map_err(Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the kernel reads the frame and the address, which outlive the
    // call, for their sizes.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size_of_length(&to),
        )
    };
    check(sent.try_into().unwrap_or(-1))
}

/// setsockopt(2) with an `int`.
pub fn set_option(socket: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> Result<()> {
    // SAFETY: the kernel reads four bytes at `value`, which outlives the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_length(&value),
        )
    })
}

/// setsockopt(2) with these bytes.
pub fn set_bytes(socket: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(Error::other)?;
    // SAFETY: the kernel reads `length` bytes at `value`, which outlives the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            length,
        )
    })
}

/// getsockopt(2) of an option of this size.
pub fn option(socket: BorrowedFd<'_>, level: i32, name: i32, value: &mut [u8]) -> Result<()> {
    let mut length = libc::socklen_t::try_from(value.len()).map_err(Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes at `value`.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    })
}

/// bind(2) to 0.0.0.0 and `port` with the family `AF_UNSPEC`, as very old
/// programs do.
pub fn bind_unspec(socket: BorrowedFd<'_>, port: u16) -> Result<()> {
    let address = without_family(Ipv4Addr::UNSPECIFIED, port);
    // SAFETY: the kernel reads `address`, which outlives the call.
    check(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_length(&address),
        )
    })
}

/// sendto(2) with an IPv4 address whose family is `AF_UNSPEC`.
pub fn send_unspec(socket: BorrowedFd<'_>, to: Ipv4Addr, port: u16, payload: &[u8]) -> Result<()> {
    let address = without_family(to, port);
    // SAFETY: the kernel reads the payload and the address, which outlive the
    // call, for their sizes.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            payload.as_ptr().cast(),
            payload.len(),
            0,
            (&raw const address).cast(),
            size_of_length(&address),
        )
    };
    check(sent.try_into().unwrap_or(-1))
}

fn without_family(address: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: 0,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(address).to_be(),
        },
        sin_zero: [0; 8],
    }
}

/// What an `IP_PKTINFO` or `IPV6_PKTINFO` message names: the source, and the index
/// of the interface, 0 for any.
#[derive(Clone, Copy, Debug)]
pub enum PacketInfo {
    /// `IP_PKTINFO`
    V4(Ipv4Addr, u32),
    /// `IPV6_PKTINFO`
    V6(Ipv6Addr, u32),
}

/// sendmsg(2) with the source address or the interface in a control message, to
/// `to` or, on a connected socket, to its peer.
pub fn send_with_info(
    socket: BorrowedFd<'_>,
    to: Option<SocketAddr>,
    source: PacketInfo,
    payload: &[u8],
) -> Result<()> {
    match source {
        PacketInfo::V4(source, link) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: link.try_into().map_err(Error::other)?,
                ipi_spec_dst: libc::in_addr {
                    s_addr: u32::from(source).to_be(),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            send_with(
                socket,
                to,
                libc::IPPROTO_IP,
                libc::IP_PKTINFO,
                info,
                payload,
            )
        }
        PacketInfo::V6(source, link) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr {
                    s6_addr: source.octets(),
                },
                ipi6_ifindex: link,
            };
            send_with(
                socket,
                to,
                libc::IPPROTO_IPV6,
                libc::IPV6_PKTINFO,
                info,
                payload,
            )
        }
    }
}

/// sendmsg(2) of a payload that the kernel cuts into datagrams of this size (udp(7),
/// `UDP_SEGMENT`), to `to` or, on a connected socket, to its peer.
pub fn send_segments(
    socket: BorrowedFd<'_>,
    to: Option<SocketAddr>,
    size: u16,
    payload: &[u8],
) -> Result<()> {
    send_with(socket, to, libc::SOL_UDP, libc::UDP_SEGMENT, size, payload)
}

/// One control message, laid out as `CMSG_DATA` expects: `T` starts right
/// behind the header because its alignment is no larger than the header's.
#[repr(C)]
struct Control<T> {
    header: libc::cmsghdr,
    data: T,
}

fn send_with<T>(
    socket: BorrowedFd<'_>,
    to: Option<SocketAddr>,
    level: i32,
    kind: i32,
    data: T,
    payload: &[u8],
) -> Result<()> {
    const {
        assert!(align_of::<T>() <= align_of::<libc::cmsghdr>());
    }
    let to = to.map(SocketAddrAny::from);
    let mut vector = IoSlice::new(payload);
    // SAFETY: all zero is a valid value of this plain C struct.
    let mut control: Control<T> = unsafe { std::mem::zeroed() };
    control.header.cmsg_level = level;
    control.header.cmsg_type = kind;
    control.header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<T>()) as _;
    control.data = data;
    // SAFETY: all zero is a valid value of this plain C struct.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    if let Some(to) = &to {
        message.msg_name = to.as_ptr().cast_mut().cast();
        message.msg_namelen = to.addr_len();
    }
    message.msg_iov = (&raw mut vector).cast();
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control<T>>() as _;
    // SAFETY: `message` points to `to`, `vector` (an `iovec` by the promise of
    // `IoSlice`) and `control`, which all outlive the call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) };
    check(i32::try_from(sent).unwrap_or(i32::MAX))
}

fn size_of_length<T>(value: &T) -> libc::socklen_t {
    size_of_val(value)
        .try_into()
        .expect("socket structures are small")
}

fn check(returned: i32) -> Result<()> {
    if returned < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(())
    }
}
