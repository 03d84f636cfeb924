//! bind(2) and connect(2) by io_uring.
#![expect(unsafe_code, reason = "the kernel is handed pointers in a queue")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, ensure};
use io_uring::types::{Fd, Timespec};
use io_uring::{IoUring, Probe, opcode, squeue};
use rustix::io::Errno;
use rustix::net::SocketAddrAny;

use crate::harness::skip;
use crate::process::PATIENCE;
use crate::socket::{Outcome, Socket};

/// Tells the call's completion from that of its deadline.
const CALL: u64 = 1;

/// bind(2) by io_uring (Linux 6.11). Skips the trial where there is no io_uring.
pub fn bind(socket: &Socket, at: SocketAddr) -> Result<Outcome<()>> {
    submit("bind", at, |address| {
        let fd = Fd(socket.as_fd().as_raw_fd());
        opcode::Bind::new(fd, address.as_ptr().cast(), address.addr_len()).build()
    })
}

/// connect(2) by io_uring (Linux 5.5). Skips the trial where there is no
/// io_uring.
pub fn connect(socket: &Socket, to: SocketAddr) -> Result<Outcome<()>> {
    submit("connect", to, |address| {
        let fd = Fd(socket.as_fd().as_raw_fd());
        opcode::Connect::new(fd, address.as_ptr().cast(), address.addr_len()).build()
    })
}

/// What a bind by io_uring comes to: `wanted`, or EINVAL from an io_uring that
/// does not know it.
pub fn bound<T>(wanted: Outcome<T>) -> Outcome<T> {
    match IoUring::new(1).and_then(|ring| knows(&ring, opcode::Bind::CODE)) {
        Ok(false) => Err(Errno::INVAL),
        // Without io_uring the trial says so.
        Ok(true) | Err(_) => wanted,
    }
}

fn knows(ring: &IoUring, code: u8) -> std::io::Result<bool> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    Ok(probe.is_supported(code))
}

fn submit(
    name: &str,
    address: SocketAddr,
    entry: impl FnOnce(&SocketAddrAny) -> squeue::Entry,
) -> Result<Outcome<()>> {
    let mut ring = match IoUring::new(2) {
        Ok(ring) => ring,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(skip("io_uring is forbidden here"));
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            return Err(skip("this kernel has no io_uring"));
        }
        Err(error) => return Err(error).context("make a ring"),
    };
    let address = SocketAddrAny::from(address);
    let deadline = Timespec::new().sec(PATIENCE.as_secs());
    let entries = [
        entry(&address)
            .user_data(CALL)
            .flags(squeue::Flags::IO_LINK),
        opcode::LinkTimeout::new(&raw const deadline).build(),
    ];
    // SAFETY: the entries point to `address` and `deadline`, which outlive the
    // wait below, and the socket outlives the call.
    unsafe { ring.submission().push_multiple(&entries) }.context("queue the call")?;
    // Both come to an end: the deadline when it has passed, or by the call's.
    ring.submit_and_wait(entries.len())
        .with_context(|| format!("wait for the {name}"))?;
    let done = ring.completion().find(|done| done.user_data() == CALL);
    let result = done
        .with_context(|| format!("the {name} did not end"))?
        .result();
    ensure!(result <= 0, "{name} returned {result}");
    Ok(match result {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(-errno)),
    })
}
