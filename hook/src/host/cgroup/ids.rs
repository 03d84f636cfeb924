//! Looks up cgroups by their ids.
#![expect(unsafe_code, reason = "a system call that rustix does not know")]

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::Result;

use super::hierarchy::Hierarchy;

/// `FILEID_KERNFS`: the handle is the id.
const BY_ID: i32 = 0xfe;

/// `struct file_handle` of a cgroup's directory.
#[repr(C)]
struct Handle {
    /// How many bytes follow the type.
    length: u32,
    handle_type: i32,
    /// Host byte order.
    id: u64,
}

/// The hierarchy, opened to ask which cgroups exist.
pub struct Ids(Hierarchy);

impl Ids {
    /// Opens the hierarchy.
    ///
    /// # Errors
    ///
    /// If there is no cgroup2 mount.
    pub fn open() -> Result<Self> {
        Hierarchy::find().map(Self)
    }

    /// Whether a cgroup with this id exists. A removed one does not, though its BPF
    /// storage stays for a moment, or for as long as a socket of it is open.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked: open_by_handle_at(2) needs CAP_DAC_READ_SEARCH.
    pub fn contain(&self, id: u64) -> io::Result<bool> {
        let mut handle = Handle {
            length: 8,
            handle_type: BY_ID,
            id,
        };
        // SAFETY: the kernel reads a handle of the length that `handle` states.
        let fd = unsafe {
            libc::open_by_handle_at(
                self.0.as_fd().as_raw_fd(),
                (&raw mut handle).cast(),
                libc::O_PATH | libc::O_CLOEXEC,
            )
        };
        if fd >= 0 {
            // SAFETY: the kernel has just made this descriptor for us.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ESTALE) => Ok(false),
            error => Err(error),
        }
    }
}
