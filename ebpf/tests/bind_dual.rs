//! Which binds make dual-stack servers, and where one would take another server's calls.

mod common;

use common::Said::{Deny, Pass, Rewrite};
use common::{INET6, OWN6, Socket, TCP, UDP, UDP_LITE, asked, both, dual};
use common::{said, server, v6, with_port};
use oci_bind_hook_ebpf::abi::{Cause, Policy};
use oci_bind_hook_ebpf::decide::bind::{self, Asked};
use oci_bind_hook_ebpf::decide::dual::is_dual_bind;
use oci_bind_hook_ebpf::decide::loopback::Found;
use oci_bind_hook_ebpf::net::Port;

#[test]
fn a_dual_stack_server() {
    const MAPPED: &str = "::ffff:192.0.2.10";
    let in_use = Deny(Cause::InUse);
    let udp = Asked {
        protocol: UDP,
        ..asked(INET6)
    };
    let lite = Asked {
        protocol: UDP_LITE,
        ..asked(INET6)
    };
    let any_port = Asked {
        port: Port::ANY,
        ..asked(INET6)
    };
    let with = |wanted: &str, policy: Policy, call: Asked, v6only, can_be_dual, there: Found| {
        let socket = Socket {
            v6only,
            can_be_dual,
            find: server(OWN6, 80, there),
        };
        let wanted = v6(wanted);
        let verdict = said(bind::bind6(&policy, call, wanted, &socket));
        let is_dual = match verdict {
            Rewrite((actual, _)) => is_dual_bind(&policy, call.protocol, wanted, actual),
            _ => false,
        };
        (verdict.map(|(address, _)| address), is_dual)
    };
    let policy = dual(both());
    let (own4, own6) = (Rewrite(v6(MAPPED)), Rewrite(v6(OWN6)));
    let tcp = asked(INET6);
    let nobody = Found::Nobody;
    for (wanted, policy, call, v6only, can_be_dual, there, expected) in [
        ("::", policy, tcp, false, true, nobody, (own4, true)),
        ("::", policy, any_port, false, true, nobody, (own4, true)),
        ("::", policy, any_port, true, true, nobody, (own6, false)),
        (
            "::",
            policy,
            tcp,
            false,
            true,
            Found::Other,
            (in_use, false),
        ),
        // Another member of the same group.
        ("::", policy, tcp, false, true, Found::Dual, (own4, true)),
        ("::", policy, tcp, false, true, Found::Own, (in_use, false)),
        (
            "::",
            policy,
            tcp,
            false,
            true,
            Found::Steered,
            (in_use, false),
        ),
        (
            "::",
            policy,
            tcp,
            true,
            true,
            Found::Steered,
            (in_use, false),
        ),
        ("::", policy, tcp, false, false, nobody, (own6, false)),
        (
            "::",
            policy,
            tcp,
            false,
            false,
            Found::Dual,
            (in_use, false),
        ),
        ("::", both(), tcp, false, true, nobody, (own6, false)),
        ("::", policy, udp, false, true, nobody, (own4, true)),
        ("::", policy, udp, false, true, Found::Own, (in_use, false)),
        ("::", policy, udp, false, false, nobody, (own6, false)),
        ("::", policy, udp, true, true, nobody, (own6, false)),
        (OWN6, policy, udp, false, true, Found::Dual, (in_use, false)),
        ("::", policy, lite, false, true, nobody, (own6, false)),
        (OWN6, policy, lite, false, true, Found::Dual, (Pass, false)),
        ("::", policy, tcp, true, true, nobody, (own6, false)),
        ("::", policy, tcp, true, true, Found::Own, (own6, false)),
        ("::", policy, tcp, true, true, Found::Dual, (in_use, false)),
        (OWN6, policy, tcp, false, true, Found::Dual, (in_use, false)),
        (OWN6, policy, tcp, false, true, Found::Own, (Pass, false)),
        (
            "::ffff:0.0.0.0",
            policy,
            tcp,
            false,
            true,
            nobody,
            (own4, false),
        ),
        (
            "fe80::1",
            policy,
            tcp,
            false,
            true,
            Found::Dual,
            (Pass, false),
        ),
    ] {
        assert_eq!(
            with(wanted, policy, call, v6only, can_be_dual, there),
            expected,
            "B10: {call:?} {wanted}, v6only {v6only}, {can_be_dual}, {there:?}"
        );
    }
    let exempt = with_port(policy, 80, 0, &[TCP]);
    let found = with("::", exempt, tcp, false, true, Found::Own);
    assert_eq!(found, (Pass, false), "B18");
}
