//! Fifty containers at once, the first after boot: one of the hooks loads the
//! programs, and the others wait for it.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::bench::{DEFAULTS, empty_process, state};
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::Hook;
use oci_bind_hook_tests::results::{Results, at_percent};

const ROUNDS: usize = 10;
const AT_ONCE: usize = 50;

/// Measures in the calling thread's network namespace.
pub fn measure(results: &mut Results) -> Result<()> {
    let hook = Hook::new()?;
    let (mut cold, mut warm, mut empty) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        hook.unload()?;
        for times in [&mut cold, &mut warm] {
            let containers = (0..AT_ONCE)
                .map(|_| Container::new())
                .collect::<Result<Vec<_>>>()?;
            let states = containers.iter().map(|one| state(one, DEFAULTS));
            let states = states.collect::<Result<Vec<_>>>()?;
            times.push(together(states, || hook.command("create-runtime"))?);
            for container in &containers {
                hook.detach(&container.cgroup)?;
            }
        }
        empty_process()?;
        let nothing = (0..AT_ONCE).map(|_| Ok(File::open("/dev/null")?));
        let nothing = nothing.collect::<Result<Vec<_>>>()?;
        empty.push(together(nothing, || Command::new("/bin/true"))?);
    }
    hook.unload()?;
    let side = "50 at once";
    results.pairs(side, "warm", "ms", [&empty, &warm], None);
    results.value(side, "cold", "ms", at_percent(&cold, 50), None);
    Ok(())
}

/// How many milliseconds it takes until the last of these has ended.
fn together(inputs: Vec<File>, command: impl Fn() -> Command) -> Result<f64> {
    use std::io::Seek as _;
    let start = Instant::now();
    let mut started = Vec::new();
    for mut input in inputs {
        input.rewind()?;
        let child = command().stdin(Stdio::from(input)).spawn();
        started.push(child.context("start it")?);
    }
    let mut has_failed = false;
    for mut child in started {
        has_failed |= !child.wait()?.success();
    }
    let time = start.elapsed();
    ensure!(!has_failed, "one of {AT_ONCE} at once failed");
    Ok(time.as_secs_f64() * 1e3)
}
