use super::*;

const OWN: V4 = V4::from_octets([192, 0, 2, 10]);
const HERE: u64 = 1;
const ELSEWHERE: u64 = 2;

fn policy(flags: u32) -> Policy {
    Policy {
        flags: flags | flag::IPV4,
        ipv4: OWN,
        namespace: HERE,
        ..Policy::default()
    }
}

#[test]
fn what_a_policy_wants() {
    for (flags, expected) in [
        (0, 0),
        (flag::DUAL | flag::IPV6, flag::DUAL_UDP),
        (flag::LOOPBACK_AUTO, flag::LOOPBACK_UDP),
        (flag::LOOPBACK_PRIVATE, flag::LOOPBACK_UDP),
    ] {
        assert_eq!(wanted(&policy(flags)), expected, "{flags:#x}");
    }
    let ipv6 = Policy {
        flags: flag::IPV6 | flag::LOOPBACK_AUTO,
        ..Policy::default()
    };
    assert_eq!(wanted(&ipv6), 0);
}

#[test]
fn at_which_devices() {
    let device = |index, is_port| Device {
        index,
        name: "DEVICE".to_owned(),
        is_port,
        is_in_vrf: false,
    };
    let (lo, other, port) = (device(LOOPBACK, false), device(7, false), device(8, true));
    let (all, some) = (flag::DUAL_UDP, flag::LOOPBACK_UDP);
    for (flags, expected) in [
        (0, [false, false, false]),
        (!(all | some), [false, false, false]),
        (some, [true, false, false]),
        // A port's packets enter by its master.
        (all, [true, true, false]),
        (all | some, [true, true, false]),
    ] {
        let needs = Needs::of(flags);
        let found = [&lo, &other, &port].map(|device| needs.include(device));
        assert_eq!(found, expected, "{flags:#x}");
    }
    let names = |flags| {
        let devices = Needs::of(flags).devices().unwrap();
        devices
            .into_iter()
            .map(|device| device.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(0), Vec::<String>::new());
    assert_eq!(names(some), ["lo"]);
    assert!(names(all).contains(&"lo".to_owned()));
}

#[test]
fn which_addresses_are_delivered() {
    let policy = Policy {
        ipv6: V6([1, 2, 3, 4]),
        loopback: V4::from_octets([127, 128, 2, 10]),
        ..policy(0)
    };
    let (all, some) = (flag::DUAL_UDP, flag::LOOPBACK_UDP);
    let dual = (all, policy.ipv6);
    let loopback = (some, mapped(policy.loopback));
    for (flags, expected) in [
        (0, vec![]),
        (!(all | some), vec![]),
        (all, vec![dual]),
        (some, vec![loopback]),
        (all | some, vec![dual, loopback]),
    ] {
        let found: Vec<_> = addresses(&policy, flags).collect();
        assert_eq!(found, expected, "{flags:#x}");
    }
}

#[test]
fn a_socket_is_found() {
    let socket = std::net::UdpSocket::bind("[::ffff:127.9.8.7]:0").unwrap();
    let own = V4::from_octets([127, 9, 8, 7]);
    assert!(sockets().unwrap().contains(&own));
    assert!(!sockets().unwrap().contains(&OWN));
    drop(socket);
}

#[test]
fn what_is_needed() {
    let destination = |address| {
        let key = Destination { address, slot: 0 };
        (key, OWN)
    };
    let dual = destination(V6([1, 2, 3, 4]));
    let loopback = destination(mapped(V4::from_octets([127, 128, 2, 10])));
    let (nobody, somebody) = (BTreeSet::new(), BTreeSet::from([OWN]));
    let (all, some) = (flag::DUAL_UDP, flag::LOOPBACK_UDP);
    for (flags, inode, known, sockets, expected) in [
        (0, HERE, vec![], &nobody, 0),
        (some, HERE, vec![], &nobody, some),
        (some, ELSEWHERE, vec![], &nobody, 0),
        (all | some, HERE, vec![], &nobody, all),
        // A socket is left of a policy that is gone.
        (some, ELSEWHERE, vec![loopback, dual], &somebody, all),
        (some, ELSEWHERE, vec![loopback], &somebody, 0),
        (some, ELSEWHERE, vec![dual], &nobody, 0),
    ] {
        let found = needs(&[policy(flags)], inode, &known, sockets);
        assert_eq!(found, Needs::of(expected), "{flags:#x} {inode} {known:?}");
    }
}

#[test]
fn the_address_of_a_socket() {
    let line = |address: &str| {
        format!("  12: {address}:0035 00000000000000000000000000000000:0000 07 00000000:00000000")
    };
    let words = |words: [u32; 4]| words.map(|word| format!("{word:08X}")).concat();
    assert_eq!(bound_to(&line(&words(mapped(OWN).0))), Some(OWN));
    assert_eq!(bound_to(&line(&words([0; 4]))), None);
    for malformed in [
        "",
        "  sl  local_address remote_address",
        "1: é:0",
        "1: 00000000:0",
    ] {
        assert_eq!(bound_to(malformed), None, "{malformed}");
    }
}
