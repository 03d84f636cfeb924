//! A server that runs, with what it says.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{Hook, Policy, inside};
use oci_bind_hook_tests::process::{PATIENCE, Running, Signal};

use crate::tool;

/// How long a server may take to heed SIGTERM.
const HEEDS: Duration = Duration::from_secs(15);

/// A server in a scratch cgroup. Nothing of it outlives this.
#[derive(Debug)]
pub struct Server {
    running: Running,
    log: PathBuf,
    /// Empty apart from `run` and what it keeps below, or else the server.
    cgroup: Cgroup,
    is_contained: bool,
}

impl Server {
    /// Starts it without a policy.
    pub fn plain(words: &[String], dir: &Path) -> Result<Self> {
        Self::start(&tool::plain(words), dir, false)
    }

    /// Starts it under `run`.
    pub fn contained(hook: &Hook, policy: Policy, words: &[String], dir: &Path) -> Result<Self> {
        Self::start(&tool::run_under(hook, policy, words), dir, true)
    }

    fn start(command: &Command, dir: &Path, is_contained: bool) -> Result<Self> {
        let cgroup = Cgroup::new()?;
        let log = dir.join(if is_contained {
            "inside.log"
        } else {
            "plain.log"
        });
        let out = File::options().create(true).append(true).open(&log)?;
        let mut command = inside(&cgroup, command);
        command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        Ok(Self {
            running: Running::start(tool::fit(&mut command))?,
            log,
            cgroup,
            is_contained,
        })
    }

    /// Tries until `attempt` says something else than `None`. Programs tell
    /// nobody when they are ready, so this looks whenever the server has not
    /// ended for a moment.
    pub fn wait_for<T>(&self, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        const MOMENT: Duration = Duration::from_millis(20);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(done) = attempt()? {
                return Ok(done);
            }
            ensure!(!self.running.ends(MOMENT)?, "the server has ended");
            ensure!(Instant::now() < deadline, "waited {PATIENCE:?} in vain");
        }
    }

    /// All that it has said.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    /// `command` as one more process of its container, as `podman exec` does.
    pub fn exec(&self, command: &Command) -> Result<Command> {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""])
            .arg(self.container()?)
            .arg(command.get_program())
            .args(command.get_args());
        Ok(shell)
    }

    /// The cgroup that `run` made for it.
    fn container(&self) -> Result<PathBuf> {
        let mut children = self.cgroup.children()?;
        let cgroup = children.pop().context("`run` keeps no cgroup")?;
        ensure!(children.is_empty(), "`run` keeps more than one cgroup");
        Ok(cgroup)
    }

    /// Kills all of its container, as the kernel does that runs out of memory.
    pub fn kill(mut self) -> Result<()> {
        fs::write(self.container()?.join("cgroup.kill"), "1").context("kill the server")?;
        self.running.wait(PATIENCE).context("kill the server")?;
        Ok(())
    }

    /// Ends it as a service manager would: what does not heed SIGTERM, as socat does
    /// not at times while it forks, is killed.
    pub fn end(mut self) -> Result<()> {
        self.running.signal(Signal::TERM)?;
        if self.running.ends(HEEDS)? {
            return Ok(());
        }
        let cgroup = if self.is_contained {
            self.container()?
        } else {
            self.cgroup.path().to_owned()
        };
        fs::write(cgroup.join("cgroup.kill"), "1").context("kill the server")?;
        self.running.wait(PATIENCE).context("end the server")?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // `run` clears its own cgroup away, however it ends.
        if !self.is_contained {
            // Fails only if the cgroup is gone.
            let _ = fs::write(self.cgroup.path().join("cgroup.kill"), "1");
        }
    }
}

/// The addresses among `candidates` that `text` names where `pattern` has
/// `{}`, in any of the ways in which programs write them.
pub fn named(text: &str, pattern: &str, candidates: &[IpAddr]) -> Vec<IpAddr> {
    let (before, after) = pattern.split_once("{}").unwrap_or((pattern, ""));
    let is_named = |address: &&IpAddr| {
        spellings(**address).iter().any(|spelling| {
            text.match_indices(&format!("{before}{spelling}{after}"))
                .any(|(at, _)| !before.is_empty() || starts_here(text, at))
        })
    };
    candidates.iter().filter(is_named).copied().collect()
}

/// Whether no address that began before goes on at `at`.
fn starts_here(text: &str, at: usize) -> bool {
    let is_part = |character: char| character.is_ascii_hexdigit() || ".:".contains(character);
    !text[..at].ends_with(is_part)
}

fn spellings(address: IpAddr) -> [String; 4] {
    let (v6, other) = match address {
        IpAddr::V4(v4) => (v4.to_ipv6_mapped(), v4.to_ipv6_mapped().to_string()),
        // As Java has it.
        IpAddr::V6(v6) => (v6, v6.segments().map(|word| format!("{word:x}")).join(":")),
    };
    // As socat has it.
    let full = v6.segments().map(|word| format!("{word:04x}")).join(":");
    [address.to_string(), format!("[{address}]"), other, full]
}
