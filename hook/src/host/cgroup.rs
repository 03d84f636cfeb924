//! Finds the cgroup2 directory of a process that is safe to attach programs to.
//!
//! Programs on a cgroup decide for every socket that is made in it or below, so
//! a wrong choice would capture other people's processes. Some engines leave a
//! container in its caller's cgroup (`--cgroups=disabled`, some rootless
//! set-ups). Therefore a target is refused when it is the root, when it holds
//! this process, and when it holds a process that is not the container's.

mod choose;
mod hierarchy;
mod ids;
mod members;
mod mount;
mod population;
mod relatives;
mod running;
#[cfg(test)]
mod tests;
mod tree;
mod unit;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use hierarchy::Hierarchy;
use members::Kin;

pub use choose::{choose, container, contains, innermost_container, parse_proc, short_id};
pub use ids::Ids;
pub use mount::{Mount, parse as parse_mountinfo};
pub use population::{Population, is_populated, processes};
pub use relatives::{walk_relatives, walk_up};
pub use running::of_running_container;
pub use unit::unit;

/// A directory of the cgroup2 hierarchy, opened; never the root.
#[derive(Debug)]
pub struct Cgroup {
    fd: OwnedFd,
    path: PathBuf,
    name: String,
    id: u64,
}

impl Cgroup {
    /// Returns the directory, opened for reading and closed on exec, as bpf(2) takes it
    /// for `target_fd`.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Returns the absolute path in the file system.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the absolute path within the hierarchy, as in /proc/PID/cgroup.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the cgroup that an engine created for the container `id`.
    #[must_use]
    pub fn is_named_after(&self, id: &str) -> bool {
        choose::names(&self.name, id)
    }

    /// Returns one of its own processes, if it has any and they can be read.
    pub fn first_process(&self) -> Option<Pid> {
        processes(self.fd()).first().copied()
    }

