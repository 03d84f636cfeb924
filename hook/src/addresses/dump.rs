//! Asking the kernel for its addresses: an RTM_GETADDR dump, rtnetlink(7).

use std::io::ErrorKind;
use std::net::IpAddr;

use anyhow::{Context as _, Result, anyhow, bail};
use netlink_packet_core::{
    DoneBuffer, ErrorBuffer, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NlasIterator,
};
use netlink_packet_route::address::{AddressFlags, AddressHeader, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::Found;

/// How often to ask again when addresses changed while the kernel listed them.
const TRIES: u32 = 5;

/// The kernel fills at most this much at a time (`netlink_dump`).
const BUFFER: usize = 32 * 1024;

/// `struct ifaddrmsg`, in bytes.
const HEADER: usize = 8;

const MALFORMED: &str = "list addresses: malformed reply from the kernel";

/// The addresses of the calling thread's network namespace that bear on the
/// wanted ones; all, if none is wanted in particular. It stops early once all
/// that are wanted are seen usable.
pub(super) fn addresses(wanted: &[IpAddr]) -> Result<Vec<Found>> {
    let mut buffer = Vec::with_capacity(BUFFER);
    for sequence in 1..=TRIES {
        // A dump that was not read to its end makes the next one EBUSY.
        let socket = Socket::new(NETLINK_ROUTE).context("open a netlink socket")?;
        let sent = socket.send_to(&request(wanted, sequence), &SocketAddr::new(0, 0), 0);
        sent.context("ask for addresses over netlink")?;
        if let Some(found) = replies(&socket, &mut buffer, sequence, wanted)? {
            return Ok(found);
        }
    }
    bail!("list addresses: they changed {TRIES} times while the kernel listed them: retry");
}

/// A request for the addresses of the wanted families.
fn request(wanted: &[IpAddr], sequence: u32) -> Vec<u8> {
    let mut message = AddressMessage::default();
    message.header.family = match wanted {
        [IpAddr::V4(_)] => AddressFamily::Inet,
        [IpAddr::V6(_)] => AddressFamily::Inet6,
        _ => AddressFamily::Unspec,
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = sequence;
    let payload = RouteNetlinkMessage::GetAddress(message).into();
    let mut message = NetlinkMessage::new(header, payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Reads the replies to a request; none when the list is not consistent.
fn replies(
    socket: &Socket,
    buffer: &mut Vec<u8>,
    sequence: u32,
    wanted: &[IpAddr],
) -> Result<Option<Vec<Found>>> {
    let mut dump = Dump::new(sequence, wanted);
    while !dump.done {
        buffer.clear();
        // MSG_TRUNC: the length is that of the datagram, however much fitted.
        let (length, sender) = match socket.recv_from(buffer, libc::MSG_TRUNC) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // Its queue overflowed.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(None),
            other => other.context("read addresses over netlink")?,
        };
        if length > buffer.len() {
            bail!("list addresses: a reply of {length} bytes was truncated");
        }
        if sender.port_number() != 0 {
            continue; // Not from the kernel.
        }
        dump.read(buffer)?;
    }
    Ok(dump.result())
}

/// The replies so far.
pub struct Dump<'a> {
    sequence: u32,
    wanted: &'a [IpAddr],
    found: Vec<Found>,
    interrupted: bool,
    /// Nothing more is to be read.
    pub done: bool,
}

impl<'a> Dump<'a> {
    /// For the replies to the request with this number, about these addresses.
    pub fn new(sequence: u32, wanted: &'a [IpAddr]) -> Self {
        Self {
            sequence,
            wanted,
            found: Vec::new(),
            interrupted: false,
            done: false,
        }
    }

    /// What was found; none when the dump was interrupted and something is
    /// amiss, which may be for that reason alone.
    pub fn result(self) -> Option<Vec<Found>> {
        (!self.interrupted || self.complete()).then_some(self.found)
    }

    fn complete(&self) -> bool {
        let is_found = |wanted: &IpAddr| {
            let mut found = self.found.iter();
            found.any(|found| found.covers(*wanted) && found.usable())
        };
        !self.wanted.is_empty() && self.wanted.iter().all(is_found)
    }

    /// Takes in one datagram: a sequence of messages.
    ///
    /// # Errors
    ///
    /// It is malformed, or the kernel reports an error.
    pub fn read(&mut self, mut datagram: &[u8]) -> Result<()> {
        while !datagram.is_empty() && !self.done {
            let message = NetlinkBuffer::new_checked(datagram).context(MALFORMED)?;
            if message.sequence_number() == self.sequence {
                self.message(&message)?;
            }
            let length = usize::try_from(message.length())?.next_multiple_of(4);
            datagram = datagram.get(length..).unwrap_or_default();
        }
        self.done |= self.complete();
        Ok(())
    }

    fn message(&mut self, message: &NetlinkBuffer<&[u8]>) -> Result<()> {
        self.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
        let payload = message.payload();
        match message.message_type() {
            NLMSG_DONE => {
                self.done = true;
                // An empty one is a success too.
                failed(DoneBuffer::new_checked(payload).map_or(0, |done| done.code()))
            }
            NLMSG_ERROR => {
                let error = ErrorBuffer::new_checked(payload).context(MALFORMED)?;
                failed(error.code().map_or(0, |code| code.get()))
            }
            NLMSG_OVERRUN => {
                self.interrupted = true;
                Ok(())
            }
            libc::RTM_NEWADDR => {
                let found = address(payload)?;
                self.found.extend(found.filter(|found| {
                    let mut wanted = self.wanted.iter();
                    self.wanted.is_empty() || wanted.any(|wanted| found.covers(*wanted))
                }));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// An error code of the kernel's: a negative errno, or 0.
fn failed(code: i32) -> Result<()> {
    if code >= 0 {
        return Ok(());
    }
    let error = std::io::Error::from_raw_os_error(code.saturating_neg());
    Err(anyhow!(error).context("list addresses over netlink"))
}

/// The address of one RTM_NEWADDR message; none when it has none of IPv4 or
/// IPv6. Only the attributes of interest are decoded, as a host may have
/// thousands of addresses.
pub(super) fn address(payload: &[u8]) -> Result<Option<Found>> {
    let header = AddressHeader::parse(payload).context(MALFORMED)?;
    // The low eight flags, for readers that know no others.
    let mut flags = AddressFlags::from_bits_retain(header.flags.bits().into());
    let (mut local, mut address) = (None, None);
    for attribute in NlasIterator::new(&payload[HEADER..]) {
        let attribute = attribute.context(MALFORMED)?;
        let value = attribute.value();
        match attribute.kind() {
            // With a peer, IFA_ADDRESS is the peer's and IFA_LOCAL ours.
            libc::IFA_LOCAL => local = Some(ip(header.family, value)?),
            libc::IFA_ADDRESS => address = Some(ip(header.family, value)?),
            libc::IFA_FLAGS => {
                let value = value.try_into().context(MALFORMED)?;
                flags = AddressFlags::from_bits_retain(u32::from_ne_bytes(value));
            }
            _ => {}
        }
    }
    Ok(local.or(address).flatten().map(|address| Found {
        address,
        prefix: header.prefix_len,
        flags,
    }))
}

/// An address of a family; none for families other than IPv4 and IPv6.
fn ip(family: AddressFamily, value: &[u8]) -> Result<Option<IpAddr>> {
    Ok(match family {
        AddressFamily::Inet => {
            let octets: [u8; 4] = value.try_into().context(MALFORMED)?;
            Some(octets.into())
        }
        AddressFamily::Inet6 => {
            let octets: [u8; 16] = value.try_into().context(MALFORMED)?;
            Some(octets.into())
        }
        _ => None,
    })
}
