//! sendto(2) and sendmsg(2): no datagram leaves from the address of somebody
//! else, nor reaches the host's loopback when it is hidden.

use arbitrary::{Result, Unstructured};
use oci_bind_hook_ebpf::abi::{Cause, Policy, flag};
use oci_bind_hook_ebpf::decide::address::{Family, Kind, mapped};
use oci_bind_hook_ebpf::decide::sendmsg::{Datagram, sendmsg};
use oci_bind_hook_ebpf::decide::verdict::{Action, Path, Verdict};
use oci_bind_hook_ebpf::net::V6;

use super::connect::local;
use super::network::Network;
use super::policy::{Says as _, any_protocol, any4, any6, near_port};

/// One datagram, IPv4 addresses IPv4-mapped.
#[derive(Clone, Copy, Debug)]
struct Sent {
    destination: V6,
    source: V6,
    datagram: Datagram,
}

pub fn check(policy: &Policy, input: &mut Unstructured<'_>) -> Result<()> {
    let datagram = Datagram {
        local: local(policy, near_port(input)?, input)?,
        protocol: any_protocol(input)?,
        port: near_port(input)?,
        is_connected: input.arbitrary()?,
        is_peer_on_loopback: input.arbitrary()?,
        is_answer: input.arbitrary()?,
        is_at_home: input.arbitrary()?,
    };
    let (destination, source) = (any4(policy, input)?, any4(policy, input)?);
    let sent = (Family::V4(destination), mapped(source));
    send(policy, sent, datagram, input)?;
    let (destination, source) = (any6(policy, input)?, any6(policy, input)?);
    send(policy, (Family::V6(destination), source), datagram, input)
}

fn send(
    policy: &Policy,
    (destination, source): (Family, V6),
    datagram: Datagram,
    input: &mut Unstructured<'_>,
) -> Result<()> {
    let network = Network::any(policy, input)?;
    let verdict = sendmsg(policy, destination, source, datagram, |at, port, _| {
        network.find(at, port)
    });
    let sent = Sent {
        destination: destination.to_v6(),
        source,
        datagram,
    };
    hold(policy, sent, &network, &verdict);
    Ok(())
}

fn hold(policy: &Policy, sent: Sent, network: &Network<'_>, verdict: &Verdict<Path>) {
    if !policy.is_written() {
        assert_eq!(
            (verdict.action, verdict.cause),
            (Action::Deny, Cause::NoPolicy)
        );
        return;
    }
    let destination = Family::of(sent.destination);
    let own = match destination {
        Family::V4(_) => policy.own4().map(mapped),
        Family::V6(_) => policy.own6(),
    };
    let to_loopback = matches!(destination.kind(), Kind::Loopback | Kind::Unspecified);
    let local = Family::of(sent.datagram.local.address).kind();
    let is_named = Family::of(sent.source).kind() == Kind::Unicast;
    let to_link = matches!(destination, Family::V6(_)) && destination.kind() == Kind::LinkLocal;
    let is_tied = local == Kind::Loopback && sent.datagram.is_peer_on_loopback && !to_loopback;
    let path = verdict.rewrite;
    let holds = match verdict.action {
        _ if is_tied => verdict.action == Action::Deny,
        Action::Isolate => false,
        Action::Pass => {
            let is_fixed = sent.datagram.is_connected || policy.private().is_none();
            let is_kept = to_loopback || local == Kind::Loopback || to_link && own.is_some();
            let is_chosen = Family::of(sent.source).kind() != Kind::Unspecified;
            (!to_loopback || is_fixed && is_chosen)
                && (own == Some(sent.source) || !is_named && is_kept)
        }
        Action::Deny => match verdict.cause {
            Cause::Refused => to_loopback && policy.private().is_some(),
            _ => own.is_none(),
        },
        Action::Rewrite if path.is_redirected => {
            let is_loopback = Family::of(path.source).kind() == Kind::Loopback;
            // To where it was going, to be remembered, from a socket at the assigned
            // address whose replies are delivered.
            let is_called = sent.datagram.port == path.port
                && policy.flags & flag::LOOPBACK_UDP != 0
                && own == Some(sent.datagram.local.address)
                && Family::of(path.destination).kind() == Kind::Loopback;
            to_loopback
                && (is_called || network.may_lead_to(path.destination, path.port))
                && (path.is_moved || !is_named || own == Some(sent.source))
                && (is_loopback || path.source == path.destination)
        }
        // Where the kernel would choose a source on loopback, loopback is.
        Action::Rewrite => {
            let is_loopback = Family::of(path.source).kind() == Kind::Loopback;
            path.is_moved && (own == Some(path.source) || to_loopback && is_loopback)
        }
    };
    assert!(holds, "{sent:?}: {verdict:?} under {policy:?}");
}
