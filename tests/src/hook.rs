//! The binary under test.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;

use crate::cgroup::Cgroup;
use crate::net::{CIP4, CIP6, OTHER4, OTHER6};
use crate::process::{self, Output};

/// The addresses that a cgroup is assigned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Its IPv4 address.
    pub ipv4: Option<IpAddr>,
    /// Its IPv6 address.
    pub ipv6: Option<IpAddr>,
}

/// The container under test has its IPv4 address alone.
pub const V4: Policy = Policy {
    ipv4: Some(CIP4),
    ipv6: None,
};
/// The container under test has its IPv6 address alone.
pub const V6: Policy = Policy {
    ipv4: None,
    ipv6: Some(CIP6),
};
/// The container under test has both of its addresses.
pub const BOTH: Policy = Policy {
    ipv4: Some(CIP4),
    ipv6: Some(CIP6),
};
/// The other container has both of its addresses.
pub const NEIGHBOUR: Policy = Policy {
    ipv4: Some(OTHER4),
    ipv6: Some(OTHER6),
};

impl Policy {
    /// As options of the command line.
    pub fn options(self) -> Vec<String> {
        let mut options = vec!["--loopback".to_owned(), "host".to_owned()];
        for (option, address) in [("--ipv4", self.ipv4), ("--ipv6", self.ipv6)] {
            if let Some(address) = address {
                options.extend([option.to_owned(), address.to_string()]);
            }
        }
        options
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.ipv4, self.ipv6) {
            (Some(_), None) => "ipv4",
            (None, Some(_)) => "ipv6",
            (Some(_), Some(_)) => "both",
            (None, None) => "none",
        })
    }
}

/// The binary, with a configuration of its own so that the host's does not
/// matter.
#[derive(Debug)]
pub struct Hook {
    binary: PathBuf,
    config: NamedTempFile,
}

impl Hook {
    /// The binary named by `OCI_BIND_HOOK`, or else the one that `cargo build`
    /// made next to the tests.
    pub fn new() -> Result<Self> {
        Self::with_config("[defaults]\nloopback = \"host\"\nguard = \"off\"\n")
    }

    /// The same with another configuration file.
    pub fn with_config(text: &str) -> Result<Self> {
        let binary = match std::env::var_os("OCI_BIND_HOOK") {
            Some(path) => {
                let path = PathBuf::from(path);
                ensure!(
                    path.exists(),
                    "{} (from OCI_BIND_HOOK) is missing",
                    path.display()
                );
                path
            }
            None => process::built("oci-bind-hook")?,
        };
        let config = NamedTempFile::new().context("make a configuration file")?;
        std::fs::write(config.path(), text)?;
        Ok(Self { binary, config })
    }

    /// The binary.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        self.config.path()
    }

    /// A command line that has only the arguments still to come.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("--config")
            .arg(self.config.path())
            .arg(subcommand);
        command
    }

    /// `attach` to a cgroup.
    pub fn attach(&self, cgroup: &Cgroup, policy: Policy) -> Result<()> {
        self.succeed(
            self.command("attach")
                .arg("--cgroup")
                .arg(cgroup.path())
                .args(policy.options()),
        )
    }

    /// `detach` from a cgroup.
    pub fn detach(&self, cgroup: &Cgroup) -> Result<()> {
        self.succeed(self.command("detach").arg("--cgroup").arg(cgroup.path()))
    }

    /// `load`
    pub fn load(&self) -> Result<()> {
        self.succeed(&mut self.command("load"))
    }

    /// `unload`
    pub fn unload(&self) -> Result<()> {
        self.succeed(&mut self.command("unload"))
    }

    /// `create-runtime` with this on standard input.
    pub fn create_runtime(&self, state: &[u8]) -> Result<Output> {
        process::run(&mut self.command("create-runtime"), state)
    }

    fn succeed(&self, command: &mut Command) -> Result<()> {
        let output = process::run(command, b"")?;
        ensure!(
            output.status.success(),
            "{command:?}: {}: {}",
            output.status,
            output.stderr.trim()
        );
        ensure!(
            output.stderr.is_empty(),
            "{command:?} succeeded but said {:?}",
            output.stderr
        );
        Ok(())
    }
}

/// `command` as a process that enters `cgroup` first.
pub fn inside(cgroup: &Cgroup, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""])
        .arg(cgroup.path())
        .arg(command.get_program())
        .args(command.get_args());
    shell
}
