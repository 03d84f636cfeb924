//! Programs of a few instructions.

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    PACKET_TYPES, POST_BIND6, SERVER_TYPES, SETSOCKOPT, SK_LOOKUP, SOCK_CREATE, SOCK_OPS, bpf,
};

/// `BPF_PROG_LOAD` of `enum bpf_cmd`.
const PROG_LOAD: i64 = 5;
/// `BPF_PROG_TYPE_SCHED_CLS` of `enum bpf_prog_type`.
const PROG_TYPE_SCHED_CLS: u32 = 3;
/// `BPF_PROG_TYPE_CGROUP_SKB` of `enum bpf_prog_type`.
const PROG_TYPE_CGROUP_SKB: u32 = 8;
/// `BPF_PROG_TYPE_CGROUP_SOCK` of `enum bpf_prog_type`.
const PROG_TYPE_CGROUP_SOCK: u32 = 9;
/// `BPF_PROG_TYPE_SOCK_OPS` of `enum bpf_prog_type`.
const PROG_TYPE_SOCK_OPS: u32 = 13;
/// `BPF_PROG_TYPE_CGROUP_SOCK_ADDR` of `enum bpf_prog_type`.
const PROG_TYPE_CGROUP_SOCK_ADDR: u32 = 18;
/// `BPF_PROG_TYPE_CGROUP_SOCKOPT` of `enum bpf_prog_type`.
const PROG_TYPE_CGROUP_SOCKOPT: u32 = 25;
/// `BPF_PROG_TYPE_SK_LOOKUP` of `enum bpf_prog_type`.
const PROG_TYPE_SK_LOOKUP: u32 = 30;

/// The members for `BPF_PROG_LOAD` of `union bpf_attr`, as far as needed.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The fields of `struct bpf_insn`: opcode, registers (the source in the upper
/// half, the destination in the lower), offset, immediate.
pub(crate) type Instruction = (u8, u8, i16, i32);
/// `r0 = 1`
pub(crate) const RETURN_1: Instruction = (0xb7, 0, 0, 1);
/// `exit`
pub(crate) const EXIT: Instruction = (0x95, 0, 0, 0);

/// Loads a program for one attach type.
pub(crate) fn load(program: &[Instruction], attach_type: u32) -> std::io::Result<OwnedFd> {
    let is_one_of = |types: &[(&str, u32)]| types.iter().any(|&(_, one)| one == attach_type);
    let prog_type = if is_one_of(&PACKET_TYPES) {
        PROG_TYPE_CGROUP_SKB
    } else if attach_type == SOCK_OPS {
        PROG_TYPE_SOCK_OPS
    } else if attach_type == SETSOCKOPT {
        PROG_TYPE_CGROUP_SOCKOPT
    } else if [SOCK_CREATE, POST_BIND6].contains(&attach_type) || is_one_of(&SERVER_TYPES) {
        PROG_TYPE_CGROUP_SOCK
    } else if attach_type == SK_LOOKUP {
        PROG_TYPE_SK_LOOKUP
    } else {
        PROG_TYPE_CGROUP_SOCK_ADDR
    };
    load_as(program, prog_type, attach_type)
}

/// Loads a program that sees the packets of a network device.
pub(crate) fn load_classifier(program: &[Instruction]) -> std::io::Result<OwnedFd> {
    load_as(program, PROG_TYPE_SCHED_CLS, 0)
}

fn load_as(program: &[Instruction], prog_type: u32, attach_type: u32) -> std::io::Result<OwnedFd> {
    let mut code = Vec::new();
    for (opcode, registers, offset, immediate) in program {
        code.extend([*opcode, *registers]);
        code.extend(offset.to_ne_bytes());
        code.extend(immediate.to_ne_bytes());
    }
    let mut attr = LoadAttr {
        prog_type,
        insn_cnt: program.len().try_into().unwrap_or(u32::MAX),
        insns: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        expected_attach_type: attach_type,
        ..LoadAttr::default()
    };
    let descriptor = with_locked_memory(|| bpf(PROG_LOAD, &mut attr))?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Before Linux 5.11 programs count as locked memory. The limit is put back at
/// once, since the hook inherits it, and has to lift it by itself.
fn with_locked_memory<T>(load: impl FnOnce() -> T) -> T {
    let before = getrlimit(Resource::Memlock);
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    // Not allowed everywhere, nor needed.
    let _ = setrlimit(Resource::Memlock, unlimited);
    let loaded = load();
    let _ = setrlimit(Resource::Memlock, before);
    loaded
}
