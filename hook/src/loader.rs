//! Loads the embedded object into the kernel and pins what is in it: the one
//! slow step, taken by the first container after boot.

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::{Program, ProgramType};
use aya::sys::{BpfHelper, is_helper_supported};
use aya::{Btf, Ebpf, EbpfLoader, Endianness, include_bytes_aligned};
use oci_bind_hook_ebpf::abi::{
    COUNTERS_MAP, DUAL_COUNTS_MAP, DUAL_KEEPER_MAP, DUAL_MAP, DUAL_REPORTS_MAP, DUAL_SEEN_MAP,
    HAS_SET_RETVAL, NAMESPACE, POLICY_MAP, REUSE_BIT, REUSE_PORT_BIT, UID_BIT, UNKNOWN_BIT,
    V6ONLY_BIT,
};
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::btf;
use crate::memory::LockedMemory;
use crate::privileges::REMEDY;
use crate::programs::{
    COLLECT, COUNTERS_PIN, DUAL_PIN, KEEPER_PIN, POLICY_PIN, PROGRAMS, REPORTS_PIN, VERSION,
};
use crate::threads::side_by_side;
use crate::verify::{STEER, verify, verify_all};

/// The maps of dual-stack servers, each with the name of its pin.
const DUAL_PINS: [(&str, &str); 3] = [
    (DUAL_MAP, DUAL_PIN),
    (DUAL_COUNTS_MAP, "dual-counts"),
    (DUAL_SEEN_MAP, "dual-seen"),
];

/// The globals that say where a member of a kernel's struct is. Without type
/// information the programs do without: then a v6only wildcard bind in a cgroup
/// with an IPv4 address alone fails with EINVAL instead of EADDRNOTAVAIL, and no
/// server answers at both addresses.
const MEMBERS: [(&str, &str, &str); 4] = [
    (V6ONLY_BIT, "sock_common", "skc_ipv6only"),
    (REUSE_BIT, "sock_common", "skc_reuse"),
    (REUSE_PORT_BIT, "sock_common", "skc_reuseport"),
    (UID_BIT, "sock", "sk_uid"),
];

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/oci-bind-hook.bpf.o"));

/// Loads the object and pins it in `directory`, all or nothing: the pins are
/// made beside it and put in place by one rename. The caller holds the lock.
///
/// # Errors
///
/// If the kernel refuses a map or a program, or the pins cannot be made.
pub fn load(directory: &Path) -> Result<()> {
    let _limit = LockedMemory::unlimited();
    let (mut ebpf, types) = open()?;

    // A dot in a name is reserved on bpffs.
    let unfinished = directory.with_file_name(format!("{VERSION}-new"));
    remove(&unfinished)?;
    let pinned = pin_all(&mut ebpf, types.as_ref(), &unfinished).and_then(|()| {
        // What is there now lacks a pin, or it would have been opened.
        remove(directory)?;
        fs::rename(&unfinished, directory)
            .with_context(|| format!("move the pins to {}", directory.display()))
    });
    if pinned.is_err() {
        // The cause of the failure is what the user needs to hear of.
        let _ = remove(&unfinished);
    }
    pinned
}

/// Loads each program, whatever becomes of the others, and keeps none: by name,
/// what the kernel says of it.
///
/// # Errors
///
/// If the kernel refuses a map.
pub fn load_each() -> Result<Vec<(&'static str, Result<()>)>> {
    let _limit = LockedMemory::unlimited();
    let (mut ebpf, types) = open()?;
    let mut loaded = verify_all(&mut ebpf, types.as_ref());
    Ok(PROGRAMS
        .iter()
        .map(|program| {
            let result = loaded.remove(program.name);
            (
                program.name,
                result.unwrap_or_else(|| missing(program.name)),
            )
        })
        .collect())
}

