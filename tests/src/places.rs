//! Where sockets are by the kernel's own list, whatever their programs are told.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;

use anyhow::{Context, Result};

use crate::socket::Socket;

/// One socket of the network namespace of the calling thread.
#[derive(Clone)]
struct Place {
    local: SocketAddr,
    is_listening: bool,
    inode: u64,
}

/// The local addresses of all TCP sockets that listen at `port`.
pub fn listeners(port: u16) -> Result<Vec<IpAddr>> {
    let places = [list("tcp")?, list("tcp6")?].concat();
    Ok(places
        .into_iter()
        .filter(|place| place.is_listening && place.local.port() == port)
        .map(|place| place.local.ip())
        .collect())
}

/// Where a socket is that is bound.
pub fn place(socket: &Socket) -> Result<SocketAddr> {
    let inode = rustix::fs::fstat(socket.as_fd())?.st_ino;
    let table = match (socket.kind().tcp, socket.kind().v6) {
        (true, false) => "tcp",
        (true, true) => "tcp6",
        (false, false) => "udp",
        (false, true) => "udp6",
    };
    let place = list(table)?
        .into_iter()
        .find(|place| place.inode == inode)
        .with_context(|| format!("find the socket in the kernel's list, {table}"))?;
    Ok(place.local)
}

fn list(table: &str) -> Result<Vec<Place>> {
    let path = format!("/proc/thread-self/net/{table}");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    text.lines()
        .skip(1)
        .map(|line| parse(line).with_context(|| format!("understand {line:?} of {path}")))
        .collect()
}

/// From a line: words of an address are hexadecimal in host byte order.
fn parse(line: &str) -> Option<Place> {
    const LISTEN: &str = "0A";
    let fields: Vec<_> = line.split_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let mut octets = Vec::new();
    for start in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(start..start + 8)?, 16).ok()?;
        octets.extend(word.to_ne_bytes());
    }
    let address: IpAddr = match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok()?.into(),
        _ => <[u8; 16]>::try_from(octets).ok()?.into(),
    };
    Some(Place {
        local: SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?),
        is_listening: *fields.get(3)? == LISTEN,
        inode: fields.get(9)?.parse().ok()?,
    })
}
