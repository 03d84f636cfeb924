//! Addresses that the container's network namespace does not have, or not yet.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, Policy};
use oci_bind_hook_tests::net::{CIP4, CIP6, NOBODY4, NOBODY6, Net};

use crate::refusal::assert_refused;

const TENTATIVE: &str = "2001:db8::30";
const EXTRA: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 40));

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial =
        |name: &str, test: fn(Net) -> Result<()>| harness::trial(name, move || Net::isolated(test));
    vec![
        trial("IPv4 address that is not configured", |_| {
            refuse(
                Policy::of(Some(NOBODY4), Some(CIP6)),
                &["203.0.113.9", "not configured"],
            )
        }),
        trial("IPv6 address that is not configured", |_| {
            refuse(
                Policy::of(Some(CIP4), Some(NOBODY6)),
                &["2001:db8:ffff::9", "not configured"],
            )
        }),
        trial("IPv6 address that is still tentative", |net| {
            let address = TENTATIVE.parse()?;
            net.add_tentative(address)?;
            refuse(Policy::of(None, Some(address)), &[TENTATIVE, "tentative"])
        }),
        trial(
            "address of the container's network namespace alone",
            |net| {
                net.add(EXTRA)?;
                let container = Container::new()?;
                let state = container
                    .state_with(Policy::of(Some(EXTRA), None))
                    .to_string();
                let output = Net::isolated(|_| Hook::new()?.create_runtime(state.as_bytes()))?;
                ensure!(
                    output.status.success() && output.stderr.is_empty(),
                    "{output:?}"
                );
                container
                    .cgroup
                    .assert_attached(Policy::of(Some(EXTRA), None))
            },
        ),
        trial("address of the hook's network namespace alone", |_| {
            let container = Container::new()?;
            let state = container
                .state_with(Policy::of(Some(EXTRA), None))
                .to_string();
            let output = Net::isolated(|net| {
                net.add(EXTRA)?;
                Hook::new()?.create_runtime(state.as_bytes())
            })?;
            assert_refused(&output, &["192.0.2.40", "not configured"])?;
            container.cgroup.assert_bare()
        }),
        trial("address that need not be configured", |_| {
            let container = Container::new()?;
            let hook = Hook::with_config(
                "require-local-address = false\n[defaults]\nloopback = \"host\"\nguard = \"off\"\n",
            )?;
            let state = container
                .state_with(Policy::of(Some(NOBODY4), None))
                .to_string();
            let output = hook.create_runtime(state.as_bytes())?;
            ensure!(
                output.status.success() && output.stderr.is_empty(),
                "{output:?}"
            );
            container
                .cgroup
                .assert_attached(Policy::of(Some(NOBODY4), None))
        }),
    ]
}

fn refuse(policy: Policy, names: &[&str]) -> Result<()> {
    let container = Container::new()?;
    let state = container.state_with(policy).to_string();
    let output = Hook::new()?.create_runtime(state.as_bytes())?;
    assert_refused(&output, names)?;
    container.cgroup.assert_bare()
}
