//! Which datagrams are delivered to which socket.

mod common;

use common::{OWN4, OWN6, TCP, UDP, both, dual, v4, v6};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::address::{ANY4, mapped};
use oci_bind_hook_ebpf::decide::deliver::{Native, Socket, awaits, hears, leaves};
use oci_bind_hook_ebpf::decide::dual::{DualBind, dual_bind};
use oci_bind_hook_ebpf::decide::names::{Redirect, Redirects};
use oci_bind_hook_ebpf::net::{Endpoint, Port};

/// A socket at the assigned address.
fn socket() -> Socket {
    Socket {
        is_v6: true,
        local: v4(OWN4),
        device: 0,
        is_connected: false,
    }
}

#[test]
fn whose_datagram_it_is() {
    let there = |is_bound| Native {
        is_there: true,
        is_bound,
    };
    for (native, asked, chosen) in [
        (Native::default(), false, false),
        // Nobody else had the port when the program asked for it.
        (there(false), false, true),
        (there(true), true, true),
    ] {
        for (port, expected) in [(Port::new(80), asked), (Port::ANY, chosen)] {
            let bind = dual_bind(&dual(both()), UDP, port);
            assert_eq!(leaves(&bind, native), expected, "{native:?}, {port:?}");
        }
    }
}

#[test]
fn a_dual_stack_socket_hears_its_own_address() {
    let (own4, own6) = (v4(OWN4), v6(OWN6));
    let policy = dual(both());
    let bind = dual_bind(&policy, UDP, Port::new(80));
    assert!(hears(socket(), &bind, own4, &own6));
    let other = Policy {
        ipv6: v6("2001:db8::20"),
        ..policy
    };
    for bind in [
        DualBind::default(),
        dual_bind(&policy, TCP, Port::new(80)),
        dual_bind(&other, UDP, Port::new(80)),
    ] {
        assert!(!hears(socket(), &bind, own4, &own6), "{bind:?}");
    }
    let elsewhere = Socket {
        local: ANY4,
        ..socket()
    };
    let of_device = Socket {
        device: 2,
        ..socket()
    };
    let connected = Socket {
        is_connected: true,
        ..socket()
    };
    let transformed = Socket {
        is_v6: false,
        ..socket()
    };
    for socket in [elsewhere, of_device, connected, transformed] {
        assert!(!hears(socket, &bind, own4, &own6), "{socket:?}");
    }
}

#[test]
fn a_socket_awaits_whom_it_called() {
    let at = |address: &str, port: u16| Endpoint::new(mapped(v4(address)), Port::new(port));
    let resolver = at("127.0.0.53", 53);
    let mut redirects = Redirects::default();
    assert!(!awaits(socket(), &redirects, v4(OWN4), &resolver));
    redirects.remember(Redirect {
        asked: resolver,
        actual: resolver,
    });
    assert!(awaits(socket(), &redirects, v4(OWN4), &resolver));
    // The next call to it does not make the socket forget it.
    redirects.forget(&resolver);
    assert!(awaits(socket(), &redirects, v4(OWN4), &resolver));
    for somebody in [at("127.0.0.53", 5353), at("127.0.0.54", 53)] {
        assert!(!awaits(socket(), &redirects, v4(OWN4), &somebody));
    }
    let elsewhere = Socket {
        local: ANY4,
        ..socket()
    };
    assert!(!awaits(elsewhere, &redirects, v4(OWN4), &resolver));
}
