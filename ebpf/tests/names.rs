//! What a program is told about redirected peers.

mod common;

use common::{PRIVATE, auto, both, delivered, private, v4, v6};
use oci_bind_hook_ebpf::abi::{Policy, flag};
use oci_bind_hook_ebpf::decide::bound::Bound;
use oci_bind_hook_ebpf::decide::names::{
    PEERS, Redirect, Redirects, is_call, known_as, local_name, peer_name,
};
use oci_bind_hook_ebpf::net::{Endpoint, Port, V6};

fn endpoint(address: &str, port: u16) -> Endpoint {
    Endpoint::new(v6(address), Port::new(port))
}

/// A connect to 127.0.0.1 that went to 192.0.2.10.
fn redirect(port: u16) -> Redirect {
    Redirect {
        asked: endpoint("::ffff:127.0.0.1", port),
        actual: endpoint("::ffff:192.0.2.10", port),
    }
}

/// With any values in any two of their words, the port included.
#[test]
fn endpoints_are_the_same_if_all_of_them_is() {
    let with = |first: (usize, u32), second: (usize, u32)| {
        let mut words = [0; 5];
        words[first.0] = first.1;
        words[second.0] = second.1;
        let [one, two, three, four, port] = words;
        let port = Port(port.try_into().unwrap());
        Endpoint::new(V6([one, two, three, four]), port)
    };
    let places = (0..5).flat_map(|first| (0..5).map(move |second| (first, second)));
    for (first, second) in places {
        for bits in 0..1_u32 << 8 {
            let value = |shift: u32| bits >> shift & 0b11;
            let one = with((first, value(0)), (second, value(2)));
            let two = with((first, value(4)), (second, value(6)));
            let is_same = one.address == two.address && one.port == two.port;
            assert_eq!(one == two, is_same, "{one:?} and {two:?}");
        }
    }
}

#[test]
fn a_redirected_peer() {
    let mut redirects = Redirects::default();
    redirects.remember(redirect(80));
    let policy = auto(both());
    let name = |peer| peer_name(&policy, Some(&redirects), peer);
    assert_eq!(name(redirect(80).actual), Some(redirect(80).asked), "L1");
    assert_eq!(name(redirect(81).actual), None, "another port");
    assert_eq!(name(endpoint("::", 0)), None, "no peer");
    assert_eq!(peer_name(&policy, None, redirect(80).actual), None);
}

#[test]
fn a_forgotten_peer() {
    let mut redirects = Redirects::default();
    redirects.remember(redirect(80));
    redirects.forget(&redirect(80).actual);
    assert_eq!(redirects.asked(&redirect(80).actual), None);
}

#[test]
fn the_oldest_peer_makes_room() {
    let mut redirects = Redirects::default();
    let ports: Vec<u16> = (1..).take(PEERS + 1).collect();
    for &port in &ports {
        redirects.remember(redirect(port));
        redirects.remember(redirect(port));
    }
    assert_eq!(redirects.asked(&redirect(ports[0]).actual), None);
    for &port in &ports[1..] {
        let asked = redirects.asked(&redirect(port).actual);
        assert_eq!(asked, Some(redirect(port).asked), "port {port}");
    }
}

#[test]
fn the_unspecified_address_means_loopback() {
    assert_eq!(known_as(v6("::")), v6("::1"), "L5");
    assert_eq!(known_as(v6("::ffff:0.0.0.0")), v6("::ffff:127.0.0.1"), "L5");
    assert_eq!(known_as(v6("::ffff:127.0.0.2")), v6("::ffff:127.0.0.2"));
}

#[test]
fn the_own_name_of_a_moved_client() {
    let policy = auto(both());
    let own = endpoint("::ffff:192.0.2.10", 4000);
    let mut redirects = Redirects::default();
    redirects.remember(redirect(80));
    let name = |redirects: &Redirects, peer| local_name(&policy, Some(redirects), None, own, peer);
    assert_eq!(name(&redirects, redirect(80).actual), None, "not moved");
    redirects.is_moved = 1;
    let loopback = endpoint("::ffff:127.0.0.1", 4000);
    assert_eq!(name(&redirects, redirect(80).actual), Some(loopback), "L1");
    assert_eq!(name(&redirects, redirect(81).actual), None, "another peer");
    redirects.remember(Redirect {
        asked: endpoint("::1", 80),
        actual: redirect(80).actual,
    });
    let loopback = endpoint("::1", 4000);
    assert_eq!(name(&redirects, redirect(80).actual), Some(loopback), "L1");
}

