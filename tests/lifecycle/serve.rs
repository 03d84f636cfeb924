//! `serve`, and the pins that it serves.

use std::os::fd::AsFd;

use anyhow::{Context, Result, ensure};
use libc::{SO_REUSEPORT, SOL_SOCKET};
use libtest_mimic::Trial;
use oci_bind_hook_ebpf::abi::DUAL_COUNTS;
use oci_bind_hook_ebpf::dual::one;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness::attempted;
use oci_bind_hook_tests::hook::{BOTH, Hook, NEIGHBOUR};
use oci_bind_hook_tests::net::{ANY6, CIP4, CIP6, OTHER4, OTHER6, require_dual};
use oci_bind_hook_tests::reach;
use oci_bind_hook_tests::serve::Serve;
use oci_bind_hook_tests::socket::{TCP6, UDP6, at};
use oci_bind_hook_tests::syslog::Daemon;
use oci_bind_hook_tests::{bpf, harness, host};

use crate::upgrade::age;

const PORT: u16 = 8080;

type Test = fn(&Hook) -> Result<()>;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let tests: [(_, Test); 4] = [
        ("says in the log what it serves", log),
        ("containers of an older version too", older),
        ("what is pinned while it runs", newer),
        ("servers that are gone are counted no longer", counts),
    ];
    tests
        .map(|(name, test)| {
            harness::unpinned(format!("serve: {name}"), move |hook| {
                require_dual()?;
                test(hook)
            })
        })
        .into()
}

fn log(hook: &Hook) -> Result<()> {
    let log = Daemon::start()?;
    let _serve = Serve::start(hook)?;
    let said = log.received()?;
    ensure!(
        matches!(said.as_slice(), [line] if line.contains("serves UDP servers at ::, by /sys/fs/bpf/oci-bind-hook/")),
        "{said:?}"
    );
    Ok(())
}

fn older(hook: &Hook) -> Result<()> {
    let (old, new) = (Container::new()?, Container::new()?);
    hook.attach(&old.cgroup, BOTH)?;
    age(&[])?;
    let _serve = Serve::start(hook)?;
    hook.attach(&new.cgroup, NEIGHBOUR)?;
    assert_served(&old, &[CIP4, CIP6])?;
    assert_served(&new, &[OTHER4, OTHER6])
}

fn newer(hook: &Hook) -> Result<()> {
    let (old, new) = (Container::new()?, Container::new()?);
    let _serve = Serve::start(hook)?;
    hook.attach(&old.cgroup, BOTH)?;
    age(&[])?;
    hook.attach(&new.cgroup, NEIGHBOUR)?;
    assert_served(&new, &[OTHER4, OTHER6])?;
    assert_served(&old, &[CIP4, CIP6])
}

/// Those of TCP: where UDP servers have been is not taken back.
fn counts(hook: &Hook) -> Result<()> {
    let container = Container::new()?;
    hook.attach(&container.cgroup, BOTH)?;
    let pins = host::pins()?;
    let counts = bpf::open_pin(&pins.first().context("no pins")?.join("dual-counts"))?;
    let counted = || -> Result<u64> {
        let words = bpf::words(counts.as_fd(), DUAL_COUNTS)?;
        Ok(words.into_iter().fold(0, u64::wrapping_add))
    };
    let group = [container.init.socket(TCP6)?, container.init.socket(TCP6)?];
    for server in &group {
        server.set(SOL_SOCKET, SO_REUSEPORT, 1)?;
        server.bind(at(ANY6, PORT, 0))?;
        server.listen()?;
    }
    let found = counted()?;
    ensure!(found == one(0) + one(1), "counted {found:x}");
    drop(group);
    // The kernel closes a socket that was handed over when it has time.
    harness::eventually(|| {
        let left = counted()?;
        attempted(left == 0, || format!("{left:x} is left"))
    })
}

/// Waits until a server of the container that binds to `::` answers there. It is
/// bound to both only when `serve` has seen the pins.
fn assert_served(container: &Container, expected: &[std::net::IpAddr]) -> Result<()> {
    harness::eventually(|| {
        let server = container.init.socket(UDP6)?;
        server.bind(at(ANY6, PORT, 0))?;
        let places = reach::answered(&server)?;
        attempted(places == expected, || format!("it answers at {places:?}"))
    })
}
