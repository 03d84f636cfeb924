//! What a container start pays: a warm `create-runtime` against `/bin/true`,
//! which is what it costs to start a process at all. In turn, in one run, so
//! that the ratio holds on a noisy machine.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::{BOTH, Hook};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::Net;

const ROUNDS: usize = 500;

fn main() -> Result<()> {
    host::set_up()?;
    Net::isolated(|_net| {
        let hook = Hook::new()?;
        // It stays: where no cgroup has any program, the kernel patches its own
        // code at the first attachment, which a host with containers is past.
        let resident = Container::new()?;
        let (cold, _) = measure(&hook, &resident)?;
        let (mut warm, mut empty): (Vec<_>, Vec<_>) = (0..ROUNDS)
            .map(|_| measure(&hook, &Container::new()?))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        let ratio = median(&mut warm).as_secs_f64() / median(&mut empty).as_secs_f64();
        println!("create-runtime against /bin/true, {ROUNDS} rounds in turn");
        for (name, times) in [("create-runtime", &mut warm), ("/bin/true", &mut empty)] {
            println!(
                "{name:<15} median {:>7.0?}  90th percentile {:>7.0?}",
                median(times),
                percentile(times, 90)
            );
        }
        println!("ratio           {ratio:.2}");
        println!("cold start      {cold:.0?}, once a boot");
        Ok(())
    })
}

/// One `create-runtime` on a new container, and one `/bin/true`.
fn measure(hook: &Hook, container: &Container) -> Result<(Duration, Duration)> {
    let mut state = tempfile::tempfile()?;
    state.write_all(container.state_with(BOTH).to_string().as_bytes())?;
    let hook = time(&mut hook.command("create-runtime"), &mut state)?;
    let empty = time(&mut Command::new("/bin/true"), &mut state)?;
    container.cgroup.assert_attached(BOTH)?;
    Ok((hook, empty))
}

fn time(command: &mut Command, input: &mut File) -> Result<Duration> {
    input.rewind()?;
    command.stdin(Stdio::from(input.try_clone()?));
    let start = Instant::now();
    let status = command.status().context("start it")?;
    let time = start.elapsed();
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(time)
}

fn median(times: &mut [Duration]) -> Duration {
    percentile(times, 50)
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}
