//! recvmsg(2) with control messages, which no safe crate hands over as they are.
#![expect(
    unsafe_code,
    reason = "recvmsg(2), and an address that the kernel has written"
)]

use std::io::{Error, ErrorKind, IoSliceMut, Result};
use std::mem::{offset_of, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use rustix::net::SocketAddrAny;

/// A datagram, and what came along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// As much of it as there was room for.
    pub payload: Vec<u8>,
    /// Who sent it.
    pub from: SocketAddr,
    /// What the kernel says of it, in the order in which it does.
    pub controls: Vec<Control>,
}

/// A control message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The level of its type, as of an option.
    pub level: i32,
    /// Its type.
    pub kind: i32,
    /// What it says.
    pub data: Vec<u8>,
}

/// recvmsg(2) with room for this many bytes.
pub fn receive(socket: impl AsFd, room: usize) -> Result<Message> {
    let mut payload = vec![0; room];
    // Words, since the kernel wants it aligned.
    let mut control = [0_u64; 32];
    // SAFETY: all zero is a valid value of this plain C struct.
    let mut name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut vector = IoSliceMut::new(&mut payload);
    // SAFETY: all zero is a valid value of this plain C struct.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut name).cast();
    message.msg_iov = (&raw mut vector).cast();
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    let received = loop {
        message.msg_namelen = size_of_val(&name).try_into().map_err(Error::other)?;
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: `message` points to `name`, `vector` (an `iovec` by the promise of
        // `IoSliceMut`) and `control`, which outlive the call.
        let received = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, 0) };
        match usize::try_from(received) {
            Ok(received) => break received,
            Err(_) if Error::last_os_error().kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(Error::last_os_error()),
        }
    };
    // SAFETY: the kernel has written an address of this length.
    let from = unsafe { SocketAddrAny::read((&raw const name).cast(), message.msg_namelen) };
    let control: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    payload.truncate(received);
    Ok(Message {
        payload,
        from: from.try_into()?,
        controls: controls(&control[..message.msg_controllen as _]),
    })
}

/// The messages that the kernel has written one after the other, each aligned to words
/// and with a header that knows the length of both.
fn controls(mut bytes: &[u8]) -> Vec<Control> {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    const WORD: usize = size_of::<usize>();
    let mut found = Vec::new();
    while let Some((header, _)) = bytes.split_at_checked(HEADER) {
        let length = usize::from_ne_bytes(at(header, offset_of!(libc::cmsghdr, cmsg_len)));
        let Some(data) = bytes.get(HEADER..length) else {
            break;
        };
        found.push(Control {
            level: i32::from_ne_bytes(at(header, offset_of!(libc::cmsghdr, cmsg_level))),
            kind: i32::from_ne_bytes(at(header, offset_of!(libc::cmsghdr, cmsg_type))),
            data: data.to_vec(),
        });
        bytes = bytes
            .get(length.next_multiple_of(WORD)..)
            .unwrap_or_default();
    }
    found
}

/// These bytes of a header.
fn at<const SIZE: usize>(header: &[u8], offset: usize) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    bytes.copy_from_slice(&header[offset..offset + SIZE]);
    bytes
}
