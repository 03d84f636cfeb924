//! Programs at the ingress of network devices by tcx, from Linux 6.6 on. A program stays
//! as long as the device exists, or until it is detached.

use std::io;
use std::os::fd::BorrowedFd;

use aya_obj::generated::{BPF_F_BEFORE, bpf_attach_type, bpf_attr, bpf_cmd};

use super::{call, number, zeroed};
use crate::host::devices::LOOPBACK;

/// Returns the ids of the programs at the ingress of a device, given by its index
/// (`BPF_PROG_QUERY`); EINVAL before Linux 6.6, ENODEV if there is no such device.
pub fn attached(device: u32) -> io::Result<Vec<u32>> {
    /// `BPF_MPROG_MAX`
    const MOST: usize = 64;
    let mut ids = [0_u32; MOST];
    let mut attr = zeroed();
    attr.query.__bindgen_anon_1.target_ifindex = device;
    attr.query.attach_type = bpf_attach_type::BPF_TCX_INGRESS as u32;
    attr.query.prog_ids = ids.as_mut_ptr() as u64;
    attr.query.__bindgen_anon_2.count = ids.len().try_into().map_err(io::Error::other)?;
    match call(bpf_cmd::BPF_PROG_QUERY, &mut attr) {
        Ok(_) => {}
        // No program was ever attached.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    // SAFETY: the kernel has set this member of the union.
    let query = unsafe { attr.query };
    // SAFETY: as above; both members of the inner union are this number.
    let count = unsafe { query.__bindgen_anon_2.count };
    Ok(ids.into_iter().take(count as usize).collect())
}

/// Whether the kernel has tcx, tried at the loopback device.
pub fn has_tcx() -> bool {
    attached(LOOPBACK).is_ok()
}

/// Attaches a program before those already there (`BPF_PROG_ATTACH`); EEXIST if this very
/// program is attached already.
pub fn attach(program: BorrowedFd<'_>, device: u32) -> io::Result<()> {
    let mut attr = attachment(program, device);
    attr.__bindgen_anon_5.attach_flags = BPF_F_BEFORE;
    call(bpf_cmd::BPF_PROG_ATTACH, &mut attr)?;
    Ok(())
}

/// Detaches a program (`BPF_PROG_DETACH`); ENOENT if it is not there.
pub fn detach(program: BorrowedFd<'_>, device: u32) -> io::Result<()> {
    call(bpf_cmd::BPF_PROG_DETACH, &mut attachment(program, device))?;
    Ok(())
}

fn attachment(program: BorrowedFd<'_>, device: u32) -> bpf_attr {
    let mut attr = zeroed();
    attr.__bindgen_anon_5.__bindgen_anon_1.target_ifindex = device;
    attr.__bindgen_anon_5.attach_bpf_fd = number(program);
    attr.__bindgen_anon_5.attach_type = bpf_attach_type::BPF_TCX_INGRESS as u32;
    attr
}
