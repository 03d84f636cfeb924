use proptest::prelude::*;

use super::ports::tests::range;
use super::*;

fn ipv4_error(value: &str) -> String {
    parse_ipv4(value, AllowLoopback::No)
        .unwrap_err()
        .to_string()
}

fn ipv6_error(value: &str) -> String {
    parse_ipv6(value, AllowLoopback::No)
        .unwrap_err()
        .to_string()
}

#[test]
fn ipv4_errors_name_the_reason_and_the_remedy() {
    assert_eq!(
        ipv4_error("10.0.0"),
        "\"10.0.0\" is not an IPv4 address: write one unicast address such as 192.0.2.10"
    );
    for (value, reason) in [
        ("", "not an IPv4 address"),
        ("192.0.2.1/24", "not an IPv4 address"),
        ("192.0.2.010", "not an IPv4 address"),
        ("192.0.2.1,192.0.2.2", "not an IPv4 address"),
        ("2001:db8::1", "not an IPv4 address"),
        ("0.0.0.0", "the unspecified address"),
        ("224.0.0.251", "a multicast address"),
        ("255.255.255.255", "the broadcast address"),
        ("127.0.0.1", "a loopback address"),
    ] {
        assert!(ipv4_error(value).contains(reason), "{value}");
    }
}

#[test]
fn ipv6_errors_name_the_reason_and_the_remedy() {
    for (value, reason) in [
        ("", "not an IPv6 address"),
        ("192.0.2.1", "not an IPv6 address"),
        ("[2001:db8::1]", "not an IPv6 address"),
        ("::", "the unspecified address"),
        ("ff02::1", "a multicast address"),
        ("fe80::1", "a link-local address, which needs a zone"),
        ("febf::1", "a link-local address"),
        ("fe80::1%eth0", "has a zone"),
        ("::1", "the loopback address"),
        ("::ffff:192.0.2.1", "assign 192.0.2.1 as the IPv4 address"),
    ] {
        assert!(ipv6_error(value).contains(reason), "{value}");
    }
}

#[test]
fn loopback_needs_the_opt_in() {
    assert!(parse_ipv4("127.0.0.2", AllowLoopback::Yes).is_ok());
    assert!(parse_ipv6("::1", AllowLoopback::Yes).is_ok());
    assert!(parse_ipv6("::ffff:127.0.0.1", AllowLoopback::Yes).is_err());
    assert!(parse_ipv4("0.0.0.0", AllowLoopback::Yes).is_err());
}

#[test]
fn loopback_policies() {
    assert_eq!("auto".parse::<Loopback>().unwrap(), Loopback::Auto);
    assert_eq!(" host\n".parse::<Loopback>().unwrap(), Loopback::Host);
    assert_eq!(
        "private".parse::<Loopback>().unwrap(),
        Loopback::Private(None)
    );
    for value in ["127.0.0.2", "127.0.1.0", "127.255.255.254"] {
        let address = value.parse().unwrap();
        assert_eq!(
            value.parse::<Loopback>().unwrap(),
            Loopback::Private(Some(address))
        );
    }
    for value in [
        "",
        "Auto",
        "127.0.0.0",
        "127.0.0.1",
        "127.255.255.255",
        "192.0.2.1",
        "::1",
    ] {
        let error = value.parse::<Loopback>().unwrap_err().to_string();
        assert!(error.contains("write auto, host, private, or"), "{error}");
    }
}

#[test]
fn guard_is_on_or_off() {
    assert_eq!("on".parse::<Guard>().unwrap(), Guard::On);
    assert_eq!("off".parse::<Guard>().unwrap(), Guard::Off);
    for value in ["", "true", "ON", "1"] {
        assert!(value.parse::<Guard>().is_err(), "{value}");
    }
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![
        Just(Protocol::Tcp),
        Just(Protocol::Udp),
        Just(Protocol::Both)
    ]
}

