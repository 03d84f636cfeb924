//! `run`: how it ends, and what is left then.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::{Cgroup, wait_empty};
use oci_bind_hook_tests::hook::{Hook, V4, inside};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process::{self, PATIENCE, Running, Signal};
use oci_bind_hook_tests::{harness, host};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Hook, &Cgroup) -> Result<()>| {
        harness::trial(name, move || {
            Net::isolated(move |_| test(&Hook::new()?, &Cgroup::new()?))
        })
    };
    vec![
        trial("run passes on SIGTERM", forwarded),
        trial("run ends what the command leaves running", left_running),
        trial("run killed by SIGKILL takes its processes along", killed),
        trial("run killed by SIGKILL while others sweep", killed_and_swept),
        trial("run ends who enters while its cgroup is removed", late),
        trial("run removes what an earlier one left", |hook, cgroup| {
            // Dropped, it does not mind that somebody else has removed it.
            let _left = cgroup.child("oci-bind-hook-run-1")?;
            run_true(hook, cgroup)
        }),
        trial("unload removes what an earlier run left", |hook, cgroup| {
            let _left = cgroup.child("oci-bind-hook-run-1")?;
            host::private_bpffs()?;
            hook.unload()?;
            assert_nothing_below(cgroup)
        }),
        trial("run spares the cgroup of another run", neighbours),
        trial("run spares those that others are about to use", at_once),
    ]
}

fn forwarded(hook: &Hook, cgroup: &Cgroup) -> Result<()> {
    let script = "trap 'exit 9' TERM; sleep 1000 & echo $!; wait";
    let (mut run, [sleep]) = start(hook, cgroup, script)?;
    run.signal(Signal::TERM)?;
    let status = run.wait(PATIENCE)?;
    ensure!(status.code() == Some(9), "ended with {status}");
    assert_ended(&sleep)?;
    assert_nothing_below(cgroup)
}

fn left_running(hook: &Hook, cgroup: &Cgroup) -> Result<()> {
    // The second is in a session of its own and ignores hang-ups. The script
    // ends with its input, when both processes have been opened.
    let script =
        "sleep 1000 & echo $!; setsid nohup sleep 1000 >/dev/null 2>&1 & echo $!; read _; exit 0";
    let (mut run, sleeps) = start::<2>(hook, cgroup, script)?;
    drop(run.stdin()?);
    ensure!(run.wait(PATIENCE)?.success());
    sleeps.iter().try_for_each(assert_ended)?;
    assert_nothing_below(cgroup)
}

fn killed(hook: &Hook, cgroup: &Cgroup) -> Result<()> {
    let script = "trap '' TERM; sleep 1000 & echo $!; echo $$; wait";
    let (mut run, processes) = start::<2>(hook, cgroup, script)?;
    run.signal(Signal::KILL)?;
    run.wait(PATIENCE)?;
    processes.iter().try_for_each(assert_ended)?;
    wait_empty(cgroup.path(), PATIENCE)?;
    run_true(hook, cgroup)
}

/// Others may remove the cgroup before whoever cleans up after the run does:
/// either way all of it ends at once.
fn killed_and_swept(hook: &Hook, cgroup: &Cgroup) -> Result<()> {
    const ROUNDS: usize = 10;
    for _ in 0..ROUNDS {
        let (mut run, [sleep]) = start(hook, cgroup, "sleep 1000 & echo $!; wait")?;
        run.signal(Signal::KILL)?;
        run.wait(PATIENCE)?;
        while !process::ends(&sleep, Duration::ZERO)? {
            sweep(hook, cgroup)?;
        }
        sweep(hook, cgroup)?;
        wait_empty(cgroup.path(), PATIENCE)?;
        assert_nothing_below(cgroup)?;
    }
    Ok(())
}

