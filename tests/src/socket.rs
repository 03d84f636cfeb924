//! Sockets as the scenarios use them: blocking, but not for ever.

use std::fmt;
use std::io::{IoSlice, Result as IoResult};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    self, AddressFamily, MMsgHdr, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrAny,
    SocketFlags, SocketType, sockopt,
};

use crate::process::PATIENCE;
use crate::sys::{self, PacketInfo};

/// What a call came to, when both ways are of interest.
pub type Outcome<T = IpAddr> = std::result::Result<T, Errno>;

/// What kind of socket to make.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// An `AF_INET6` socket.
    pub v6: bool,
    /// TCP; otherwise UDP.
    pub tcp: bool,
    /// With `IPV6_V6ONLY` set. It is always set or cleared explicitly.
    pub v6only: bool,
}

/// TCP over IPv4.
pub const TCP4: Kind = Kind::new(false, true);
/// TCP on an IPv6 socket that is open to both families.
pub const TCP6: Kind = Kind::new(true, true);
/// UDP over IPv4.
pub const UDP4: Kind = Kind::new(false, false);
/// UDP on an IPv6 socket that is open to both families.
pub const UDP6: Kind = Kind::new(true, false);

impl Kind {
    const fn new(v6: bool, tcp: bool) -> Self {
        Self {
            v6,
            tcp,
            v6only: false,
        }
    }

    /// The same with `IPV6_V6ONLY`.
    pub const fn v6only(self) -> Self {
        Self {
            v6only: true,
            ..self
        }
    }

    /// TCP or UDP of the family that `address` belongs to.
    pub const fn of(tcp: bool, address: IpAddr) -> Self {
        Self::new(address.is_ipv6(), tcp)
    }

    /// The three arguments of socket(2).
    pub fn arguments(self) -> (AddressFamily, SocketType) {
        let family = if self.v6 {
            AddressFamily::INET6
        } else {
            AddressFamily::INET
        };
        let kind = if self.tcp {
            SocketType::STREAM
        } else {
            SocketType::DGRAM
        };
        (family, kind)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = if self.tcp { "tcp" } else { "udp" };
        let family = if self.v6 { 6 } else { 4 };
        let only = if self.v6only { " v6only" } else { "" };
        write!(f, "{transport}{family}{only}")
    }
}

/// A socket with a deadline on every call. The kernel does not restart a call
/// with a deadline by itself when the process was stopped meanwhile.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    kind: Kind,
}

impl Socket {
    /// A socket of the calling process: outside of any scratch cgroup.
    pub fn new(kind: Kind) -> Result<Self> {
        let (family, socket_type) = kind.arguments();
        let fd = net::socket_with(family, socket_type, SocketFlags::CLOEXEC, None)
            .with_context(|| format!("make a socket of {kind:?}"))?;
        Self::from_fd(fd, kind)
    }

    /// A socket that somebody else made.
    pub fn from_fd(fd: OwnedFd, kind: Kind) -> Result<Self> {
        if kind.v6 {
            sockopt::set_ipv6_v6only(&fd, kind.v6only).context("set IPV6_V6ONLY")?;
        }
        Self::unusual(fd, kind)
    }

