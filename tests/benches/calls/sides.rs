//! Who makes the calls: each a process of its own in a cgroup of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::bench::DEFAULTS;
use oci_bind_hook_tests::bpf::ATTACH_TYPES;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::foreign::{BIND4, Foreign, Member, Mode};
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, inside};
use oci_bind_hook_tests::net::{ANY4, CIP4, CIP6};
use oci_bind_hook_tests::process::{self, Running};
use tempfile::TempDir;

use crate::table::Call;

const PRELOAD: &str = include_str!("preload.c");
/// The name of the side that has targets.
const TARGETS: &str = "defaults";

const POLICIES: [(&str, Policy); 7] = [
    ("all off", BOTH),
    ("auto", BOTH.loopback("auto")),
    ("private", BOTH.loopback("private")),
    ("guard", BOTH.guarded()),
    ("ports", BOTH.ports("8:8008,9:9009/tcp")),
    ("exempt", BOTH.exempt("67/udp,5353")),
    (TARGETS, DEFAULTS),
];

/// A process that makes calls.
pub struct Side {
    name: &'static str,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    _caller: Running,
    cgroup: Cgroup,
    _library: Option<TempDir>,
}

impl Side {
    fn new(name: &'static str, notify: bool, library: Option<TempDir>) -> Result<Self> {
        let cgroup = Cgroup::new()?;
        let mut command = Command::new(process::built("caller")?);
        if notify {
            command.arg("notify");
        }
        let mut command = inside(&cgroup, &command);
        if let Some(library) = &library {
            command
                .env("BIND4", CIP4.to_string())
                .env("BIND6", CIP6.to_string())
                .env("LD_PRELOAD", library.path().join("preload.so"));
        }
        let mut caller = Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        Ok(Self {
            name,
            requests: caller.stdin()?,
            answers: BufReader::new(caller.stdout()?),
            _caller: caller,
            cgroup,
            _library: library,
        })
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the targets are about it.
    pub fn has_targets(&self) -> bool {
        self.name == TARGETS
    }

    /// How many nanoseconds one call of a batch takes.
    pub fn time(&mut self, call: &Call, address: SocketAddr) -> Result<f64> {
        writeln!(self.requests, "{} {address} {}", call.request, call.count)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let time = line.trim().parse();
        time.with_context(|| format!("{}: {} gave no time", self.name, call.name))
    }
}

/// The plain one first.
pub fn all() -> Result<Vec<Side>> {
    let mut sides = vec![
        Side::new("plain", false, None)?,
        Side::new("no program", false, None)?,
        least()?,
    ];
    let hook = Hook::new()?;
    for (name, policy) in POLICIES {
        let side = Side::new(name, false, None)?;
        hook.attach(&side.cgroup, policy)?;
        sides.push(side);
    }
    sides.push(Side::new("LD_PRELOAD", false, Some(library()?))?);
    sides.push(Side::new("seccomp agent", true, None)?);
    Ok(sides)
}

/// Programs of a few instructions, of which one moves wildcard binds of IPv4: no
/// tool that does so by programs can cost less.
fn least() -> Result<Side> {
    let side = Side::new("least possible", false, None)?;
    for (_, attach_type) in ATTACH_TYPES {
        let program = if attach_type == BIND4 {
            Foreign::replace(BIND4, Member::UserIp4, ANY4, CIP4)?
        } else {
            Foreign::permit(attach_type)?
        };
        program.attach(&side.cgroup, Mode::Multi)?;
    }
    Ok(side)
}

/// Builds the library that is loaded before the C library.
fn library() -> Result<TempDir> {
    let directory = tempfile::tempdir().context("make a directory")?;
    let source = directory.path().join("preload.c");
    std::fs::write(&source, PRELOAD)?;
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(directory.path().join("preload.so"))
        .arg(&source)
        .arg("-ldl")
        .status();
    let built = built.context("run cc (is the package gcc installed?)")?;
    ensure!(built.success(), "cc could not build preload.c");
    Ok(directory)
}
