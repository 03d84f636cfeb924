//! Loads the embedded object into the kernel and pins what is in it: the one slow step,
//! which the first container after boot takes.

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::{Program, ProgramType};
use aya::sys::{BpfHelper, is_helper_supported};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use oci_bind_hook_ebpf::abi::{
    COUNTERS_MAP, DESTINATIONS_MAP, DUAL_COUNTS_MAP, DUAL_MAP, HAS_GROUPS, HAS_SET_RETVAL,
    INODE_BIT, NAMESPACE, NET_BIT, POLICY_MAP, REUSE_BIT, REUSE_PORT_BIT, UID_BIT, UNKNOWN_BIT,
    V6ONLY_BIT,
};
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::host::memlock::LockedMemory;
use crate::host::parallel::side_by_side;
use crate::host::privileges::REMEDY;
use crate::kernel::catalogue::{
    COUNTERS_PIN, DELIVER, DESTINATIONS_PIN, DUAL_PIN, POLICY_PIN, PROGRAMS, VERSION,
};
use crate::kernel::pins;
use crate::kernel::verify::{STEER, verify, verify_all};
use crate::kernel::{btf, syscall};

/// The maps of dual-stack servers, each with the name of its pin.
const DUAL_PINS: [(&str, &str); 2] = [(DUAL_MAP, DUAL_PIN), (DUAL_COUNTS_MAP, "dual-counts")];

/// The globals that hold the positions of members of kernel structs. Without type
/// information the programs do without them: then a v6only bind to `::` in a cgroup that
/// has only an IPv4 address fails with EINVAL instead of being isolated, and no server
/// answers at both addresses.
const MEMBERS: [(&str, &[(&str, &str)]); 6] = [
    (V6ONLY_BIT, &[("sock_common", "skc_ipv6only")]),
    (REUSE_BIT, &[("sock_common", "skc_reuse")]),
    (REUSE_PORT_BIT, &[("sock_common", "skc_reuseport")]),
    (UID_BIT, &[("sock", "sk_uid")]),
    (NET_BIT, &[("sock_common", "skc_net")]),
    (INODE_BIT, &[("net", "ns"), ("ns_common", "inum")]),
];

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/oci-bind-hook.bpf.o"));

/// Loads the object and pins it in `directory`, all or nothing: the pins are created
/// beside it and moved into place by one rename. The caller holds the lock.
///
/// # Errors
///
/// If the kernel refuses a map or a program, or the pins cannot be created.
pub fn load(directory: &Path) -> Result<()> {
    let _limit = LockedMemory::unlimited();
    let mut ebpf = open()?;

    // bpffs reserves names with a dot.
    let unfinished = directory.with_file_name(format!("{VERSION}-new"));
    remove(&unfinished)?;
    let pinned = pin_all(&mut ebpf, &unfinished).and_then(|()| {
        // What is there now lacks a pin, or it would have been opened.
        remove(directory)?;
        fs::rename(&unfinished, directory)
            .with_context(|| format!("move the pins to {}", directory.display()))
    });
    if pinned.is_err() {
        // The user needs to hear of the cause of the failure, not of this.
        let _ = remove(&unfinished);
    }
    pinned
}

/// Loads each program, even if others fail, and keeps none. Returns the kernel's verdict
/// on each, by name.
///
/// # Errors
///
/// If the kernel refuses a map.
pub fn load_each() -> Result<Vec<(&'static str, Result<()>)>> {
    let _limit = LockedMemory::unlimited();
    let mut loaded = verify_all(&mut open()?);
    let mut result = |name| {
        let result = loaded.remove(name);
        (name, result.unwrap_or_else(|| missing(name)))
    };
    Ok(names().map(&mut result).collect())
}

/// Loads one program and keeps nothing else.
#[cfg(test)]
pub(crate) fn load_one(name: &str) -> Result<OwnedFd> {
    let mut ebpf = open()?;
    let program = program(&mut ebpf, name)?;
    verify(name, program)?;
    Ok(program.fd()?.as_fd().try_clone_to_owned()?)
}

/// Loads the program that finds the dual-stack servers of the network namespace with this
/// inode number. It uses the maps pinned in `pins`.
///
/// # Errors
///
/// If the kernel refuses the program, or a map cannot be opened.
pub fn load_steer(pins: &Path, namespace: u64) -> Result<OwnedFd> {
    let mut loader = EbpfLoader::new();
    for (map, pin) in DUAL_PINS {
        let pin = pins.join(pin);
        // aya would create another map.
        ensure!(pin.exists(), pins::missing(&pin));
        loader.map_pin_path(map, pin);
    }
    let mut ebpf = loader
        .override_global(NAMESPACE, &namespace, true)
        .load(OBJECT)
        .context("load the eBPF object")?;
    let steer = program(&mut ebpf, STEER)?;
    verify(STEER, steer)?;
    let fd = steer.fd().context("load program steer")?;
    Ok(fd.as_fd().try_clone_to_owned()?)
}

/// Opens the object, creates its maps, and sets its globals for this kernel.
fn open() -> Result<Ebpf> {
    let has_set_retval = u8::from(has_set_retval()?);
    // aya's loader also reads all type information, but does not expose it.
    let (bits, mut loader) = side_by_side(read_types, EbpfLoader::new);
    // `bpf_sk_assign` accepts members of groups since Linux 6.6, which also brought tcx.
    let has_groups = u8::from(syscall::device::has_tcx());
    for ((global, _), bit) in MEMBERS.into_iter().zip(&bits) {
        loader.override_global(global, bit, true);
    }
    let ebpf = loader
        .override_global(HAS_GROUPS, &has_groups, true)
        .override_global(HAS_SET_RETVAL, &has_set_retval, true)
        .load(OBJECT)
        .context("load the eBPF object: needs Linux 5.10 or later, CAP_BPF and CAP_NET_ADMIN")?;
    Ok(ebpf)
}

/// Looks up [`MEMBERS`] in the kernel's type information.
fn read_types() -> [u32; MEMBERS.len()] {
    let types = fs::read(btf::VMLINUX).unwrap_or_default();
    let bit = |(of, member): &(&str, &str)| btf::member_bit(&types, of, member);
    let bits = MEMBERS.map(|(_, path)| path.iter().map(bit).sum::<Result<u32>>());
    bits.map(|bit| bit.unwrap_or(UNKNOWN_BIT))
}

fn missing<T>(name: &str) -> Result<T> {
    bail!("the eBPF object has no program {name}")
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program> {
    ebpf.program_mut(name).map_or_else(|| missing(name), Ok)
}

/// Loads each program and pins it, and the maps, in a new directory.
fn pin_all(ebpf: &mut Ebpf, directory: &Path) -> Result<()> {
    // Whatever the engine's umask.
    DirBuilder::new()
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("create {}", directory.display()))?;
    let mut loaded = verify_all(ebpf);
    for name in names() {
        loaded.remove(name).unwrap_or_else(|| missing(name))?;
        let pin = directory.join(name);
        program(ebpf, name)?
            .pin(&pin)
            .with_context(|| format!("pin program {name} at {}", pin.display()))?;
    }
    let maps = [
        (POLICY_MAP, POLICY_PIN),
        (COUNTERS_MAP, COUNTERS_PIN),
        (DESTINATIONS_MAP, DESTINATIONS_PIN),
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

/// The programs that are loaded once and pinned.
fn names() -> impl Iterator<Item = &'static str> {
    let attached = PROGRAMS.iter().map(|program| program.name);
    attached.chain([DELIVER])
}

/// Removes one directory of pins. It is not an error if there is none.
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
