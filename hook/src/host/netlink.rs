//! Requests over netlink(7), and the replies to them.

use std::io::{self, ErrorKind};
use std::time::Instant;

use netlink_packet_core::{
    DoneBuffer, ErrorBuffer, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, recv};

/// How many times to request a list that changes while the kernel goes through it.
pub const TRIES: u32 = 5;
/// The kernel fills at most this much at a time (`netlink_dump`).
const BUFFER: usize = 32 * 1024;

/// A request with its own socket: a dump that was not read to its end makes the next one
/// on the same socket fail with EBUSY.
pub struct Request {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Request {
    /// Opens the socket, in the calling thread's network namespace, to speak with one of
    /// the kernel's subsystems (netlink(7)).
    ///
    /// # Errors
    ///
    /// If the socket cannot be opened.
    pub fn open(subsystem: isize) -> io::Result<Self> {
        Ok(Self {
            socket: Socket::new(subsystem)?,
            buffer: Vec::with_capacity(BUFFER),
        })
    }

    /// Sends the request.
    ///
    /// # Errors
    ///
    /// If the kernel does not accept it.
    pub fn send(
        &self,
        message: impl NetlinkSerializable,
        flags: u16,
        sequence: u32,
    ) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let kernel = SocketAddr::new(0, 0);
        self.socket.send_to(&bytes, &kernel, 0).map(drop)
    }

    /// Receives the next datagram from the kernel.
    ///
    /// # Errors
    ///
    /// ENOBUFS if there was no room for it; another error if it is longer than the
    /// buffer.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        loop {
            self.buffer.clear();
            // MSG_TRUNC: returns the length of the datagram, however much of it fitted.
            let (length, sender) = match self.socket.recv_from(&mut self.buffer, libc::MSG_TRUNC) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                received => received?,
            };
            if sender.port_number() != 0 {
                continue; // Not from the kernel.
            }
            if length > self.buffer.len() {
                let error = format!("a reply of {length} bytes was truncated");
                return Err(io::Error::other(error));
            }
            return Ok(&self.buffer);
        }
    }
}

/// One message of a reply.
pub enum Reply<'a> {
    /// One of the items asked for: its type, and what follows the header.
    One(u16, &'a [u8]),
    /// Some items are missing, or appear twice.
    Interrupted,
    /// There are no more.
    Done,
}

/// The messages of one datagram that reply to the request with this number.
pub struct Replies<'a> {
    datagram: &'a [u8],
    sequence: u32,
    /// Whether the list has changed while the kernel went through it.
    pub is_interrupted: bool,
}

impl<'a> Replies<'a> {
    /// Returns those in this datagram.
    pub fn of(datagram: &'a [u8], sequence: u32) -> Self {
        Self {
            datagram,
            sequence,
            is_interrupted: false,
        }
    }
}

impl<'a> Iterator for Replies<'a> {
    /// The errno that the kernel returns, or [`ErrorKind::InvalidData`] for a malformed
    /// message.
    type Item = io::Result<Reply<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.datagram.is_empty() {
            let message = match NetlinkBuffer::new_checked(self.datagram) {
                Ok(message) => message,
                Err(error) => {
                    self.datagram = &[];
                    return Some(Err(malformed(error)));
                }
            };
            let length = (message.length() as usize).next_multiple_of(4);
            self.datagram = self.datagram.get(length..).unwrap_or_default();
            if message.sequence_number() == self.sequence {
                self.is_interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                return Some(read(&message));
            }
        }
        None
    }
}

fn read<'a>(message: &NetlinkBuffer<&'a [u8]>) -> io::Result<Reply<'a>> {
    let payload = message.payload();
    let code = match message.message_type() {
        // An empty one is a success too.
        NLMSG_DONE => DoneBuffer::new_checked(payload).map_or(0, |done| done.code()),
        NLMSG_ERROR => {
            let error = ErrorBuffer::new_checked(payload).map_err(malformed)?;
            error.code().map_or(0, |code| code.get())
        }
        NLMSG_OVERRUN => return Ok(Reply::Interrupted),
        kind => return Ok(Reply::One(kind, payload)),
    };
    match code {
        0.. => Ok(Reply::Done),
        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
    }
}