    /// A socket of another protocol, which is used as if it were of `kind`.
    pub fn unusual(fd: OwnedFd, kind: Kind) -> Result<Self> {
        for direction in [sockopt::Timeout::Recv, sockopt::Timeout::Send] {
            sockopt::set_socket_timeout(&fd, direction, Some(PATIENCE)).context("set a timeout")?;
        }
        Ok(Self { fd, kind })
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// setsockopt(2) with an `int`.
    pub fn set(&self, level: i32, name: i32, value: i32) -> Result<()> {
        sys::set_option(self.as_fd(), level, name, value)
            .with_context(|| format!("set option {name} of level {level}"))
    }

    /// Makes closing a connected TCP socket reset the connection, so that
    /// nothing stays behind in TIME_WAIT.
    pub fn reset_on_close(&self) -> Result<()> {
        Ok(sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO))?)
    }

    /// bind(2)
    pub fn bind(&self, at: SocketAddr) -> Outcome<()> {
        net::bind(&self.fd, &at)
    }

    /// listen(2), with room for a crowd.
    pub fn listen(&self) -> Outcome<()> {
        net::listen(&self.fd, 1024)
    }

    /// connect(2). `to` may be of the other family than the socket.
    pub fn connect(&self, to: SocketAddr) -> Outcome<()> {
        match net::connect(&self.fd, &to) {
            // The kernel interrupts the thread when it takes down a ring of
            // io_uring (`io_tctx_exit_cb`); the connect goes on meanwhile.
            Err(Errno::INTR) => self.connected(),
            outcome => outcome,
        }
    }

    /// What a connect comes to that is under way.
    pub fn connected(&self) -> Outcome<()> {
        let mut fds = [PollFd::new(self, PollFlags::OUT)];
        let patience = Timespec::try_from(PATIENCE).map_err(|_| Errno::INVAL)?;
        if retry_on_intr(|| poll(&mut fds, Some(&patience)))? == 0 {
            return Err(Errno::TIMEDOUT);
        }
        sockopt::socket_error(self)?
    }

    /// connect(2) with `AF_UNSPEC`.
    pub fn disconnect(&self) -> Outcome<()> {
        net::connect_unspec(&self.fd)
    }

    /// accept(2)
    pub fn accept(&self) -> Result<Self> {
        let fd =
            retry_on_intr(|| net::accept_with(&self.fd, SocketFlags::CLOEXEC)).context("accept")?;
        Ok(Self {
            fd,
            kind: self.kind,
        })
    }

    /// getsockname(2)
    pub fn local(&self) -> Result<SocketAddr> {
        Ok(net::getsockname(&self.fd)
            .context("getsockname")?
            .try_into()?)
    }

    /// getpeername(2)
    pub fn peer(&self) -> Result<SocketAddr> {
        Ok(net::getpeername(&self.fd)
            .context("getpeername")?
            .context("the socket has no peer")?
            .try_into()?)
    }

    /// sendto(2), or send(2) on a connected socket.
    pub fn send(&self, to: Option<SocketAddr>, payload: &[u8]) -> Outcome<()> {
        let flags = SendFlags::NOSIGNAL;
        match to {
            Some(to) => net::sendto(&self.fd, payload, flags, &to),
            None => net::send(&self.fd, payload, flags),
        }
        .map(drop)
    }

    /// sendmsg(2) without control messages.
    pub fn send_message(&self, to: SocketAddr, payload: &[u8]) -> Outcome<()> {
        net::sendmsg_addr(
            &self.fd,
            &to,
            &[IoSlice::new(payload)],
            &mut SendAncillaryBuffer::default(),
            SendFlags::NOSIGNAL,
        )
        .map(drop)
    }

    /// sendmmsg(2) with two datagrams of the same payload.
    pub fn send_two(&self, to: SocketAddr, payload: &[u8]) -> Outcome<usize> {
        let to = SocketAddrAny::from(to);
        let vector = [IoSlice::new(payload)];
        let (mut one, mut two) = <_>::default();
        net::sendmmsg(
            &self.fd,
            &mut [
                MMsgHdr::new_with_addr(&to, &vector, &mut one),
                MMsgHdr::new_with_addr(&to, &vector, &mut two),
            ],
            SendFlags::NOSIGNAL,
        )
    }

    /// sendmsg(2) that names its source address.
    pub fn send_from(
        &self,
        source: PacketInfo,
        to: Option<SocketAddr>,
        payload: &[u8],
    ) -> Outcome<()> {
        sys::send_with_info(self.as_fd(), to, source, payload).map_err(errno)
    }

    /// recvfrom(2): the payload, and who sent it.
    pub fn receive(&self) -> Result<(Vec<u8>, SocketAddr)> {
        let mut buffer = [0; 256];
        let (bytes, _, from) =
            retry_on_intr(|| net::recvfrom(&self.fd, &mut buffer[..], RecvFlags::empty()))
                .context("recvfrom")?;
        let from = from.context("a datagram without a sender")?;
        Ok((buffer[..bytes].to_vec(), from.try_into()?))
    }

    /// Whether there is something to read, without waiting for it.
    pub fn has_input(&self) -> Result<bool> {
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        Ok(poll(&mut fds, Some(&Timespec::default()))? > 0)
    }

    /// recv(2) on a connected socket; an error of the connection included.
    pub fn receive_connected(&self) -> Outcome<Vec<u8>> {
        let mut buffer = [0; 256];
        let (bytes, _) =
            retry_on_intr(|| net::recv(&self.fd, &mut buffer[..], RecvFlags::empty()))?;
        Ok(buffer[..bytes].to_vec())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// An address with a port; link-local ones are of the interface `link`.
pub fn at(address: IpAddr, port: u16, link: u32) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, port, 0, link).into(),
        _ => SocketAddr::new(address, port),
    }
}

/// Waits until one of the sockets has something to read, an error included:
/// which one, the first at best.
pub fn first_ready(sockets: &[&Socket]) -> Result<usize> {
    let mut fds: Vec<_> = sockets
        .iter()
        .map(|socket| PollFd::new(*socket, PollFlags::IN))
        .collect();
    let patience = Timespec::try_from(PATIENCE)?;
    let ready = retry_on_intr(|| poll(&mut fds, Some(&patience)))?;
    ensure!(ready > 0, "nothing happened within {PATIENCE:?}");
    fds.iter()
        .position(|fd| !fd.revents().is_empty())
        .context("poll named no socket")
}

/// The errno of an error of the system.
pub fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// As [`Socket::bind`] to 0.0.0.0, with the family `AF_UNSPEC`.
pub fn bind_unspec(socket: &Socket, port: u16) -> Outcome<()> {
    let bound: IoResult<()> = sys::bind_unspec(socket.as_fd(), port);
    bound.map_err(errno)
}