#[test]
fn private_loopback_has_its_usual_name() {
    let policy = private(both());
    let actual = endpoint("::ffff:127.128.2.10", 80);
    let name = endpoint("::ffff:127.0.0.1", 80);
    assert_eq!(peer_name(&policy, None, actual), Some(name), "L4");
    let local = local_name(&policy, None, None, actual, actual);
    assert_eq!(local, Some(name), "L4");
}

/// As long as it has no peer: a peer could only be on loopback.
#[test]
fn an_isolated_socket_is_where_it_was_bound() {
    let policy = auto(both());
    let nobody = endpoint("::", 0);
    let actual = endpoint("::1", 40000);
    let bound = |address, port, is_told| Bound {
        asked: endpoint(address, port),
        actual: endpoint("::1", 0),
        is_told,
        ..Bound::default()
    };
    let name = |bound: Bound, peer| local_name(&policy, None, Some(&bound), actual, peer);
    let wildcard = name(bound("::", 80, 1), nobody);
    assert_eq!(wildcard, Some(endpoint("::", 80)), "B22");
    let chosen = name(bound("::", 0, 1), nobody);
    assert_eq!(chosen, Some(endpoint("::", 40000)), "B22: port 0");
    let other = name(bound("2001:db8::20", 80, 1), nobody);
    assert_eq!(other, Some(endpoint("2001:db8::20", 80)), "B23");
    assert_eq!(name(bound("::", 80, 1), endpoint("::1", 53)), None);
    assert_eq!(name(bound("2001:db8::20", 80, 0), nobody), None, "B4");
    // The bind has failed, and the socket is elsewhere.
    let elsewhere = Bound {
        actual: endpoint("::ffff:127.0.0.1", 0),
        ..bound("::", 80, 1)
    };
    assert_eq!(name(elsewhere, nobody), None, "B22");
}

/// Whether it has a peer or not.
#[test]
fn a_server_at_the_private_ipv6_loopback_is_where_it_was_bound() {
    let policy = private(both());
    let actual = endpoint("::1", 2000);
    let bound = Bound {
        asked: endpoint("::1", 80),
        actual,
        is_told: 1,
        owner: v4(PRIVATE),
        uid: 0,
    };
    for peer in [endpoint("::", 0), endpoint("::1", 40000)] {
        let name = local_name(&policy, None, Some(&bound), actual, peer);
        assert_eq!(name, Some(endpoint("::1", 80)), "L7: {peer:?}");
    }
    let elsewhere = endpoint("::1", 2001);
    let name = local_name(&policy, None, Some(&bound), elsewhere, elsewhere);
    assert_eq!(name, None, "L7: the bind has failed");
}

/// The container's own sockets call from there, and are known as 127.0.0.1.
#[test]
fn a_loopback_address_of_its_own_has_its_usual_name() {
    let actual = endpoint("::ffff:127.128.2.10", 80);
    let name = endpoint("::ffff:127.0.0.1", 80);
    let policy = delivered(auto(both()));
    assert_eq!(peer_name(&policy, None, actual), Some(name), "L6");
    // The address is known, but no datagrams to it are delivered.
    let undelivered = Policy {
        flags: policy.flags & !flag::LOOPBACK_UDP,
        ..policy
    };
    assert_eq!(peer_name(&undelivered, None, actual), None);
    let other = endpoint("::ffff:127.128.2.20", 80);
    assert_eq!(peer_name(&policy, None, other), None);
    // A socket that is bound there already has the name that its program asked for.
    let local = local_name(&policy, None, None, actual, actual);
    assert_eq!(local, None);
}

/// A peer that the socket has called does not count as a caller.
#[test]
fn a_call_from_loopback_is_noted() {
    let resolver = endpoint("::ffff:127.0.0.53", 53);
    let policy = delivered(auto(both()));
    let mut redirects = Redirects::default();
    assert!(is_call(&policy, || None, &resolver));
    assert!(is_call(&policy, || Some(&redirects), &resolver));
    assert!(
        !is_call(&auto(both()), || None, &resolver),
        "nothing is delivered"
    );
    for other in ["::ffff:192.0.2.1", "::1", "2001:db8::1"] {
        assert!(!is_call(&policy, || None, &endpoint(other, 53)), "{other}");
    }
    assert!(!redirects.is_answer(&resolver), "nobody has called");
    redirects.is_called = 1;
    assert!(
        !is_call(&policy, || Some(&redirects), &resolver),
        "it is known"
    );
    assert!(redirects.is_answer(&resolver));
    redirects.remember(Redirect {
        asked: resolver,
        actual: resolver,
    });
    assert!(!redirects.is_answer(&resolver), "it was called");
    redirects.is_called = 0;
    assert!(
        !is_call(&policy, || Some(&redirects), &resolver),
        "it answers"
    );
}
