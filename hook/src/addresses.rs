//! Whether an address is configured in a network namespace, and usable.
//!
//! The kernel refuses a bind to an address that it does not have
//! (EADDRNOTAVAIL), in the middle of somebody else's program. It is better said
//! before the container starts.

pub mod dump;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result, anyhow, bail};
use ipnet::Ipv4Net;
use netlink_packet_route::address::AddressFlags;
use rustix::fs::{Mode, OFlags, fstat, stat};
use rustix::io::Errno;
use rustix::process::{Pid, getpid};
use rustix::thread::{LinkNameSpaceType, gettid, move_into_link_name_space};

use crate::request::setting_of;

/// In which network namespace to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// The calling thread's.
    Own,
    /// That of a process.
    OfProcess(Pid),
}

/// An address that the kernel lists: one RTM_NEWADDR message, rtnetlink(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The local end, not the peer's.
    address: IpAddr,
    /// Length of the prefix in bits.
    prefix: u8,
    /// `IFA_F_*`.
    flags: AddressFlags,
}

impl Found {
    /// Whether having this address means having the wanted one. An address in
    /// 127.0.0.0/8 brings its whole prefix along, which the loopback device
    /// routes to itself.
    fn covers(&self, wanted: IpAddr) -> bool {
        if self.address == wanted {
            return true;
        }
        match (self.address, wanted) {
            (IpAddr::V4(address), IpAddr::V4(wanted)) => {
                address.is_loopback()
                    && wanted.is_loopback()
                    && Ipv4Net::new(address, self.prefix).is_ok_and(|net| net.contains(&wanted))
            }
            _ => false,
        }
    }

    /// Whether the kernel lets a socket bind to it. An optimistic address may
    /// be used while duplicate address detection runs
    /// (`ipv6_chk_addr_and_flags`).
    fn usable(&self) -> bool {
        !self.flags.contains(AddressFlags::Dadfailed)
            && (self.flags.contains(AddressFlags::Optimistic)
                || !self.flags.contains(AddressFlags::Tentative))
    }
}

/// Checks that the addresses are configured in the namespace, on any device,
/// and that a socket could bind to them. No address: nothing to check.
///
/// # Errors
///
/// An address is missing, still tentative, or failed duplicate address
/// detection; the process has ended; or its namespace may not be entered.
pub fn check(namespace: Namespace, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Result<()> {
    let wanted: Vec<IpAddr> = [ipv4.map(IpAddr::V4), ipv6.map(IpAddr::V6)]
        .into_iter()
        .flatten()
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    if let Namespace::OfProcess(pid) = namespace
        && let Some(theirs) = foreign(pid)?
    {
        return look_in(&theirs, &wanted)
            .with_context(|| format!("network namespace of pid {pid}"));
    }
    look(&wanted)
}

/// Whether a socket can bind to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can.
    Usable,
    /// Not before duplicate address detection has finished.
    Tentative,
    /// Never: duplicate address detection failed.
    Duplicate,
}

/// The addresses of our network namespace that a container can have: loopback
/// and link-local IPv6 ones aside, in their order.
///
/// # Errors
///
/// If the kernel does not list them.
pub fn list() -> Result<Vec<(IpAddr, State)>> {
    let mut all: Vec<_> = dump::addresses(&[])?
        .into_iter()
        .filter(|found| match found.address {
            IpAddr::V4(address) => !address.is_loopback(),
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
        })
        .map(|found| {
            let state = if found.usable() {
                State::Usable
            } else if found.flags.contains(AddressFlags::Dadfailed) {
                State::Duplicate
            } else {
                State::Tentative
            };
            (found.address, state)
        })
        .collect();
    all.sort_unstable_by_key(|(address, _)| *address);
    all.dedup();
    Ok(all)
}

/// The network namespace of a process; none when it is our own.
fn foreign(pid: Pid) -> Result<Option<OwnedFd>> {
    let path = format!("/proc/{pid}/ns/net");
    let fd = match rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT | Errno::SRCH) => {
            bail!("pid {pid}: no such process: it ended before its addresses could be looked at")
        }
        other => other.with_context(|| format!("open {path}: needs CAP_SYS_PTRACE"))?,
    };
    let theirs = fstat(&fd).with_context(|| format!("look at {path}"))?;
    let own = own();
    let ours = stat(own).with_context(|| format!("look at {own}: is proc mounted at /proc?"))?;
    let same = (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino);
    Ok((!same).then_some(fd))
}

/// The calling thread's network namespace. /proc/self stands for the first
/// thread, whose namespace may be another; for that thread it is cheaper.
fn own() -> &'static str {
    if gettid() == getpid() {
        "/proc/self/ns/net"
    } else {
        "/proc/thread-self/ns/net"
    }
}

/// Looks in another namespace, on a thread that enters it and ends there.
fn look_in(namespace: &OwnedFd, wanted: &[IpAddr]) -> Result<()> {
    let entered = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .context("enter it: setns(2) needs CAP_SYS_ADMIN")?;
        look(wanted)
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .spawn_scoped(scope, entered)
            .context("start a thread")?
            .join()
            .map_err(|_| anyhow!("the thread that looked at addresses panicked"))?
    })
}

/// Looks in the calling thread's namespace.
fn look(wanted: &[IpAddr]) -> Result<()> {
    let found = dump::addresses(wanted)?;
    wanted
        .iter()
        .try_for_each(|wanted| verdict(*wanted, &found))
}

/// Whether a list of addresses has the wanted one, usable. One that is usable
/// on some device is, whatever it is on others.
fn verdict(wanted: IpAddr, found: &[Found]) -> Result<()> {
    let setting = setting_of(wanted);
    let mut having = found.iter().filter(|found| found.covers(wanted)).peekable();
    if having.peek().is_none() {
        bail!(
            "{setting} address {wanted} is not configured in the network namespace: \
             add it (ip address add {wanted} dev DEV), \
             or set require-local-address = false in the configuration"
        );
    }
    let mut failed = false;
    for found in having {
        if found.usable() {
            return Ok(());
        }
        failed |= found.flags.contains(AddressFlags::Dadfailed);
    }
    if failed {
        bail!(
            "{setting} address {wanted} failed duplicate address detection: \
             another host answered for it: free the address there, or assign another one"
        );
    }
    bail!(
        "{setting} address {wanted} is still tentative: \
         duplicate address detection has not finished: retry in a second, or add it with nodad"
    );
}
