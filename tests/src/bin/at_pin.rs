//! Holds a program while it pins things on bpffs, which takes too little time to be
//! caught in the middle by chance:
//!
//!     at-pin NUMBER SCRIPT PROGRAM [ARGUMENT...]
//!
//! runs PROGRAM and ends as it ends. When PROGRAM is about to make its pin NUMBER,
//! counted from 1, it waits in bpf(2) until the shell's SCRIPT has ended, whose `$1`
//! is PROGRAM's process id. SCRIPT must pin nothing itself.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use oci_bind_hook_tests::process;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let number = arguments.next().context("say which pin")?;
    let number: usize = number.to_str().context("UTF-8")?.parse()?;
    let script = arguments.next().context("give a script")?;
    let program = arguments.next().context("name a program")?;

    // What is started from now on inherits it.
    let pins = notify::pins().context("have bpf(2) reported")?;
    let mut program = Command::new(program).args(arguments).spawn()?;
    let ended = process::pidfd(program.id())?;
    let mut made = 0;
    loop {
        let mut fds = [&pins, &ended].map(|fd| PollFd::new(fd, PollFlags::IN));
        retry_on_intr(|| poll(&mut fds, None))?;
        if !fds[0].revents().is_empty()
            && let Some(pin) = notify::next(&pins)?
        {
            made += 1;
            if made == number {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(&script).arg("at-pin");
                shell.arg(program.id().to_string()).stdin(Stdio::null());
                shell.status()?;
            }
            notify::go_on(&pins, pin)?;
        } else if !fds[1].revents().is_empty() {
            break;
        }
    }
    let status = program.wait()?;
    let code = status.signal().map(|signal| 128 + signal);
    let code = code.or(status.code()).context("find how it ended")?;
    Ok(u8::try_from(code)?.into())
}

/// A filter of seccomp(2) that hands calls over; see seccomp_unotify(2).
mod notify {
    #![expect(unsafe_code, reason = "system calls that no safe crate offers")]

    use std::io::{Error, Result};
    use std::mem::offset_of;
    use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

    /// `BPF_OBJ_PIN` of `enum bpf_cmd`.
    const PIN: u32 = 6;
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

    /// A call that waits.
    pub struct Call(u64);

    /// Where the pins of this process and of those that it starts are reported,
    /// each before it is made.
    pub fn pins() -> Result<OwnedFd> {
        // The command is an `int`: the lower half of the first argument.
        let command =
            offset_of!(libc::seccomp_data, args) + if cfg!(target_endian = "big") { 4 } else { 0 };
        let bpf = u32::try_from(libc::SYS_bpf).map_err(Error::other)?;
        let mut program = [
            step(LOAD, number(offset_of!(libc::seccomp_data, nr))?, 0, 0)?,
            step(IF_EQUAL, bpf, 0, 3)?,
            step(LOAD, number(command)?, 0, 0)?,
            step(IF_EQUAL, PIN, 0, 1)?,
            step(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0)?,
            step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0)?,
        ];
        let filter = libc::sock_fprog {
            len: program.len().try_into().map_err(Error::other)?,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: the kernel reads `filter` and the steps that it points to, which
        // outlive the call; what the filter does is to make some calls wait.
        let made = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
                &raw const filter,
            )
        };
        let fd = i32::try_from(made).map_err(Error::other)?;
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// The next call, unless it was interrupted or its process killed.
    pub fn next(pins: &OwnedFd) -> Result<Option<Call>> {
        // SAFETY: all zero, as the kernel wants it, is a value of this plain struct.
        let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes a struct of this size, to which this points.
        let returned = unsafe {
            libc::ioctl(
                pins.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut call,
            )
        };
        Ok(unless_gone(returned)?.then_some(Call(call.id)))
    }

    /// Lets the kernel carry it out.
    pub fn go_on(pins: &OwnedFd, call: Call) -> Result<()> {
        let answer = libc::seccomp_notif_resp {
            id: call.0,
            val: 0,
            error: 0,
            flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE
                .try_into()
                .map_err(Error::other)?,
        };
        // SAFETY: the kernel reads a struct of this size, to which this points.
        let returned = unsafe {
            libc::ioctl(
                pins.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw const answer,
            )
        };
        unless_gone(returned).map(drop)
    }

    fn step(code: u32, k: u32, jt: u8, jf: u8) -> Result<libc::sock_filter> {
        let code = code.try_into().map_err(Error::other)?;
        Ok(libc::sock_filter { code, jt, jf, k })
    }

    fn number(offset: usize) -> Result<u32> {
        offset.try_into().map_err(Error::other)
    }

    /// Whether it was done; not if nobody waits any more.
    fn unless_gone(returned: i32) -> Result<bool> {
        if returned == 0 {
            return Ok(true);
        }
        match Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            error => Err(error),
        }
    }
}
