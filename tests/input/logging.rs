//! What the system log is told, and that it keeps nobody waiting.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::{Container, PREFIX};
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, V4};
use oci_bind_hook_tests::process::{self, Running};
use oci_bind_hook_tests::syslog::{self, Daemon};
use oci_bind_hook_tests::{harness, host};

use crate::refusal::assert_refused;

/// Facility daemon with severity err, info and debug (RFC 3164, section 4.1.1).
const ERR: &str = "<27>";
const INFO: &str = "<30>";
const DEBUG: &str = "<31>";
/// What RFC 3164 lets every daemon take, in bytes.
const LONGEST: usize = 1024;
/// A policy that needs all programs, so that there is much to tell.
const FULL: Policy = BOTH.loopback("auto").guarded();

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        harness::unpinned("log: one line for a container, as syslog(3) has it", start),
        harness::unpinned("log: a refusal is the line of standard error", refusal),
        harness::unpinned("log: attach, replace, detach and run", by_hand),
        harness::unpinned("log: a policy that is taken off a left cgroup", left),
        harness::unpinned("log: nothing of a container without our keys", |_| {
            none_of_ours(false)
        }),
        harness::unpinned("log: debug tells of a container without our keys", |_| {
            none_of_ours(true)
        }),
        harness::unpinned("log: debug tells the steps", |_| steps()),
        harness::unpinned(
            "log: one line of bounded length, whatever is in it",
            hostile,
        ),
        harness::unpinned("log: debug with a daemon that does not read", |_| {
            host::own_dev()?;
            let _daemon = syslog::stuffed()?;
            starts()
        }),
        harness::unpinned("log: debug with a daemon that is slow to read", |_| slow()),
    ]
}

fn debugging() -> Result<Hook> {
    Hook::with_config("debug = true\n")
}

/// Runs a command that succeeds: its process id, and what it logged.
fn pid_and_lines(
    daemon: &Daemon,
    command: &mut Command,
    input: &[u8],
) -> Result<(u32, Vec<String>)> {
    let mut running = Running::start(command.stdin(Stdio::piped()))?;
    let pid = running.id();
    running.stdin()?.write_all(input)?;
    let status = running.wait(process::PATIENCE)?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok((pid, daemon.received()?))
}

fn start(hook: &Hook) -> Result<()> {
    let daemon = Daemon::start()?;
    let container = Container::new()?;
    let state = container.state_with(FULL.ports("80:8080/tcp")).to_string();
    let mut command = hook.command("create-runtime");
    let (pid, lines) = pid_and_lines(&daemon, &mut command, state.as_bytes())?;
    let [line] = lines.as_slice() else {
        bail!("not one line: {lines:?}");
    };
    let name = container.cgroup.path().file_name().context("its name")?;
    let (head, cgroup) = line.split_once(" in cgroup ").context("no cgroup")?;
    ensure!(cgroup.ends_with(name.to_str().context("UTF-8")?), "{line}");
    let (time, text) = head
        .strip_prefix(INFO)
        .and_then(|rest| rest.split_at_checked("Mmm dd hh:mm:ss".len()))
        .with_context(|| format!("no time: {line}"))?;
    ensure!(is_time(time), "{time:?} is no time");
    let expected = format!(
        " oci-bind-hook[{pid}]: container {}: uses 192.0.2.10 and 2001:db8::10 \
         (loopback auto, guard on, ports 80:8080/tcp)",
        container.id()
    );
    ensure!(text == expected, "{text:?}, not {expected:?}");
    Ok(())
}

/// Whether a text is like `Nov 24 08:34:05`.
fn is_time(text: &str) -> bool {
    let like = |(byte, pattern): (u8, u8)| match pattern {
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    };
    text.bytes().zip(*b"Aaa 00 00:00:00").all(like)
}

fn refusal(hook: &Hook) -> Result<()> {
    let daemon = Daemon::start()?;
    let container = Container::new()?;
    let state = container.state(&[("io.oci-bind-hook.ipv4", "203.0.113.9")]);
    let output = hook.create_runtime(state.to_string().as_bytes())?;
    assert_refused(&output, &["203.0.113.9", container.id()])?;
    let lines = daemon.received()?;
    let [line] = lines.as_slice() else {
        bail!("not one line: {lines:?}");
    };
    ensure!(line.starts_with(ERR), "{line}");
    assert_same_message(line, &output.stderr)
}

