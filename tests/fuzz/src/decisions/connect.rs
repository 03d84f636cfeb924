//! connect(2): nobody calls from the address of somebody else, nor reaches the
//! host's loopback when it is hidden.

use arbitrary::{Result, Unstructured};
use oci_bind_hook_ebpf::abi::{Cause, Policy, flag};
use oci_bind_hook_ebpf::decide::address::{ANY6, Family, Kind, mapped};
use oci_bind_hook_ebpf::decide::connect::{BoundTo, Client, Local, connect};
use oci_bind_hook_ebpf::decide::verdict::{Action, Path, Verdict};
use oci_bind_hook_ebpf::net::{Port, V6};

use super::network::Network;
use super::policy::{Says as _, any_address, any_protocol, any4, any6, near_port};

pub fn check(policy: &Policy, input: &mut Unstructured<'_>) -> Result<()> {
    let local_port = near_port(input)?;
    let client = Client {
        local: local(policy, local_port, input)?,
        local_port,
        protocol: any_protocol(input)?,
        can_be_mapped: input.arbitrary()?,
        port: near_port(input)?,
    };
    let destination = mapped(any4(policy, input)?);
    call(policy, destination, client, input)?;
    let destination = any6(policy, input)?;
    call(policy, destination, client, input)
}

fn call(
    policy: &Policy,
    destination: V6,
    client: Client,
    input: &mut Unstructured<'_>,
) -> Result<()> {
    let network = Network::any(policy, input)?;
    let to = Family::of(destination);
    let verdict = connect(policy, to, client, |at, port, _| network.find(at, port));
    hold(policy, destination, client, &network, &verdict);
    Ok(())
}

/// The local side of a socket.
pub fn local(policy: &Policy, port: Port, input: &mut Unstructured<'_>) -> Result<Local> {
    let port = port.number().into();
    Ok(if input.arbitrary()? {
        Local::of6(ANY6, port)
    } else if input.arbitrary()? {
        Local::of4(any4(policy, input)?, port)
    } else {
        Local::of6(any_address(policy, input)?, port)
    })
}

fn hold(
    policy: &Policy,
    destination: V6,
    client: Client,
    network: &Network<'_>,
    verdict: &Verdict<Path>,
) {
    if !policy.is_written() {
        assert_eq!(
            (verdict.action, verdict.cause),
            (Action::Deny, Cause::NoPolicy)
        );
        return;
    }
    let destination = Family::of(destination);
    let holds = if matches!(destination.kind(), Kind::Loopback | Kind::Unspecified) {
        to_loopback(policy, client, network, verdict)
    } else {
        elsewhere(policy, destination, client, verdict)
    };
    assert!(
        holds,
        "{destination:?} {client:?}: {verdict:?} under {policy:?}"
    );
}

fn to_loopback(
    policy: &Policy,
    client: Client,
    network: &Network<'_>,
    verdict: &Verdict<Path>,
) -> bool {
    let Path {
        is_moved,
        source,
        is_redirected,
        destination,
        port,
    } = verdict.rewrite;
    match verdict.action {
        Action::Isolate => false,
        Action::Pass => policy.private().is_none(),
        Action::Deny => policy.private().is_some(),
        Action::Rewrite => {
            let is_free = client.local.bound == BoundTo::Nothing;
            is_redirected
                && network.may_lead_to(destination, port)
                && is_moved == is_free
                && (source == destination || Family::of(source).kind() == Kind::Loopback)
        }
    }
}

fn elsewhere(
    policy: &Policy,
    destination: Family,
    client: Client,
    verdict: &Verdict<Path>,
) -> bool {
    let own = match destination {
        Family::V4(_) => policy.own4().map(mapped),
        Family::V6(_) => policy.own6(),
    };
    let Some(own) = own else {
        return (verdict.action, verdict.cause) == (Action::Deny, Cause::Unreachable);
    };
    match verdict.action {
        Action::Isolate => false,
        Action::Pass => {
            let is_link_local =
                matches!(destination, Family::V6(_)) && destination.kind() == Kind::LinkLocal;
            let is_guarded = policy.flags & flag::GUARD != 0;
            let is_exempt =
                !is_guarded && policy.moved(client.protocol, client.local_port).is_none();
            is_link_local
                || client.local.bound == BoundTo::Address && may_stay(policy, client.local.address)
                || client.local.bound != BoundTo::Nothing && is_exempt
        }
        Action::Deny => {
            client.local.bound != BoundTo::Nothing
                && !policy.owns(client.local.address)
                && verdict.cause == Cause::Immovable
        }
        Action::Rewrite => {
            client.local.bound == BoundTo::Nothing && verdict.rewrite == Path::from(own)
        }
    }
}

/// Whether a socket at this address keeps it.
fn may_stay(policy: &Policy, address: V6) -> bool {
    match (Family::of(address), Family::of(address).kind()) {
        (Family::V4(address), Kind::Loopback) => {
            policy.private().is_none_or(|private| private == address)
        }
        (Family::V6(_), Kind::Loopback | Kind::LinkLocal) => true,
        _ => policy.owns(address),
    }
}
