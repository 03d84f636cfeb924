//! An agent as container tools have them that decide calls in another task. This
//! one decides nothing, and shares the address space: none of its kind can cost
//! less.
#![expect(unsafe_code, reason = "seccomp(2) has no safe wrapper")]

use std::io::Error;

use anyhow::{Context as _, Result, ensure};

/// Wakes the other task on the same processor (Linux 6.6):
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`.
const SYNC_WAKE_UP: u64 = 1;
/// `offsetof(struct seccomp_data, nr)`
const NUMBER: u32 = 0;

/// Has bind, connect and sendto of this process wait for a thread of its own.
pub fn start() -> Result<()> {
    let calls = [libc::SYS_bind, libc::SYS_connect, libc::SYS_sendto];
    let statement = |code: u32, k| -> Result<libc::sock_filter> {
        let (jt, jf) = (0, 0);
        let code = u16::try_from(code)?;
        Ok(libc::sock_filter { code, jt, jf, k })
    };
    let mut filter = vec![statement(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        NUMBER,
    )?];
    for (at, call) in calls.into_iter().enumerate() {
        // To the last statement, past the comparisons to come and one more.
        let jt = u8::try_from(calls.len() - at)?;
        let code = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        let compare = statement(code, u32::try_from(call)?)?;
        filter.push(libc::sock_filter { jt, ..compare });
    }
    for verdict in [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_USER_NOTIF] {
        filter.push(statement(libc::BPF_RET | libc::BPF_K, verdict)?);
    }
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len())?,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the filter, which outlives the call.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    ensure!(listener >= 0, Error::last_os_error());
    let listener = i32::try_from(listener)?;
    // SAFETY: this request takes a number.
    unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
    std::thread::Builder::new()
        .spawn(move || while let Ok(()) = answer(listener) {})
        .context("start the agent")?;
    Ok(())
}

/// Lets one call go on.
fn answer(listener: i32) -> Result<()> {
    // SAFETY: a plain struct of integers, for which zero is a value, and the
    // one that the kernel asks for.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to the struct of this request.
    let got = unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
    ensure!(got == 0, Error::last_os_error());
    let mut verdict = libc::seccomp_notif_resp {
        id: call.id,
        val: 0,
        error: 0,
        flags: u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE)?,
    };
    // SAFETY: the kernel reads the struct of this request.
    let sent = unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut verdict) };
    ensure!(sent == 0, Error::last_os_error());
    Ok(())
}
