//! Programs of somebody else on a cgroup, each a few instructions.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::bpf::{self, ATTACH_TYPES, EXIT, Instruction, PACKET_TYPES, RETURN_1};
use crate::cgroup::Cgroup;

/// bind(2) of IPv4.
pub const BIND4: u32 = ATTACH_TYPES[0].1;
/// connect(2) of IPv4.
pub const CONNECT4: u32 = ATTACH_TYPES[2].1;
/// sendto(2) of IPv4, and the like.
pub const SENDMSG4: u32 = ATTACH_TYPES[4].1;
/// Packets that leave.
pub const EGRESS: u32 = PACKET_TYPES[1].1;

/// Members of `struct bpf_sock_addr` by their offsets.
#[derive(Clone, Copy, Debug)]
pub enum Member {
    /// The address of a bind, or the destination of a connect or datagram.
    UserIp4 = 4,
    /// The port that goes with it.
    UserPort = 24,
    /// The source of a datagram.
    MsgSrcIp4 = 40,
}

/// In which mode a program is attached.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// Neither the cgroup nor one below it may have another program.
    Exclusive = 0,
    /// A program of a cgroup below it runs in its place: `BPF_F_ALLOW_OVERRIDE`.
    Overridable = 1,
    /// All run: `BPF_F_ALLOW_MULTI`.
    Multi = 2,
}

/// `r0 = 0`
const RETURN_0: Instruction = (0xb7, 0, 0, 0);
/// `BPF_FUNC_bind` of `enum bpf_func_id`.
const FUNC_BIND: i32 = 64;
/// `AF_INET`
const INET: i32 = 2;

/// A program of somebody else. What it is attached to keeps it once this is
/// dropped.
#[derive(Debug)]
pub struct Foreign {
    program: OwnedFd,
    attach_type: u32,
}

impl Foreign {
    /// Lets everything pass.
    pub fn permit(attach_type: u32) -> Result<Self> {
        Self::load(attach_type, &[RETURN_1, EXIT])
    }

    /// Refuses everything.
    pub fn refuse(attach_type: u32) -> Result<Self> {
        Self::load(attach_type, &[RETURN_0, EXIT])
    }

    /// Refuses calls with this port.
    pub fn refuse_port(attach_type: u32, port: u16) -> Result<Self> {
        Self::load(
            attach_type,
            &[
                load_r2(Member::UserPort),
                RETURN_1,
                // if r2 != port goto exit
                (0x55, 0x02, 1, i32::from(port.to_be())),
                RETURN_0,
                EXIT,
            ],
        )
    }

    /// Writes `to` where it finds `from`: so it tells whether it ran before
    /// or after somebody who wrote `from`.
    pub fn replace(attach_type: u32, member: Member, from: IpAddr, to: IpAddr) -> Result<Self> {
        Self::load(
            attach_type,
            &[
                load_r2(member),
                // if (u32) r2 != from goto r0 = 1
                (0x56, 0x02, 2, word(from)?),
                // (u32) r2 = to
                (0xb4, 0x02, 0, word(to)?),
                // *(u32 *)(r1 + member) = r2
                (0x63, 0x21, member as i16, 0),
                RETURN_1,
                EXIT,
            ],
        )
    }

    /// Binds sockets that connect to this address, by `bpf_bind`.
    pub fn bind_to(address: IpAddr) -> Result<Self> {
        Self::load(
            CONNECT4,
            &[
                // A sockaddr_in on the stack, at r10 - 16: all zero, then
                // sin_family and sin_addr.
                (0x7a, 0x0a, -16, 0),
                (0x7a, 0x0a, -8, 0),
                (0x6a, 0x0a, -16, INET),
                (0x62, 0x0a, -12, word(address)?),
                // r2 = r10 - 16
                (0xbf, 0xa2, 0, 0),
                (0x07, 0x02, 0, -16),
                // r3 = 16
                (0xb7, 0x03, 0, 16),
                (0x85, 0, 0, FUNC_BIND),
                RETURN_1,
                EXIT,
            ],
        )
    }

    /// Drops leaving packets that are longer than this.
    pub fn drop_longer(limit: u16) -> Result<Self> {
        Self::load(
            EGRESS,
            &[
                // r2 = skb->len
                (0x61, 0x12, 0, 0),
                RETURN_1,
                // if r2 <= limit goto exit
                (0xb5, 0x02, 1, limit.into()),
                RETURN_0,
                EXIT,
            ],
        )
    }

    /// One that is pinned.
    pub fn pinned(attach_type: u32, pin: &Path) -> Result<Self> {
        let program = bpf::open_pin(pin)?;
        Ok(Self {
            program,
            attach_type,
        })
    }

    fn load(attach_type: u32, program: &[Instruction]) -> Result<Self> {
        let program = bpf::load(program, attach_type).context("load a program")?;
        Ok(Self {
            program,
            attach_type,
        })
    }

    /// Puts it on a cgroup.
    pub fn attach(&self, cgroup: &Cgroup, mode: Mode) -> Result<()> {
        let cgroup = File::open(cgroup.path())?;
        let (program, cgroup) = (self.program.as_fd(), cgroup.as_fd());
        bpf::attach(program, cgroup, self.attach_type, mode as u32)
    }

    /// Pins it.
    pub fn pin(&self, path: &Path) -> Result<()> {
        bpf::pin(self.program.as_fd(), path)
    }

    /// Has it see the lookups of the calling thread's network namespace, for as
    /// long as the descriptor lives.
    pub fn link(&self) -> Result<OwnedFd> {
        let namespace = File::open("/proc/thread-self/ns/net")?;
        bpf::link(self.program.as_fd(), namespace.as_fd())
    }

    /// Takes it off again.
    pub fn detach(&self, cgroup: &Cgroup) -> Result<()> {
        let cgroup = File::open(cgroup.path())?;
        bpf::detach(self.program.as_fd(), cgroup.as_fd(), self.attach_type)
    }
}

/// `r2 = *(u32 *)(r1 + member)`
const fn load_r2(member: Member) -> Instruction {
    (0x61, 0x12, member as i16, 0)
}

/// In network byte order, as the context has it.
fn word(address: IpAddr) -> Result<i32> {
    match address {
        IpAddr::V4(address) => Ok(i32::from_ne_bytes(address.octets())),
        IpAddr::V6(_) => bail!("{address} is not of IPv4"),
    }
}
