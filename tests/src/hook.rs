//! The binary under test.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::{NamedTempFile, TempPath};

use crate::bpf::{ATTACH_TYPES, NAME_TYPES, PACKET_TYPES, SERVER_TYPES};
use crate::cgroup::Cgroup;
use crate::host;
use crate::net::{CIP4, CIP6, OTHER4, OTHER6, has_dual};
use crate::process::{self, Output};

/// What is put on a cgroup: its addresses, and what else a policy can say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Its IPv4 address.
    pub ipv4: Option<IpAddr>,
    /// Its IPv6 address.
    pub ipv6: Option<IpAddr>,
    loopback: &'static str,
    guard: bool,
    ports: &'static str,
    exempt: &'static str,
    multicast: &'static str,
}

/// The container under test has its IPv4 address alone.
pub const V4: Policy = Policy::of(Some(CIP4), None);
/// The container under test has its IPv6 address alone.
pub const V6: Policy = Policy::of(None, Some(CIP6));
/// The container under test has both of its addresses.
pub const BOTH: Policy = Policy::of(Some(CIP4), Some(CIP6));
/// The other container has both of its addresses.
pub const NEIGHBOUR: Policy = Policy::of(Some(OTHER4), Some(OTHER6));

impl Policy {
    /// These addresses, with loopback left to the host and no guard.
    pub const fn of(ipv4: Option<IpAddr>, ipv6: Option<IpAddr>) -> Self {
        Self {
            ipv4,
            ipv6,
            loopback: "host",
            guard: false,
            ports: "",
            exempt: "",
            multicast: "",
        }
    }

    /// The names of the attach points that it needs, in the order of
    /// `bpf::all_types`.
    pub fn attach_types(&self) -> impl Iterator<Item = &'static str> {
        let has_servers = self.ipv4.is_some() && self.ipv6.is_some() && has_dual();
        [
            (true, &ATTACH_TYPES[..]),
            (self.loopback != "host", &NAME_TYPES),
            (self.guard, &PACKET_TYPES),
            (has_servers, &SERVER_TYPES),
        ]
        .into_iter()
        .filter(|(is_needed, _)| *is_needed)
        .flat_map(|(_, types)| types.iter().map(|(name, _)| *name))
    }

    /// The same with this `--loopback`.
    pub const fn loopback(self, loopback: &'static str) -> Self {
        Self { loopback, ..self }
    }

    /// The same with the guard.
    pub const fn guarded(self) -> Self {
        Self {
            guard: true,
            ..self
        }
    }

    /// The same with these `--ports`.
    pub const fn ports(self, ports: &'static str) -> Self {
        Self { ports, ..self }
    }

    /// The same with these `--exempt` ports.
    pub const fn exempt(self, exempt: &'static str) -> Self {
        Self { exempt, ..self }
    }

    /// The same with these `--multicast` ports.
    pub const fn multicast(self, multicast: &'static str) -> Self {
        Self { multicast, ..self }
    }

    /// As names and values of options, which are those of annotations too.
    pub fn settings(self) -> Vec<(&'static str, String)> {
        let mut settings = vec![("loopback", self.loopback.to_owned())];
        for (name, address) in [("ipv4", self.ipv4), ("ipv6", self.ipv6)] {
            settings.extend(address.map(|address| (name, address.to_string())));
        }
        if self.guard {
            settings.push(("guard", "on".to_owned()));
        }
        for (name, list) in self.lists() {
            if !list.is_empty() {
                settings.push((name, list.to_owned()));
            }
        }
        settings
    }

    /// The lists of ports.
    const fn lists(self) -> [(&'static str, &'static str); 3] {
        [
            ("ports", self.ports),
            ("exempt", self.exempt),
            ("multicast", self.multicast),
        ]
    }

    /// As options of the command line.
    pub fn options(self) -> Vec<String> {
        self.settings()
            .into_iter()
            .flat_map(|(name, value)| [format!("--{name}"), value])
            .collect()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.ipv4, self.ipv6) {
            (Some(_), None) => "ipv4",
            (None, Some(_)) => "ipv6",
            (Some(_), Some(_)) => "both",
            (None, None) => "none",
        })?;
        if self.loopback != "host" {
            write!(f, " {}", self.loopback)?;
        }
        if self.guard {
            f.write_str(" guard")?;
        }
        for (name, list) in self.lists() {
            if !list.is_empty() {
                write!(f, " {name} {list}")?;
            }
        }
        Ok(())
    }
}