/// Text that is close to a value, so that it often passes the first check.
fn near_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9a-f:./,%a-z \t\n]{0,40}",
        any::<Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<Ipv6Addr>().prop_map(|address| address.to_string()),
        any::<Ipv4Addr>().prop_map(|address| address.to_ipv6_mapped().to_string()),
        "(ff0[0-9a-f]|fe[89ab]0|::ffff)::[0-9a-f]{1,4}",
    ]
}

/// Any request that a container can make, with moved ports below 2000, exempt ports from
/// 2000 on, and multicast ports from 40000 on.
pub(crate) fn request() -> impl Strategy<Value = Request> {
    let ipv4 = (prop_oneof![1_u8..=126, 128_u8..=223], any::<[u8; 3]>())
        .prop_map(|(first, [a, b, c])| Ipv4Addr::new(first, a, b, c));
    let ipv6 = any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits >> 3 | 1 << 125));
    (
        prop_oneof![
            ipv4.clone().prop_map(|ipv4| (Some(ipv4), None)),
            ipv6.clone().prop_map(|ipv6| (None, Some(ipv6))),
            (ipv4, ipv6).prop_map(|(ipv4, ipv6)| (Some(ipv4), Some(ipv6))),
        ],
        prop::option::of(loopback()),
        prop::option::of(ports()),
        prop::option::of(exempt()),
        multicast_and_guard(),
    )
        .prop_map(
            |((ipv4, ipv6), loopback, ports, exempt, (multicast, guard))| Request {
                ipv4,
                ipv6,
                loopback,
                ports,
                exempt,
                multicast,
                guard,
            },
        )
}

fn loopback() -> impl Strategy<Value = Loopback> {
    prop_oneof![
        Just(Loopback::Auto),
        Just(Loopback::Host),
        Just(Loopback::Private(None)),
        (0x7f00_0002_u32..=0x7fff_fffe)
            .prop_map(|bits| Loopback::Private(Some(Ipv4Addr::from_bits(bits)))),
    ]
}

/// Mappings that do not overlap: each is in its own hundred.
fn ports() -> impl Strategy<Value = PortMappings> {
    let target = prop_oneof![
        (1_u16..).prop_map(|both| vec![(both, "")]),
        (1_u16..).prop_map(|tcp| vec![(tcp, "/tcp")]),
        (1_u16.., 1_u16..).prop_map(|(tcp, udp)| vec![(udp, "/udp"), (tcp, "/tcp")]),
    ];
    let more = prop_oneof![Just(0_u16), 0_u16..99];
    proptest::collection::btree_map(0_u16..20, (target, more), 1..6).prop_map(|ports| {
        let items = ports.iter().flat_map(|(hundred, (actual, more))| {
            actual.iter().map(move |(actual, protocol)| {
                let (asked, actual) = (100 * hundred + 1, (*actual).min(u16::MAX - more));
                let asked = range(asked, asked + more);
                let actual = range(actual, actual + more);
                format!("{asked}:{actual}{protocol}")
            })
        });
        items.collect::<Vec<_>>().join(",").parse().unwrap()
    })
}

fn exempt() -> impl Strategy<Value = ExemptPorts> {
    let more = prop_oneof![Just(0_u16), 0_u16..9000];
    proptest::collection::vec((2000_u16..30000, more, protocol()), 1..6).prop_map(|ports| {
        let items = ports
            .iter()
            .map(|(port, more, protocol)| format!("{}{protocol}", range(*port, port + more)));
        items.collect::<Vec<_>>().join(",").parse().unwrap()
    })
}

/// Multicast ports need the guard, which is on unless a request says otherwise.
fn multicast_and_guard() -> impl Strategy<Value = (Option<MulticastPorts>, Option<Guard>)> {
    let more = prop_oneof![Just(0_u16), 0_u16..9000];
    let ports = proptest::collection::vec((40000_u16..50000, more), 1..4).prop_map(|ports| {
        let items = ports
            .iter()
            .map(|(port, more)| range(*port, port + more).to_string());
        Some(items.collect::<Vec<_>>().join(",").parse().unwrap())
    });
    let guard = || prop::option::of(prop_oneof![Just(Guard::On), Just(Guard::Off)]);
    prop_oneof![
        guard().prop_map(|guard| (None, guard)),
        (ports, prop::option::of(Just(Guard::On))),
    ]
}

