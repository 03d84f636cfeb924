//! A call to loopback: what its client is told, and what its server sees.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use oci_bind_hook_tests::net::{ANY4, ANY6, LOOP4, LOOP6, mapped};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket};

use crate::observe::done;
use crate::row::Site;

/// The names of both ends of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The server's name as the client is told it: by getpeername, and by recvfrom for
    /// datagrams.
    pub peer: SocketAddr,
    /// The client's own name as it is told it.
    pub local: IpAddr,
    /// The client's name as the server is told it.
    pub seen: IpAddr,
}

/// How a client calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// connect(2)
    Connect,
    /// sendto(2) without a connection.
    SendTo,
}

impl Told {
    /// What a client that called the loopback address `to` is told if everything is right;
    /// its server sees `seen`.
    pub fn by_call(how: How, kind: Kind, to: SocketAddr, seen: IpAddr) -> Self {
        let to_v4 = to.ip().to_canonical().is_ipv4();
        let loopback = match (kind.v6, to_v4) {
            (false, _) => LOOP4,
            (true, true) => mapped(LOOP4),
            (true, false) => LOOP6,
        };
        let local = match (how, kind.v6) {
            (How::Connect, _) => loopback,
            (How::SendTo, false) => ANY4,
            (How::SendTo, true) => ANY6,
        };
        // The wildcard address means loopback, and to an IPv6 socket IPv4 addresses are
        // mapped.
        let name = match to.ip() {
            unspecified if unspecified.to_canonical().is_unspecified() => loopback,
            address if kind.v6 => mapped(address),
            address => address,
        };
        Self {
            peer: SocketAddr::new(name, to.port()),
            local,
            seen,
        }
    }
}

/// A server of the program at `address`.
pub fn serve(site: &Site, kind: Kind, address: SocketAddr) -> Result<Socket> {
    let server = site.socket(kind)?;
    open(&server, address)?;
    Ok(server)
}

/// Binds `server` to `address`, and listens if it can.
pub fn open(server: &Socket, address: SocketAddr) -> Result<()> {
    server
        .bind(address)
        .with_context(|| format!("bind a server to {address}"))?;
    if server.kind().tcp {
        server.listen().context("listen")?;
    }
    Ok(())
}

/// `client` calls `to`, where `server` answers.
pub fn call(client: &Socket, server: &Socket, to: SocketAddr, how: How) -> Result<Outcome<Told>> {
    match how {
        How::Connect => done!(client.connect(to)),
        How::SendTo => done!(client.send(Some(to), b"ping")),
    }
    if client.kind().tcp {
        let accepted = server.accept()?;
        accepted.reset_on_close()?;
        accepted.send(None, b"pong")?;
        ensure!(client.receive_connected()? == b"pong", "no pong");
        return tell(client, client.peer()?, accepted.peer()?);
    }
    if how == How::Connect {
        done!(client.send(None, b"ping"));
    }
    let seen = take(server)?;
    done!(server.send(Some(seen), b"pong"));
    let (payload, from) = client.receive().context("the client")?;
    ensure!(payload == b"pong", "{payload:?} is no pong");
    if how == How::Connect {
        let name = client.peer()?;
        ensure!(name == from, "recvfrom says {from}, getpeername {name}");
    }
    tell(client, from, seen)
}

/// Takes a datagram: who sent it.
pub fn take(server: &Socket) -> Result<SocketAddr> {
    let (payload, seen) = server.receive().context("the server")?;
    ensure!(payload == b"ping", "{payload:?} is no ping");
    Ok(seen)
}

fn tell(client: &Socket, peer: SocketAddr, seen: SocketAddr) -> Result<Outcome<Told>> {
    let local = client.local()?;
    ensure!(
        local.port() == seen.port(),
        "the client calls itself {local}, the server sees {seen}"
    );
    Ok(Ok(Told {
        peer,
        local: local.ip(),
        seen: seen.ip().to_canonical(),
    }))
}
