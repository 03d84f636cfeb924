//! What the kernel says of a loaded program or map: its size, and what it
//! takes of memory.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::fs;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use aya_obj::generated::bpf_prog_info;

use crate::bpf::bpf;

/// `BPF_PROG_GET_FD_BY_ID` of `enum bpf_cmd`.
const PROG_GET_FD_BY_ID: i64 = 13;
/// `BPF_OBJ_GET_INFO_BY_FD` of `enum bpf_cmd`.
const OBJ_GET_INFO_BY_FD: i64 = 15;

/// The member of `union bpf_attr` for `BPF_PROG_GET_FD_BY_ID`.
#[repr(C)]
#[derive(Default)]
struct IdAttr {
    id: u32,
    next: u32,
    flags: u32,
}

/// The member `info` of `union bpf_attr`.
#[repr(C)]
struct InfoAttr {
    descriptor: u32,
    length: u32,
    info: u64,
}

/// What a program came to in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How many instructions the verifier went through, on all ways together
    /// (Linux 5.16); 0 before.
    pub verified: u32,
    /// Bytes of machine code; 0 without the compiler of the kernel.
    pub jited: u32,
}

/// The size of a program.
pub fn size(program: impl AsFd) -> Result<Size> {
    let info = info(program)?;
    Ok(Size {
        verified: info.verified_insns,
        jited: info.jited_prog_len,
    })
}

/// The id of a program.
pub fn id(program: impl AsFd) -> Result<u32> {
    Ok(info(program)?.id)
}

/// How often a program has run since the kernel counts that
/// (`kernel.bpf_stats_enabled`); `None` for what is pinned and no program.
pub fn runs(object: impl AsFd) -> Result<Option<u64>> {
    let descriptor = object.as_fd().as_raw_fd();
    let target = fs::read_link(format!("/proc/thread-self/fd/{descriptor}"))
        .context("look what a pin is")?;
    if !target.ends_with("anon_inode:bpf-prog") {
        return Ok(None);
    }
    Ok(Some(info(object)?.run_cnt))
}

/// What the kernel says of a program (`struct bpf_prog_info`).
fn info(program: impl AsFd) -> Result<bpf_prog_info> {
    // SAFETY: a plain struct of integers, for which zero is a value.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attr = InfoAttr {
        descriptor: program.as_fd().as_raw_fd().try_into()?,
        length: size_of::<bpf_prog_info>().try_into()?,
        info: &raw mut info as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr).context("ask what a program is")?;
    Ok(info)
}

/// Opens the program with this id.
pub fn by_id(id: u32) -> Result<OwnedFd> {
    let mut attr = IdAttr {
        id,
        ..IdAttr::default()
    };
    let fd = bpf(PROG_GET_FD_BY_ID, &mut attr).with_context(|| format!("open program {id}"))?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How many bytes of memory a program or map takes by the kernel's reckoning:
/// `memlock` of proc_pid_fdinfo(5).
pub fn memory(object: impl AsFd) -> Result<u64> {
    let path = format!("/proc/thread-self/fdinfo/{}", object.as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(line.context("find memlock")?.trim().parse()?)
}
