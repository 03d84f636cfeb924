//! What the rows observe: each function makes a call and returns its outcome.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use libc::{IPPROTO_IPV6, IPV6_FREEBIND};
use oci_bind_hook_tests::reach;
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket};

use crate::row::Site;

/// The port of servers under observation.
pub const PORT: u16 = 8080;

/// Unwraps the outcome of a call, or ends the observation with its errno.
macro_rules! done {
    ($call:expr) => {
        match $call {
            Ok(value) => value,
            Err(errno) => return Ok(Err(errno)),
        }
    };
}
pub(crate) use done;

/// Binds to `asked`: the address that getsockname reports, which is the only one at which
/// the server answers.
pub fn bind(site: &Site, kind: Kind, asked: IpAddr) -> Result<Outcome> {
    serve(&site.socket(kind)?, site.at(asked, PORT))
}

/// Binds to port 0 of `asked`; otherwise like [`bind`].
pub fn bind_port0(site: &Site, kind: Kind, asked: IpAddr) -> Result<Outcome> {
    serve(&site.socket(kind)?, site.at(asked, 0))
}

/// Binds `server` to `asked`, listens and checks where it answers.
pub fn serve(server: &Socket, asked: SocketAddr) -> Result<Outcome> {
    done!(server.bind(asked));
    answer(server, asked.port())
}

/// Checks where `server`, bound to the port `asked`, answers.
pub fn answer(server: &Socket, asked: u16) -> Result<Outcome> {
    if server.kind().tcp {
        server.listen().context("listen")?;
    }
    let name = server.local()?;
    ensure!(name.port() != 0, "no port was chosen");
    ensure!(
        asked == 0 || name.port() == asked,
        "asked for port {asked}, got {}",
        name.port()
    );
    reach::assert_as_named(server)?;
    Ok(Ok(name.ip()))
}

/// Connects to a peer at `to` and exchanges data: the address that the peer
/// sees.
pub fn connect(site: &Site, kind: Kind, to: IpAddr) -> Result<Outcome> {
    dial(&site.socket(kind)?, &Peer::new(kind.tcp, to)?)
}

/// Connects `client`; otherwise like [`connect`].
pub fn dial(client: &Socket, peer: &Peer) -> Result<Outcome> {
    done!(client.connect(peer.address()));
    peer.meet(client)
}

/// Sends to a peer at `to` with `call`: the address that the peer sees. The peer's reply
/// must arrive and show the address that was sent to.
pub fn send(
    site: &Site,
    kind: Kind,
    to: IpAddr,
    call: impl Fn(&Socket, SocketAddr) -> Outcome<()>,
) -> Result<Outcome> {
    let peer = Peer::new(false, to)?;
    let client = site.socket(kind)?;
    done!(call(&client, peer.address()));
    peer.reply(&client)
}

/// sendto(2)
pub fn send_to(client: &Socket, to: SocketAddr) -> Outcome<()> {
    client.send(Some(to), b"ping")
}

/// A server outside of any cgroup.
pub struct Peer {
    socket: Socket,
    address: SocketAddr,
}

impl Peer {
    /// At `address`, on a port that the kernel chooses. A mapped address is an IPv4 one to
    /// the peer.
    pub fn new(tcp: bool, address: IpAddr) -> Result<Self> {
        Self::at(tcp, SocketAddr::new(address, 0))
    }

    /// At this address and port.
    pub fn at(tcp: bool, address: SocketAddr) -> Result<Self> {
        let own = address.ip().to_canonical();
        let socket = Socket::new(Kind::of(tcp, own))?;
        if own.is_ipv6() {
            socket.set(IPPROTO_IPV6, IPV6_FREEBIND, 1)?;
        }
        socket
            .bind(SocketAddr::new(own, address.port()))
            .with_context(|| format!("bind a peer to {own}"))?;
        if tcp {
            socket.listen()?;
        }
        let address = SocketAddr::new(address.ip(), socket.local()?.port());
        Ok(Self { socket, address })
    }

    /// setsockopt(2) with an `int`.
    pub fn set(&self, level: i32, name: i32, value: i32) -> Result<()> {
        self.socket.set(level, name, value)
    }

    /// Where clients find it, in the form that was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the connection, or the first datagram, of a client that has
    /// connected, and answers it.
    pub fn meet(&self, client: &Socket) -> Result<Outcome> {
        if !client.kind().tcp {
            done!(client.send(None, b"ping"));
            return self.reply(client);
        }
        let accepted = self.socket.accept()?;
        let seen = accepted.peer()?;
        accepted.send(None, b"pong")?;
        ensure!(client.receive_connected()? == b"pong", "no pong");
        self.agree(client, seen)
    }

    /// Takes a datagram from the client and answers it.
    pub fn reply(&self, client: &Socket) -> Result<Outcome> {
        let seen = self.receive()?;
        self.socket.send(Some(seen), b"pong")?;
        let (payload, from) = client.receive().context("the client")?;
        ensure!(payload == b"pong", "{payload:?} is no pong");
        ensure!(
            canonical(from) == canonical(self.address),
            "sent to {}, the reply came from {from}",
            self.address
        );
        self.agree(client, seen)
    }

    /// Takes the next connection.
    pub fn accept(&self) -> Result<Socket> {
        self.socket.accept()
    }

    /// Takes the next datagram: who sent it.
    pub fn receive(&self) -> Result<SocketAddr> {
        let (_, sender) = self.socket.receive().context("the peer")?;
        Ok(sender)
    }

    /// Sends a datagram.
    pub fn send(&self, to: SocketAddr) -> Result<()> {
        Ok(self.socket.send(Some(to), b"ping")?)
    }

    /// Fails unless the client's name, if it has one, is the address that the peer sees.
    fn agree(&self, client: &Socket, seen: SocketAddr) -> Result<Outcome> {
        let name = canonical(client.local()?);
        ensure!(
            name.ip().is_unspecified() || name.ip() == seen.ip(),
            "the peer saw {seen}, the client calls itself {name}"
        );
        ensure!(name.port() == seen.port(), "the peer saw {seen} for {name}");
        Ok(Ok(seen.ip()))
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
