//! Attaches the program to the ingress of network devices, by tcx or by the clsact qdisc.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use super::clsact::{self, Filter};
use super::needs::Needs;
use crate::host::devices::{self, Device};
use crate::host::privileges::REMEDY;
use crate::kernel::catalogue::DELIVER;
use crate::kernel::syscall::{self, device};

/// What a kernel needs for it.
pub const NEEDS: &str = "full UDP support needs Linux 6.6 or later, or before that the modules \
    sch_ingress and cls_bpf";

/// The program, to be attached to devices of the calling thread's network namespace.
pub struct Ingress {
    program: OwnedFd,
    id: u32,
}

impl Ingress {
    /// Wraps the program.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
    pub fn new(program: OwnedFd) -> Result<Self> {
        let id = syscall::object::program_id(program.as_fd())
            .with_context(|| format!("get the id of program {DELIVER}"))?;
        Ok(Self { program, id })
    }

    /// Attaches the program to devices that lack it. Returns false if this kernel cannot.
    ///
    /// # Errors
    ///
    /// If the kernel refuses it, unless the device is gone.
    pub fn attach(&self, devices: &[Device]) -> Result<bool> {
        for device in devices {
            match self.attach_to(device.index) {
                Ok(false) => {}
                Ok(true) => log::debug!("attached {DELIVER} to device {}", device.name),
                // Somebody else was faster.
                Err(error) if is(&error, libc::EEXIST) => {}
                Err(error) if has_gone(&error) => {}
                Err(error) if is(&error, libc::ENOENT) || is(&error, libc::EOPNOTSUPP) => {
                    log::debug!("attach {DELIVER} to device {}: {error}", device.name);
                    return Ok(false);
                }
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!(
                            "attach program {DELIVER} to the ingress of device {}: {REMEDY}, and \
                             see that it has fewer than 64 programs (bpftool net shows them)",
                            device.name
                        )
                    });
                }
            }
        }
        Ok(true)
    }

    /// Returns those of the devices that lack the program.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked, unless the device is gone.
    pub fn missing(&self, devices: &[Device]) -> Result<Vec<Device>> {
        let mut missing = Vec::new();
        for device in devices {
            if self.is_at(device)? == Some(false) {
                missing.push(device.clone());
            }
        }
        Ok(missing)
    }

    /// Whether the program is at a device; `None` if the device is gone.
    fn is_at(&self, device: &Device) -> Result<Option<bool>> {
        match self.look(device.index) {
            Ok(found) => Ok(Some(found.is_there())),
            Err(error) if has_gone(&error) => Ok(None),
            Err(error) => Err(error).with_context(|| {
                format!("list the programs at the ingress of device {}", device.name)
            }),
        }
    }

    /// Takes the program off all devices that do not need it. Returns whether it remains
    /// at one that does.
    ///
    /// # Errors
    ///
    /// If the kernel refuses it, unless the device is gone.
    pub fn withdraw(&self, needs: Needs) -> Result<bool> {
        let mut is_left = false;
        for device in devices::list().context("list the network devices")? {
            if needs.include(&device) {
                is_left = is_left || self.is_at(&device)? == Some(true);
                continue;
            }
            match self.detach_from(device.index) {
                Ok(false) => {}
                Ok(true) => log::debug!("detached {DELIVER} from device {}", device.name),
                Err(error) if has_gone(&error) => {}
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!(
                            "detach program {DELIVER} from device {}: {REMEDY}",
                            device.name
                        )
                    });
                }
            }
        }
        Ok(is_left)
    }

    /// Looks for the program at a device.
    fn look(&self, index: u32) -> io::Result<Found> {
        match device::attached(index) {
            Ok(ids) => Ok(Found::Tcx(ids.contains(&self.id))),
            // Before Linux 6.6.
            Err(error) if is(&error, libc::EINVAL) => {
                let mut filters = clsact::attached(index)?;
                filters.retain(|filter| filter.program == self.id);
                Ok(Found::Clsact(filters))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns whether there was something to do.
    fn attach_to(&self, index: u32) -> io::Result<bool> {
        match self.look(index)? {
            found if found.is_there() => return Ok(false),
            Found::Tcx(_) => device::attach(self.program.as_fd(), index),
            Found::Clsact(_) => clsact::attach(self.program.as_fd(), self.id, DELIVER, index),
        }?;
        Ok(true)
    }

    /// Returns whether there was something to do.
    fn detach_from(&self, index: u32) -> io::Result<bool> {
        let found = self.look(index)?;
        match &found {
            Found::Tcx(false) => {}
            Found::Tcx(true) => device::detach(self.program.as_fd(), index)?,
            Found::Clsact(filters) => {
                for filter in filters {
                    clsact::detach(filter, index)?;
                }
            }
        }
        Ok(found.is_there())
    }
}

/// How the kernel attaches programs to devices, and what of ours is there.
enum Found {
    /// Whether the program is there.
    Tcx(bool),
    /// The program's filters.
    Clsact(Vec<Filter>),
}

impl Found {
    fn is_there(&self) -> bool {
        match self {
            Self::Tcx(is_there) => *is_there,
            Self::Clsact(filters) => !filters.is_empty(),
        }
    }
}

fn is(error: &io::Error, errno: i32) -> bool {
    error.raw_os_error() == Some(errno)
}

fn has_gone(error: &io::Error) -> bool {
    is(error, libc::ENODEV) || is(error, libc::ENXIO)
}
