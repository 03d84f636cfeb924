//! What a program in a cgroup under a policy would see: each try makes calls and checks
//! their results.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_ipv6_v6only, set_socket_timeout};
use rustix::net::{AddressFamily, SocketType, ipproto, sendto, socket};

use super::network::{OWN4, OWN6, PEER4, PEER6};

/// How long a packet that stays on the host may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The addresses of one family, and a socket that was made outside the cgroup.
pub struct Side {
    own: IpAddr,
    any: IpAddr,
    loopback: IpAddr,
    peer: UdpSocket,
}

/// Something that programs do, and what the project promises about it.
pub struct Try {
    /// The calls, in a word.
    pub name: &'static str,
    /// What a program sees if it works.
    pub promise: &'static str,
    /// The first kernel version that has what it needs.
    pub since: &'static str,
    /// Makes the calls.
    pub run: fn(&Side) -> Result<()>,
}

/// The tries, the most important first.
pub const TRIES: [Try; 5] = [
    Try {
        name: "bind",
        promise: "a server on the wildcard is at the assigned address",
        since: "Linux 4.17",
        run: bind,
    },
    Try {
        name: "connect",
        promise: "a client comes from the assigned address",
        since: "Linux 4.17",
        run: connect,
    },
    Try {
        name: "send",
        promise: "a datagram comes from the assigned address",
        since: "Linux 4.18",
        run: send,
    },
    Try {
        name: "loopback",
        promise: "a server is found at localhost, and both ends see loopback",
        since: "Linux 5.8",
        run: loopback,
    },
    Try {
        name: "guard",
        promise: "a packet from another address is dropped",
        since: "Linux 4.10",
        run: guard,
    },
];

impl Side {
    /// Sets up IPv4. To be called outside the cgroup, like [`Self::ipv6`].
    pub fn ipv4() -> Result<Self> {
        Self::new(OWN4.into(), PEER4.into(), Ipv4Addr::LOCALHOST.into())
    }

    /// Sets up IPv6.
    pub fn ipv6() -> Result<Self> {
        Self::new(OWN6.into(), PEER6.into(), Ipv6Addr::LOCALHOST.into())
    }

    fn new(own: IpAddr, peer: IpAddr, loopback: IpAddr) -> Result<Self> {
        let any = match own {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let peer = UdpSocket::bind((peer, 0)).with_context(|| format!("bind to {peer}"))?;
        peer.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            own,
            any,
            loopback,
            peer,
        })
    }

    fn family(&self) -> AddressFamily {
        match self.own {
            IpAddr::V4(_) => AddressFamily::INET,
            IpAddr::V6(_) => AddressFamily::INET6,
        }
    }

    /// Creates a datagram socket without an address, which the standard library cannot
    /// do.
    fn unbound(&self) -> Result<UdpSocket> {
        let socket = UdpSocket::from(socket(self.family(), SocketType::DGRAM, None)?);
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    }
}

fn expect(what: &str, found: IpAddr, wanted: IpAddr) -> Result<()> {
    ensure!(found == wanted, "{what} is {found} instead of {wanted}");
    Ok(())
}

/// Starts a server at the wildcard address of one family.
fn listen(side: &Side) -> Result<TcpListener> {
    let socket = bound(side, SocketType::STREAM)?;
    rustix::net::listen(&socket, 1).context("listen")?;
    let server = TcpListener::from(socket);
    set_socket_timeout(&server, Timeout::Recv, Some(PATIENCE))?;
    Ok(server)
}

fn bound(side: &Side, socket_type: SocketType) -> Result<OwnedFd> {
    let socket = socket(side.family(), socket_type, None)?;
    if side.own.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &SocketAddr::new(side.any, 0))
        .with_context(|| format!("bind to {}, {socket_type:?}", side.any))?;
    Ok(socket)
}

fn bind(side: &Side) -> Result<()> {
    let tcp = listen(side)?;
    expect(
        "the address after bind, TCP,",
        tcp.local_addr()?.ip(),
        side.own,
    )?;
    let udp = UdpSocket::from(bound(side, SocketType::DGRAM)?);
    expect(
        "the address after bind, UDP,",
        udp.local_addr()?.ip(),
        side.own,
    )
}

fn connect(side: &Side) -> Result<()> {
    let client = side.unbound()?;
    let peer = side.peer.local_addr()?;
    client
        .connect(peer)
        .with_context(|| format!("connect to {}", peer.ip()))?;
    expect("the client's address", client.local_addr()?.ip(), side.own)
}

