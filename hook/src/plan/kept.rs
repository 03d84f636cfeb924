//! What is to be known of a socket that was bound before its policy: pure.

use std::fmt::{self, Display};
use std::net::IpAddr;

use oci_bind_hook_ebpf::abi::{Policy, flag};
use oci_bind_hook_ebpf::decide::address::{Family, Kind, mapped};
use oci_bind_hook_ebpf::decide::bind::{self, Asked, Server};
use oci_bind_hook_ebpf::decide::loopback::Found;
use oci_bind_hook_ebpf::decide::policy::{assigned4, assigned6, private_loopback};
use oci_bind_hook_ebpf::decide::verdict::{Action, Verdict};
use oci_bind_hook_ebpf::net::{Port, V4, V6};

use crate::host::sockets::Listener;

/// How a socket differs from one that is bound under the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is at another address, where the guard drops what is sent to it.
    Dropped,
    /// It is at another address, and is called there as before.
    Open,
    /// It is at the wildcard address, and the guard leaves these.
    Narrowed(Vec<IpAddr>),
    /// It is at the wildcard address, and is called at all addresses as before.
    Wide,
    /// It is at a loopback address where calls of the cgroup's own do not go any more.
    Loopback,
    /// It was created in another cgroup, and nothing of the policy applies to it.
    Outside,
}

impl Display for Kept {
    /// Writes what follows the name of the socket in a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped => f.write_str(
                "keeps its address, and the guard drops what is sent there, so callers wait in vain",
            ),
            Self::Open => f.write_str("keeps its address, and is still reached there"),
            Self::Narrowed(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "keeps the wildcard address: it is reached at {}, and callers of the host's \
                     other addresses wait in vain",
                    addresses.join(" and ")
                )
            }
            Self::Wide => {
                f.write_str("keeps the wildcard address, and is still reached at every address")
            }
            Self::Loopback => f.write_str(
                "keeps its loopback address, where calls from within the cgroup do not go any more",
            ),
            Self::Outside => f.write_str(
                "was created in another cgroup, so the policy does not apply to it",
            ),
        }
    }
}

/// Decides what is to be known of a socket, if anything: nothing if it would get the same
/// address under the policy. `former` is the policy that was replaced; `is_inside` says
/// whether the socket was created in the cgroup or below.
pub fn kept(
    policy: &Policy,
    former: Option<&Policy>,
    listener: &Listener,
    is_inside: bool,
) -> Option<Kept> {
    let at = family(listener.address.ip());
    let stays = match at.kind() {
        Kind::Loopback => is_current_loopback(policy, former, at),
        _ => is_kept(policy, listener),
    };
    if stays {
        return None;
    }
    let is_guarded = policy.flags & flag::GUARD != 0;
    Some(match at.kind() {
        _ if !is_inside => Kept::Outside,
        Kind::Loopback => Kept::Loopback,
        Kind::Unspecified if !is_guarded => Kept::Wide,
        Kind::Unspecified => match reached(policy, listener) {
            nowhere if nowhere.is_empty() => Kept::Dropped,
            addresses => Kept::Narrowed(addresses),
        },
        // The guard lets these pass.
        Kind::LinkLocal | Kind::Multicast => Kept::Open,
        Kind::Unicast if is_guarded => Kept::Dropped,
        Kind::Unicast => Kept::Open,
    })
}

/// Whether calls to loopback from within the cgroup go to this address, now as before.
fn is_current_loopback(policy: &Policy, former: Option<&Policy>, at: Family) -> bool {
    let former = former.and_then(private_loopback);
    match (private_loopback(policy), former, at) {
        (None, None, _) => true,
        (Some(own), _, Family::V4(address)) => address == own,
        (None, Some(former), Family::V4(address)) => address != former,
        // All cgroups share `::1`, at ports of their own.
        (own, former, Family::V6(_)) => own == former,
    }
}

/// Whether a bind to the socket's address would have it there. The port does not matter.
fn is_kept(policy: &Policy, listener: &Listener) -> bool {
    let port = Port::new(listener.address.port());
    let asked = |family: i32| Asked {
        family: family.cast_unsigned(),
        protocol: listener.protocol.number().into(),
        port,
        is_repeated: false,
    };
    let at = family(listener.address.ip());
    let verdict: Verdict<(V6, Port)> = match listener.address.ip() {
        IpAddr::V4(address) => {
            let verdict = bind::bind4(policy, asked(libc::AF_INET), address.into());
            verdict.map(|(address, port)| (mapped(address), port))
        }
        IpAddr::V6(address) => {
            let server = Alone(listener.v6only);
            bind::bind6(policy, asked(libc::AF_INET6), address.into(), &server)
        }
    };
    let becomes = Family::of(verdict.rewrite.0);
    let is_wildcard = |at: Family| matches!(at.kind(), Kind::Unspecified);
    match verdict.action {
        Action::Pass => true,
        Action::Rewrite => becomes == at || (is_wildcard(becomes) && is_wildcard(at)),
        Action::Isolate | Action::Deny => false,
    }
}

/// Returns the assigned addresses that a wildcard socket hears.
fn reached(policy: &Policy, listener: &Listener) -> Vec<IpAddr> {
    let is_v6 = matches!(family(listener.address.ip()), Family::V6(_));
    let ipv4 = assigned4(policy).filter(|_| !(is_v6 && listener.v6only));
    let ipv6 = assigned6(policy).filter(|_| is_v6);
    let ipv4 = ipv4.map(|address| IpAddr::V4(address.into()));
    let ipv6 = ipv6.map(|address| IpAddr::V6(address.into()));
    ipv4.into_iter().chain(ipv6).collect()
}

fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(address) => Family::V4(V4::from(address)),
        IpAddr::V6(address) => Family::of(V6::from(address)),
    }
}

/// A server that has its port for itself, with its `IPV6_V6ONLY`.
struct Alone(bool);

impl Server for Alone {
    fn v6only(&self) -> bool {
        self.0
    }

    fn can_be_dual(&self) -> bool {
        true
    }

    fn find(&self, _: V6, _: Port, _: Port) -> Found {
        Found::Nobody
    }

    fn find_unshared(&self, _: V6, _: Port) -> Found {
        Found::Nobody
    }
}

#[cfg(test)]
mod tests;
