//! C10, G1 and L8: ping sockets, which have a bind of their own.

use std::net::IpAddr;
use std::sync::OnceLock;

use anyhow::{Result, ensure};
use oci_bind_hook_tests::hook::Policy;
use oci_bind_hook_tests::net::{CIP4, CIP6, HOST4, HOST6, LOOP4, PEER4, PEER6};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, UDP4, UDP6};
use rustix::io::Errno;
use rustix::net::SocketType;

use crate::guard::{GUARDED4, GUARDED6};
use crate::observe::done;
use crate::private::PRIVATE;
use crate::row::{Row, Site, WITH4, WITH6, row};

/// `IPPROTO_ICMP` and `IPPROTO_ICMPV6`
const ICMP: [u32; 2] = [1, 58];
/// An echo request (RFC 792, RFC 4443); the kernel fills in checksum and id.
const ECHO4: &[u8] = &[8, 0, 0, 0, 0, 0, 0, 1];
const ECHO6: &[u8] = &[128, 0, 0, 0, 0, 0, 0, 1];

/// Policies with an address of the family, with the guard and without; the socket; its
/// peer's, the container's and the host's own address.
type Family = ([&'static [Policy]; 2], Kind, IpAddr, IpAddr, IpAddr);
const FAMILIES: [Family; 2] = [
    ([GUARDED4, WITH4], UDP4, PEER4, CIP4, HOST4),
    ([GUARDED6, WITH6], UDP6, PEER6, CIP6, HOST6),
];

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    // The kernel itself answers, at any loopback.
    let what = format!("ping {LOOP4}");
    let observe = |site: &Site| ping(site, UDP4, None, CIP4, LOOP4);
    rows.extend(row("L8", &what, PRIVATE, observe, Some(LOOP4), Some(LOOP4)));
    for ([guarded, plain], kind, peer, own, host) in FAMILIES {
        let family = if kind.v6 { 6 } else { 4 };
        let what = format!("IPv{family} ping, unbound");
        let observe = move |site: &Site| ping(site, kind, None, own, peer);
        rows.extend(row("G1", &what, guarded, observe, None, Some(peer)));

        let what = format!("IPv{family} ping -I {own}");
        let observe = move |site: &Site| ping(site, kind, Some(own), own, peer);
        let answer = Some(peer);
        rows.extend(row("G1", &what, guarded, observe, answer, answer));

        for policies in [guarded, plain] {
            let what = format!("IPv{family} ping socket connect");
            let observe = move |site: &Site| connect(site, kind, own, peer);
            let inside = match policies {
                _ if has_ping_hook() => Ok(Some(own)),
                policies if policies != guarded => Ok(Some(host)),
                _ if kind.v6 => Ok(None),
                _ => Err(Errno::PERM),
            };
            rows.extend(row("C10", &what, policies, observe, inside, Ok(Some(host))));
        }
    }
    rows
}

/// Sends an echo request from an address, if any: who answers. A second request, from the
/// container's own address, is answered in any case, and only after the first one would
/// have been.
fn ping(
    site: &Site,
    kind: Kind,
    from: Option<IpAddr>,
    own: IpAddr,
    to: IpAddr,
) -> Result<Option<IpAddr>> {
    let (client, second) = (open(site, kind)?, open(site, kind)?);
    if let Some(address) = from {
        client.bind(site.at(address, 0))?;
    }
    match client.send(Some(site.at(to, 0)), request(kind)) {
        // What the guard drops is an error to the sender, except over IPv6
        // (`ping_v6_sendmsg`).
        Err(Errno::PERM) | Ok(()) => {}
        Err(errno) => return Err(errno.into()),
    }
    second.bind(site.at(own, 0))?;
    second.send(Some(site.at(to, 0)), request(kind))?;
    second.receive()?;
    if !client.has_input()? {
        return Ok(None);
    }
    Ok(Some(client.receive()?.1.ip()))
}

/// Connects, and sends an echo request: the local address, if it is answered. A second
/// request, as in [`ping`], shows that the first one never will be.
fn connect(site: &Site, kind: Kind, own: IpAddr, to: IpAddr) -> Result<Outcome<Option<IpAddr>>> {
    let (client, second) = (open(site, kind)?, open(site, kind)?);
    done!(client.connect(site.at(to, 0)));
    done!(client.send(None, request(kind)));
    second.bind(site.at(own, 0))?;
    second.send(Some(site.at(to, 0)), request(kind))?;
    second.receive()?;
    if !client.has_input()? {
        return Ok(Ok(None));
    }
    let (_, from) = client.receive()?;
    ensure!(from.ip() == to, "the answer came from {from}");
    Ok(Ok(Some(client.local()?.ip())))
}

/// Whether the connect of a ping socket has a hook (Linux 6.1): the function that runs it
/// is among the kernel's types. Before that, only the guard sees what is sent from another
/// address.
fn has_ping_hook() -> bool {
    const FUNCTION: &[u8] = b"ping_v6_pre_connect";
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let types = std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
        types.split(|byte| *byte == 0).any(|name| name == FUNCTION)
    })
}

fn request(kind: Kind) -> &'static [u8] {
    if kind.v6 { ECHO6 } else { ECHO4 }
}

fn open(site: &Site, kind: Kind) -> Result<Socket> {
    site.net().allow_ping()?;
    site.open(kind, SocketType::DGRAM, ICMP[usize::from(kind.v6)])
}
