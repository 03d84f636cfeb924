//! bind(2) and connect(2) by io_uring.
#![expect(unsafe_code, reason = "the kernel is handed pointers in a queue")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, ensure};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode, squeue::Entry};
use rustix::io::Errno;
use rustix::net::SocketAddrAny;

use crate::harness::skip;
use crate::socket::{Outcome, PATIENCE, Socket};

/// bind(2) by io_uring (Linux 6.11). Skips the trial where it cannot.
pub fn bind(socket: &Socket, at: SocketAddr) -> Result<Outcome<()>> {
    submit(opcode::Bind::CODE, "bind", at, |address| {
        let fd = Fd(socket.as_fd().as_raw_fd());
        opcode::Bind::new(fd, address.as_ptr().cast(), address.addr_len()).build()
    })
}

/// connect(2) by io_uring (Linux 5.5). Skips the trial where it cannot.
pub fn connect(socket: &Socket, to: SocketAddr) -> Result<Outcome<()>> {
    submit(opcode::Connect::CODE, "connect", to, |address| {
        let fd = Fd(socket.as_fd().as_raw_fd());
        opcode::Connect::new(fd, address.as_ptr().cast(), address.addr_len()).build()
    })
}

fn submit(
    code: u8,
    name: &str,
    address: SocketAddr,
    entry: impl FnOnce(&SocketAddrAny) -> Entry,
) -> Result<Outcome<()>> {
    let mut ring = match IoUring::new(1) {
        Ok(ring) => ring,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(skip("io_uring is forbidden here"));
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            return Err(skip("this kernel has no io_uring"));
        }
        Err(error) => return Err(error).context("make a ring"),
    };
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .context("ask what io_uring can do")?;
    if !probe.is_supported(code) || !ring.params().is_feature_ext_arg() {
        return Err(skip(format!("io_uring has no {name} with a deadline here")));
    }
    let address = SocketAddrAny::from(address);
    let entry = entry(&address);
    // SAFETY: the entry points to `address`, which the kernel copies when the
    // entry is submitted, below; the socket outlives the call.
    unsafe { ring.submission().push(&entry) }.context("queue the call")?;
    let deadline = Timespec::new().sec(PATIENCE.as_secs());
    ring.submitter()
        .submit_with_args(1, &SubmitArgs::new().timespec(&deadline))
        .with_context(|| format!("wait for the {name}"))?;
    let done = ring.completion().next();
    let result = done
        .with_context(|| format!("the {name} did not end"))?
        .result();
    ensure!(result <= 0, "{name} returned {result}");
    Ok(match result {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(-errno)),
    })
}
