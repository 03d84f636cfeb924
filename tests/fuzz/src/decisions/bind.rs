//! bind(2): nobody listens at the address of somebody else.

use arbitrary::{Result, Unstructured};
use oci_bind_hook_ebpf::abi::{Cause, Policy};
use oci_bind_hook_ebpf::address::{Family, Kind, V6, mapped};
use oci_bind_hook_ebpf::bind::{Asked, bind4, bind6};
use oci_bind_hook_ebpf::port::Port;
use oci_bind_hook_ebpf::verdict::{Action, Verdict};

use super::policy::{Says as _, any_address, any_protocol, any4, near_port};

/// `AF_UNSPEC`, `AF_INET` and `AF_INET6`.
const FAMILIES: [u32; 3] = [0, 2, 10];

pub fn check(policy: &Policy, input: &mut Unstructured<'_>) -> Result<()> {
    let asked = Asked {
        family: *input.choose(&FAMILIES)?,
        protocol: any_protocol(input)?,
        port: near_port(input)?,
    };
    let address = any4(policy, input)?;
    let verdict = bind4(policy, asked, address);
    let verdict = verdict.map(|(address, port)| (mapped(address), port));
    hold(policy, asked, mapped(address), &verdict);

    let address = any_address(policy, input)?;
    let v6only = input.arbitrary()?;
    let verdict = bind6(policy, asked, address, || v6only);
    hold(policy, asked, address, &verdict);
    Ok(())
}

fn hold(policy: &Policy, asked: Asked, address: V6, verdict: &Verdict<(V6, Port)>) {
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
    let holds = match verdict.action {
        Action::Deny => verdict.cause == Cause::Family || verdict.cause == Cause::NotAssigned,
        Action::Pass => match family.kind() {
            Kind::Loopback => policy.private().is_none(),
            _ if port.is_none() => true,
            Kind::Multicast | Kind::LinkLocal => is_assigned,
            Kind::Unspecified | Kind::Unicast => policy.owns(address) && port == Some(asked.port),
        },
        Action::Rewrite => {
            let (to, at) = verdict.rewrite;
            match family.kind() {
                Kind::Loopback => policy.private().map(mapped) == Some(to) && at == asked.port,
                _ => policy.owns(to) && port == Some(at),
            }
        }
    };
    assert!(holds, "{asked:?} {family:?}: {verdict:?} under {policy:?}");
}