proptest! {
    #[test]
    fn accepted_ipv4_is_unicast(value in near_value()) {
        if let Ok(address) = parse_ipv4(&value, AllowLoopback::No) {
            prop_assert!(!address.is_unspecified() && !address.is_multicast());
            prop_assert!(!address.is_broadcast() && !address.is_loopback());
            prop_assert_eq!(parse_ipv4(&address.to_string(), AllowLoopback::No).unwrap(), address);
        }
    }

    #[test]
    fn accepted_ipv6_is_unicast(value in near_value()) {
        if let Ok(address) = parse_ipv6(&value, AllowLoopback::No) {
            prop_assert!(!address.is_unspecified() && !address.is_multicast());
            prop_assert!(!address.is_loopback() && !address.is_unicast_link_local());
            prop_assert!(address.to_ipv4_mapped().is_none());
            prop_assert_eq!(parse_ipv6(&address.to_string(), AllowLoopback::No).unwrap(), address);
        }
    }

    #[test]
    fn errors_are_one_line(value in near_value()) {
        let errors = [
            parse_ipv4(&value, AllowLoopback::No).err(),
            parse_ipv6(&value, AllowLoopback::No).err(),
            value.parse::<Loopback>().err(),
            value.parse::<Guard>().err(),
            value.parse::<PortMappings>().err(),
            value.parse::<ExemptPorts>().err(),
            value.parse::<MulticastPorts>().err(),
        ];
        for error in errors.into_iter().flatten() {
            prop_assert!(!error.to_string().contains(char::is_control));
        }
    }

    #[test]
    fn surrounding_blanks_do_not_matter(
        value in near_value(), before in "[ \t\n]{0,3}", after in "[ \t\r\n]{0,3}"
    ) {
        let blank = format!("{before}{value}{after}");
        let no = AllowLoopback::No;
        prop_assert_eq!(parse_ipv4(&blank, no).ok(), parse_ipv4(&value, no).ok());
        prop_assert_eq!(parse_ipv6(&blank, no).ok(), parse_ipv6(&value, no).ok());
        prop_assert_eq!(blank.parse::<Loopback>().ok(), value.parse().ok());
        prop_assert_eq!(blank.parse::<Guard>().ok(), value.parse().ok());
        prop_assert_eq!(blank.parse::<PortMappings>().ok(), value.parse().ok());
        prop_assert_eq!(blank.parse::<ExemptPorts>().ok(), value.parse().ok());
        prop_assert_eq!(blank.parse::<MulticastPorts>().ok(), value.parse().ok());
    }

    #[test]
    fn values_read_what_they_write(request in request()) {
        if let Some(ipv4) = request.ipv4 {
            prop_assert_eq!(parse_ipv4(&ipv4.to_string(), AllowLoopback::No).unwrap(), ipv4);
        }
        if let Some(ipv6) = request.ipv6 {
            prop_assert_eq!(parse_ipv6(&ipv6.to_string(), AllowLoopback::No).unwrap(), ipv6);
        }
        if let Some(loopback) = request.loopback {
            prop_assert_eq!(loopback.to_string().parse::<Loopback>().unwrap(), loopback);
        }
        if let Some(guard) = request.guard {
            prop_assert_eq!(guard.to_string().parse::<Guard>().unwrap(), guard);
        }
        if let Some(ports) = request.ports {
            prop_assert_eq!(ports.to_string().parse::<PortMappings>().unwrap(), ports);
        }
        if let Some(exempt) = request.exempt {
            prop_assert_eq!(exempt.to_string().parse::<ExemptPorts>().unwrap(), exempt);
        }
        if let Some(multicast) = request.multicast {
            prop_assert_eq!(multicast.to_string().parse::<MulticastPorts>().unwrap(), multicast);
        }
    }
}
