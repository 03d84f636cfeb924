//! Addresses of a VRF (virtual routing and forwarding), which only sockets that are bound to it
//! can use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, Policy};
use oci_bind_hook_tests::net::{ANY4, Net, add_vrf, ip};
use oci_bind_hook_tests::process::{self, Output};
use oci_bind_hook_tests::socket::{TCP4, at};
use rustix::io::Errno;

use crate::policy::create_runtime;

const VRF4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));
const VRF6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10));
const BOTH: Policy = Policy::of(Some(VRF4), Some(VRF6));

const ADD: &str = "\
addr add 203.0.113.10/24 dev v0
addr add 2001:db8:1::10/64 dev v0 nodad
";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Result<()>| {
        harness::trial(format!("an address in a VRF: {name}"), move || {
            Net::isolated(|_| {
                add_vrf(&[VRF4, VRF6])?;
                test()
            })
        })
    };
    vec![
        trial("a container", || {
            for (policy, address) in [
                (Policy::of(Some(VRF4), None), "ipv4 address 203.0.113.10"),
                (Policy::of(None, Some(VRF6)), "ipv6 address 2001:db8:1::10"),
            ] {
                let container = Container::new()?;
                let output = create_runtime(&Hook::new()?, &container, policy)?;
                refused(&output, address)?;
                container.cgroup.assert_bare()?;
            }
            Ok(())
        }),
        trial("attach", || {
            let cgroup = Cgroup::new()?;
            refused(
                &attach(&Hook::new()?, &cgroup)?,
                "ipv4 address 203.0.113.10",
            )?;
            cgroup.assert_bare()
        }),
        trial("check names it", || {
            let output = process::run(&mut Hook::new()?.command("check"), b"")?;
            for address in [VRF4, VRF6] {
                let said = format!("note     addresses: {address} belongs to a VRF");
                ensure!(output.stdout.contains(&said), "{output:?}");
            }
            Ok(())
        }),
        trial("another device has it too", || {
            ip(&["-batch", "-"], ADD)?;
            let cgroup = Cgroup::new()?;
            let output = attach(&Hook::new()?, &cgroup)?;
            ensure!(output.status.success(), "{output:?}");
            cgroup.assert_attached(BOTH)
        }),
        trial("sockets cannot be bound to it", || {
            let hook = Hook::with_config("require-local-address = false\n")?;
            let cgroup = Cgroup::new()?;
            hook.attach(&cgroup, BOTH)?;
            let socket = Agent::new(&cgroup)?.socket(TCP4)?;
            let bound = socket.bind(at(ANY4, 8080, 0));
            ensure!(bound == Err(Errno::ADDRNOTAVAIL), "{bound:?}");
            Ok(())
        }),
    ]
}

fn attach(hook: &Hook, cgroup: &Cgroup) -> Result<Output> {
    let mut attach = hook.command("attach");
    attach.arg("--cgroup").arg(cgroup.path());
    process::run(attach.args(BOTH.options()), b"")
}

fn refused(output: &Output, address: &str) -> Result<()> {
    let said = format!("{address} belongs to a VRF");
    ensure!(
        output.status.code() == Some(1) && output.stderr.contains(&said),
        "{output:?}"
    );
    Ok(())
}
