//! What commands print, as in a terminal.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::{Hook, NEIGHBOUR, Policy, V4, at_root, inside};
use oci_bind_hook_tests::listener::Listener;
use oci_bind_hook_tests::net::{ANY4, HOST4, LOOP4, Net, OTHER4, PEER4, PEER6};
use oci_bind_hook_tests::process;
use oci_bind_hook_tests::socket::{TCP4, TCP6, UDP4, at};

use crate::scene::Scene;

const WEB: &str = "5f2a7c1e9b3d4f60a8c2e4b6d8f0a1c3e5b7d9f1a3c5e7092b4d6f8091a3c5e7";
const ENDED: &str = "9d8c7b6a5f4e3d2c1b0a9f8e7d6c5b4a3f2e1d0c9b8a7f6e5d4c3b2a1f0e9d8c";
/// Has no policy.
const BATCH: &str = "0b5e55ed1d2c3b4a5968778695a4b3c2d1e0f0e1d2c3b4a5968778695a4b3c2d";
const MAIL: &str = "c0ffee5a3f1d2b4c6e8091a3b5c7d9e1f2a4b6c8d0e1f3a5b7c9d1e3f5a7b9c1";

/// A policy that has something to show in each line.
const FULL: Policy = V4
    .loopback("auto")
    .guarded()
    .ports("80:8080/tcp")
    .exempt("67-68/udp")
    .multicast("5353");

/// A host with two slices.
pub struct Stage {
    /// The surroundings.
    pub scene: Scene,
    /// The slice with containers.
    machine: Cgroup,
    /// The slice with services.
    pub system: Cgroup,
    host: Cgroup,
}

impl Stage {
    /// In a cgroup that stands for the root of the hierarchy.
    pub fn new(net: Net) -> Result<Self> {
        let scene = Scene::new(net)?;
        let host = Cgroup::new()?;
        scene.name(&scene.within(&host)?, "");
        Ok(Self {
            machine: host.child("machine.slice")?,
            system: host.child("system.slice")?,
            scene,
            host,
        })
    }

    /// A command that sees no other cgroups of the host.
    fn alone(&self, subcommand: &str, arguments: &[&str]) -> Result<Command> {
        at_root(&self.host, &self.scene.command(subcommand, arguments))
    }

    /// A container that has done nothing yet.
    pub fn container(&self) -> Result<Container> {
        Container::with_id(WEB.to_owned(), &self.machine)
    }

    /// A container with a server that has bound, a call that was refused, and a
    /// packet that was dropped.
    fn web(&self, policy: Policy) -> Result<Container> {
        let web = self.container()?;
        let early = web.init.socket(UDP4)?;
        early.bind(at(HOST4, 0, 0))?;
        early.connect(at(PEER4, 9, 0))?;
        self.scene.hook.attach(&web.cgroup, policy)?;
        let server = web.init.socket(TCP4)?;
        server.bind(at(ANY4, 80, 0))?;
        server.listen()?;
        let _ = web.init.socket(TCP4)?.connect(at(PEER4, 9, 0));
        let _ = web.init.socket(TCP4)?.bind(at(LOOP4, 8125, 0));
        let refused = web.init.socket(TCP6)?.connect(at(PEER6, 9, 0));
        ensure!(refused.is_err(), "there is an address of IPv6");
        let _ = early.send(None, b"from the host's address");
        Ok(web)
    }
}

/// What a person sees who types this.
fn shown(typed: &str, command: &mut Command, input: &[u8]) -> Result<String> {
    let output = process::run(command, input)?;
    Ok(format!("# {typed}\n{}{}", output.stdout, output.stderr))
}

pub fn status(stage: &Stage) -> Result<String> {
    let _web = stage.web(V4.loopback("auto").guarded())?;
    let mail = Container::with_id(MAIL.to_owned(), &stage.machine)?;
    stage
        .scene
        .hook
        .attach(&mail.cgroup, NEIGHBOUR.loopback("private"))?;
    let ended = stage.machine.child(&format!("libpod-{ENDED}.scope"))?;
    stage.scene.hook.attach(&ended, NEIGHBOUR)?;
    let _batch = Container::with_id(BATCH.to_owned(), &stage.machine)?;
    let service = stage.system.child("ntp.service")?;
    let _ntp = Agent::new(&service)?;
    stage
        .scene
        .hook
        .attach(&service, Policy::of(Some(HOST4), None).guarded())?;
    let mut command = stage.alone("status", &[])?;
    shown("oci-bind-hook status", &mut command, b"")
}

pub fn details(stage: &Stage) -> Result<String> {
    let _web = stage.web(FULL)?;
    let mut command = stage.alone("status", &[&WEB[..12]])?;
    shown(
        &format!("oci-bind-hook status {}", &WEB[..12]),
        &mut command,
        b"",
    )
}

pub fn json(stage: &Stage) -> Result<String> {
    let _web = stage.web(FULL)?;
    let _batch = Container::with_id(BATCH.to_owned(), &stage.machine)?;
    let mut command = stage.alone("status", &["--json"])?;
    shown("oci-bind-hook status --json", &mut command, b"")
}

pub fn dry_run(stage: &Stage) -> Result<String> {
    let web = stage.container()?;
    let state = web.state(&[
        ("io.oci-bind-hook.ipv4", "192.0.2.10"),
        ("io.oci-bind-hook.ports", "80:8080/tcp"),
    ]);
    let defaults = Hook::with_config("")?;
    let mut command = defaults.command("create-runtime");
    command.arg("--dry-run");
    let typed = "oci-bind-hook create-runtime --dry-run <state.json";
    shown(typed, &mut command, state.to_string().as_bytes())
}

/// A container with a server that has bound under another policy.
pub fn attach(stage: &Stage) -> Result<String> {
    let web = stage.container()?;
    let defaults = Hook::with_config("")?;
    let former = Policy::of(Some(OTHER4), None);
    defaults.attach(&web.cgroup, former)?;
    let server = Listener::start(&web.cgroup, at(OTHER4, 8080, 0))?;
    stage.scene.name_process(server.id(), "PID");
    let arguments = ["--container", &WEB[..12], "--ipv4", "192.0.2.10"];
    let mut command = at_root(&stage.host, defaults.command("attach").args(arguments))?;
    let typed = format!("oci-bind-hook attach {}", arguments.join(" "));
    shown(&typed, &mut command, b"")
}

pub fn attach_refused(stage: &Stage) -> Result<String> {
    let service = stage.system.child("web.service")?;
    let mut command = stage.scene.command("attach", &["--cgroup"]);
    command.arg(service.path()).args(["--ipv4", "203.0.113.9"]);
    let typed = "oci-bind-hook attach --cgroup /system.slice/web.service --ipv4 203.0.113.9";
    shown(typed, &mut command, b"")
}

pub fn run_refused(stage: &Stage) -> Result<String> {
    let shell = stage.system.child("session.scope")?;
    let run = stage.scene.run(&["no-such-program"]);
    let output = process::run(&mut inside(&shell, &run), b"")?;
    let status = output.status.code().context("it was killed")?;
    let typed = "oci-bind-hook run --ipv4 192.0.2.10 -- no-such-program";
    Ok(format!("# {typed}\n{}# echo $?\n{status}\n", output.stderr))
}
