//! Programs that a preloaded library cannot move: each must listen at the
//! assigned address alone, all the same.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use oci_bind_hook_tests::cgroup::{Cgroup, wait_empty};
use oci_bind_hook_tests::harness::{self, skip, trial};
use oci_bind_hook_tests::hook::{Hook, V4, inside};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, Net};
use oci_bind_hook_tests::places;
use oci_bind_hook_tests::process::{self, PATIENCE, Running};
use oci_bind_hook_tests::reach;

const PORT: u16 = 8080;
const WILDCARD: &str = "0.0.0.0:8080";

fn main() -> ExitCode {
    harness::main(|| {
        vec![
            trial("a static binary", || {
                let busybox = find("busybox")?;
                ensure!(
                    !has_interpreter(&std::fs::read(&busybox)?)?,
                    "{busybox} is not static: install busybox-static"
                );
                moved(&[&busybox, "httpd", "-f", "-p", "8080"])
            }),
            trial("an empty environment", || {
                let listener = built("raw-listener")?;
                moved(&["env", "-i", &listener, "libc", WILDCARD])
            }),
            trial("a raw system call", || {
                if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
                    return Err(skip("no raw bind is written for this architecture"));
                }
                moved(&[&built("raw-listener")?, "raw", WILDCARD])
            }),
            trial("a raw system call with an empty environment", || {
                if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
                    return Err(skip("no raw bind is written for this architecture"));
                }
                let listener = built("raw-listener")?;
                moved(&["env", "-i", &listener, "raw", WILDCARD])
            }),
        ]
    })
}

/// `command` listens on the wildcard by itself, and at the assigned address
/// under `run`.
fn moved(command: &[&str]) -> Result<()> {
    Net::isolated(|_| {
        let mut plain = Command::new(command[0]);
        plain.args(&command[1..]);
        let at = listening(&plain)?;
        ensure!(at == ANY4 || at == ANY6, "by itself it listens at {at}");

        let hook = Hook::new()?;
        let mut run = hook.command("run");
        run.args(V4.options()).arg("--").args(command);
        let at = listening(&run)?;
        ensure!(at.to_canonical() == CIP4, "under `run` it listens at {at}");
        Ok(())
    })
}

/// Starts `command`, waits until it listens, checks where it answers, and ends
/// it: the address it listens at.
fn listening(command: &Command) -> Result<IpAddr> {
    let cgroup = Cgroup::new()?;
    let mut command = inside(&cgroup, command);
    let mut running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()))?;
    let at = wait_for_listener(&running)?;
    reach::assert_accepted_as_named(at, PORT)?;
    running.signal(process::Signal::TERM)?;
    running.wait(PATIENCE)?;
    // A server may have children that still answer a connection.
    wait_empty(cgroup.path(), PATIENCE)?;
    ensure!(
        places::listeners(PORT)?.is_empty(),
        "it listens after its end"
    );
    Ok(at)
}

/// The kernel tells nobody when a socket starts to listen, so look whenever
/// the program has not ended for a moment.
fn wait_for_listener(running: &Running) -> Result<IpAddr> {
    const MOMENT: Duration = Duration::from_millis(5);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match places::listeners(PORT)?[..] {
            [] => {}
            [at] => return Ok(at),
            ref several => bail!("it listens at {several:?}"),
        }
        ensure!(!running.ends(MOMENT)?, "it ended before it listened");
    }
    bail!("it does not listen within {PATIENCE:?}")
}

fn built(name: &str) -> Result<String> {
    text(&process::built(name)?)
}

fn find(name: &str) -> Result<String> {
    let path = std::env::var_os("PATH").context("PATH is not set")?;
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|path| path.exists())
        .with_context(|| format!("{name} is missing: install the package {name}-static"))?;
    text(&found)
}

fn text(path: &Path) -> Result<String> {
    Ok(path
        .to_str()
        .context("a path that is not UTF-8")?
        .to_owned())
}

/// Whether a 64-bit little-endian ELF file asks for a dynamic loader: whether
/// it has a program header `PT_INTERP` (elf(5)).
fn has_interpreter(elf: &[u8]) -> Result<bool> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, length: usize| -> Result<u64> {
        let bytes = elf.get(at..at + length).context("the file ends early")?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    };
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "not a 64-bit ELF file");
    let (start, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
    for index in 0..count {
        if number(usize::try_from(start + index * size)?, 4)? == PT_INTERP {
            return Ok(true);
        }
    }
    Ok(false)
}
