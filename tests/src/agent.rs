//! A process inside a cgroup that makes sockets and hands them over.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg,
    socket_with, socketpair, sockopt,
};

use crate::cgroup::Cgroup;
use crate::host;
use crate::process::{self, Running};
use crate::socket::{Kind, PATIENCE, Socket};

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

    fn start() -> Result<Self> {
        let (channel, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        sockopt::set_socket_timeout(&channel, sockopt::Timeout::Recv, Some(PATIENCE))?;
        let process = Running::start(
            Command::new(process::built("socket-agent")?)
                .stdin(theirs)
                .stdout(Stdio::null()),
        )?;
        Ok(Self { channel, process })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// A socket made by the helper.
    pub fn socket(&self, kind: Kind) -> Result<Socket> {
        let (family, socket_type) = kind.arguments();
        let mut request = [0; REQUEST];
        request[..4].copy_from_slice(&u32::from(family.as_raw()).to_ne_bytes());
        request[4..].copy_from_slice(&socket_type.as_raw().to_ne_bytes());
        send(&self.channel, &request, SendFlags::NOSIGNAL).context("ask the agent")?;

        let mut errno = [0; REPLY];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = retry_on_intr(|| {
            recvmsg(
                &self.channel,
                &mut [IoSliceMut::new(&mut errno)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })
        .context("hear from the agent")?;
        if received.bytes != REPLY {
            bail!("the agent ended before it answered");
        }
        // The kernel goes by the last descriptor of a socket: do not use ours
        // before the helper has closed its own.
        let closed = retry_on_intr(|| recv(&self.channel, &mut [0][..], RecvFlags::empty()));
        closed.context("hear that the agent closed its socket")?;
        let fd = control
            .drain()
            .find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
                _ => None,
            })
            .with_context(|| {
                let error = std::io::Error::from_raw_os_error(i32::from_ne_bytes(errno));
                format!("the agent could not make a socket of {kind:?}: {error}")
            })?;
        Socket::from_fd(fd, kind)
    }
}

/// Family and type, each an `int`.
const REQUEST: usize = 8;
/// An errno, an `int`; the socket comes along when it is 0.
const REPLY: usize = 4;

/// Follows the reply once the helper has closed its own copy of the socket.
const CLOSED: &[u8] = &[0];

/// The helper's side: answers on `channel` until its other end is closed.
pub fn serve(channel: impl AsFd) -> Result<()> {
    let mut request = [0; REQUEST];
    loop {
        let (bytes, _) = retry_on_intr(|| recv(&channel, &mut request[..], RecvFlags::empty()))?;
        if bytes != REQUEST {
            return Ok(());
        }
        let (family, socket_type) = request.split_at(4);
        let family = u32::from_ne_bytes(family.try_into()?);
        let made = socket_with(
            AddressFamily::from_raw(family.try_into()?),
            SocketType::from_raw(u32::from_ne_bytes(socket_type.try_into()?)),
            SocketFlags::CLOEXEC,
            None,
        );
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = made.as_ref().ok().map(|fd| [fd.as_fd()]);
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
        drop(made);
        send(&channel, CLOSED, SendFlags::NOSIGNAL)?;
    }
}
