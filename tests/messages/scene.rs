//! What a trial is made of: a network namespace and a bpffs of its own, the
//! binary, and names for what differs from run to run.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use anyhow::Result;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::{Container, PREFIX};
use oci_bind_hook_tests::hook::{Hook, Policy, V4, at_root};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process::{self, Output};
use regex::Regex;

/// A version's directory of pins, and the like.
static VERSION: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b[0-9a-f]{16}\b"));
/// One of the maps, of which the loader takes any first.
static MAP: LazyLock<Regex> = LazyLock::new(|| pattern("create map `[A-Z0-9_]+`"));
/// What the verifier says, which depends on the kernel.
static VERIFIER: LazyLock<Regex> = LazyLock::new(|| pattern("the verifier says \".*?\""));
/// The cgroup of a `run`.
static RUN: LazyLock<Regex> = LazyLock::new(|| pattern(r"oci-bind-hook-run-\d+"));

/// A pin that is named by the inode number of a network namespace.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\bsteer-[0-9a-f]+"));

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a correct pattern")
}

/// The surroundings of one trial. Nothing is pinned in them yet.
pub struct Scene {
    /// The network namespace.
    pub net: Net,
    /// The binary.
    pub hook: Hook,
    /// The cgroup that the others are below.
    root: Cgroup,
    cgroups: Cell<u32>,
    names: RefCell<Vec<(String, String)>>,
}

impl Scene {
    /// For the calling thread, which is in `net`.
    pub fn new(net: Net) -> Result<Self> {
        host::private_bpffs()?;
        let scene = Self {
            net,
            hook: Hook::new()?,
            root: Cgroup::new()?,
            cgroups: Cell::new(0),
            names: RefCell::default(),
        };
        scene.name(&scene.hook.config().to_string_lossy(), "FILE");
        // What containers run here.
        scene.name("(socket-agent)", "(COMMAND)");
        scene.name(&host::cgroup_root()?.to_string_lossy(), "/sys/fs/cgroup");
        Ok(scene)
    }

    /// Has messages show `text` as `name`.
    pub fn name(&self, text: &str, name: &str) {
        self.names
            .borrow_mut()
            .push((text.to_owned(), name.to_owned()));
    }

    /// The same for a process id, where it cannot be mistaken for another number.
    pub fn name_process(&self, pid: u32, name: &str) {
        for before in ["pid ", "process ", "/proc/"] {
            self.name(&format!("{before}{pid}"), &format!("{before}{name}"));
        }
    }

    /// The same for a cgroup, by its path in the file system and in the
    /// hierarchy.
    pub fn name_cgroup(&self, cgroup: &Cgroup, name: &str) -> Result<()> {
        let root = host::cgroup_root()?;
        self.name(
            &cgroup.path().to_string_lossy(),
            &format!("/sys/fs/cgroup/{name}"),
        );
        self.name(&within(&root, cgroup)?, &format!("/{name}"));
        Ok(())
    }

    /// A message with the names.
    pub fn normalised(&self, message: &str) -> String {
        let mut names = self.names.borrow().clone();
        // What is part of another comes later.
        names.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        let named = names
            .iter()
            .fold(message.to_owned(), |message, (text, name)| {
                message.replace(text, name)
            });
        let named = VERSION.replace_all(&named, "VERSION");
        let named = NUMBER.replace_all(&named, "steer-NUMBER");
        let named = VERIFIER.replace_all(&named, "the verifier says \"...\"");
        let named = MAP.replace_all(&named, "create map `MAP`");
        RUN.replace_all(&named, "oci-bind-hook-run-PID")
            .into_owned()
    }

    /// A container: its id is `ID`, its first process `PID`, its cgroup `CGROUP`.
    pub fn container(&self) -> Result<Container> {
        let container = Container::below(&self.root)?;
        self.name(container.id(), "ID");
        self.name_process(container.init.id(), "PID");
        self.name_cgroup(&container.cgroup, "CGROUP")?;
        Ok(container)
    }

    /// An empty cgroup, `CGROUP`.
    pub fn cgroup(&self) -> Result<Cgroup> {
        let number = self.cgroups.replace(self.cgroups.get() + 1);
        let cgroup = self.root.child(&format!("cgroup-{number}"))?;
        self.name_cgroup(&cgroup, "CGROUP")?;
        Ok(cgroup)
    }

    /// Its path within the hierarchy.
    pub fn within(&self, cgroup: &Cgroup) -> Result<String> {
        within(&host::cgroup_root()?, cgroup)
    }

    /// `create-runtime` for a container with these settings.
    pub fn create(&self, container: &Container, settings: &[(&str, &str)]) -> Result<Output> {
        let keys: Vec<_> = settings
            .iter()
            .map(|(key, value)| (format!("{PREFIX}{key}"), *value))
            .collect();
        let pairs: Vec<_> = keys
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
            .collect();
        self.hook
            .create_runtime(container.state(&pairs).to_string().as_bytes())
    }

    /// A command line of the binary.
    pub fn command(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let mut command = self.hook.command(subcommand);
        command.args(arguments);
        command
    }

    /// `attach --cgroup` with an address.
    pub fn attach(&self, cgroup: &Cgroup) -> Command {
        self.attach_policy(cgroup, V4)
    }

    /// `attach` of this policy.
    pub fn attach_policy(&self, cgroup: &Cgroup, policy: Policy) -> Command {
        let mut command = self.hook.command("attach");
        command
            .arg("--cgroup")
            .arg(cgroup.path())
            .args(policy.options());
        command
    }

    /// `run` of a command with an address.
    pub fn run(&self, command: &[&str]) -> Command {
        let mut run = self.hook.command("run");
        run.args(V4.options()).arg("--").args(command);
        run
    }

    /// Runs a command line of the binary to its end.
    pub fn say(&self, subcommand: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(subcommand, arguments);
        // Those that look at all cgroups.
        if ["status", "unload"].contains(&subcommand) {
            command = self.alone(&command)?;
        }
        process::run(&mut command, b"")
    }

    /// `command` where the cgroups of other trials, and their policies, do not show.
    pub fn alone(&self, command: &Command) -> Result<Command> {
        at_root(&self.root, command)
    }
}

fn within(root: &Path, cgroup: &Cgroup) -> Result<String> {
    let below = cgroup.path().strip_prefix(root)?;
    Ok(format!("/{}", below.display()))
}
