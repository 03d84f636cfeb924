//! The hook is killed at any moment.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::bpf;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, V4};
use oci_bind_hook_tests::net::{ANY4, CIP4};
use oci_bind_hook_tests::process::{self, PATIENCE, Running, Signal};
use oci_bind_hook_tests::socket::{TCP4, at};
use oci_bind_hook_tests::{harness, host};

use crate::nothing_left::Before;
use crate::rounds;

/// A policy that needs every program.
const FULL: Policy = BOTH.loopback("auto").guarded();

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        harness::unpinned("create-runtime killed", create_runtime),
        harness::unpinned("the first create-runtime killed", cold),
        harness::unpinned("the first create-runtime killed at a pin", at_pins),
        harness::unpinned("attach killed, and done again", attach),
        harness::unpinned("detach killed, and done again", detach),
    ]
}

/// Moments to kill at, random but for the seed, within a span of time that
/// follows the machine's pace: about half of them come too late.
pub struct Moments {
    state: u64,
    span: Duration,
    done: usize,
    cut: usize,
}

impl Moments {
    /// Moments from the start on of what took that long.
    pub fn within(took: Duration) -> Self {
        Self {
            state: 0x9e37_79b9_7f4a_7c15,
            span: took * 2,
            done: 0,
            cut: 0,
        }
    }

    fn next(&mut self) -> Duration {
        // Xorshift, as in Marsaglia's paper of 2003.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let micros = u64::try_from(self.span.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.state % (micros + 1))
    }

    /// Starts a command and kills it at the next moment, unless it has ended:
    /// whether it was successful before.
    pub fn cut_short(&mut self, command: &mut Command, input: &[u8]) -> Result<bool> {
        let done = cut_short(command, input, self.next())?;
        if done {
            self.done += 1;
            self.span = self.span * 7 / 8;
        } else {
            self.cut += 1;
            self.span = self.span * 9 / 8;
        }
        Ok(done)
    }

    /// Fails unless there were many of both: else the moments say nothing.
    pub fn assert_both(&self) -> Result<()> {
        let (done, cut) = (self.done, self.cut);
        let few = (done + cut) / 10;
        ensure!(
            done > few && cut > few,
            "{done} were through, {cut} cut short"
        );
        Ok(())
    }
}

/// Starts a command and kills it at that moment, unless it has ended: whether
/// it was successful before.
fn cut_short(command: &mut Command, input: &[u8], moment: Duration) -> Result<bool> {
    let mut running = Running::start(command.stdin(Stdio::piped()))?;
    // A pipe has room for all of it.
    running.stdin()?.write_all(input)?;
    if !running.ends(moment)? {
        running.signal(Signal::KILL)?;
    }
    Ok(running.wait(PATIENCE)?.success())
}

/// How long something takes.
pub fn time(what: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    what()?;
    Ok(start.elapsed())
}

/// Loads all programs, and has one steer calls in this network namespace.
fn load(hook: &Hook) -> Result<()> {
    created(hook, &Cgroup::new()?)
}

fn create_runtime(hook: &Hook) -> Result<()> {
    load(hook)?;
    let before = Before::now()?;
    let mut moments = Moments::within(time(|| created(hook, &before.scope))?);
    for _ in 0..rounds(100, 1000) {
        let container = Container::below(&before.scope)?;
        killed(hook, &container, &mut moments)?;
    }
    moments.assert_both()?;
    created(hook, &before.scope)?;
    before.assert_nothing_left()
}

/// The first one after boot loads the programs, and pins them.
fn cold(hook: &Hook) -> Result<()> {
    let before = Before::now()?;
    let mut moments = Moments::within(time(|| created(hook, &before.scope))?);
    hook.unload()?;
    for _ in 0..rounds(20, 200) {
        let container = Container::below(&before.scope)?;
        killed(hook, &container, &mut moments)?;
        drop(container);
        // The next one finds its way.
        created(hook, &before.scope)?;
        let pins = host::pins()?;
        ensure!(pins.len() == 1, "not one set of pins: {pins:?}");
        hook.unload()?;
        ensure!(host::pins()?.is_empty(), "left: {:?}", host::pins()?);
    }
    moments.assert_both()?;
    before.assert_nothing_left()
}

