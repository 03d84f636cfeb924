//! The addresses of the host: which of them a container can be given.

use std::net::IpAddr;

use super::Finding;
use crate::host::addresses::{self, State};
use crate::input::config::Config;
use crate::plan::may_claim;

const SUBJECT: &str = "addresses";
/// How many addresses a finding names.
const SHOWN: usize = 8;

/// Reports which addresses a container can be given. `config` is `None` if it is not
/// understood, which another finding says.
pub fn findings(config: Option<&Config>) -> Vec<Finding> {
    let (found, config) = match (addresses::list(), config) {
        (Err(error), _) => {
            let remedy = "see whether ip address shows them";
            return vec![Finding::problem(SUBJECT, &format!("{error:#}"), remedy)];
        }
        (Ok(_), None) => return Vec::new(),
        (Ok(found), Some(config)) => (found, config),
    };
    let usable = found.iter().filter(|(_, state)| *state == State::Usable);
    let usable: Vec<_> = usable.map(|(address, _)| *address).collect();
    let unusable = found
        .iter()
        .filter_map(|(address, state)| unusable(*address, *state));
    [summary(&usable, config)]
        .into_iter()
        .chain(unusable)
        .collect()
}

/// Reports an address that nobody can bind to yet, or at all.
fn unusable(address: IpAddr, state: State) -> Option<Finding> {
    let (what, remedy) = match state {
        State::Usable => return None,
        State::Tentative => (
            "is tentative: duplicate address detection has not finished",
            "wait a second, or add the address with nodad",
        ),
        State::Duplicate => (
            "failed duplicate address detection: another host has it",
            "free the address there, or remove it here",
        ),
        State::InVrf => (
            "belongs to a VRF: only sockets that are bound to the VRF can use it",
            "assign other addresses to containers",
        ),
    };
    Some(Finding::note(SUBJECT, &format!("{address} {what}"), remedy))
}

/// Reports those that the configuration allows.
fn summary(usable: &[IpAddr], config: &Config) -> Finding {
    let claimable = usable
        .iter()
        .filter(|address| may_claim(**address, config).is_ok());
    let claimable: Vec<_> = claimable.map(ToString::to_string).collect();
    match (claimable.len(), usable.len()) {
        (0, 0) => Finding::note(
            SUBJECT,
            "only loopback and link-local addresses: there is nothing to assign",
            "ip address add ADDRESS/PREFIX dev DEVICE",
        ),
        (0, usable) => Finding::note(
            SUBJECT,
            &format!("the configuration does not allow any of this host's {usable} addresses"),
            "change allow or deny, or add the addresses that they list",
        ),
        (count, _) => {
            let more = match count.saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let shown = &claimable[..count.min(SHOWN)];
            Finding::ok(
                SUBJECT,
                &format!("{}{more} can be assigned", shown.join(", ")),
            )
        }
    }
}
