//! The privileges needed to attach programs, and whether this process can have them.

use std::fs;
use std::os::linux::fs::MetadataExt as _;

use anyhow::{Context as _, Result, bail};

/// The remedy wherever the kernel refuses for lack of privileges.
pub const REMEDY: &str = "needs CAP_BPF and CAP_NET_ADMIN in the initial user namespace: \
    run the engine, or this command, as root";

/// Inode number of the initial user namespace: `PROC_USER_INIT_INO`.
const INITIAL: u64 = 0xEFFF_FFFD;

/// Refuses other user namespaces, in which no capability suffices (`bpf_capable` asks for
/// those of the initial one). This check comes first, because whatever else a rootless
/// engine does differently would cause misleading errors.
///
/// # Errors
///
/// If the process is in another user namespace, or /proc is missing.
pub fn check() -> Result<()> {
    if !is_initial()? {
        bail!("a rootless engine, or another user namespace: attaching eBPF programs {REMEDY}");
    }
    Ok(())
}

/// Whether this process is in the initial user namespace.
///
/// # Errors
///
/// If /proc is missing.
pub fn is_initial() -> Result<bool> {
    let path = "/proc/self/ns/user";
    let namespace =
        fs::metadata(path).with_context(|| format!("look at {path}: is proc mounted at /proc?"))?;
    Ok(namespace.st_ino() == INITIAL)
}
