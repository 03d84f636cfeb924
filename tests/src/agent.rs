//! A process inside a cgroup that makes sockets and hands them over.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, Protocol, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, accept_with,
    bind, recv, recvmsg, send, sendmsg, socket_with, socketpair, sockopt,
};

use crate::cgroup::Cgroup;
use crate::host;
use crate::process::{self, PATIENCE, Running};
use crate::socket::{Kind, Outcome, Socket};

/// The helper process. It ends when this is dropped.
#[derive(Debug)]
pub struct Agent {
    channel: OwnedFd,
    process: Running,
}

impl Agent {
    /// Starts the helper in `cgroup` and in the calling thread's namespaces.
    pub fn new(cgroup: &Cgroup) -> Result<Self> {
        let agent = Self::start()?;
        // It makes no socket before it is asked to, so this is early enough.
        cgroup.take_in(agent.id())?;
        Ok(agent)
    }

    /// Starts the helper in the root cgroup.
    pub fn in_root() -> Result<Self> {
        let agent = Self::start()?;
        let procs = host::cgroup_root()?.join("cgroup.procs");
        std::fs::write(&procs, agent.id().to_string())
            .with_context(|| format!("write {}", procs.display()))?;
        Ok(agent)
    }

    /// Starts the helper through a command line that `wrap` makes of its own. It
    /// need not be there yet: what it is asked waits for it.
    pub fn through(wrap: impl FnOnce(&Command) -> Result<Command>) -> Result<Self> {
        Self::start_as(&mut wrap(&Command::new(process::built("socket-agent")?))?)
    }

    fn start() -> Result<Self> {
        Self::start_as(&mut Command::new(process::built("socket-agent")?))
    }

    fn start_as(command: &mut Command) -> Result<Self> {
        let (channel, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        sockopt::set_socket_timeout(&channel, sockopt::Timeout::Recv, Some(PATIENCE))?;
        let process = Running::start(command.stdin(theirs).stdout(Stdio::null()))?;
        Ok(Self { channel, process })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// A socket made by the helper.
    pub fn socket(&self, kind: Kind) -> Result<Socket> {
        let (family, socket_type) = kind.arguments();
        let made = self.open(family, socket_type, 0)?;
        let made = made.with_context(|| format!("the agent could not make a socket of {kind:?}"));
        Socket::from_fd(made?, kind)
    }

    /// A socket of any protocol, by its number, made by the helper.
    pub fn open(
        &self,
        family: AddressFamily,
        socket_type: SocketType,
        protocol: u32,
    ) -> Result<Outcome<OwnedFd>> {
        let words = [
            u32::from(family.as_raw()),
            socket_type.as_raw(),
            protocol,
            MAKE,
        ];
        let (errno, fd) = self.ask(words, None)?;
        Ok(fd.ok_or_else(|| Errno::from_raw_os_error(errno)))
    }

    /// Has the helper bind a socket that it is passed, to the wildcard of its
    /// family and a port, 0 for one of the kernel's choice.
    pub fn bind_passed(&self, socket: &Socket, port: u16) -> Result<Outcome<()>> {
        let (family, _) = socket.kind().arguments();
        let words = [family.as_raw().into(), port.into(), 0, BIND];
        let (errno, _) = self.ask(words, Some(socket))?;
        Ok(match errno {
            0 => Ok(()),
            errno => Err(Errno::from_raw_os_error(errno)),
        })
    }

    /// A connection that the helper has accepted on a listening socket that it
    /// is passed.
    pub fn accept_passed(&self, listener: &Socket) -> Result<Socket> {
        let (errno, fd) = self.ask([0, 0, 0, ACCEPT], Some(listener))?;
        let fd = fd.with_context(|| format!("the agent accepted nothing: errno {errno}"))?;
        Socket::from_fd(fd, listener.kind())
    }

    /// Sends a request, with a descriptor if it goes by one: the errno of what
    /// the helper did, and the socket that came of it.
    fn ask(&self, words: [u32; 4], passed: Option<&Socket>) -> Result<(i32, Option<OwnedFd>)> {
        let mut request = Vec::with_capacity(REQUEST);
        for word in words {
            request.extend(word.to_ne_bytes());
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = passed.map(|socket| [socket.as_fd()]);
        if let Some(fds) = &fds {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        sendmsg(
            &self.channel,
            &[IoSlice::new(&request)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
        .context("ask the agent")?;

        let mut errno = [0; REPLY];
        let (bytes, fd) = receive(&self.channel, &mut errno).context("hear from the agent")?;
        if bytes != REPLY {
            bail!("the agent ended before it answered");
        }
        // The kernel goes by the last descriptor of a socket: do not use ours
        // before the helper has closed its own.
        let closed = retry_on_intr(|| recv(&self.channel, &mut [0][..], RecvFlags::empty()));
        closed.context("hear that the agent closed its socket")?;
        Ok((i32::from_ne_bytes(errno), fd))
    }
}

/// Family, type, protocol, and what to do, each an `int`.
const REQUEST: usize = 16;
/// Make a socket.
const MAKE: u32 = 0;
/// Bind the socket that comes along.
const BIND: u32 = 1;
/// Accept on the socket that comes along.
const ACCEPT: u32 = 2;
/// An errno, an `int`; the socket comes along when it is 0.
const REPLY: usize = 4;

/// Follows the reply once the helper has closed its own copy of the socket.
const CLOSED: &[u8] = &[0];

/// The helper's side: answers on `channel` until its other end is closed.
pub fn serve(channel: impl AsFd) -> Result<()> {
    let mut request = [0; REQUEST];
    loop {
        let (bytes, passed) = receive(&channel, &mut request)?;
        if bytes != REQUEST {
            return Ok(());
        }
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(request.as_chunks().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        let made = carry_out(words, passed.as_ref());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = made.as_ref().ok().and_then(Option::as_ref);
        let fds = fds.map(|fd| [fd.as_fd()]);
        if let Some(fds) = &fds {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let errno = made.as_ref().err().map_or(0, |error| error.raw_os_error());
        sendmsg(
            &channel,
            &[IoSlice::new(&errno.to_ne_bytes())],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        drop((made, passed));
        send(&channel, CLOSED, SendFlags::NOSIGNAL)?;
    }
}

fn carry_out(words: [u32; 4], passed: Option<&OwnedFd>) -> Outcome<Option<OwnedFd>> {
    let [family, second, protocol, what] = words;
    let family = u16::try_from(family).map_err(|_| Errno::INVAL)?;
    let family = AddressFamily::from_raw(family);
    match (what, passed) {
        (MAKE, None) => socket_with(
            family,
            SocketType::from_raw(second),
            SocketFlags::CLOEXEC,
            NonZero::new(protocol).map(Protocol::from_raw),
        )
        .map(Some),
        (BIND, Some(socket)) => {
            let port = u16::try_from(second).map_err(|_| Errno::INVAL)?;
            let wildcard: IpAddr = if family == AddressFamily::INET6 {
                Ipv6Addr::UNSPECIFIED.into()
            } else {
                Ipv4Addr::UNSPECIFIED.into()
            };
            bind(socket, &SocketAddr::new(wildcard, port)).map(|()| None)
        }
        (ACCEPT, Some(listener)) => accept_with(listener, SocketFlags::CLOEXEC).map(Some),
        _ => Err(Errno::INVAL),
    }
}

/// A message, and the descriptor that came along.
fn receive(channel: &impl AsFd, buffer: &mut [u8]) -> Outcome<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        recvmsg(
            channel,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok((received.bytes, fd))
}
