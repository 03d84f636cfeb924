//! Delivers datagrams to sockets that the kernel's own lookup would not find, with a
//! program at the network devices ([`oci_bind_hook_ebpf::decide::deliver`]). This module
//! decides which addresses belong together, in a map, and at which devices the program
//! is.

mod clsact;
mod destinations;
mod ingress;
mod needs;

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result};
use oci_bind_hook_ebpf::abi::{Policy, flag};
use oci_bind_hook_ebpf::net::V4;
use rustix::process::Pid;

use crate::host::cgroup::Ids;
use crate::host::devices::Device;
use crate::host::netns::{self, Namespace, cookie};
use crate::kernel::catalogue::{DELIVER, DESTINATIONS_PIN, POLICY_PIN};
use crate::kernel::{bpffs, pins, syscall};
use destinations::Added;
use ingress::Ingress;
pub use ingress::NEEDS;
use needs::{Needs, needs};

/// How many times to list the policies, since one may be removed meanwhile.
const TRIES: u32 = 100;

/// The pins of one version that delivery needs, opened.
struct Delivery {
    ingress: Ingress,
    destinations: OwnedFd,
    policies: OwnedFd,
}

impl Delivery {
    /// Opens the pins; `None` if this version has no such program.
    fn open(pins: &Path) -> Result<Option<Self>> {
        let [program, destinations, policies] =
            [DELIVER, DESTINATIONS_PIN, POLICY_PIN].map(|name| pins::open(&pins.join(name)));
        let (Some(program), Some(destinations), Some(policies)) =
            (program?, destinations?, policies?)
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            ingress: Ingress::new(program)?,
            destinations,
            policies,
        }))
    }

    /// Returns all policies of this version that are in force; `None` if its layout is
    /// another one, or if cgroups keep being removed. `ended` is the id of a removed
    /// cgroup, which the kernel still finds for a moment before Linux 5.11.
    fn live(&self, ended: Option<u64>) -> Result<Option<Vec<Policy>>> {
        let map = self.policies.as_fd();
        if syscall::value_size(map).context("get the value size of the policy map")?
            != size_of::<Policy>()
        {
            return Ok(None);
        }
        let there = Ids::open()?;
        let listed = (0..TRIES).find_map(|_| syscall::map::policies(map).transpose());
        let Some(mut policies) = listed.transpose().context("list the policies")? else {
            return Ok(None);
        };
        // Without the privilege to ask, all count as existing.
        policies
            .retain(|&cgroup, _| Some(cgroup) != ended && there.contain(cgroup).unwrap_or(true));
        Ok(Some(policies.into_values().collect()))
    }
}

/// Sets up the delivery of datagrams in the policy's network namespace, as far as the
/// policy wants it and this kernel can do it, and records in the policy what is
/// delivered. The caller holds the lock.
///
/// # Errors
///
/// If the kernel refuses the program at a device, or a destination.
pub fn prepare(policy: &mut Policy, pins: &Path, namespace: &OwnedFd) -> Result<()> {
    let wanted = needs::wanted(policy);
    if wanted == 0 {
        return Ok(());
    }
    let delivery = Delivery::open(pins)?.with_context(|| pins::missing(&pins.join(DELIVER)))?;
    let map = delivery.destinations.as_fd();
    let mut flags = 0;
    for (flag, address) in needs::addresses(policy, wanted) {
        match destinations::add(map, address, policy.ipv4)? {
            Added::Yes => flags |= flag,
            Added::NoRoom(why) => log::warn!("datagrams are not delivered: {why}"),
        }
    }
    let attach = || {
        let cookie = cookie()?;
        if cookie.is_none() {
            flags &= !flag::LOOPBACK_UDP;
        }
        let is_possible = delivery.ingress.attach(&Needs::of(flags).devices()?)?;
        Ok(is_possible.then_some((flags, cookie.unwrap_or_default())))
    };
    if let Some((flags, cookie)) = netns::visit(namespace, attach)? {
        policy.flags |= flags;
        policy.cookie = cookie;
    } else {
        log::info!(
            "a UDP socket bound to :: has the IPv6 address alone, and one bound to 0.0.0.0 calls \
             loopback from the assigned address: {NEEDS}"
        );
    }
    Ok(())
}

/// Takes the programs of all versions off the devices of these network namespaces where
/// no policy needs them. A socket that was bound under a policy that has since gone
/// counts as long as it is open. The policy of the cgroup with the id `ended` does not
/// count.
///
/// # Errors
///
/// If a pin cannot be opened, or if the kernel cannot be asked or refuses.
pub fn refresh(namespaces: &[Namespace], ended: Option<u64>) -> Result<()> {
    let Some(_lock) = bpffs::lock_exclusive()? else {
        return Ok(());
    };
    for (delivery, live) in in_force(ended)? {
        delivery.refresh(namespaces, &live)?;
    }
    Ok(())
}

