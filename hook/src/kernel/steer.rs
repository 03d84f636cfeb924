//! Steers calls to dual-stack TCP servers: in each network namespace that has any, one
//! program finds them. The pin of its link keeps it there. When the namespace goes, the
//! kernel detaches it, and the next such container removes the pin.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use oci_bind_hook_ebpf::abi::{Policy, flag};

use crate::kernel::{btf, loader, syscall};

/// What a kernel needs for dual-stack servers.
pub const NEEDS: &str = "dual-stack servers need a kernel with /sys/kernel/btf/vmlinux";

/// The prefix of such a pin's name; the namespace's inode number in hexadecimal follows.
const PREFIX: &str = "steer-";

/// Whether this kernel can have dual-stack servers. Without type information the programs
/// recognise neither an IPv6-only server nor its network namespace.
pub fn is_possible() -> bool {
    Path::new(btf::VMLINUX).exists()
}

/// Lets a policy with both families make dual-stack servers, if this kernel can.
pub fn allow_dual(policy: &mut Policy) {
    let both = flag::IPV4 | flag::IPV6;
    if policy.flags & both != both {
        return;
    }
    if is_possible() {
        policy.flags |= flag::DUAL;
    } else {
        log::info!("a server at :: answers at the IPv6 address alone: {NEEDS}");
    }
}

/// Attaches a program that finds the servers of a namespace, given by its inode number,
/// unless there is one. `pins` is where the programs are pinned. The caller holds the
/// lock.
///
/// # Errors
///
/// If the kernel refuses the program, or it cannot be pinned.
pub fn steer(number: u64, namespace: &OwnedFd, pins: &Path) -> Result<()> {
    let pin = pins.join(format!("{PREFIX}{number:x}"));
    if inode(&pin).is_ok_and(|inode| inode != 0) {
        return Ok(());
    }
    sweep(pins)?;
    let program = loader::load_steer(pins, number)?;
    let link = syscall::link_to_namespace(program.as_fd(), namespace.as_fd()).context(
        "attach program steer to the network namespace: needs CAP_NET_ADMIN and CAP_BPF, and \
         fewer than 64 such programs there (bpftool net shows them)",
    )?;
    match syscall::pin(link.as_fd(), &pin) {
        // Another container of the namespace was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        pinned => pinned.with_context(|| format!("pin the link at {}", pin.display())),
    }?;
    log::debug!("steers calls in network namespace {number}");
    Ok(())
}

/// Removes the pins of namespaces that are gone, and of links that somebody has detached.
fn sweep(pins: &Path) -> Result<()> {
    for pin in links(pins)? {
        if inode(&pin).is_ok_and(|inode| inode == 0) {
            match fs::remove_file(&pin) {
                // Another container has removed it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                removed => removed.with_context(|| format!("remove {}", pin.display())),
            }?;
        }
    }
    Ok(())
}

/// Returns the inode number of the namespace of the link that is pinned there; 0 if it
/// has none any more.
fn inode(pin: &Path) -> io::Result<u32> {
    syscall::namespace_of_link(syscall::open_pin(pin)?.as_fd())
}

/// The pins of links in a directory of pins.
fn links(pins: &Path) -> Result<Vec<PathBuf>> {
    let mut links = Vec::new();
    for entry in fs::read_dir(pins).with_context(|| format!("read {}", pins.display()))? {
        let entry = entry.with_context(|| format!("read {}", pins.display()))?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            links.push(entry.path());
        }
    }
    Ok(links)
}
