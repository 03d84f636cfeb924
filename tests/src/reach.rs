//! At which addresses a server answers.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;

use crate::net::{CIP4, CIP6, HOST4, HOST6, LOOP4, LOOP6, OTHER4, OTHER6};
use crate::socket::{Kind, Socket, first_ready};

/// The addresses that are tried.
pub const PROBED: [IpAddr; 8] = [HOST4, CIP4, OTHER4, LOOP4, HOST6, CIP6, OTHER6, LOOP6];

/// Fails unless `server` answers at exactly the addresses that its own name
/// stands for.
pub fn assert_as_named(server: &Socket) -> Result<()> {
    let name = server.local()?;
    assert_same(name.ip(), server.kind().v6only, &answered(server)?)
}

/// The addresses at which `server` answers.
pub fn answered(server: &Socket) -> Result<Vec<IpAddr>> {
    answered_at(server, server.local()?.port())
}

/// The addresses at which `server`, and nobody else, answers at `port`.
pub fn answered_at(server: &Socket, port: u16) -> Result<Vec<IpAddr>> {
    filter(|address| answers(server, SocketAddr::new(address, port)))
}

/// Whether `server`, and nobody else, answers at `address`.
pub fn answers(server: &Socket, address: SocketAddr) -> Result<bool> {
    if !server.kind().tcp {
        return udp_answers(address, server);
    }
    let Some(client) = tcp_answers(address)? else {
        return Ok(false);
    };
    let seen = server.accept()?.peer()?;
    ensure!(
        seen.port() == client.local()?.port(),
        "{address} was answered, but not by this server"
    );
    Ok(true)
}

/// Fails unless `server`, and nobody else, answers at `address`.
pub fn assert_answers(server: &Socket, address: SocketAddr) -> Result<()> {
    ensure!(answers(server, address)?, "nobody answers at {address}");
    Ok(())
}

/// Fails if anybody accepts TCP connections on `port` at one of these addresses.
pub fn assert_refused(addresses: &[IpAddr], port: u16) -> Result<()> {
    for &address in addresses {
        let answered = tcp_answers(SocketAddr::new(address, port))?.is_some();
        ensure!(!answered, "somebody answers at {address}, port {port}");
    }
    Ok(())
}

/// Fails unless somebody accepts TCP connections on `port` at exactly the
/// addresses that `name` stands for.
pub fn assert_accepted_as_named(name: IpAddr, port: u16) -> Result<()> {
    let accepted = filter(|address| Ok(tcp_answers(SocketAddr::new(address, port))?.is_some()))?;
    assert_same(name, false, &accepted)
}

fn assert_same(name: IpAddr, v6only: bool, answered: &[IpAddr]) -> Result<()> {
    let expected: Vec<_> = PROBED
        .into_iter()
        .filter(|&probed| covers(name, v6only, probed))
        .collect();
    ensure!(
        answered == expected,
        "a server at {name} answered at {answered:?}, not at {expected:?}"
    );
    Ok(())
}

fn filter(answers: impl Fn(IpAddr) -> Result<bool>) -> Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    for address in PROBED {
        if answers(address).with_context(|| format!("probe {address}"))? {
            found.push(address);
        }
    }
    Ok(found)
}

fn tcp_answers(address: SocketAddr) -> Result<Option<Socket>> {
    let client = Socket::new(Kind::of(true, address.ip()))?;
    client.reset_on_close()?;
    match client.connect(address) {
        Ok(()) => Ok(Some(client)),
        Err(Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A datagram either reaches the server or comes back as an error.
fn udp_answers(address: SocketAddr, server: &Socket) -> Result<bool> {
    let client = Socket::new(Kind::of(false, address.ip()))?;
    client.connect(address)?;
    client.send(None, b"probe")?;
    if first_ready(&[&client, server])? == 0 {
        return match client.receive_connected() {
            Err(Errno::CONNREFUSED) => Ok(false),
            other => anyhow::bail!("unexpected answer: {other:?}"),
        };
    }
    let (_, from) = server.receive()?;
    ensure!(
        from.port() == client.local()?.port(),
        "a datagram of somebody else arrived: {from}"
    );
    Ok(true)
}

/// Whether a socket bound to `name` is open to packets for `probed`.
fn covers(name: IpAddr, v6only: bool, probed: IpAddr) -> bool {
    let same = |name: IpAddr| name.is_unspecified() || name == probed;
    match (name, probed) {
        (IpAddr::V6(v6), IpAddr::V4(_)) => match v6.to_ipv4_mapped() {
            Some(v4) => same(v4.into()),
            None => v6.is_unspecified() && !v6only,
        },
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
        _ => same(name),
    }
}
