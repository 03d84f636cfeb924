//! Who sends echo requests, as the receiving host sees it.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, ipproto, recvfrom, socket_with,
};

/// `ICMP_ECHO`, linux/icmp.h
const REQUEST4: u8 = 8;
/// `ICMPV6_ECHO_REQUEST`, linux/icmpv6.h
const REQUEST6: u8 = 128;

/// Takes down the echo requests that reach the namespace of its thread.
#[derive(Debug)]
pub struct Echoes {
    socket: OwnedFd,
    is_v4: bool,
}

impl Echoes {
    /// Listens from now on, in the family of `address`.
    pub fn listen(address: IpAddr) -> Result<Self> {
        let (family, protocol) = match address {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::RAW, flags, Some(protocol))
            .context("make a raw socket")?;
        Ok(Self {
            socket,
            is_v4: address.is_ipv4(),
        })
    }

    /// The sources of all requests since it was last asked, each once. The
    /// kernel hands them over before the sender's call returns.
    pub fn sources(&self) -> Result<Vec<IpAddr>> {
        let mut sources = Vec::new();
        let mut packet = [0; 2048];
        loop {
            let (length, from) = match recvfrom(&self.socket, &mut packet[..], RecvFlags::empty()) {
                Ok((_, length, from)) => (length, from),
                Err(Errno::WOULDBLOCK) => return Ok(sources),
                Err(error) => return Err(error).context("receive a packet"),
            };
            let from = SocketAddr::try_from(from.context("a packet without a source")?)?.ip();
            if self.is_request(&packet[..length]) && !sources.contains(&from) {
                sources.push(from);
            }
        }
    }

    /// IPv4 packets come with their header, whose length is in its first byte.
    fn is_request(&self, packet: &[u8]) -> bool {
        if !self.is_v4 {
            return packet.first() == Some(&REQUEST6);
        }
        let words = packet.first().map_or(0, |first| usize::from(first & 0xf));
        packet.get(words * 4) == Some(&REQUEST4)
    }
}
