//! What a verdict says besides its action.

mod common;

use common::{OWN6, v6};
use oci_bind_hook_ebpf::abi::Cause;
use oci_bind_hook_ebpf::decide::address::ANY6;
use oci_bind_hook_ebpf::decide::verdict::{Action, Path, Verdict};
use oci_bind_hook_ebpf::net::Port;

/// The numbers of asm-generic/errno.h.
#[test]
fn a_refused_call_fails_as_programs_expect() {
    for (cause, errno) in [
        (Cause::NoPolicy, 1),      // EPERM
        (Cause::Family, 97),       // EAFNOSUPPORT
        (Cause::NotAssigned, 99),  // EADDRNOTAVAIL
        (Cause::Immovable, 99),    // EADDRNOTAVAIL
        (Cause::Unreachable, 101), // ENETUNREACH
        (Cause::Refused, 111),     // ECONNREFUSED
        (Cause::InUse, 98),        // EADDRINUSE
    ] {
        assert_eq!(cause.errno(), errno, "{cause:?}");
    }
}

#[test]
fn a_path_from_an_address_goes_where_it_was_going() {
    let expected = Path {
        is_moved: true,
        source: v6(OWN6),
        is_redirected: false,
        destination: ANY6,
        port: Port::ANY,
    };
    assert_eq!(Path::from(v6(OWN6)), expected);
}

#[test]
fn a_verdict_keeps_its_action_and_cause() {
    for (verdict, action) in [
        (Verdict::pass(), Action::Pass),
        (Verdict::rewrite(1), Action::Rewrite),
        (Verdict::deny(Cause::InUse), Action::Deny),
    ] {
        assert_eq!(verdict.action, action);
        let converted = verdict.map(|address: u32| address + 1);
        assert_eq!(converted.action, action);
        assert_eq!(converted.cause, verdict.cause);
        assert_eq!(converted.rewrite, verdict.rewrite + 1);
    }
    assert_eq!(Verdict::<u32>::deny(Cause::InUse).cause, Cause::InUse);
}
