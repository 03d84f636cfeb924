//! The calls.
#![expect(unsafe_code, reason = "the functions of libc, by their own names")]

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{AddressFamily, SocketAddrAny, SocketType, getsockname, listen, socket, sockopt};

/// How many nanoseconds one of `count` calls takes.
pub fn time(call: &str, kind: &str, address: SocketAddr, count: u32) -> Result<f64> {
    let to = SocketAddrAny::from(address);
    let sockets = |count| (0..count).map(|_| make(kind)).collect::<Result<Vec<_>>>();
    let time = match call {
        "bind" => clock(&sockets(count)?, |socket| bind(socket, &to)),
        "connect" => clock(&sockets(count)?, |socket| connect(socket, &to)),
        "sendto" => {
            let socket = make(kind)?;
            clock_times(count, || send(&socket, &to))
        }
        "getpeername" => {
            let socket = make(kind)?;
            connect(&socket, &to)?;
            clock_times(count, || peer(&socket))
        }
        "accept" => {
            let listener = make(kind)?;
            bind(&listener, &to)?;
            listen(&listener, 1024)?;
            let own = getsockname(&listener)?;
            let clients = sockets(count)?;
            for client in &clients {
                connect(client, &own)?;
            }
            let mut accepted = Vec::with_capacity(clients.len());
            clock_times(count, || {
                accepted.push(accept(&listener)?);
                Ok(())
            })
        }
        _ => bail!("no such call"),
    }?;
    Ok(time.as_secs_f64() * 1e9 / f64::from(count))
}

fn clock(sockets: &[OwnedFd], call: impl Fn(&OwnedFd) -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    for socket in sockets {
        call(socket)?;
    }
    Ok(start.elapsed())
}

fn clock_times(count: u32, mut call: impl FnMut() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..count {
        call()?;
    }
    Ok(start.elapsed())
}

/// A socket that leaves nothing behind when it is closed.
fn make(kind: &str) -> Result<OwnedFd> {
    let (socket_type, family) = match kind {
        "tcp4" => (SocketType::STREAM, AddressFamily::INET),
        "tcp6" => (SocketType::STREAM, AddressFamily::INET6),
        "udp4" => (SocketType::DGRAM, AddressFamily::INET),
        "udp6" => (SocketType::DGRAM, AddressFamily::INET6),
        _ => bail!("no such kind of socket: {kind}"),
    };
    let socket = socket(family, socket_type, None).context("make a socket")?;
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    Ok(socket)
}

fn bind(socket: &OwnedFd, to: &SocketAddrAny) -> Result<()> {
    // SAFETY: libc reads as many bytes at the address as it is told of.
    let done = unsafe { libc::bind(socket.as_raw_fd(), to.as_ptr().cast(), to.addr_len()) };
    check(done)
}

fn connect(socket: &OwnedFd, to: &SocketAddrAny) -> Result<()> {
    // SAFETY: libc reads as many bytes at the address as it is told of.
    let done = unsafe { libc::connect(socket.as_raw_fd(), to.as_ptr().cast(), to.addr_len()) };
    check(done)
}

fn send(socket: &OwnedFd, to: &SocketAddrAny) -> Result<()> {
    let (data, address) = (b"x", to.as_ptr().cast());
    // SAFETY: libc reads as many bytes at the data and at the address as it is
    // told of.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            data.as_ptr().cast(),
            data.len(),
            0,
            address,
            to.addr_len(),
        )
    };
    check(i32::try_from(sent)?)
}

fn peer(socket: &OwnedFd) -> Result<()> {
    let mut room = [0_u8; size_of::<libc::sockaddr_in6>()];
    let mut length = libc::socklen_t::try_from(room.len())?;
    // SAFETY: libc writes at most `length` bytes at `room`.
    let done = unsafe {
        libc::getpeername(
            socket.as_raw_fd(),
            room.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    check(done)
}

fn accept(listener: &OwnedFd) -> Result<OwnedFd> {
    // SAFETY: no address is asked for.
    let accepted = unsafe { libc::accept(listener.as_raw_fd(), null_mut(), null_mut()) };
    check(accepted)?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
}

fn check(returned: i32) -> Result<()> {
    ensure!(returned >= 0, std::io::Error::last_os_error());
    Ok(())
}
