//! Requests over rtnetlink(7).

use std::io::{self, ErrorKind};

use netlink_packet_core::{
    DoneBuffer, ErrorBuffer, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// How often to ask again when a list changed while the kernel went through it.
const TRIES: u32 = 5;
/// The kernel fills at most this much at a time (`netlink_dump`).
const BUFFER: usize = 32 * 1024;

/// Has the kernel change something in the calling thread's network namespace.
///
/// # Errors
///
/// The errno that the kernel answers.
pub fn change(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    exchange(message, NLM_F_ACK | flags).map(drop)
}

/// Has the kernel list something: the payloads of its messages. Where it changes all the
/// time, one may be missing or be there twice.
///
/// # Errors
///
/// As for [`change`].
pub fn list(message: &RouteNetlinkMessage) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for _ in 0..TRIES {
        let replies = exchange(message.clone(), NLM_F_DUMP)?;
        found = replies.payloads;
        if !replies.is_interrupted {
            break;
        }
    }
    Ok(found)
}

fn exchange(message: RouteNetlinkMessage, flags: u16) -> io::Result<Replies> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, message.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let mut replies = Replies::default();
    let mut buffer = Vec::with_capacity(BUFFER);
    while !replies.is_done {
        buffer.clear();
        let (length, sender) = match socket.recv_from(&mut buffer, libc::MSG_TRUNC) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            received => received?,
        };
        if sender.port_number() != 0 {
            continue; // Not from the kernel.
        }
        if length > buffer.len() {
            return Err(malformed("a reply was truncated"));
        }
        replies.read(&buffer)?;
    }
    Ok(replies)
}

/// The replies so far.
#[derive(Default)]
struct Replies {
    payloads: Vec<Vec<u8>>,
    is_interrupted: bool,
    is_done: bool,
}

impl Replies {
    /// Takes in one datagram: a sequence of messages.
    fn read(&mut self, mut datagram: &[u8]) -> io::Result<()> {
        while !datagram.is_empty() && !self.is_done {
            let message = NetlinkBuffer::new_checked(datagram).map_err(malformed)?;
            self.is_interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
            match message.message_type() {
                NLMSG_DONE => {
                    self.is_done = true;
                    // An empty one is a success too.
                    let done = DoneBuffer::new_checked(message.payload());
                    match done.map_or(0, |done| done.code()) {
                        0.. => {}
                        code => return Err(io::Error::from_raw_os_error(code.saturating_neg())),
                    }
                }
                NLMSG_ERROR => {
                    let error = ErrorBuffer::new_checked(message.payload()).map_err(malformed)?;
                    if let Some(code) = error.code() {
                        return Err(io::Error::from_raw_os_error(code.get().saturating_neg()));
                    }
                    self.is_done = true;
                }
                _ => self.payloads.push(message.payload().to_vec()),
            }
            let length = message.length() as usize;
            datagram = datagram
                .get(length.next_multiple_of(4)..)
                .unwrap_or_default();
        }
        Ok(())
    }
}

fn malformed(error: impl ToString) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error.to_string())
}