    /// Returns the kernel's id of the cgroup (`cgroup_id`), in host byte order: the key
    /// of BPF cgroup storage, and the inode number of the directory.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Opens a cgroup by its name in the hierarchy.
    fn open(hierarchy: &Hierarchy, name: &str) -> Result<Self> {
        let relative = hierarchy.relative(name)?;
        let fd = match hierarchy.open_below(relative) {
            Err(Errno::NOENT) => match name.strip_suffix(choose::DELETED) {
                Some(name) => bail!("cgroup {name} is deleted: the container has ended"),
                None => bail!("cgroup {name}: no such cgroup: it was removed, or never created"),
            },
            other => other.with_context(|| format!("open cgroup {name}"))?,
        };
        if !hierarchy::is_cgroup2(fd.as_fd()) {
            bail!("cgroup {name} is not in a cgroup2 file system");
        }
        let id = rustix::fs::fstat(&fd)
            .with_context(|| format!("look at cgroup {name}"))?
            .st_ino;
        if id == hierarchy::ROOT_INODE || choose::is_root(name) {
            bail!(
                "cgroup {name} is the root, which holds every process of the host: \
                 name one below it"
            );
        }
        Ok(Self {
            fd,
            path: hierarchy.mount.point.join(relative).components().collect(),
            name: name.to_owned(),
            id,
        })
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

/// Opens the cgroup of the container `id`, whose init `pid` is not yet running: the one
/// that holds the whole container and nothing else. See [`choose`] for how it is found.
///
/// # Errors
///
/// The process has ended, there is no cgroup2, or the cgroup is the root,
/// another container's, our own, threaded, or holds a process that does not
/// descend from `pid`.
pub fn of_container(id: &str, pid: Pid) -> Result<Cgroup> {
    let path = path_of(pid, "the container ended before the hook ran")?;
    let name = choose(&path, id).with_context(|| format!("pid {pid}"))?;
    log::debug!(
        "pid {pid} is in cgroup {path}; chose {name}, {}",
        match choose::names(&name, id) {
            true => "the innermost cgroup that is named after the container",
            false => "its own cgroup, since none above it is named after the container",
        }
    );
    checked(&name, pid, Kin::Descendants)
}

/// Opens the cgroup of the container that a live process is in, or the process's own
/// cgroup if no name on its path is that of a container.
///
/// # Errors
///
/// As for [`of_container`], except that processes that share the PID namespace of `pid`
/// are accepted too, unless that namespace is our own: what an engine execs into a
/// container descends from the engine.
pub fn of_process(pid: Pid) -> Result<Cgroup> {
    let path = path_of(pid, "it has ended")?;
    let name = innermost_container(&path).unwrap_or(&path);
    checked(name, pid, Kin::Namespace)
}

/// Opens the cgroup at an absolute path: one in the file system, below a cgroup2 mount,
/// or else one within the hierarchy, such as `/system.slice/web.service`.
///
/// # Errors
///
/// The path is not absolute or contains `..`, there is no such cgroup, or it is the root.
/// Which processes it holds is not checked.
pub fn of_path(path: &Path) -> Result<Cgroup> {
    let shown = path.display();
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(plain) {
        bail!(
            "cgroup {shown}: not an absolute path, or one with .. in it: \
             write a path such as /system.slice/web.service"
        );
    }
    if let Some((hierarchy, name)) = in_file_system(path)? {
        return Cgroup::open(&hierarchy, &name);
    }
    let tidy: PathBuf = path.components().collect();
    let name = tidy.to_str().with_context(|| {
        format!("cgroup {shown}: name is not UTF-8: use a cgroup with a UTF-8 name")
    })?;
    Cgroup::open(&Hierarchy::find()?, name)
}

/// Returns the cgroup2 mount and the name of the cgroup in it for a path in the file
/// system; `None` if the path does not lead into such a mount.
fn in_file_system(path: &Path) -> Result<Option<(Hierarchy, String)>> {
    let Ok(real) = path.canonicalize() else {
        return Ok(None);
    };
    let Some(mount) = mount::holding(&hierarchy::mountinfo()?, &real) else {
        return Ok(None);
    };
    let hierarchy = Hierarchy::open(mount)?;
    let mount = &hierarchy.mount;
    let below = real.strip_prefix(&mount.point)?;
    let name = Path::new(&mount.root).join(below);
    let name = name.into_os_string().into_string().map_err(|name| {
        let shown = Path::new(&name).display();
        anyhow::anyhow!("cgroup {shown}: name is not UTF-8: use a cgroup with a UTF-8 name")
    })?;
    Ok(Some((hierarchy, name)))
}

/// Returns where the cgroup2 hierarchy is mounted.
///
/// # Errors
///
/// There is no cgroup2 mount.
pub fn mount() -> Result<Mount> {
    Ok(Hierarchy::find()?.mount)
}

/// Whether hierarchies of cgroup v1 are mounted too.
///
/// # Errors
///
/// If the mounts cannot be listed.
pub fn has_v1() -> Result<bool> {
    Ok(mount::has_v1(&hierarchy::mountinfo()?))
}

/// Returns the path within the hierarchy of the cgroup that this process is in.
///
/// # Errors
///
/// There is no cgroup2, or our cgroup lies outside our cgroup namespace.
pub fn own() -> Result<String> {
    let text = read(CWD, "/proc/self/cgroup").context("read /proc/self/cgroup")?;
    parse_proc(&String::from_utf8_lossy(&text)).context("this process")
}

/// Returns the directory of the cgroup that this process is in, which may be the root.
///
/// # Errors
///
/// As for [`own`], and if the mount does not show it.
pub fn own_directory() -> Result<PathBuf> {
    let hierarchy = Hierarchy::find()?;
    let name = own()?;
    Ok(hierarchy.mount.point.join(hierarchy.relative(&name)?))
}

/// Calls `visit` for every cgroup but the root, parents first, with its path in the file
/// system and its descriptor. Cgroups that are removed in the meantime are skipped.
///
/// # Errors
///
/// The first error of `visit`, or a cgroup cannot be read.
pub fn walk(visit: impl FnMut(&Path, BorrowedFd<'_>) -> Result<()>) -> Result<()> {
    let hierarchy = Hierarchy::find()?;
    tree::walk(hierarchy.as_fd(), &hierarchy.mount.point, visit)
}

/// Does the same as [`walk`], with paths within the hierarchy, as in /proc/PID/cgroup.
///
/// # Errors
///
/// As for [`walk`].
pub fn walk_names(visit: impl FnMut(&Path, BorrowedFd<'_>) -> Result<()>) -> Result<()> {
    let hierarchy = Hierarchy::find()?;
    tree::walk(hierarchy.as_fd(), Path::new(&hierarchy.mount.root), visit)
}

/// Opens a cgroup if it holds only `pid` and its kin.
fn checked(name: &str, pid: Pid, kin: Kin) -> Result<Cgroup> {
    choose::refuse_root(name).with_context(|| format!("pid {pid}"))?;
    if contains(name, &own()?) {
        bail!(
            "pid {pid}: cgroup {name} also holds oci-bind-hook itself: {}",
            kin.remedy()
        );
    }
    let cgroup = Cgroup::open(&Hierarchy::find()?, name)?;
    members::check(&cgroup, pid, kin)?;
    Ok(cgroup)
}

/// Returns the path within the hierarchy of the cgroup that a process is in. `ended` is what
/// the error says if it is gone.
///
/// # Errors
///
/// The process has ended, there is no cgroup2, or its cgroup lies outside our cgroup
/// namespace.
pub fn path_of(pid: Pid, ended: &str) -> Result<String> {
    let path = format!("/proc/{pid}/cgroup");
    let text = match read(CWD, &path) {
        Err(Errno::NOENT | Errno::SRCH) => bail!("pid {pid}: no such process: {ended}"),
        other => other.with_context(|| format!("read {path}"))?,
    };
    parse_proc(&String::from_utf8_lossy(&text)).with_context(|| format!("pid {pid}"))
}

/// Whether the text of cgroup.events says that there are processes (cgroup-v2.rst).
pub(crate) fn says_populated(events: &str) -> bool {
    events.lines().any(|line| line == "populated 1")
}

/// Reads a whole file of procfs or cgroupfs, which report no size.
fn read(at: impl AsFd, path: &str) -> rustix::io::Result<Vec<u8>> {
    let file = rustix::fs::openat(at, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::with_capacity(4096);
    loop {
        let spare = rustix::buffer::spare_capacity(&mut text);
        match rustix::io::read(&file, spare) {
            Ok(0) => return Ok(text),
            Ok(_) => text.reserve(4096),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
