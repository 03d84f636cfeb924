//! Names: a socket is told what it asked for last, and never its private
//! loopback address.

use arbitrary::{Result, Unstructured};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::address::{Family, mapped};
use oci_bind_hook_ebpf::decide::names::{PEERS, Redirect, Redirects, local_name, peer_name};
use oci_bind_hook_ebpf::net::{Endpoint, Port, V6};

use super::policy::{Says as _, any_address, near_port};

pub fn check(policy: &Policy, input: &mut Unstructured<'_>) -> Result<()> {
    let mut redirects = Redirects {
        is_moved: input.arbitrary()?,
        ..Redirects::default()
    };
    // Every peer that was called, as it was called last.
    let mut called: Vec<Redirect> = Vec::new();
    for _ in 0..input.int_in_range(0..=2 * PEERS)? {
        let actual = endpoint(policy, input)?;
        called.retain(|redirect| redirect.actual != actual);
        if input.arbitrary()? {
            redirects.forget(&actual);
            // One that was called by its real address all along is one to know.
            let told = redirects.asked(&actual);
            assert!(
                told.is_none_or(|told| told == actual),
                "{actual:?} was forgotten: {told:?}"
            );
        } else {
            let asked = endpoint(policy, input)?;
            let redirect = Redirect { asked, actual };
            redirects.remember(redirect);
            assert_eq!(redirects.asked(&actual), Some(asked), "{actual:?}");
            called.push(redirect);
        }
        // Older ones may be forgotten, but not mistaken.
        for Redirect { asked, actual } in &called {
            let told = redirects.asked(actual);
            assert!(
                told.is_none_or(|told| told == *asked),
                "{actual:?}: {told:?}"
            );
        }
    }
    let peer = endpoint(policy, input)?;
    let local = endpoint(policy, input)?;
    // What was asked for is told as it was, so it is not looked at here.
    if redirects.asked(&peer).is_none() {
        let name = peer_name(policy, Some(&redirects), peer);
        assert!(is_not_private(
            policy,
            name.map_or(peer.address, |name| name.address)
        ));
        let name = local_name(policy, Some(&redirects), None, local, peer);
        assert!(is_not_private(policy, name.unwrap_or(local).address));
    }
    Ok(())
}

fn is_not_private(policy: &Policy, address: V6) -> bool {
    let private = policy.private().map(mapped);
    private != Some(Family::of(address).to_v6())
}

/// An endpoint with a port: what a call can go to.
fn endpoint(policy: &Policy, input: &mut Unstructured<'_>) -> Result<Endpoint> {
    let port = near_port(input)?.max(Port::new(1));
    Ok(Endpoint::new(any_address(policy, input)?, port))
}
