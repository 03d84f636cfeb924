//! `load` and `unload`, each in a bpffs of its own.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{Hook, V4};
use oci_bind_hook_tests::{harness, host};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        harness::unpinned("load is done once", load),
        harness::unpinned("unload without pins is fine", |hook| {
            hook.unload()?;
            assert_pins(0)
        }),
        harness::unpinned("unload spares pins that a cgroup uses", spared),
        harness::unpinned("detach gives the pins up", |hook| {
            let cgroup = Cgroup::new()?;
            hook.attach(&cgroup, V4)?;
            hook.detach(&cgroup)?;
            hook.unload()?;
            assert_pins(0)
        }),
        harness::unpinned("unload while others attach", race),
        harness::unpinned("unload while cgroups come and go", churn),
        harness::unpinned("attach after unload loads again", |hook| {
            let cgroup = Cgroup::new()?;
            hook.load()?;
            hook.unload()?;
            hook.attach(&cgroup, V4)?;
            cgroup.assert_attached(V4)?;
            assert_pins(1)
        }),
    ]
}

fn load(hook: &Hook) -> Result<()> {
    hook.load()?;
    let first = host::pins()?;
    hook.load()?;
    ensure!(host::pins()? == first, "the second load made other pins");
    assert_pins(1)?;
    hook.unload()?;
    assert_pins(0)
}

/// Removing the cgroup is all it takes to give its use of them up.
fn spared(hook: &Hook) -> Result<()> {
    let cgroup = Cgroup::new()?;
    hook.attach(&cgroup, V4)?;
    hook.unload()?;
    assert_pins(1)?;
    cgroup.assert_attached(V4)?;
    cgroup.remove()?;
    hook.unload()?;
    assert_pins(0)
}

/// Neither side must ever fail, whoever comes first.
fn race(hook: &Hook) -> Result<()> {
    const ROUNDS: usize = 30;
    let cgroups = [Cgroup::new()?, Cgroup::new()?];
    std::thread::scope(|scope| {
        let users = cgroups.each_ref().map(|cgroup| {
            scope.spawn(move || {
                (0..ROUNDS).try_for_each(|_| {
                    hook.attach(cgroup, V4)?;
                    cgroup.assert_attached(V4)?;
                    hook.detach(cgroup)
                })
            })
        });
        let unloaded = (0..ROUNDS).try_for_each(|_| hook.unload());
        for user in users {
            user.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        unloaded
    })
}

/// `unload` looks at every cgroup of the host; some go while it does.
fn churn(hook: &Hook) -> Result<()> {
    const ROUNDS: usize = 30;
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let churning = scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                Cgroup::new()?.remove()?;
            }
            Ok(())
        });
        let unloaded = (0..ROUNDS).try_for_each(|_| {
            hook.load()?;
            hook.unload()
        });
        is_done.store(true, Ordering::Relaxed);
        churning
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .and(unloaded)
    })
}

fn assert_pins(count: usize) -> Result<()> {
    let pins = host::pins()?;
    ensure!(pins.len() == count, "not {count} set(s) of pins: {pins:?}");
    Ok(())
}
