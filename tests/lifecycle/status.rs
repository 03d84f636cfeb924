//! What `status` says, against what was done.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::bpf;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::foreign::EGRESS;
use oci_bind_hook_tests::harness::contained;
use oci_bind_hook_tests::hook::{BOTH, Hook, V4, at_root};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::{ANY4, CIP4};
use oci_bind_hook_tests::process::{self, Output, PATIENCE, Running};
use oci_bind_hook_tests::socket::{TCP4, at};
use serde_json::{Value, json};

use crate::screen::Screen;

/// A name that clears the screen (ECMA-48, in seven and in eight bits), and
/// shows what follows from right to left.
const HOSTILE: &str = "\u{1b}[2Jname\u{9b}2J\u{202e}\u{7f}";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        contained("status --json of a container", |hook, container| {
            let policy = V4.guarded().ports("80:8080/tcp,90-99:9090-9099");
            let policy = policy.exempt("53,5000-5010/udp").multicast("1900,5353");
            hook.attach(&container.cgroup, policy)?;
            let entry = entry(hook, container)?.context("no entry")?;
            ensure!(entry["container"] == json!(container.id()), "{entry}");
            ensure!(entry["engine"] == json!("podman"), "{entry}");
            ensure!(entry["is_current"] == json!(true), "{entry}");
            let policy = json!({
                "ipv4": CIP4, "ipv6": null, "loopback": "host", "guard": "on",
                "ports": ["80:8080/tcp", "90-99:9090-9099"], "exempt": ["53", "5000-5010/udp"],
                "multicast": ["1900", "5353"],
            });
            ensure!(entry["policy"] == policy, "{entry}");
            Ok(())
        }),
        contained("status marks a cgroup without processes", without_processes),
        contained("status shows a service by its name", service),
        contained("status of a cgroup by each of its names", names),
        contained("status on 80 columns", narrow),
        contained("status that nobody reads", unread),
        contained("status counts calls", |hook, container| {
            hook.attach(&container.cgroup, V4)?;
            container.init.socket(TCP4)?.bind(at(ANY4, 0, 0))?;
            let entry = entry(hook, container)?.context("no entry")?;
            let bind4 = json!({ "rewritten": 1, "passed": 0, "denied": 0 });
            ensure!(entry["counters"]["calls"]["bind4"] == bind4, "{entry}");
            Ok(())
        }),
        contained(
            "status of a cgroup with control characters",
            |hook, container| {
                let cgroup = container.cgroup.child(HOSTILE)?;
                hook.attach(&cgroup, V4)?;
                for arguments in [&[][..], &["--json"], &[container.id()]] {
                    let output = status(hook, arguments)?;
                    assert_printable(&output)?;
                    ensure!(output.stdout.contains("[2Jname"), "{output:?}");
                }
                let json: Value = serde_json::from_str(&status(hook, &["--json"])?.stdout)?;
                let cgroups = json["cgroups"].as_array().context("no list of cgroups")?;
                let has_name = |entry: &Value| {
                    let name = entry["cgroup"].as_str();
                    name.is_some_and(|name| name.ends_with(HOSTILE))
                };
                ensure!(cgroups.iter().any(has_name), "{json}");
                hook.detach(&cgroup)?;
                let mut again = hook.command("detach");
                let output = process::run(again.arg("--cgroup").arg(cgroup.path()), b"")?;
                ensure!(
                    output.stdout.contains("is not under a policy"),
                    "{output:?}"
                );
                assert_printable(&output)?;
                let below = cgroup.path().join("missing");
                let mut missing = hook.command("detach");
                let output = process::run(missing.arg("--cgroup").arg(below), b"")?;
                ensure!(output.stderr.contains("no such cgroup"), "{output:?}");
                assert_printable(&output)
            },
        ),
        contained("status after detach", |hook, container| {
            hook.attach(&container.cgroup, V4)?;
            hook.detach(&container.cgroup)?;
            let entry = entry(hook, container)?;
            ensure!(entry.is_none(), "{entry:?}");
            Ok(())
        }),
        contained("status where a program was taken off", |hook, container| {
            hook.attach(&container.cgroup, V4.guarded())?;
            let pins = host::pins()?;
            let egress = bpf::open_pin(&pins.first().context("no pins")?.join("egress"))?;
            let cgroup = File::open(container.cgroup.path())?;
            bpf::detach(egress.as_fd(), cgroup.as_fd(), EGRESS)?;
            let entry = entry(hook, container)?.context("no entry")?;
            ensure!(entry["missing"] == json!(["egress"]), "{entry}");
            let output = status(hook, &[])?;
            ensure!(output.stdout.contains("NOT PROTECTED"), "{output:?}");
            Ok(())
        }),
        contained("status of one container", |hook, container| {
            hook.attach(&container.cgroup, V4)?;
            let output = status(hook, &[container.id()])?;
            ensure!(output.status.success(), "{output:?}");
            for wanted in [container.id(), &CIP4.to_string(), "bind4"] {
                ensure!(output.stdout.contains(wanted), "no {wanted}: {output:?}");
            }
            Ok(())
        }),
        contained(
            "status of a container that has no policy",
            |hook, container| {
                let output = status(hook, &[container.id()])?;
                ensure!(output.status.code() == Some(1), "{output:?}");
                ensure!(output.stderr.contains(container.id()), "{output:?}");
                Ok(())
            },
        ),
    ]
}