/// Loads the program that finds the dual-stack servers of one network
/// namespace, by its cookie, with the maps pinned in `pins`.
///
/// # Errors
///
/// If the kernel refuses the program, or a map cannot be opened.
pub fn load_steer(pins: &Path, namespace: u64) -> Result<OwnedFd> {
    let mut loader = EbpfLoader::new();
    for (map, pin) in DUAL_PINS {
        let pin = pins.join(pin);
        // aya would make another map.
        ensure!(
            pin.exists(),
            "open {}: no such pin: remove what is beside it, and load makes all anew",
            pin.display()
        );
        loader.map_pin_path(map, pin);
    }
    let mut ebpf = loader
        .override_global(NAMESPACE, &namespace, true)
        .load(OBJECT)
        .context("load the eBPF object")?;
    let steer = program(&mut ebpf, STEER)?;
    verify(STEER, steer, None)?;
    let fd = steer.fd().context("load program steer")?;
    Ok(fd.as_fd().try_clone_to_owned()?)
}

/// The object with its maps made, and its globals set for this kernel; and the
/// kernel's type information, if it has any.
fn open() -> Result<(Ebpf, Option<Btf>)> {
    let has_set_retval = u8::from(has_set_retval()?);
    // aya's loader reads all type information too, and keeps it to itself.
    let ((bits, types), mut loader) = side_by_side(read_types, EbpfLoader::new);
    for ((global, ..), bit) in MEMBERS.into_iter().zip(&bits) {
        loader.override_global(global, bit, true);
    }
    let ebpf = loader
        .override_global(HAS_SET_RETVAL, &has_set_retval, true)
        .load(OBJECT)
        .context("load the eBPF object: needs Linux 5.10 or later, CAP_BPF and CAP_NET_ADMIN")?;
    Ok((ebpf, types))
}

/// What the kernel's type information says of [`MEMBERS`], and all of it.
fn read_types() -> ([u32; MEMBERS.len()], Option<Btf>) {
    let types = fs::read(btf::VMLINUX).unwrap_or_default();
    let bits =
        MEMBERS.map(|(_, of, member)| btf::member_bit(&types, of, member).unwrap_or(UNKNOWN_BIT));
    (bits, Btf::parse(&types, Endianness::default()).ok())
}

fn missing<T>(name: &str) -> Result<T> {
    bail!("the eBPF object has no program {name}")
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program> {
    ebpf.program_mut(name).map_or_else(|| missing(name), Ok)
}

/// Loads each program and pins it, and the maps, in a new directory.
fn pin_all(ebpf: &mut Ebpf, types: Option<&Btf>, directory: &Path) -> Result<()> {
    // Whatever the engine's umask.
    DirBuilder::new()
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("make {}", directory.display()))?;
    let mut loaded = verify_all(ebpf, types);
    for name in PROGRAMS.map(|program| program.name) {
        loaded.remove(name).unwrap_or_else(|| missing(name))?;
        pin_program(ebpf, name, directory)?;
    }
    // What enters UDP servers into the map: not every kernel has it.
    match loaded.remove(COLLECT).unwrap_or_else(|| missing(COLLECT)) {
        Ok(()) => pin_program(ebpf, COLLECT, directory)?,
        Err(error) => log::debug!("no UDP server can answer at both addresses: {error:#}"),
    }
    let maps = [
        (POLICY_MAP, POLICY_PIN),
        (COUNTERS_MAP, COUNTERS_PIN),
        (DUAL_REPORTS_MAP, REPORTS_PIN),
        (DUAL_KEEPER_MAP, KEEPER_PIN),
    ];
    for (name, pin) in maps.into_iter().chain(DUAL_PINS) {
        let map = ebpf
            .map(name)
            .with_context(|| format!("the eBPF object has no map {name}"))?;
        let pin = directory.join(pin);
        map.pin(&pin)
            .with_context(|| format!("pin map {name} at {}", pin.display()))?;
    }
    Ok(())
}

fn pin_program(ebpf: &mut Ebpf, name: &str, directory: &Path) -> Result<()> {
    let pin = directory.join(name);
    program(ebpf, name)?
        .pin(&pin)
        .with_context(|| format!("pin program {name} at {}", pin.display()))
}

/// Removes one directory of pins; that there is none is no error.
///
/// # Errors
///
/// If a pin or the directory cannot be removed.
pub fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove the pins in {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// Whether a program can choose the errno of a call that it refuses.
fn has_set_retval() -> Result<bool> {
    is_helper_supported(ProgramType::CgroupSockAddr, BpfHelper::BPF_FUNC_set_retval)
        .with_context(|| format!("probe the kernel for bpf_set_retval: {REMEDY}"))
}
