//! Policies against sockets that were there before.

use std::net::SocketAddr;

use super::*;
use crate::host::sockets::Protocol;
use crate::input::config;
use crate::input::request::Request;
use crate::plan::decide;

const IPV4: &str = "192.0.2.10";
const IPV6: &str = "2001:db8::10";

/// A policy with the words of the command line.
fn policy(words: &str) -> Policy {
    let mut request = Request::default();
    for (name, value) in words.split(' ').filter_map(|word| word.split_once('=')) {
        match name {
            "ipv4" => request.ipv4 = Some(value.parse().unwrap()),
            "ipv6" => request.ipv6 = Some(value.parse().unwrap()),
            "loopback" => request.loopback = Some(value.parse().unwrap()),
            "guard" => request.guard = Some(value.parse().unwrap()),
            "ports" => request.ports = Some(value.parse().unwrap()),
            "exempt" => request.exempt = Some(value.parse().unwrap()),
            "multicast" => request.multicast = Some(value.parse().unwrap()),
            _ => panic!("{name}"),
        }
    }
    let config = config::parse("", "test.toml").unwrap();
    Policy::from(&decide(&request, &config).unwrap())
}

fn listener(protocol: Protocol, address: &str) -> Listener {
    Listener {
        protocol,
        address: address.parse::<SocketAddr>().unwrap(),
        v6only: false,
        cgroup: 7,
        inode: 8,
    }
}

fn tcp(words: &str, address: &str) -> Option<Kept> {
    kept(
        &policy(words),
        None,
        &listener(Protocol::Tcp, address),
        true,
    )
}

fn udp(words: &str, address: &str) -> Option<Kept> {
    kept(
        &policy(words),
        None,
        &listener(Protocol::Udp, address),
        true,
    )
}

fn narrowed(addresses: &[&str]) -> Option<Kept> {
    let addresses = addresses.iter().map(|address| address.parse().unwrap());
    Some(Kept::Narrowed(addresses.collect()))
}

#[test]
fn an_assigned_address_is_kept_in_silence() {
    for guard in ["on", "off"] {
        let words = format!("ipv4={IPV4} ipv6={IPV6} guard={guard} ports=80:8080");
        for address in [
            "192.0.2.10:80",
            "192.0.2.10:8080",
            "[2001:db8::10]:80",
            "[::ffff:192.0.2.10]:80",
            "[fe80::1]:80",
        ] {
            assert_eq!(tcp(&words, address), None, "{words} {address}");
            assert_eq!(udp(&words, address), None, "{words} {address}");
        }
    }
}

#[test]
fn another_address_is_cut_off_by_the_guard_alone() {
    for address in ["192.0.2.1:80", "[::ffff:192.0.2.1]:80", "[2001:db8::10]:80"] {
        let on = tcp("ipv4=192.0.2.10 guard=on", address);
        assert_eq!(on, Some(Kept::Dropped), "{address}");
        let off = udp("ipv4=192.0.2.10 guard=off", address);
        assert_eq!(off, Some(Kept::Open), "{address}");
    }
    let link = tcp("ipv4=192.0.2.10 guard=on", "[fe80::1]:80");
    assert_eq!(link, Some(Kept::Open));
}

#[test]
fn the_wildcard_is_narrowed_by_the_guard() {
    let (one, two) = ("ipv4=192.0.2.10", "ipv6=2001:db8::10");
    let both = format!("{one} {two}");
    for (words, address, expected) in [
        (one, "0.0.0.0:80", narrowed(&[IPV4])),
        (one, "[::]:80", narrowed(&[IPV4])),
        (two, "0.0.0.0:80", Some(Kept::Dropped)),
        (two, "[::]:80", narrowed(&[IPV6])),
        (&both, "0.0.0.0:80", narrowed(&[IPV4])),
        (&both, "[::]:80", narrowed(&[IPV4, IPV6])),
    ] {
        let on = tcp(&format!("{words} guard=on"), address);
        assert_eq!(on, expected, "{words} {address}");
        let off = tcp(&format!("{words} guard=off"), address);
        assert_eq!(off, Some(Kept::Wide), "{words} {address}");
    }
    let v6only = Listener {
        v6only: true,
        ..listener(Protocol::Tcp, "[::]:80")
    };
    let known = kept(&policy("ipv4=192.0.2.10 guard=on"), None, &v6only, true);
    assert_eq!(known, Some(Kept::Dropped));
}

#[test]
fn ports_that_are_left_alone_are_not_told_of() {
    let words = "ipv4=192.0.2.10 guard=on exempt=67/udp multicast=5353";
    for address in ["0.0.0.0:67", "0.0.0.0:5353", "[::]:5353", "224.0.0.251:53"] {
        assert_eq!(udp(words, address), None, "{address}");
    }
    assert!(tcp(words, "0.0.0.0:67").is_some());
}

#[test]
fn loopback_is_told_of_where_its_meaning_changes() {
    let between = |former: &str, now: &str, address: &str| {
        let words = |loopback: &str| policy(&format!("ipv4=192.0.2.10 loopback={loopback}"));
        let former = (!former.is_empty()).then(|| words(former));
        let listener = listener(Protocol::Tcp, address);
        kept(&words(now), former.as_ref(), &listener, true)
    };
    for (former, now, address) in [
        ("", "auto", "127.0.0.1:80"),
        ("host", "auto", "[::1]:80"),
        ("private", "private", "127.128.2.10:80"),
        ("private", "private", "[::1]:8081"),
        ("127.9.9.9", "127.9.9.9", "127.9.9.9:80"),
        ("private", "auto", "127.0.0.1:80"),
    ] {
        assert_eq!(
            between(former, now, address),
            None,
            "{former} {now} {address}"
        );
    }
    for (former, now, address) in [
        ("", "private", "127.0.0.1:80"),
        ("auto", "private", "[::1]:80"),
        ("private", "auto", "127.128.2.10:80"),
        ("private", "host", "[::1]:8081"),
        ("127.9.9.9", "private", "127.9.9.9:80"),
    ] {
        let known = between(former, now, address);
        assert_eq!(known, Some(Kept::Loopback), "{former} {now} {address}");
    }
}

#[test]
fn a_socket_of_another_cgroup_is_told_of_unless_it_is_in_place() {
    let outside = |address| {
        let listener = listener(Protocol::Tcp, address);
        kept(&policy("ipv4=192.0.2.10 guard=on"), None, &listener, false)
    };
    assert_eq!(outside("0.0.0.0:80"), Some(Kept::Outside));
    assert_eq!(outside("192.0.2.1:80"), Some(Kept::Outside));
    assert_eq!(outside("192.0.2.10:80"), None);
}
