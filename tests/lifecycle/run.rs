//! `run`: what it passes on from the command.

use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, V4, inside};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process::{self, Output};

/// What a command is, and the status that `run` ends with.
const STATUS: &[(&str, &[&str], i32)] = &[
    ("success", &["true"], 0),
    ("status 7", &["sh", "-c", "exit 7"], 7),
    ("status 255", &["sh", "-c", "exit 255"], 255),
    ("SIGTERM", &["sh", "-c", "kill -TERM $$"], 128 + 15),
    ("SIGKILL", &["sh", "-c", "kill -KILL $$"], 128 + 9),
];

/// Commands that cannot be started, and what the message names.
const NOT_STARTED: &[(&str, &str)] = &[
    ("a program that is missing", "no-such-program"),
    ("a file that is no program", "/proc/version"),
    ("a directory", "/proc"),
];

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for &(what, command, status) in STATUS {
        trials.push(trial(format!("run passes on {what}"), move |output| {
            let output = output(command, b"")?;
            assert_status(&output, status)?;
            ensure!(output.stderr.is_empty(), "{output:?}");
            Ok(())
        }));
    }
    for &(what, program) in NOT_STARTED {
        trials.push(trial(format!("run cannot start {what}"), move |output| {
            let output = output(&[program], b"")?;
            assert_status(&output, 125)?;
            ensure!(output.stderr.lines().count() == 1, "{output:?}");
            ensure!(output.stderr.contains(program), "{output:?}");
            Ok(())
        }));
    }
    trials.push(trial("run passes on standard streams", |output| {
        let output = output(&["sh", "-c", "cat; echo oops >&2"], b"hello")?;
        assert_status(&output, 0)?;
        ensure!(
            output.stdout == "hello" && output.stderr == "oops\n",
            "{output:?}"
        );
        Ok(())
    }));
    trials.push(trial("run passes on the limits", |output| {
        let limits = ["sh", "-c", "ulimit -a"];
        let plain = process::run(Command::new(limits[0]).args(&limits[1..]), b"")?;
        let output = output(&limits, b"")?;
        ensure!(output.stdout == plain.stdout, "{output:?}, not {plain:?}");
        Ok(())
    }));
    trials.push(harness::trial("bad command lines", || {
        let hook = Hook::new()?;
        for arguments in [
            &["--", "true"][..],
            &["--ipv4", "web", "--", "true"],
            &["--ipv4", "192.0.2.10"],
            &["--ipv4", "192.0.2.10", "--frobnicate", "--", "true"],
        ] {
            let output = process::run(hook.command("run").args(arguments), b"")?;
            assert_status(&output, 2)?;
        }
        Ok(())
    }));
    trials
}

/// Runs a command with this on standard input.
type Run<'a> = &'a dyn Fn(&[&str], &[u8]) -> Result<Output>;

/// A trial of `run` inside a scratch cgroup, in which it must leave nothing.
fn trial(
    name: impl Into<String>,
    test: impl FnOnce(Run<'_>) -> Result<()> + Send + 'static,
) -> Trial {
    harness::trial(name, move || {
        Net::isolated(move |_| {
            let cgroup = Cgroup::new()?;
            let hook = Hook::new()?;
            test(&|command, input| {
                let mut run = hook.command("run");
                run.args(V4.options()).arg("--").args(command);
                process::run(&mut inside(&cgroup, &run), input)
            })?;
            let left = cgroup.children()?;
            ensure!(left.is_empty(), "left behind: {left:?}");
            Ok(())
        })
    })
}

fn assert_status(output: &Output, status: i32) -> Result<()> {
    ensure!(
        output.status.code() == Some(status),
        "not status {status}: {output:?}"
    );
    Ok(())
}