fn send(side: &Side) -> Result<()> {
    let peer = side.peer.local_addr()?;
    side.unbound()?
        .send_to(b"check", peer)
        .with_context(|| format!("send to {}", peer.ip()))?;
    let (_, from) = side.peer.recv_from(&mut [0; 16]).context("receive it")?;
    expect("the sender's address", from.ip(), side.own)
}

fn loopback(side: &Side) -> Result<()> {
    let server = listen(side)?;
    let at = SocketAddr::new(side.loopback, server.local_addr()?.port());
    let client = TcpStream::connect_timeout(&at, PATIENCE)
        .with_context(|| format!("connect to {}", at.ip()))?;
    expect(
        "the server's address",
        client.peer_addr()?.ip(),
        side.loopback,
    )?;
    let (_, from) = server.accept().context("accept")?;
    expect("the client's address", from.ip(), side.loopback)?;

    let server = UdpSocket::from(bound(side, SocketType::DGRAM)?);
    server.set_read_timeout(Some(PATIENCE))?;
    let client = side.unbound()?;
    let at = SocketAddr::new(side.loopback, server.local_addr()?.port());
    client
        .send_to(b"check", at)
        .with_context(|| format!("send to {}", at.ip()))?;
    let (_, from) = server.recv_from(&mut [0; 16]).context("receive it")?;
    server.send_to(b"check", from).context("answer")?;
    let (_, from) = client
        .recv_from(&mut [0; 16])
        .context("receive the answer")?;
    expect("the address that answered", from.ip(), side.loopback)
}

/// A raw socket can bind to any address: only its packets can be stopped.
fn guard(side: &Side) -> Result<()> {
    let protocol = match side.own {
        IpAddr::V4(_) => ipproto::ICMP,
        IpAddr::V6(_) => ipproto::ICMPV6,
    };
    let raw: OwnedFd = socket(side.family(), SocketType::RAW, Some(protocol))
        .context("make a raw socket: needs CAP_NET_RAW")?;
    let foreign = SocketAddr::new(side.peer.local_addr()?.ip(), 0);
    rustix::net::bind(&raw, &foreign).context("bind a raw socket")?;
    match sendto(&raw, &[0; 16], rustix::net::SendFlags::empty(), &foreign) {
        Err(Errno::PERM) => Ok(()),
        Err(error) => Err(error).context("send from another address"),
        Ok(_) => anyhow::bail!("a packet from {} was let out", foreign.ip()),
    }
}

/// Calls a dual-stack server at both assigned addresses.
pub fn dual(sides: &[Side]) -> Result<()> {
    // The network namespace is our own, so the port is free.
    let port = 8080;
    let server = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).context("bind to ::")?;
    set_socket_timeout(&server, Timeout::Recv, Some(PATIENCE))?;
    for side in sides {
        TcpStream::connect_timeout(&SocketAddr::new(side.own, port), PATIENCE)
            .with_context(|| format!("connect to {}", side.own))?;
        let (accepted, _) = server.accept().context("accept")?;
        let local = accepted.local_addr()?.ip().to_canonical();
        expect("the server's address", local, side.own)?;
    }
    Ok(())
}

/// Sends to a dual-stack UDP server at both assigned addresses.
pub fn dual_datagrams(sides: &[Side]) -> Result<()> {
    let port = 8080;
    let server = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).context("bind to ::, UDP")?;
    server.set_read_timeout(Some(PATIENCE))?;
    for side in sides {
        let client =
            UdpSocket::bind((side.own, 0)).with_context(|| format!("bind to {}", side.own))?;
        client.set_read_timeout(Some(PATIENCE))?;
        client.connect((side.own, port))?;
        client
            .send(b"check")
            .with_context(|| format!("send to {}", side.own))?;
        let (_, from) = server.recv_from(&mut [0; 16]).context("receive it")?;
        server.send_to(b"check", from).context("answer")?;
        client
            .recv(&mut [0; 16])
            .with_context(|| format!("receive the answer from {}", side.own))?;
    }
    Ok(())
}

/// Returns the errno of a bind that an IPv6 policy refuses: to an existing IPv4 address.
pub fn refused_bind() -> Option<Errno> {
    errno(TcpListener::bind((OWN4, 0)))
}

/// Returns the errno, if any, of an IPv6-only bind to `::` under an IPv4 policy.
pub fn refused_v6only_bind() -> Result<Option<Errno>> {
    let socket = socket(AddressFamily::INET6, SocketType::STREAM, None)?;
    set_ipv6_v6only(&socket, true)?;
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    Ok(rustix::net::bind(&socket, &any).err())
}

fn errno<T>(result: io::Result<T>) -> Option<Errno> {
    result.err().and_then(|error| Errno::from_io_error(&error))
}
