//! bind(2): nobody listens at the address of somebody else.

use arbitrary::{Result, Unstructured};
use oci_bind_hook_ebpf::abi::{Cause, Policy};
use oci_bind_hook_ebpf::decide::address::{ANY4, ANY6, Family, Kind, LOOPBACK6, mapped};
use oci_bind_hook_ebpf::decide::bind::{self, Asked, bind4, bind6};
use oci_bind_hook_ebpf::decide::loopback::{Found, port6};
use oci_bind_hook_ebpf::decide::verdict::{Action, Verdict};
use oci_bind_hook_ebpf::net::{Port, V6};

use super::network::Network;
use super::policy::{Says as _, any_address, any_protocol, any4, near_port};

/// `AF_UNSPEC`, `AF_INET` and `AF_INET6`.
const FAMILIES: [u32; 3] = [0, 2, 10];

pub fn check(policy: &Policy, input: &mut Unstructured<'_>) -> Result<()> {
    let mut asked = Asked {
        family: *input.choose(&FAMILIES)?,
        protocol: any_protocol(input)?,
        port: near_port(input)?,
        is_repeated: false,
    };
    let socket = Socket {
        v6only: input.arbitrary()?,
        can_be_dual: input.arbitrary()?,
        network: Network::any(policy, input)?,
    };
    asked.is_repeated = input.arbitrary()?;
    let address = any4(policy, input)?;
    let verdict = bind4(policy, asked, address);
    let verdict = verdict.map(|(address, port)| (mapped(address), port));
    hold(policy, asked, mapped(address), &socket, &verdict);

    let address = any_address(policy, input)?;
    let verdict = bind6(policy, asked, address, &socket);
    hold(policy, asked, address, &socket, &verdict);
    Ok(())
}

/// A socket that is about to be bound.
struct Socket<'a> {
    v6only: bool,
    can_be_dual: bool,
    network: Network<'a>,
}

impl bind::Server for Socket<'_> {
    fn v6only(&self) -> bool {
        self.v6only
    }

    fn can_be_dual(&self) -> bool {
        self.can_be_dual
    }

    fn find(&self, address: V6, port: Port, _: Port) -> Found {
        self.network.find(Family::V6(address), port)
    }

    fn find_unshared(&self, address: V6, port: Port) -> Found {
        self.find(address, port, port)
    }
}

fn hold(
    policy: &Policy,
    asked: Asked,
    address: V6,
    server: &Socket<'_>,
    verdict: &Verdict<(V6, Port)>,
) {
    if !policy.is_written() {
        assert_eq!(
            (verdict.action, verdict.cause),
            (Action::Deny, Cause::NoPolicy)
        );
        return;
    }
    let family = Family::of(address);
    let is_assigned = match family {
        Family::V4(_) => policy.own4().is_some(),
        Family::V6(_) => policy.own6().is_some(),
    };
    let port = policy.moved(asked.protocol, asked.port);
    let is_multicast = policy.is_multicast(asked.protocol, asked.port);
    let holds = match verdict.action {
        Action::Deny => matches!(
            verdict.cause,
            Cause::Family | Cause::NotAssigned | Cause::InUse
        ),
        Action::Pass => match policy.kind(family) {
            Kind::Loopback => policy.private().is_none(),
            _ if port.is_none() => true,
            Kind::Multicast | Kind::LinkLocal => is_assigned,
            Kind::Unspecified if is_multicast => is_assigned && port == Some(asked.port),
            Kind::Unspecified | Kind::Unicast => policy.owns(address) && port == Some(asked.port),
        },
        Action::Rewrite => {
            let (to, at) = verdict.rewrite;
            match family.kind() {
                Kind::Loopback => match (family, policy.private()) {
                    (_, None) => false,
                    (Family::V4(_), Some(own)) => to == mapped(own) && at == asked.port,
                    (Family::V6(_), Some(own)) => to == LOOPBACK6 && at == port6(own, asked.port),
                },
                // Of IPv4 alone, if that is assigned.
                Kind::Unspecified if is_multicast && to == mapped(ANY4) => {
                    address == ANY6
                        && !server.v6only
                        && policy.own6().is_none()
                        && policy.own4().is_some()
                        && port == Some(at)
                }
                _ => policy.owns(to) && port == Some(at),
            }
        }
        Action::Isolate => {
            let (to, at) = verdict.rewrite;
            let is_wanted = asked.is_repeated || family.kind() == Kind::Unspecified && !is_assigned;
            is_wanted && at == Port::ANY && Family::of(to).kind() == Kind::Loopback
        }
    };
    assert!(holds, "{asked:?} {family:?}: {verdict:?} under {policy:?}");
}