/// What standard error was told, after its own tag.
fn assert_same_message(line: &str, stderr: &str) -> Result<()> {
    let (_, logged) = line.split_once("]: ").context("no tag")?;
    let said = stderr.trim_end().strip_prefix("oci-bind-hook: ");
    ensure!(said == Some(logged), "{said:?}, not {logged:?}");
    Ok(())
}

/// Whoever reads the log sees which policy was put where.
fn by_hand(hook: &Hook) -> Result<()> {
    let daemon = Daemon::start()?;
    let lines = |expected: &[&[&str]]| {
        let lines = daemon.received()?;
        let is_it = |(line, names): (&String, &&[&str])| {
            line.starts_with(INFO) && names.iter().all(|name| line.contains(name))
        };
        ensure!(
            lines.len() == expected.len() && lines.iter().zip(expected).all(is_it),
            "no {expected:?}: {lines:?}"
        );
        Ok(())
    };
    let one_line = |names: &[&str]| lines(&[names]);
    let cgroup = Cgroup::new()?;
    let name = cgroup.path().file_name().context("its name")?;
    let name = name.to_str().context("UTF-8")?;
    hook.attach(&cgroup, V4)?;
    one_line(&[name, " uses 192.0.2.10 (loopback host, guard off)"])?;
    hook.attach(&cgroup, BOTH)?;
    let replaced = "replaced the policy 192.0.2.10 (loopback host, guard off)";
    lines(&[&[name, " uses 192.0.2.10 and 2001:db8::10 "], &[replaced]])?;
    hook.detach(&cgroup)?;
    one_line(&[name, "removed the policy from cgroup "])?;

    let container = Container::new()?;
    let prefix = format!("container {}: ", container.id());
    hook.attach(&container.cgroup, V4)?;
    one_line(&[&prefix, " uses 192.0.2.10 "])?;
    hook.detach(&container.cgroup)?;
    one_line(&[&prefix, "removed the policy from cgroup "])?;

    let mut run = hook.command("run");
    run.args(["--ipv4", "192.0.2.10", "--", "true"]);
    let output = process::run(&mut run, b"")?;
    ensure!(output.status.success(), "{output:?}");
    one_line(&["oci-bind-hook-run-", " uses 192.0.2.10 ", ", to run true"])
}

/// Whoever looks for the policy of a container learns where it went.
fn left(hook: &Hook) -> Result<()> {
    let container = Container::new()?;
    hook.attach(&container.cgroup, V4)?;
    let daemon = Daemon::start()?;
    let output = hook.create_runtime(container.state(&[]).to_string().as_bytes())?;
    ensure!(output.status.success(), "{output:?}");
    let lines = daemon.received()?;
    let [line] = lines.as_slice() else {
        bail!("not one line: {lines:?}");
    };
    let said = format!(
        "container {}: removed the policy of an earlier container from cgroup /",
        container.id()
    );
    ensure!(line.starts_with(INFO) && line.contains(&said), "{line}");
    Ok(())
}

fn none_of_ours(debug: bool) -> Result<()> {
    let hook = if debug { debugging()? } else { Hook::new()? };
    let daemon = Daemon::start()?;
    let container = Container::new()?;
    let state = container.state(&[("io.kubernetes.cri-o.TTY", "false")]);
    let output = hook.create_runtime(state.to_string().as_bytes())?;
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let lines = daemon.received()?;
    ensure!(lines.is_empty() != debug, "{lines:?}");
    ensure!(
        lines.iter().all(|line| line.starts_with(DEBUG)),
        "{lines:?}"
    );
    let mut said = lines.iter().filter(|line| line.contains("nothing to do"));
    ensure!(said.next().is_some() == debug, "{lines:?}");
    container.cgroup.assert_bare()
}