/// The binary, with a configuration of its own so that the host's does not
/// matter.
#[derive(Debug)]
pub struct Hook {
    binary: PathBuf,
    config: TempPath,
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
        // Closed: an open file would keep its mount from becoming read-only.
        let config = config.into_temp_path();
        std::fs::write(&config, text)?;
        Ok(Self { binary, config })
    }

    /// The binary.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// A command line that has only the arguments still to come.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(self.config()).arg(subcommand);
        command
    }

    /// `attach` to a cgroup.
    pub fn attach(&self, cgroup: &Cgroup, policy: Policy) -> Result<()> {
        self.notices(cgroup, policy).map(drop)
    }

    /// The same: what it says that it has found there.
    pub fn notices(&self, cgroup: &Cgroup, policy: Policy) -> Result<Vec<String>> {
        let mut attach = self.command("attach");
        attach.arg("--cgroup").arg(cgroup.path());
        let output = self.said(attach.args(policy.options()))?;
        let ours = |line: &str| line.strip_prefix("oci-bind-hook: ").map(str::to_owned);
        let lines: Option<_> = output.stderr.lines().map(ours).collect();
        lines.with_context(|| format!("not lines of ours: {output:?}"))
    }

    /// The same to several, at the same time.
    pub fn attach_at_once(&self, cgroups: &[Cgroup], policy: Policy) -> Result<()> {
        std::thread::scope(|scope| {
            let all: Vec<_> = cgroups
                .iter()
                .map(|cgroup| scope.spawn(move || self.attach(cgroup, policy)))
                .collect();
            all.into_iter().try_for_each(|one| {
                one.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }

    /// `detach` from a cgroup.
    pub fn detach(&self, cgroup: &Cgroup) -> Result<()> {
        self.succeed(self.command("detach").arg("--cgroup").arg(cgroup.path()))
    }

    /// `load`
    pub fn load(&self) -> Result<()> {
        self.succeed(&mut self.command("load"))
    }

    /// `load` for one network device
    pub fn load_device(&self, name: &str) -> Result<()> {
        self.succeed(self.command("load").args(["--device", name]))
    }

    /// `unload`
    pub fn unload(&self) -> Result<()> {
        self.succeed(&mut self.command("unload"))
    }

    /// `create-runtime` with this on standard input.
    pub fn create_runtime(&self, state: &[u8]) -> Result<Output> {
        process::run(&mut self.command("create-runtime"), state)
    }

    /// Fails unless the command succeeds.
    fn said(&self, command: &mut Command) -> Result<Output> {
        let output = process::run(command, b"")?;
        ensure!(
            output.status.success(),
            "{command:?}: {}: {}",
            output.status,
            output.stderr.trim()
        );
        Ok(output)
    }

    fn succeed(&self, command: &mut Command) -> Result<()> {
        let output = self.said(command)?;
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

/// `command` where this cgroup is in the place of the root of the hierarchy: the cgroups of
/// other trials do not show.
pub fn at_root(cgroup: &Cgroup, command: &Command) -> Result<Command> {
    let script = format!(
        "mount --bind {} {} && exec \"$0\" \"$@\"",
        cgroup.path().display(),
        host::cgroup_root()?.display()
    );
    let shell = process::shell(command, &script);
    let mut unshared = Command::new("unshare");
    unshared
        .arg("--mount")
        .arg(shell.get_program())
        .args(shell.get_args());
    Ok(unshared)
}