/// Before the first pin, and between others: too short a time to be met by chance.
fn at_pins(hook: &Hook) -> Result<()> {
    let before = Before::now()?;
    created(hook, &before.scope)?;
    let pins = host::pins()?.pop().context("nothing is pinned")?;
    let all = fs::read_dir(pins)?.count();
    for number in (1..=all).step_by(rounds(6, 1)) {
        hook.unload()?;
        let container = Container::below(&before.scope)?;
        let mut held = Command::new(process::built("at-pin")?);
        held.arg(number.to_string()).arg("kill -KILL $1");
        let hook_itself = hook.command("create-runtime");
        held.arg(hook_itself.get_program())
            .args(hook_itself.get_args());
        let output = process::run(&mut held, container.state_with(FULL).to_string().as_bytes())?;
        ensure!(output.status.code() == Some(128 + 9), "{output:?}");
        let [unfinished] = &host::pins()?[..] else {
            bail!("not one set of pins: {:?}", host::pins()?);
        };
        let made = fs::read_dir(unfinished)?.count();
        // One that is killed may still make this pin.
        ensure!(
            (number - 1..=number).contains(&made),
            "{made} pins, killed at pin {number}"
        );
        container.cgroup.assert_bare()?;
        drop(container);
        // The next one finds its way.
        created(hook, &before.scope)?;
        ensure!(host::pins()?.len() == 1, "{:?} are left", host::pins()?);
    }
    hook.unload()?;
    before.assert_nothing_left()
}

/// A container that the hook was killed for does not start. A process that is
/// there all the same can only bind to its address, or not at all, as soon as
/// the first program is attached.
fn killed(hook: &Hook, container: &Container, moments: &mut Moments) -> Result<()> {
    let state = container.state_with(FULL).to_string();
    let mut command = hook.command("create-runtime");
    let done = moments.cut_short(&mut command, state.as_bytes())?;
    let attached = bpf::attached(File::open(container.cgroup.path())?)?;
    if done {
        assert_complete(&container.cgroup)?;
    }
    let server = container.init.socket(TCP4)?;
    match server.bind(at(ANY4, 0, 0)) {
        Ok(()) if attached.is_empty() => {}
        Ok(()) => {
            let name = server.local()?.ip();
            ensure!(name == CIP4, "it is at {name}, with {attached:?}");
        }
        Err(errno) => ensure!(!done && !attached.is_empty(), "bind: {errno}"),
    }
    Ok(())
}

/// A container from its creation to its removal, with nothing in between.
fn created(hook: &Hook, scope: &Cgroup) -> Result<()> {
    let container = Container::below(scope)?;
    let output = hook.create_runtime(container.state_with(FULL).to_string().as_bytes())?;
    ensure!(output.status.success(), "{output:?}");
    assert_complete(&container.cgroup)
}

fn assert_complete(cgroup: &Cgroup) -> Result<()> {
    let found = bpf::attached(File::open(cgroup.path())?)?;
    ensure!(
        found.len() == bpf::full_types().len() && found.iter().all(|(_, ids)| ids.len() == 1),
        "not one program of each type: {found:?}"
    );
    Ok(())
}

/// Whatever a killed `attach` has left, the next one makes it whole.
fn attach(hook: &Hook) -> Result<()> {
    load(hook)?;
    let before = Before::now()?;
    let cgroup = before.scope.child("target")?;
    let mut moments = Moments::within(time(|| hook.attach(&cgroup, FULL))?);
    for round in 0..rounds(50, 500) {
        let policy = [V4, FULL][round % 2];
        let mut command = hook.command("attach");
        command.arg("--cgroup").arg(cgroup.path());
        command.args(policy.options());
        moments.cut_short(&mut command, b"")?;
        if round % 4 < 2 {
            hook.attach(&cgroup, FULL)?;
            assert_complete(&cgroup)?;
        } else {
            hook.attach(&cgroup, V4)?;
            cgroup.assert_attached(V4)?;
        }
    }
    moments.assert_both()?;
    hook.detach(&cgroup)?;
    cgroup.assert_bare()?;
    cgroup.remove()?;
    before.assert_nothing_left()
}

fn detach(hook: &Hook) -> Result<()> {
    load(hook)?;
    let before = Before::now()?;
    let cgroup = before.scope.child("target")?;
    hook.attach(&cgroup, FULL)?;
    let mut moments = Moments::within(time(|| hook.detach(&cgroup))?);
    for _ in 0..rounds(50, 500) {
        hook.attach(&cgroup, FULL)?;
        let mut command = hook.command("detach");
        command.arg("--cgroup").arg(cgroup.path());
        moments.cut_short(&mut command, b"")?;
        hook.detach(&cgroup).context("detach what is left")?;
        cgroup.assert_bare()?;
    }
    moments.assert_both()?;
    cgroup.remove()?;
    before.assert_nothing_left()
}