fn steps() -> Result<()> {
    let hook = debugging()?;
    let daemon = Daemon::start()?;
    let started = |origin: &str| {
        let container = Container::new()?;
        let state = container.state_with(FULL).to_string();
        let output = hook.create_runtime(state.as_bytes())?;
        ensure!(output.status.success(), "{output:?}");
        ensure!(output.stderr.is_empty(), "{output:?}");
        let lines = daemon.received()?;
        let id = format!("]: container {}: ", container.id());
        let config = hook.config().to_string_lossy();
        for step in [
            "annotation \"io.oci-bind-hook.ipv4\" is \"192.0.2.10\"",
            &format!("configuration {config}: allow []"),
            &format!("pid {} is in cgroup /", container.init.id()),
            "named after the container",
            origin,
            "attached bind4 to cgroup /",
            "attached ingress to cgroup /",
            "exit status 0 after ",
        ] {
            let is_it = |line: &&String| line.starts_with(DEBUG) && line.contains(step);
            ensure!(
                lines.iter().filter(is_it).count() == 1,
                "{step:?}: {lines:?}"
            );
        }
        ensure!(lines.iter().all(|line| line.contains(&id)), "{lines:?}");
        let decisions = lines.iter().filter(|line| !line.starts_with(DEBUG));
        ensure!(decisions.count() == 1, "{lines:?}");
        Ok(())
    };
    started("loaded the programs and pinned them in /sys/fs/bpf/oci-bind-hook/")?;
    started("opened the programs pinned in /sys/fs/bpf/oci-bind-hook/")
}

/// Whoever writes annotations writes no lines of their own into the log, and
/// does not hide what was refused by making it too long for a datagram.
fn hostile(_: &Hook) -> Result<()> {
    let hook = debugging()?;
    let daemon = Daemon::start()?;
    let long = "\n<27>\u{1b}\u{202e}\u{1b}\u{202e}".repeat(20_000);
    let long_key = format!("{PREFIX}{long}");
    for (key, value) in [
        ("io.oci-bind-hook.ipv4", long.as_str()),
        (&long_key, "192.0.2.10"),
        (&long_key, &long),
    ] {
        let container = Container::new()?;
        let state = container.state(&[(key, value)]).to_string();
        let output = hook.create_runtime(state.as_bytes())?;
        assert_refused(&output, &[PREFIX, container.id()])?;
        ensure!(output.stderr.len() <= LONGEST, "{output:?}");
        let lines = daemon.received()?;
        lines.iter().try_for_each(|line| assert_harmless(line))?;
        let errors: Vec<_> = lines.iter().filter(|line| line.starts_with(ERR)).collect();
        let [line] = errors.as_slice() else {
            bail!("not one refusal: {lines:?}");
        };
        assert_same_message(line, &output.stderr)?;
    }
    // The kernel takes any name for a cgroup that has no line end in it.
    let parent = Cgroup::new()?;
    let cgroup = parent.child("\u{1b}[2J\u{202e}name")?;
    hook.attach(&cgroup, V4)?;
    let lines = daemon.received()?;
    ensure!(
        lines
            .iter()
            .any(|line| line.contains("[2J\\u{202e}name uses")),
        "{lines:?}"
    );
    lines.iter().try_for_each(|line| assert_harmless(line))
}

fn assert_harmless(line: &str) -> Result<()> {
    ensure!(line.len() <= LONGEST, "{} bytes: {line}", line.len());
    ensure!(!line.contains(char::is_control), "{line:?}");
    ensure!(!line.contains('\u{202e}'), "{line:?}");
    Ok(())
}

fn starts() -> Result<()> {
    let hook = debugging()?;
    hook.load()?;
    let container = Container::new()?;
    let state = container.state_with(FULL).to_string();
    let output = hook.create_runtime(state.as_bytes())?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(
        container.cgroup.assert_bare().is_err(),
        "nothing is attached"
    );
    Ok(())
}

/// It takes a message just before anybody would give up on it, each time. The hook,
/// which has dozens of them, gives up on it all the same.
fn slow() -> Result<()> {
    const MOMENT: Duration = Duration::from_millis(400);
    host::own_dev()?;
    let daemon = syslog::stuffed()?;
    daemon.set_nonblocking(true)?;
    let (end, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let daemon = &daemon;
        scope.spawn(move || {
            while ended.recv_timeout(MOMENT) == Err(RecvTimeoutError::Timeout) {
                // That the queue is empty ends nothing.
                let _ = daemon.recv(&mut [0; LONGEST]);
            }
        });
        let result = starts();
        drop(end);
        result
    })?;
    let mut buffer = [0; LONGEST];
    while let Ok(length) = daemon.recv(&mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..length]);
        let is_last = line.contains("]: container ") && line.contains("exit status");
        ensure!(!is_last, "it was told all: {line}");
    }
    Ok(())
}