/// Does the same as [`refresh`] in all network namespaces, and removes destinations that
/// nobody needs any more.
///
/// # Errors
///
/// As for [`refresh`].
pub fn sweep(_: &bpffs::Lock) -> Result<()> {
    let all = netns::all()?;
    for (delivery, live) in in_force(None)? {
        let (_, sockets) = delivery.refresh(&all, &live)?;
        destinations::keep(delivery.destinations.as_fd(), &live, &sockets)?;
    }
    Ok(())
}

/// Opens the pins of all versions whose policies can be listed, and lists those.
fn in_force(ended: Option<u64>) -> Result<Vec<(Delivery, Vec<Policy>)>> {
    let mut all = Vec::new();
    for pins in pins::directories()? {
        if let Some(delivery) = Delivery::open(&pins)?
            && let Some(live) = delivery.live(ended)?
        {
            all.push((delivery, live));
        }
    }
    Ok(all)
}

impl Delivery {
    /// Returns whether the program is still anywhere where it is needed, and the IPv4
    /// addresses that sockets are bound to.
    fn refresh(&self, namespaces: &[Namespace], live: &[Policy]) -> Result<(bool, BTreeSet<V4>)> {
        let known = destinations::list(self.destinations.as_fd())?;
        let mut is_needed = false;
        let mut all = BTreeSet::new();
        for namespace in namespaces {
            // One after the other: there can be more namespaces than descriptors.
            let Ok(theirs) = namespace.open() else {
                continue;
            };
            let inode = netns::inode(&theirs)?;
            let visited = netns::visit(&theirs, || {
                let sockets = needs::sockets()?;
                let needs = needs(live, inode, &known, &sockets);
                Ok((self.ingress.withdraw(needs)?, sockets))
            });
            match visited {
                Ok((is_left, sockets)) => {
                    is_needed |= is_left;
                    all.extend(sockets);
                }
                // The owner of a namespace must not keep others from being looked at.
                // What this one needs is unknown, so everything counts as needed.
                Err(error) => {
                    log::warn!("look at network namespace {inode}: {error:#}");
                    is_needed = true;
                    all.extend(known.iter().map(|(_, own)| *own));
                }
            }
        }
        Ok((is_needed, all))
    }
}

/// Attaches the programs to the devices of this network namespace where a policy needs
/// them: to the one called `name`, or to all. Does nothing if no programs are pinned, or
/// if that device is gone.
///
/// # Errors
///
/// As for [`refresh`].
pub fn cover(name: Option<&str>) -> Result<()> {
    let Some(_lock) = bpffs::lock_shared()? else {
        return Ok(());
    };
    for (delivery, mut devices) in all_missing()? {
        devices.retain(|device| name.is_none_or(|name| device.name == name));
        delivery.ingress.attach(&devices)?;
    }
    Ok(())
}

/// Returns the names of the devices of this network namespace where a policy needs the
/// program, but where it is not attached.
///
/// # Errors
///
/// As for [`refresh`].
pub fn missing() -> Result<Vec<String>> {
    let Some(_lock) = bpffs::lock_shared()? else {
        return Ok(Vec::new());
    };
    let missing = all_missing()?.into_iter().flat_map(|(_, devices)| devices);
    Ok(missing.map(|device| device.name).collect())
}

/// Takes the program of a version that no cgroup uses off all devices, unless an open
/// socket still needs it. Returns whether one does. The caller holds the lock.
///
/// # Errors
///
/// As for [`refresh`].
pub fn withdraw(pins: &Path) -> Result<bool> {
    match Delivery::open(pins)? {
        None => Ok(false),
        Some(delivery) => Ok(delivery.refresh(&netns::all()?, &[])?.0),
    }
}

fn all_missing() -> Result<Vec<(Delivery, Vec<Device>)>> {
    let (inode, sockets) = (Namespace::Own.inode()?, needs::sockets()?);
    let mut all = Vec::new();
    for pins in pins::directories()? {
        let Some(delivery) = Delivery::open(&pins)? else {
            continue;
        };
        let live = delivery.live(None)?.unwrap_or_default();
        let known = destinations::list(delivery.destinations.as_fd())?;
        let needs = needs(&live, inode, &known, &sockets);
        let missing = delivery.ingress.missing(&needs.devices()?)?;
        all.push((delivery, missing));
    }
    Ok(all)
}

/// Returns our own network namespace, and that of a process.
pub fn namespaces(process: Option<Pid>) -> Vec<Namespace> {
    let theirs = process.map(Namespace::OfProcess);
    [Namespace::Own].into_iter().chain(theirs).collect()
}
