//! Requests over rtnetlink(7) that `ip` does not make.

use std::io::{Error, ErrorKind, Result};

use libc::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with, sockopt,
};

use crate::process::PATIENCE;

/// `struct nlmsghdr`, in bytes.
const HEADER: usize = 16;
/// `struct rtattr`, in bytes.
const ATTRIBUTE: usize = 4;
/// The kernel fills at most this much at a time (`netlink_dump`).
const BUFFER: usize = 32 * 1024;

/// Lists what there is of this kind, in the network namespace of the calling thread:
/// what follows the header of each message.
pub(crate) fn list(kind: u16, body: &[u8]) -> Result<Vec<Vec<u8>>> {
    exchange(kind, NLM_F_DUMP, body)
}

/// Makes a change there.
pub(crate) fn change(kind: u16, flags: i32, body: &[u8]) -> Result<()> {
    exchange(kind, flags | NLM_F_ACK, body).map(drop)
}

/// An attribute, padded to the next one.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(ATTRIBUTE + value.len()).expect("attributes are short");
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The value of the first attribute of this kind.
pub(crate) fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let [length, kind] = [0, 2].map(|at| half(attributes, at));
        let length = usize::from(length?);
        if kind? == wanted {
            return attributes.get(ATTRIBUTE..length);
        }
        attributes = attributes.get(length.max(ATTRIBUTE).next_multiple_of(4)..)?;
    }
}

/// Four bytes at some place, in host byte order.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn exchange(kind: u16, flags: i32, body: &[u8]) -> Result<Vec<Vec<u8>>> {
    let flags = u16::try_from(flags | NLM_F_REQUEST).map_err(Error::other)?;
    let length = u32::try_from(HEADER + body.len()).map_err(Error::other)?;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    request.resize(HEADER, 0);
    request.extend(body);
    // Protocol 0 is NETLINK_ROUTE.
    let (family, kind, cloexec) = (
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
    );
    let socket = socket_with(family, kind, cloexec, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    send(&socket, &request, SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let (length, _) = retry_on_intr(|| recv(&socket, &mut buffer[..], RecvFlags::empty()))?;
        let mut messages = &buffer[..length];
        while let (Some(length), Some(kind)) = (word(messages, 0), half(messages, 4)) {
            let length = usize::try_from(length).map_err(Error::other)?;
            let payload = messages.get(HEADER..length).ok_or(ErrorKind::InvalidData)?;
            match i32::from(kind) {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => {
                    let errno = word(payload, 0).unwrap_or_default().cast_signed();
                    return match errno {
                        0 => Ok(found),
                        errno => Err(Error::from_raw_os_error(-errno)),
                    };
                }
                _ => found.push(payload.to_vec()),
            }
            messages = messages
                .get(length.next_multiple_of(4)..)
                .unwrap_or_default();
        }
    }
}
