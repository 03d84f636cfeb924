//! A host for `check` to look at: directories that are empty but for what a
//! trial puts there, in a mount namespace of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{Hook, at_root, inside};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process::{self, Output};
use oci_bind_hook_tests::{harness, host, tc};
use rustix::mount::{MountFlags, mount};

/// Where the trials put engines, empty programs.
const ENGINES: &str = "/opt/engines";
/// The directories that `check` looks into.
const EMPTIED: [&str; 7] = [
    "/etc",
    "/opt",
    "/run",
    "/usr/libexec",
    "/usr/local",
    "/usr/share",
    "/var/lib",
];
/// Where engines of the machine itself may be.
const PLACES: [&str; 2] = ["/usr/bin", "/usr/sbin"];
const NAMES: [&str; 8] = [
    "podman",
    "buildah",
    "crio",
    "dockerd",
    "containerd",
    "crun",
    "runc",
    "youki",
];

/// The configuration.
pub const CONFIG: &str = "/etc/oci-bind-hook/config.toml";
/// The file that engines read, as it is installed.
pub const JSON: &str = "/usr/share/containers/oci/hooks.d/oci-bind-hook.json";
/// The program that it names.
pub const PROGRAM: &str = "/usr/libexec/oci/hooks.d/oci-bind-hook";
/// What is in the file.
pub const INSTALLED: &str = include_str!("../../config/oci-bind-hook.json");

/// The host, and the cgroup in which `check` runs.
pub struct Place {
    /// The network, with addresses.
    pub net: Net,
    /// Where `check` runs.
    pub cgroup: Cgroup,
    /// The cgroup above it, in place of the root of the hierarchy.
    pub root: Cgroup,
    /// The binary under test.
    pub hook: Hook,
}

/// A trial on a host that has podman, and everything that `make install`
/// installs.
pub fn trial(
    name: impl Into<String>,
    test: impl FnOnce(&Place) -> Result<()> + Send + 'static,
) -> Trial {
    harness::trial(name, move || {
        Net::isolated(move |net| {
            host::private_bpffs()?;
            let place = Place::new(net)?;
            place.install()?;
            place.engine("podman")?;
            test(&place)
        })
    })
}

/// A trial in which `edit` spoils something, and `check` has a problem with
/// `subject` that names all of `words`.
pub fn problem(
    name: impl Into<String>,
    edit: impl FnOnce(&Place) -> Result<()> + Send + 'static,
    subject: &'static str,
    words: &'static [&'static str],
) -> Trial {
    changed(name, edit, move |said| said.has_problem(subject, words))
}

/// The same for what is no problem, so that `check` ends well.
pub fn note(
    name: impl Into<String>,
    edit: impl FnOnce(&Place) -> Result<()> + Send + 'static,
    subject: &'static str,
    words: &'static [&'static str],
) -> Trial {
    changed(name, edit, move |said| said.has_note(subject, words))
}

/// The same for what is well.
pub fn ok(
    name: impl Into<String>,
    edit: impl FnOnce(&Place) -> Result<()> + Send + 'static,
    subject: &'static str,
    words: &'static [&'static str],
) -> Trial {
    changed(name, edit, move |said| {
        said.line("ok", subject, words)?;
        said.ends_with(0)
    })
}

fn changed(
    name: impl Into<String>,
    edit: impl FnOnce(&Place) -> Result<()> + Send + 'static,
    look: impl FnOnce(&Said) -> Result<()> + Send + 'static,
) -> Trial {
    trial(name, move |place| {
        edit(place)?;
        look(&place.check(&[])?)
    })
}

impl Place {
    fn new(net: Net) -> Result<Self> {
        let hook = Hook::new()?;
        for place in PLACES {
            for name in NAMES {
                let path = Path::new(place).join(name);
                if path.exists() {
                    host::replace(&path, Path::new("/dev/null"))?;
                }
            }
        }
        for path in EMPTIED {
            fs::create_dir_all(path).with_context(|| format!("make {path}"))?;
            mount("empty", path, "tmpfs", MountFlags::empty(), None)
                .with_context(|| format!("mount a tmpfs at {path}"))?;
        }
        fs::create_dir_all(ENGINES)?;
        let root = Cgroup::new()?;
        Ok(Self {
            net,
            cgroup: root.child("check")?,
            root,
            hook,
        })
    }

    /// What `make install` does for engines.
    fn install(&self) -> Result<()> {
        write(PROGRAM, "")?;
        fs::copy(self.hook.binary(), PROGRAM).context("copy the binary")?;
        write(JSON, INSTALLED)
    }