/// Returns the error for a reply that is not understood.
pub fn malformed(error: impl ToString) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error.to_string())
}

/// Requests a change from the kernel.
///
/// # Errors
///
/// The errno that it returns.
pub fn change(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    exchange(NETLINK_ROUTE, message, NLM_F_ACK | flags).map(drop)
}

/// Requests one item from rtnetlink(7), and returns what follows the header of its message.
///
/// # Errors
///
/// As for [`change`].
pub fn get(message: RouteNetlinkMessage) -> io::Result<Vec<Vec<u8>>> {
    exchange(NETLINK_ROUTE, message, NLM_F_ACK).map(|(found, _)| found)
}

/// Requests a list from rtnetlink(7), and returns what follows the headers of its messages.
/// If the list keeps changing, an item may be missing or appear twice.
///
/// # Errors
///
/// As for [`change`].
pub fn list(message: &RouteNetlinkMessage) -> io::Result<Vec<Vec<u8>>> {
    list_of(NETLINK_ROUTE, message)
}

/// Does the same as [`list`] with any subsystem.
///
/// # Errors
///
/// As for [`change`].
pub fn list_of<M: NetlinkSerializable + Clone>(
    subsystem: isize,
    message: &M,
) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for _ in 0..TRIES {
        let is_whole;
        (found, is_whole) = exchange(subsystem, message.clone(), NLM_F_DUMP)?;
        if is_whole {
            break;
        }
    }
    Ok(found)
}

/// Returns all replies, and whether they are a consistent list.
fn exchange(
    subsystem: isize,
    message: impl NetlinkSerializable,
    flags: u16,
) -> io::Result<(Vec<Vec<u8>>, bool)> {
    const SEQUENCE: u32 = 1;
    let mut request = Request::open(subsystem)?;
    request.send(message, flags, SEQUENCE)?;
    let (mut all, mut is_whole) = (Vec::new(), true);
    loop {
        let mut replies = Replies::of(request.receive()?, SEQUENCE);
        while let Some(reply) = replies.next() {
            match reply? {
                Reply::One(_, payload) => all.push(payload.to_vec()),
                Reply::Interrupted => is_whole = false,
                Reply::Done => return Ok((all, is_whole && !replies.is_interrupted)),
            }
        }
        is_whole &= !replies.is_interrupted;
    }
}

/// Changes of the addresses of a network namespace.
pub struct AddressChanges(Socket);

impl AddressChanges {
    /// Subscribes to those of the calling thread's namespace.
    ///
    /// # Errors
    ///
    /// If the socket cannot be opened.
    pub fn subscribe() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        // The kernel leaves out a socket without a port number (`do_one_broadcast`).
        socket.bind_auto()?;
        for group in [libc::RTNLGRP_IPV4_IFADDR, libc::RTNLGRP_IPV6_IFADDR] {
            socket.add_membership(group)?;
        }
        Ok(Self(socket))
    }

    /// Waits for a change since the last call. Returns `false` once it is too late, even if
    /// there is one: others may change addresses all the time.
    ///
    /// # Errors
    ///
    /// If the kernel does not let us wait.
    pub fn wait_until(&self, deadline: Instant) -> io::Result<bool> {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        let is_changed = retry_on_intr(|| {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
            poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&left))
        })? > 0;
        if is_changed {
            self.forget()?;
        }
        Ok(is_changed)
    }

    /// Reads what has arrived. That something did is all that matters.
    fn forget(&self) -> io::Result<()> {
        loop {
            match recv(&self.0, &mut [0; 1][..], RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => return Ok(()),
                // The queue overflowed: there is more than it could hold.
                Err(Errno::NOBUFS | Errno::INTR) | Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