/// When `run` is killed, a process that it was starting can enter after all others
/// were found to have ended: it must not be left there, nor the cgroup.
fn late(hook: &Hook, cgroup: &Cgroup) -> Result<()> {
    const ROUNDS: usize = 10;
    const LATE: usize = 30;
    for _ in 0..ROUNDS {
        let run = cgroup.child("oci-bind-hook-run-1")?;
        let procs = run.path().join("cgroup.procs");
        let mut sleep = Command::new("sleep");
        sleep.arg("1000");
        let sleeps = (0..LATE).map(|_| Running::start(&mut sleep));
        let sleeps = sleeps.collect::<Result<Vec<_>>>()?;

        let mut end = hook.command("end-run");
        end.arg(run.path()).stdin(Stdio::null());
        let mut end = Running::start(&mut end)?;
        let entered = sleeps
            .into_iter()
            .take_while(|sleep| fs::write(&procs, sleep.id().to_string()).is_ok());
        let entered: Vec<_> = entered.collect();
        let status = end.wait(PATIENCE)?;
        ensure!(status.success(), "end-run ended with {status}");
        for sleep in entered {
            ensure!(sleep.ends(PATIENCE)?, "a process was left running");
        }
        assert_nothing_below(cgroup)?;
    }
    Ok(())
}

/// One that runs is not swept by the next, which runs at the same time.
fn neighbours(hook: &Hook, cgroup: &Cgroup) -> Result<()> {
    let (mut run, [sleep]) = start(hook, cgroup, "sleep 1000 & echo $!; wait")?;
    sweep(hook, cgroup)?;
    ensure!(
        !process::ends(&sleep, Duration::ZERO)?,
        "the first was ended"
    );
    ensure!(cgroup.children()?.len() == 1, "{:?}", cgroup.children()?);
    run.signal(Signal::TERM)?;
    run.wait(PATIENCE)?;
    assert_nothing_below(cgroup)
}

/// Each sweeps before it makes its own cgroup, while others have made theirs and not
/// entered yet.
fn at_once(hook: &Hook, cgroup: &Cgroup) -> Result<()> {
    const ROUNDS: usize = 50;
    const AT_ONCE: usize = 8;
    hook.load()?;
    for _ in 0..ROUNDS {
        let runs = (0..AT_ONCE).map(|_| {
            let mut run = inside(cgroup, &run_command(hook, &["true"]));
            Running::start(run.stdin(Stdio::null()))
        });
        for mut run in runs.collect::<Result<Vec<_>>>()? {
            let status = run.wait(PATIENCE)?;
            ensure!(status.success(), "run ended with {status}");
        }
    }
    wait_empty(cgroup.path(), PATIENCE)?;
    assert_nothing_below(cgroup)
}

fn run_true(hook: &Hook, cgroup: &Cgroup) -> Result<()> {
    sweep(hook, cgroup)?;
    assert_nothing_below(cgroup)
}

/// Runs something that does nothing: before, it removes what others left.
fn sweep(hook: &Hook, cgroup: &Cgroup) -> Result<()> {
    let output = process::run(&mut inside(cgroup, &run_command(hook, &["true"])), b"")?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

fn run_command(hook: &Hook, command: &[&str]) -> Command {
    let mut run = hook.command("run");
    run.args(V4.options()).arg("--").args(command);
    run
}

/// Starts a shell script under `run`, inside `cgroup`, and waits until it has
/// written the ids of `N` processes.
fn start<const N: usize>(
    hook: &Hook,
    cgroup: &Cgroup,
    script: &str,
) -> Result<(Running, [OwnedFd; N])> {
    let mut command = inside(cgroup, &run_command(hook, &["sh", "-c", script]));
    let mut run = Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
    let mut lines = BufReader::new(run.stdout()?).lines();
    let mut processes = Vec::new();
    for _ in 0..N {
        let pid = lines.next().context("the script ended early")??.parse()?;
        processes.push(process::pidfd(pid)?);
    }
    let processes = processes.try_into().ok().context("count the processes")?;
    Ok((run, processes))
}

fn assert_ended(process: &OwnedFd) -> Result<()> {
    ensure!(
        process::ends(process, PATIENCE)?,
        "a process was left running"
    );
    Ok(())
}

fn assert_nothing_below(cgroup: &Cgroup) -> Result<()> {
    let left = cgroup.children()?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}