fn without_processes(hook: &Hook, container: &Container) -> Result<()> {
    let root = Cgroup::new()?;
    let ended = root.child("libpod-ended.scope")?;
    for cgroup in [&container.cgroup, &ended] {
        hook.attach(cgroup, V4)?;
    }
    let running = entry(hook, container)?.context("no entry")?;
    ensure!(running["is_populated"] == json!(true), "{running}");
    let mut command = hook.command("status");
    let output = process::run(&mut at_root(&root, &command)?, b"")?;
    for wanted in ["\nlibpod-ended.scope*  ", "\n* no processes: "] {
        ensure!(output.stdout.contains(wanted), "no {wanted}: {output:?}");
    }
    let output = process::run(&mut at_root(&root, command.arg("--json"))?, b"")?;
    let said: Value = serde_json::from_str(&output.stdout)?;
    ensure!(said["cgroups"][0]["is_populated"] == json!(false), "{said}");
    let output = status(hook, &["libpod-ended.scope"])?;
    ensure!(output.stdout.contains("processes  none: "), "{output:?}");
    let output = status(hook, &[container.id()])?;
    ensure!(!output.stdout.contains("processes "), "{output:?}");
    Ok(())
}

fn service(hook: &Hook, _: &Container) -> Result<()> {
    let root = Cgroup::new()?;
    let (web, cpu) = (root.child("web.service")?, root.child("_cpu.service")?);
    for service in [&web, &cpu] {
        hook.attach(service, V4)?;
    }
    let output = process::run(&mut at_root(&root, &hook.command("status"))?, b"")?;
    for wanted in ["\nweb.service", "\ncpu.service"] {
        ensure!(output.stdout.contains(wanted), "no {wanted}: {output:?}");
    }
    Ok(())
}

fn names(hook: &Hook, container: &Container) -> Result<()> {
    let unit = format!("web-{}.service", std::process::id());
    let short = unit.trim_end_matches(".service");
    let service = container.cgroup.child(&unit)?;
    let escaped = container.cgroup.child("_cpu.service")?;
    for cgroup in [&service, &escaped] {
        hook.attach(cgroup, V4)?;
    }
    let path = service.path().to_str().context("a path in UTF-8")?;
    let below = service.path().strip_prefix(host::cgroup_root()?)?;
    let name = format!("/{}", below.display());
    let (slash, slashes) = (format!("{name}/"), format!("/{path}//"));
    for written in [path, &name, &slash, &slashes, &unit, short] {
        let output = status(hook, &[written])?;
        ensure!(output.status.success(), "{written}: {output:?}");
        let shown = format!("cgroup     {name}\n");
        ensure!(output.stdout.contains(&shown), "{written}: {output:?}");
    }
    let output = status(hook, &["cpu.service"])?;
    let shown = format!("libpod-{}.scope/_cpu.service\n", container.id());
    ensure!(output.stdout.contains(&shown), "{output:?}");
    let output = status(hook, &[&format!("{path}-other")])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(output.stderr.contains("no such cgroup"), "{output:?}");
    Ok(())
}

fn narrow(hook: &Hook, _: &Container) -> Result<()> {
    let root = Cgroup::new()?;
    let container = Container::below(&root)?;
    hook.attach(&container.cgroup, BOTH.guarded())?;
    let mut command = at_root(&root, &hook.command("status"))?;
    let (mut screen, _status) = Screen::show(&mut command, 24, 80)?;
    let shown = screen.read_to_end()?;
    for line in shown.lines() {
        ensure!(line.chars().count() <= 80, "too long: {shown}");
    }
    let (id, name) = (&container.id()[..12], container.id());
    for wanted in [id, &CIP4.to_string(), "DROPPED", "\u{2026}", ".scope"] {
        ensure!(shown.contains(wanted), "no {wanted}: {shown}");
    }
    ensure!(!shown.contains(name), "in full: {shown}");
    let output = process::run(&mut at_root(&root, &hook.command("status"))?, b"")?;
    ensure!(output.stdout.contains(name), "cut: {output:?}");
    Ok(())
}

fn unread(hook: &Hook, container: &Container) -> Result<()> {
    hook.attach(&container.cgroup, V4)?;
    for arguments in [&[][..], &["--json"], &["--watch"], &[container.id()]] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let stderr = tempfile::tempfile()?;
        let mut command = hook.command("status");
        command.args(arguments).stdout(writer);
        let mut running = Running::start(command.stderr(stderr.try_clone()?))?;
        let status = running.wait(PATIENCE)?;
        ensure!(status.signal() == Some(libc::SIGPIPE), "{status}");
        ensure!(stderr.metadata()?.len() == 0, "it says something");
    }
    Ok(())
}

/// Fails if a terminal would do anything else than show what was printed.
fn assert_printable(output: &Output) -> Result<()> {
    let does_more =
        |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
    ensure!(!output.stdout.contains(does_more), "{output:?}");
    ensure!(!output.stderr.contains(does_more), "{output:?}");
    Ok(())
}

pub fn status(hook: &Hook, arguments: &[&str]) -> Result<Output> {
    process::run(hook.command("status").args(arguments), b"")
}

/// What `status --json` says of the container, if anything.
pub fn entry(hook: &Hook, container: &Container) -> Result<Option<Value>> {
    let output = status(hook, &["--json"])?;
    ensure!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_str(&output.stdout)?;
    let entries = said["cgroups"].as_array().context("no list of cgroups")?;
    let is_meant = |entry: &&Value| entry["container"] == json!(container.id());
    Ok(entries.iter().find(is_meant).cloned())
}
