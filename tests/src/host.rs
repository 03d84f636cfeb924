//! What the whole test process needs of the host, set up once.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{fs, io};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sys;

/// Where the hook keeps its pins, below the bpffs.
pub const PINS: &str = "/sys/fs/bpf/oci-bind-hook";
const BPFFS: &str = "/sys/fs/bpf";

static SCRATCH_PARENT: OnceLock<PathBuf> = OnceLock::new();

/// Prepares the process, before it has a second thread: a private mount
/// namespace with an empty bpffs, which vanishes with the process and hides
/// the pins of an installed hook, and the place for scratch cgroups.
pub fn set_up() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "these tests attach eBPF programs: run them as root"
    );
    private_bpffs()?;
    let parent = scratch_parent()?;
    SCRATCH_PARENT
        .set(parent)
        .ok()
        .context("the host is set up only once")
}

/// Gives the calling thread, and the processes it starts, a mount namespace
/// with an empty bpffs.
pub fn private_bpffs() -> Result<()> {
    sys::unshare_mounts().context("unshare the mount namespace")?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .context("make / private")?;
    mount("bpf", BPFFS, "bpf", MountFlags::empty(), None)
        .with_context(|| format!("mount a bpffs at {BPFFS}"))
}

/// Lets the process have as many descriptors as it may: how many.
pub fn raise_descriptors() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).context("raise RLIMIT_NOFILE")?;
    Ok(current.unwrap_or(u64::MAX))
}

/// Puts a file in the place of another one, for the calling thread, which has
/// a mount namespace of its own, and the processes that it starts.
pub fn replace(file: &Path, by: &Path) -> Result<()> {
    mount_bind(by, file).with_context(|| format!("mount something at {}", file.display()))
}

/// Gives the calling thread, which has a mount namespace of its own, an empty
/// /dev, but for what every program opens.
pub fn own_dev() -> Result<()> {
    mount("dev", "/dev", "tmpfs", MountFlags::empty(), None).context("mount a tmpfs at /dev")?;
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(
        CWD,
        "/dev/null",
        FileType::CharacterDevice,
        mode,
        makedev(1, 3),
    )
    .context("make /dev/null")
}

/// Hides the kernel's type information from the calling thread, which has a
/// mount namespace of its own, and the processes that it starts.
pub fn hide_types() -> Result<()> {
    mount(
        "none",
        "/sys/kernel/btf",
        "tmpfs",
        MountFlags::empty(),
        None,
    )
    .context("mount a tmpfs at /sys/kernel/btf")
}

/// The directories of pins that exist now.
pub fn pins() -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(PINS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("list {PINS}"))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The cgroup2 directory below which tests make theirs.
pub(crate) fn scratch_cgroups() -> Result<&'static Path> {
    Ok(SCRATCH_PARENT
        .get()
        .context("host::set_up must come first")?)
}

/// The root of the cgroup2 hierarchy, or of the part of it that is visible.
pub fn cgroup_root() -> Result<PathBuf> {
    cgroup2_mount(&fs::read_to_string("/proc/self/mountinfo")?)
}

/// The own cgroup of this process, where the cgroup2 hierarchy is mounted.
fn scratch_parent() -> Result<PathBuf> {
    let mount = cgroup_root()?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .context("find the own cgroup2 cgroup in /proc/self/cgroup")?;
    let path = mount.join(own);
    if !path.join("cgroup.procs").exists() {
        bail!("{} is not a cgroup: is it visible here?", path.display());
    }
    Ok(path)
}

fn cgroup2_mount(mountinfo: &str) -> Result<PathBuf> {
    for line in mountinfo.lines() {
        // Optional fields end at a lone dash; the file system type follows.
        if let Some((mount, source)) = line.split_once(" - ")
            && source.starts_with("cgroup2 ")
            && let Some(point) = mount.split(' ').nth(4)
        {
            return Ok(point.into());
        }
    }
    bail!("no cgroup2 file system is mounted here: mount one at /sys/fs/cgroup")
}
