//! The program at the ingress of network devices: by tcx, or by the clsact qdisc.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use super::clsact;
use super::devices::{self, Device};
use super::needs::Needs;
use crate::bpf::{self, device};
use crate::privileges::REMEDY;
use crate::programs::DELIVER;

/// What a kernel needs for it.
pub const NEEDS: &str =
    "they need Linux 6.6 or later, or before that the modules sch_ingress and cls_bpf";

/// The program, to be attached to devices of the calling thread's network namespace.
pub struct Ingress {
    program: OwnedFd,
    id: u32,
}

impl Ingress {
    /// By the program.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
    pub fn new(program: OwnedFd) -> Result<Self> {
        let id = bpf::program_id(program.as_fd())
            .with_context(|| format!("ask for the id of program {DELIVER}"))?;
        Ok(Self { program, id })
    }

    /// Attaches the program to devices where it is not. False if this kernel cannot.
    ///
    /// # Errors
    ///
    /// If the kernel refuses it; not for a device that has gone.
    pub fn attach(&self, devices: &[Device]) -> Result<bool> {
        for device in self.missing(devices)? {
            let index = device.index;
            let attached = match device::attached(index) {
                Ok(_) => device::attach(self.program.as_fd(), index),
                Err(error) if is(&error, libc::EINVAL) => {
                    clsact::attach(self.program.as_fd(), self.id, DELIVER, index)
                }
                Err(error) => Err(error),
            };
            match attached {
                Ok(()) => log::debug!("attached {DELIVER} to device {}", device.name),
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
                             see that it has fewer than 64 programs there (bpftool net)",
                            device.name
                        )
                    });
                }
            }
        }
        Ok(true)
    }

    /// Those of the devices where the program is not.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked; not for a device that has gone.
    pub fn missing(&self, devices: &[Device]) -> Result<Vec<Device>> {
        let mut missing = Vec::new();
        for device in devices {
            match self.is_at(device.index) {
                Ok(true) => {}
                Ok(false) => missing.push(device.clone()),
                Err(error) if has_gone(&error) => {}
                Err(error) => return Err(error).with_context(|| list(device)),
            }
        }
        Ok(missing)
    }

    /// Takes the program off all devices but those that are needed.
    ///
    /// # Errors
    ///
    /// If the kernel refuses it; not for a device that has gone.
    pub fn withdraw(&self, needs: Needs) -> Result<()> {
        for device in devices::list().context("list the network devices")? {
            if needs.include(&device) {
                continue;
            }
            match self.detach(device.index) {
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
        Ok(())
    }

    fn is_at(&self, index: u32) -> io::Result<bool> {
        match device::attached(index) {
            Ok(ids) => Ok(ids.contains(&self.id)),
            Err(error) if is(&error, libc::EINVAL) => {
                let filters = clsact::attached(index)?;
                Ok(filters.iter().any(|filter| filter.program == self.id))
            }
            Err(error) => Err(error),
        }
    }

    fn detach(&self, index: u32) -> io::Result<bool> {
        match device::attached(index) {
            Ok(ids) if !ids.contains(&self.id) => Ok(false),
            Ok(_) => device::detach(self.program.as_fd(), index).map(|()| true),
            Err(error) if is(&error, libc::EINVAL) => {
                let mut filters = clsact::attached(index)?;
                filters.retain(|filter| filter.program == self.id);
                for filter in &filters {
                    clsact::detach(filter, index)?;
                }
                Ok(!filters.is_empty())
            }
            Err(error) => Err(error),
        }
    }
}

fn is(error: &io::Error, errno: i32) -> bool {
    error.raw_os_error() == Some(errno)
}

fn has_gone(error: &io::Error) -> bool {
    is(error, libc::ENODEV) || is(error, libc::ENXIO)
}

fn list(device: &Device) -> String {
    format!("list the programs at the ingress of device {}", device.name)
}
