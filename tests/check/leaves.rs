//! What is left of `check` when it is killed: nothing.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::wait_empty;
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::process::{PATIENCE, Running, Signal};

use crate::place::{Place, trial};

/// How long after its cgroup is there it is killed:
/// before the probe has entered, while it loads, and while it makes calls.
const DELAYS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(40),
    Duration::from_millis(150),
];

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![trial("check is killed", |place| {
        DELAYS.iter().try_for_each(|delay| killed(place, *delay))
    })]
}

fn killed(place: &Place, delay: Duration) -> Result<()> {
    let mut command = place.command(&[])?;
    let mut check = Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()))?;
    let deadline = Instant::now() + PATIENCE;
    let procs = place.cgroup.path().join("cgroup.procs");
    // Itself, and the process that clears away.
    while fs::read_to_string(&procs)?.lines().count() < 2 {
        ensure!(Instant::now() < deadline, "it made no cgroup");
    }
    if !check.ends(delay)? {
        check.signal(Signal::KILL)?;
    }
    check.wait(PATIENCE)?;
    // What clears away runs in the cgroup above, and ends last.
    wait_empty(place.cgroup.path(), PATIENCE)?;
    place.assert_no_cgroup()?;
    ensure!(host::pins()?.is_empty(), "pins: {:?}", host::pins()?);
    Ok(())
}