    /// Puts an engine there.
    pub fn engine(&self, name: &str) -> Result<()> {
        let path = format!("{ENGINES}/{name}");
        write(&path, "")?;
        chmod(&path, 0o755)
    }

    /// Takes an engine away.
    pub fn no_engine(&self, name: &str) -> Result<()> {
        Ok(fs::remove_file(format!("{ENGINES}/{name}"))?)
    }

    /// `check` with these arguments, in the cgroup.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut check = Command::new(self.hook.binary());
        check.arg("check").args(arguments);
        self.as_run(&check)
    }

    /// A command in the cgroup, for which the engines are in PATH. The cgroups of other
    /// trials do not show.
    pub fn as_run(&self, command: &Command) -> Result<Command> {
        let mut inside = inside(&self.cgroup, &at_root(&self.root, command)?);
        inside.env("PATH", format!("{ENGINES}:/usr/bin:/usr/sbin:/bin:/sbin"));
        Ok(inside)
    }

    /// What `check` says; nothing may be left of its doing.
    pub fn check(&self, arguments: &[&str]) -> Result<Said> {
        self.run(&mut self.command(arguments)?)
    }

    /// The same of a command that runs `check`.
    pub fn run(&self, command: &mut Command) -> Result<Said> {
        let (before, attached) = (self.traces()?, tc::attached()?);
        let output = process::run(command, b"")?;
        let after = self.traces()?;
        ensure!(before == after, "before: {before:?}, after: {after:?}");
        let now = tc::attached()?;
        ensure!(
            attached == now,
            "at devices: {attached:?} before, {now:?} after"
        );
        self.assert_no_cgroup()?;
        Ok(Said(output))
    }

    /// Fails if there is a cgroup below the one in which it runs.
    pub fn assert_no_cgroup(&self) -> Result<()> {
        let left = self.cgroup.children()?;
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok(())
    }

    /// The mounts and the pins.
    fn traces(&self) -> Result<(String, usize)> {
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo")?;
        Ok((mounts, host::pins()?.len()))
    }
}

/// What `check` printed.
#[derive(Debug)]
pub struct Said(pub Output);

impl Said {
    /// The line of this level and subject that has all the words, with the line
    /// after it.
    pub fn line(&self, level: &str, subject: &str, words: &[&str]) -> Result<(&str, &str)> {
        let start = format!("{level:<8} {subject}: ");
        let mut lines = self.0.stdout.lines().peekable();
        while let Some(line) = lines.next() {
            let is_it = line.starts_with(&start) && words.iter().all(|word| line.contains(word));
            if is_it {
                return Ok((line, lines.peek().copied().unwrap_or_default()));
            }
        }
        bail!("no {level} of {subject} with {words:?}: {}", self.text())
    }

    /// Fails unless there is such a problem, with its remedy, and it is in the
    /// exit status.
    pub fn has_problem(&self, subject: &str, words: &[&str]) -> Result<()> {
        let (line, next) = self.line("problem", subject, words)?;
        has_remedy(line, next)?;
        self.ends_with(1)
    }

    /// Fails unless there is such a note, with its remedy, and no problem.
    pub fn has_note(&self, subject: &str, words: &[&str]) -> Result<()> {
        let (line, next) = self.line("note", subject, words)?;
        has_remedy(line, next)?;
        self.ends_with(0)
    }

    /// Fails unless that is the exit status.
    pub fn ends_with(&self, status: i32) -> Result<()> {
        ensure!(
            self.0.status.code() == Some(status) && self.0.stderr.is_empty(),
            "not {status}: {}",
            self.text()
        );
        Ok(())
    }

    /// All of it, for a message.
    pub fn text(&self) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = &self.0;
        format!("{status}\n{stdout}{stderr}")
    }
}

fn has_remedy(line: &str, next: &str) -> Result<()> {
    let remedy = next.strip_prefix("         remedy: ");
    ensure!(
        remedy.is_some_and(|remedy| !remedy.is_empty()),
        "{line:?} without a remedy: {next:?}"
    );
    Ok(())
}

/// Writes a file, and makes its directories.
pub fn write(path: &str, text: &str) -> Result<()> {
    let parent = Path::new(path).parent().context("no directory")?;
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    fs::write(path, text).with_context(|| format!("write {path}"))
}

/// Changes a file's mode.
pub fn chmod(path: &str, mode: u32) -> Result<()> {
    let mode = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, mode).with_context(|| format!("change the mode of {path}"))
}

/// Writes the installed hooks.d file with a change.
pub fn edit(from: &str, to: &str) -> Result<()> {
    ensure!(INSTALLED.contains(from), "the file has no {from}");
    write(JSON, &INSTALLED.replacen(from, to, 1))
}
