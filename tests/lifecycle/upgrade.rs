//! Containers that started before an upgrade. An upgrade brings another object,
//! whose programs are pinned in a directory of their own: here the pins of the
//! one object there is are moved to the name of another.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::bpf::FORMER_TYPES;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::foreign::{Foreign, Mode};
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, NEIGHBOUR, V4};
use oci_bind_hook_tests::host::{self, PINS};
use oci_bind_hook_tests::net::{ANY4, CIP4, OTHER4};
use serde_json::json;

use crate::policy::assert_bound;
use crate::status::entry;

/// Programs that an older version may not have had, none of which [`V4`] attaches.
const NEWER: [&str; 4] = ["recvmsg4", "recvmsg6", "getpeername4", "getpeername6"];
/// The name of the older version.
const OLDER: &str = "0123456789abcdef";

type Test = fn(&Hook, &Container) -> Result<()>;

/// All trials of this file. Each starts with a container under an older
/// version that has all programs, and with one that lacks some.
pub fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 4] = [
        ("keeps its policy beside a new one", keep),
        ("gets the new programs by attach", replace),
        ("is free after detach", detach),
        ("holds its pins, and no longer than it lives", unload),
    ];
    let mut trials = Vec::new();
    for (version, lacking) in [("an older version", &[][..]), ("one with less", &NEWER)] {
        for (name, test) in tests {
            let name = format!("a container of {version} {name}");
            trials.push(harness::unpinned(name, move |hook| {
                let container = Container::new()?;
                hook.attach(&container.cgroup, V4)?;
                age(lacking)?;
                test(hook, &container)
            }));
        }
    }
    trials.push(harness::unpinned(
        "a container of 0.1.0 loses programs that there are no more",
        former,
    ));
    trials
}

/// Detach, and attach, know those too that this version does not have.
fn former(hook: &Hook) -> Result<()> {
    let container = Container::new()?;
    for free in [
        |hook: &Hook, cgroup: &Cgroup| hook.detach(cgroup),
        |hook: &Hook, cgroup: &Cgroup| {
            hook.attach(cgroup, NEIGHBOUR)?;
            cgroup.assert_attached(NEIGHBOUR)?;
            hook.detach(cgroup)
        },
    ] {
        hook.attach(&container.cgroup, V4)?;
        let pins = host::pins()?;
        for (name, attach_type) in FORMER_TYPES {
            let program = Foreign::permit(attach_type)?;
            program.pin(&pins.first().context("nothing is pinned")?.join(name))?;
            program.attach(&container.cgroup, Mode::Multi)?;
        }
        age(&[])?;
        free(hook, &container.cgroup)?;
        container.cgroup.assert_bare()?;
        hook.unload()?;
        ensure!(host::pins()?.is_empty(), "pins are left");
    }
    Ok(())
}

/// Makes what is pinned an older version's, without the programs `lacking`.
pub fn age(lacking: &[&str]) -> Result<()> {
    let pins = host::pins()?;
    let pins = pins.first().context("nothing is pinned")?;
    for name in lacking {
        fs::remove_file(pins.join(name)).with_context(|| format!("remove pin {name}"))?;
    }
    fs::rename(pins, Path::new(PINS).join(OLDER)).context("rename the pins")
}

fn keep(hook: &Hook, old: &Container) -> Result<()> {
    let new = Container::new()?;
    hook.attach(&new.cgroup, NEIGHBOUR)?;
    assert_bound(&old.init, CIP4)?;
    assert_bound(&new.init, OTHER4)?;
    for (container, is_current, ipv4) in [(old, false, CIP4), (&new, true, OTHER4)] {
        let entry = entry(hook, container)?.context("no entry")?;
        ensure!(entry["is_current"] == json!(is_current), "{entry}");
        ensure!((entry["version"] == json!(OLDER)) != is_current, "{entry}");
        ensure!(entry["policy"]["ipv4"] == json!(ipv4), "{entry}");
        ensure!(entry["missing"] == json!([]), "{entry}");
        let bind4 = &entry["counters"]["calls"]["bind4"]["rewritten"];
        ensure!(*bind4 == json!(1), "{entry}");
    }
    Ok(())
}

fn replace(hook: &Hook, old: &Container) -> Result<()> {
    hook.attach(&old.cgroup, NEIGHBOUR)?;
    // One program of each type: none of the older version is left.
    old.cgroup.assert_attached(NEIGHBOUR)?;
    assert_bound(&old.init, OTHER4)?;
    let entry = entry(hook, old)?.context("no entry")?;
    ensure!(entry["is_current"] == json!(true), "{entry}");
    hook.unload()?;
    ensure!(!is_pinned(), "the older version is still pinned");
    Ok(())
}

fn detach(hook: &Hook, old: &Container) -> Result<()> {
    hook.detach(&old.cgroup)?;
    old.cgroup.assert_bare()?;
    assert_bound(&old.init, ANY4)
}

fn unload(hook: &Hook, old: &Container) -> Result<()> {
    hook.load()?;
    hook.unload()?;
    ensure!(is_pinned(), "pins that a container uses were removed");
    ensure!(host::pins()?.len() == 1, "pins that nobody uses are left");
    hook.detach(&old.cgroup)?;
    hook.unload()?;
    ensure!(!is_pinned(), "pins that nobody uses are left");
    Ok(())
}

fn is_pinned() -> bool {
    Path::new(PINS).join(OLDER).exists()
}
