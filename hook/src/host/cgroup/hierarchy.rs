//! The cgroup2 hierarchy as it is mounted here: finding it, and opening
//! directories in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::mount::{Mount, USUAL_POINTS, parse};

/// `f_type` of a cgroup2 file system: `CGROUP2_SUPER_MAGIC`, statfs(2).
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Inode number of the root directory of a hierarchy: `kernfs_create_root` hands out
/// numbers from 1 on, and the root gets the first.
pub(super) const ROOT_INODE: u64 = 1;

/// Inode number of the initial cgroup namespace: `PROC_CGROUP_INIT_INO`.
const FIRST_CGROUP_NAMESPACE: u64 = 0xEFFF_FFFB;

const NO_MOUNT: &str = "no cgroup2 mount: programs cannot be attached to cgroup v1: \
    boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2; ip netns exec hides it: \
    use nsenter --net=/run/netns/NAME";

/// A cgroup2 mount, opened.
pub(super) struct Hierarchy {
    fd: OwnedFd,
    pub mount: Mount,
}

impl Hierarchy {
    /// Finds and opens the mount to use. Most hosts do not need mountinfo, which grows
    /// with every container and costs about 1 µs per line.
    pub fn find() -> Result<Self> {
        if let Some(usual) = Self::usual() {
            return Ok(usual);
        }
        Self::open(parse(&mountinfo()?).context(NO_MOUNT)?)
    }

    /// Opens a usual mount point that shows the true root of the hierarchy, seen from the
    /// initial cgroup namespace, so that the paths in /proc/PID/cgroup are valid below
    /// it.
    fn usual() -> Option<Self> {
        let namespace = rustix::fs::stat("/proc/self/ns/cgroup").ok()?;
        if namespace.st_ino != FIRST_CGROUP_NAMESPACE {
            return None;
        }
        USUAL_POINTS.iter().find_map(|point| {
            let fd = rustix::fs::open(*point, DIRECTORY, Mode::empty()).ok()?;
            if !is_cgroup2(fd.as_fd()) || rustix::fs::fstat(&fd).ok()?.st_ino != ROOT_INODE {
                return None;
            }
            let mount = Mount {
                point: point.into(),
                root: "/".to_owned(),
            };
            Some(Self { fd, mount })
        })
    }

    /// Opens a mount from mountinfo, unless something that is mounted above it hides it.
    pub fn open(mount: Mount) -> Result<Self> {
        let point = mount.point.display();
        let fd = rustix::fs::open(&mount.point, DIRECTORY, Mode::empty())
            .with_context(|| format!("open the cgroup2 mount at {point}"))?;
        if !is_cgroup2(fd.as_fd()) {
            bail!("the cgroup2 mount at {point} is hidden by another mount: unmount that one");
        }
        Ok(Self { fd, mount })
    }

    /// Returns the path below the mount point, without a leading slash, of the cgroup
    /// with an absolute name.
    pub fn relative<'a>(&self, name: &'a str) -> Result<&'a str> {
        let root = self.mount.root.trim_end_matches('/');
        match name.strip_prefix(root) {
            Some(below) if below.is_empty() || below.starts_with('/') => {
                Ok(below.trim_start_matches('/'))
            }
            _ => bail!(
                "cgroup {name} is not in the cgroup2 mount at {}, which shows only {root}: \
                 mount the whole hierarchy",
                self.mount.point.display()
            ),
        }
    }

    /// Opens the directory at a path below the mount point, without following symbolic
    /// links or leaving the mount.
    pub fn open_below(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        let within = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        match rustix::fs::openat2(&self.fd, path, DIRECTORY, Mode::empty(), within) {
            // Linux before 5.6, or a seccomp filter that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.open_stepwise(path),
            other => other,
        }
    }

    /// Does what `openat2` does with [`Self::open_below`]'s flags, step by step.
    fn open_stepwise(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        let mut at = rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?;
        for step in path.split('/').filter(|step| !matches!(*step, "" | ".")) {
            if step == ".." {
                return Err(Errno::XDEV);
            }
            at = rustix::fs::openat(&at, step, flags, Mode::empty())?;
        }
        Ok(at)
    }
}

impl AsFd for Hierarchy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The flags with which every cgroup directory is opened.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Whether a descriptor belongs to a cgroup2 file system.
pub(super) fn is_cgroup2(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(fd).is_ok_and(|fs| u64::try_from(fs.f_type) == Ok(CGROUP2_MAGIC))
}

/// Reads /proc/self/mountinfo. Bytes that are not UTF-8, in the names of other mounts, do
/// no harm.
pub(super) fn mountinfo() -> Result<String> {
    let bytes = super::read(CWD, "/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_relative_to_the_root_of_the_mount() {
        let hierarchy = |root: &str| Hierarchy {
            fd: rustix::fs::open("/", DIRECTORY, Mode::empty()).unwrap(),
            mount: Mount {
                point: "/sys/fs/cgroup".into(),
                root: root.into(),
            },
        };
        assert_eq!(hierarchy("/").relative("/a/b").unwrap(), "a/b");
        assert_eq!(hierarchy("/").relative("/").unwrap(), "");
        assert_eq!(hierarchy("/a").relative("/a/b").unwrap(), "b");
        assert_eq!(hierarchy("/a").relative("/a").unwrap(), "");
        hierarchy("/a").relative("/ab").unwrap_err();
        hierarchy("/a").relative("/").unwrap_err();
    }

    #[test]
    fn steps_do_not_leave_the_mount() {
        let hierarchy = Hierarchy::find().unwrap();
        hierarchy.open_stepwise(".").unwrap();
        assert_eq!(hierarchy.open_stepwise("..").unwrap_err(), Errno::XDEV);
        assert_eq!(hierarchy.open_below("..").unwrap_err(), Errno::XDEV);
        assert_eq!(hierarchy.open_below("no such").unwrap_err(), Errno::NOENT);
        assert_eq!(
            hierarchy.open_stepwise("no such").unwrap_err(),
            Errno::NOENT
        );
    }
}
