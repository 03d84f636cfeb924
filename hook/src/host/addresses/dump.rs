//! Asks the kernel for its addresses: an RTM_GETADDR dump, rtnetlink(7).

use std::io::ErrorKind;
use std::net::IpAddr;

use anyhow::{Context as _, Result, anyhow, bail};
use netlink_packet_core::{NLM_F_DUMP, NlasIterator};
use netlink_packet_route::address::{AddressFlags, AddressHeader, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::{Found, State};
use crate::host::netlink::{Replies, Reply, Request, TRIES};

/// `struct ifaddrmsg`, in bytes.
const HEADER: usize = 8;

const MALFORMED: &str = "list addresses: malformed reply from the kernel";

/// Returns the addresses of the calling thread's network namespace that cover the wanted
/// ones; all, if `wanted` is empty. Stops early once all wanted ones have been found
/// usable.
pub(super) fn addresses(wanted: &[IpAddr]) -> Result<Vec<Found>> {
    for sequence in 1..=TRIES {
        let mut dump = Request::open(NETLINK_ROUTE).context("open a netlink socket")?;
        let sent = dump.send(request(wanted), NLM_F_DUMP, sequence);
        sent.context("request addresses over netlink")?;
        if let Some(found) = replies(&mut dump, sequence, wanted)? {
            return Ok(found);
        }
    }
    bail!("list addresses: they changed {TRIES} times while the kernel listed them: retry");
}

/// A request for the addresses of the wanted families.
fn request(wanted: &[IpAddr]) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = match wanted {
        [IpAddr::V4(_)] => AddressFamily::Inet,
        [IpAddr::V6(_)] => AddressFamily::Inet6,
        _ => AddressFamily::Unspec,
    };
    RouteNetlinkMessage::GetAddress(message)
}

/// Reads the replies to a request; `None` if the list is not consistent.
fn replies(request: &mut Request, sequence: u32, wanted: &[IpAddr]) -> Result<Option<Vec<Found>>> {
    let mut dump = Dump::new(sequence, wanted);
    while !dump.done {
        match request.receive() {
            // The socket's queue overflowed.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(None),
            datagram => dump.read(datagram.context("read addresses over netlink")?)?,
        }
    }
    Ok(dump.result())
}

/// The replies so far.
pub struct Dump<'a> {
    sequence: u32,
    wanted: &'a [IpAddr],
    found: Vec<Found>,
    interrupted: bool,
    /// Whether there is nothing more to read.
    pub done: bool,
}

impl<'a> Dump<'a> {
    /// Expects the replies to the request with this number, about these addresses.
    pub fn new(sequence: u32, wanted: &'a [IpAddr]) -> Self {
        Self {
            sequence,
            wanted,
            found: Vec::new(),
            interrupted: false,
            done: false,
        }
    }

    /// Returns what was found; `None` if the dump was interrupted, which may have lost
    /// some, unless all wanted addresses have been found usable.
    pub fn result(self) -> Option<Vec<Found>> {
        (!self.interrupted || self.complete()).then_some(self.found)
    }

    fn complete(&self) -> bool {
        let is_found = |wanted: &IpAddr| {
            let mut found = self.found.iter();
            found.any(|found| found.covers(*wanted) && found.state() == State::Usable)
        };
        !self.wanted.is_empty() && self.wanted.iter().all(is_found)
    }

    /// Reads one datagram: a sequence of messages.
    ///
    /// # Errors
    ///
    /// It is malformed, or the kernel reports an error.
    pub fn read(&mut self, datagram: &[u8]) -> Result<()> {
        let mut replies = Replies::of(datagram, self.sequence);
        while !self.done
            && let Some(reply) = replies.next()
        {
            self.interrupted |= replies.is_interrupted;
            match reply.map_err(explain)? {
                Reply::Done => self.done = true,
                Reply::Interrupted => self.interrupted = true,
                Reply::One(libc::RTM_NEWADDR, payload) => {
                    let found = address(payload)?;
                    self.found.extend(found.filter(|found| {
                        let mut wanted = self.wanted.iter();
                        self.wanted.is_empty() || wanted.any(|wanted| found.covers(*wanted))
                    }));
                }
                Reply::One(..) => {}
            }
        }
        self.done |= self.complete();
        Ok(())
    }
}

fn explain(error: std::io::Error) -> anyhow::Error {
    let context = match error.kind() {
        ErrorKind::InvalidData => MALFORMED,
        _ => "list addresses over netlink",
    };
    anyhow!(error).context(context)
}

/// Returns the address in one RTM_NEWADDR message; `None` if it has none of IPv4 or IPv6.
/// Only the attributes of interest are decoded, as a host may have thousands of
/// addresses.
pub(super) fn address(payload: &[u8]) -> Result<Option<Found>> {
    let header = AddressHeader::parse(payload).context(MALFORMED)?;
    // The low eight flags, for readers that know no others; IFA_FLAGS has all.
    let mut flags = AddressFlags::from_bits_retain(header.flags.bits().into());
    let (mut local, mut address, mut broadcast) = (None, None, None);
    for attribute in NlasIterator::new(&payload[HEADER..]) {
        let attribute = attribute.context(MALFORMED)?;
        let value = attribute.value();
        match attribute.kind() {
            // With a peer, IFA_ADDRESS is the peer's and IFA_LOCAL ours.
            libc::IFA_LOCAL => local = Some(ip(header.family, value)?),
            libc::IFA_ADDRESS => address = Some(ip(header.family, value)?),
            libc::IFA_BROADCAST => broadcast = ip(header.family, value)?,
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
        broadcast: broadcast.and_then(|broadcast| match broadcast {
            IpAddr::V4(broadcast) => Some(broadcast),
            IpAddr::V6(_) => None,
        }),
        flags,
        device: header.index,
        is_in_vrf: false,
    }))
}

/// Parses an address of a family; `None` for families other than IPv4 and IPv6.
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
