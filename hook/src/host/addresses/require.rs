//! Requires that addresses are configured in a network namespace, and usable.
//!
//! The kernel refuses a bind to an address that it does not have (EADDRNOTAVAIL), in the
//! middle of somebody else's program. It is better to say so before the container starts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, anyhow};

use super::{Found, State, dump, list, setting_of};
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
/// socket could bind to them. Without addresses there is nothing to check.
///
/// # Errors
///
/// An address is missing, still tentative, or failed duplicate address
/// detection; the process has ended; or its namespace may not be entered.
pub fn check(
    namespace: Namespace,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    unconfigured: Unconfigured,
) -> Result<()> {
    let wanted: Vec<IpAddr> = [ipv4.map(IpAddr::V4), ipv6.map(IpAddr::V6)]
        .into_iter()
        .flatten()
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let is_new = unconfigured == Unconfigured::Accepted && !namespace.is_own()?;
    namespace.enter(|| look(&wanted, is_new))
}

/// Checks the calling thread's namespace, which its engine may still have to configure if
/// it `is_new`.
fn look(wanted: &[IpAddr], is_new: bool) -> Result<()> {
    let found = dump::addresses(wanted)?;
    let Some(fault) = first_fault(wanted, &found) else {
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
    Err(fault.explain())
}

/// An address that no socket can bind to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    address: IpAddr,
    state: Option<State>,
}

/// Returns the first wanted address that is not usable on any device.
pub(super) fn first_fault(wanted: &[IpAddr], found: &[Found]) -> Option<Fault> {
    let mut faults = wanted.iter().map(|address| Fault {
        address: *address,
        state: state_of(*address, found),
    });
    faults.find(|fault| fault.state != Some(State::Usable))
}

/// Returns whether a socket can bind to an address: as on the device where it is most
/// usable, but a duplicate counts before a tentative one. `None` if no device has it.
fn state_of(wanted: IpAddr, found: &[Found]) -> Option<State> {
    let having = found.iter().filter(|found| found.covers(wanted));
    let states: Vec<_> = having.map(Found::state).collect();
    [State::Usable, State::Duplicate, State::Tentative]
        .into_iter()
        .find(|state| states.contains(state))
}

impl Fault {
    /// Returns the error that says what is wrong, and what to do.
    pub(super) fn explain(self) -> anyhow::Error {
        let address = self.address;
        let setting = setting_of(address);
        match self.state {
            Some(State::Duplicate) => anyhow!(
                "{setting} address {address} failed duplicate address detection: \
                 another host answered for it: free the address there, or assign another one"
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
