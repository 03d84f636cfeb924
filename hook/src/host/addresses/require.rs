//! Requires that addresses are configured in a network namespace, and usable.
//!
//! The kernel refuses a bind to an address that it does not have (EADDRNOTAVAIL), in the
//! middle of somebody else's program. It is better to say so before the container starts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::{Found, State, dump, list, mark_vrf, setting_of};
use crate::host::netlink::AddressChanges;
use crate::host::netns::Namespace;

/// What to make of a network namespace other than our own that has no addresses but
/// loopback and link-local ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconfigured {
    /// It lacks the address.
    Refused,
    /// It gets the address later: Docker, and podman with `--uidmap`, configure a
    /// container's network after the hooks have run.
    Accepted,
}

/// Checks that the addresses are configured in the namespace, on any device, and that a
/// socket could bind to them. Without addresses there is nothing to check. Waits at most
/// this long for addresses that are missing or tentative.
///
/// # Errors
///
/// An address is still missing or tentative, or failed duplicate address
/// detection; the process has ended; or its namespace may not be entered.
pub fn check(
    namespace: Namespace,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    unconfigured: Unconfigured,
    wait: Duration,
) -> Result<()> {
    let wanted: Vec<IpAddr> = [ipv4.map(IpAddr::V4), ipv6.map(IpAddr::V6)]
        .into_iter()
        .flatten()
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let is_new = unconfigured == Unconfigured::Accepted && !namespace.is_own()?;
    namespace.enter(|| look(&wanted, is_new, wait))
}

/// Checks the calling thread's namespace, which its engine may still have to configure if
/// it `is_new`.
fn look(wanted: &[IpAddr], is_new: bool, wait: Duration) -> Result<()> {
    let Some(fault) = first_fault(wanted, &having(wanted)?) else {
        return Ok(());
    };
    if is_new && list()?.is_empty() {
        log::warn!(
            "goes on without {}: the network namespace has only loopback and link-local \
             addresses, so the engine is expected to configure it after the hooks",
            fault.address
        );
        return Ok(());
    }
    if wait.is_zero() || !fault.may_pass() {
        return Err(fault.explain());
    }
    log::info!("waits up to {} s for {}", wait.as_secs(), fault.address);
    wait_for(wanted, wait)
}

/// Waits until the addresses are usable.
fn wait_for(wanted: &[IpAddr], wait: Duration) -> Result<()> {
    let deadline = Instant::now() + wait;
    let watching = "watch the addresses over netlink";
    // Before the first look, so that no change is missed.
    let changes = AddressChanges::subscribe().context(watching)?;
    loop {
        let Some(fault) = first_fault(wanted, &having(wanted)?) else {
            return Ok(());
        };
        if !fault.may_pass() {
            return Err(fault.explain());
        }
        if !changes.wait_until(deadline).context(watching)? {
            let waited = format!("waited {} s", wait.as_secs());
            return Err(fault.explain().context(waited));
        }
    }
}

/// Returns the addresses that cover the wanted ones.
fn having(wanted: &[IpAddr]) -> Result<Vec<Found>> {
    let mut found = dump::addresses(wanted)?;
    mark_vrf(&mut found)?;
    if found.iter().any(|found| found.is_in_vrf) {
        // The list ends with the first device that has an address, and others may have it
        // too, outside of the VRF.
        found = dump::addresses(&[])?;
        found.retain(|found| wanted.iter().any(|wanted| found.covers(*wanted)));
        mark_vrf(&mut found)?;
    }
    Ok(found)
}

/// An address that no socket can bind to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    address: IpAddr,
    state: Option<State>,
}

/// Returns the first wanted address that is not usable on any device. One that never will
/// be comes before the others.
pub(super) fn first_fault(wanted: &[IpAddr], found: &[Found]) -> Option<Fault> {
    let faults = wanted.iter().map(|address| Fault {
        address: *address,
        state: state_of(*address, found),
    });
    faults
        .filter(|fault| fault.state != Some(State::Usable))
        .min_by_key(Fault::may_pass)
}

/// Returns whether a socket can bind to an address: as on the device where it is most
/// usable, but a duplicate counts before a tentative one. `None` if no device has it.
fn state_of(wanted: IpAddr, found: &[Found]) -> Option<State> {
    let having = found.iter().filter(|found| found.covers(wanted));
    let states: Vec<_> = having.map(Found::state).collect();
    use State::{Duplicate, InVrf, Tentative, Usable};
    [Usable, Duplicate, Tentative, InVrf]
        .into_iter()
        .find(|state| states.contains(state))
}

impl Fault {
    /// Whether the address may become usable by itself.
    fn may_pass(&self) -> bool {
        matches!(self.state, None | Some(State::Tentative))
    }

    /// Returns the error that says what is wrong, and what to do.
    pub(super) fn explain(self) -> anyhow::Error {
        let address = self.address;
        let setting = setting_of(address);
        match self.state {
            Some(State::Duplicate) => anyhow!(
                "{setting} address {address} failed duplicate address detection: \
                 another host answered for it: free the address there, or assign another one"
            ),
            Some(State::InVrf) => anyhow!(
                "{setting} address {address} belongs to a VRF: only sockets that are bound to \
                 the VRF can use it: assign an address outside of it"
            ),
            Some(_) => anyhow!(
                "{setting} address {address} is still tentative: duplicate address detection \
                 has not finished: retry in a second, or add it with nodad"
            ),
            None => anyhow!(
                "{setting} address {address} is not configured in the network namespace: \
                 add it (ip address add {address} dev DEV), \
                 or set require-local-address = false in the configuration"
            ),
        }
    }
}
