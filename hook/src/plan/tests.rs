use proptest::prelude::*;

use super::rules::rules;
use super::*;
use crate::input::config;
use crate::input::request::{PortRange, Protocol, tests as requests};
use oci_bind_hook_ebpf::abi::{PORT_RULES, PortRule};

fn configured(text: &str) -> Config {
    config::parse(text, "test.toml").unwrap()
}

fn both() -> Request {
    Request {
        ipv4: Some([192, 0, 2, 10].into()),
        ipv6: Some("2001:db8::10".parse().unwrap()),
        ..Request::default()
    }
}

fn error(request: &Request, config: &str) -> String {
    decide(request, &configured(config))
        .unwrap_err()
        .to_string()
}

#[test]
fn defaults_fill_the_plan() {
    let plan = decide(&both(), &configured("")).unwrap();
    assert_eq!(
        plan,
        Plan {
            ipv4: both().ipv4,
            ipv6: both().ipv6,
            loopback: Loopback::Auto,
            guard: Guard::On,
            ports: PortMappings::default(),
            exempt: ExemptPorts::default(),
            multicast: MulticastPorts::default(),
            require_local_address: true,
        }
    );
    let anywhere = configured("require-local-address = false");
    assert!(!decide(&both(), &anywhere).unwrap().require_local_address);
}

#[test]
fn a_request_wins_over_the_defaults() {
    let config = configured("defaults = { loopback = \"private\", guard = \"on\" }");
    let request = Request {
        loopback: Some(Loopback::Host),
        guard: Some(Guard::Off),
        ..both()
    };
    let plan = decide(&request, &config).unwrap();
    assert_eq!((plan.loopback, plan.guard), (Loopback::Host, Guard::Off));
    let plan = decide(&both(), &config).unwrap();
    let private = Loopback::Private(None);
    assert_eq!((plan.loopback, plan.guard), (private, Guard::On));
}

#[test]
fn an_address_is_needed() {
    let request = Request {
        guard: Some(Guard::Off),
        ..Request::default()
    };
    assert!(error(&request, "").contains("give ipv4, ipv6 or both"));
}

#[test]
fn allow_limits_each_address() {
    let config = "allow = [\"192.0.2.0/24\", \"2001:db8::10\"]";
    assert!(decide(&both(), &configured(config)).is_ok());
    let message = error(&both(), "allow = [\"192.0.2.0/24\"]");
    assert_eq!(
        message,
        "ipv6 address 2001:db8::10 is not allowed by the configuration: \
         choose another address or add it to allow"
    );
    assert!(
        error(&both(), "allow = [\"::/0\"]").contains("ipv4 address 192.0.2.10 is not allowed")
    );
}

#[test]
fn deny_wins_over_allow() {
    let message = error(
        &both(),
        "allow = [\"0.0.0.0/0\", \"::/0\", \"192.0.2.10\"]\ndeny = [\"192.0.2.8/29\"]",
    );
    assert!(
        message.starts_with("ipv4 address 192.0.2.10 is denied by 192.0.2.8/29"),
        "{message}"
    );
    assert!(error(&both(), "deny = [\"2001:db8::/32\"]").contains("denied by 2001:db8::/32"));
}

/// A request with these values of ports, exempt and multicast; empty ones are left out.
fn ports(ports: &str, exempt: &str, multicast: &str) -> Request {
    let given = |list: &str| !list.is_empty();
    Request {
        ports: given(ports).then(|| ports.parse().unwrap()),
        exempt: given(exempt).then(|| exempt.parse().unwrap()),
        multicast: given(multicast).then(|| multicast.parse().unwrap()),
        ..both()
    }
}

#[test]
fn a_port_has_one_use() {
    for (moved, exempt, multicast, message) in [
        ("53:5353,80:8080/tcp", "80/udp", "", ""),
        ("80-90:8080-8090/tcp", "80-90/udp", "", ""),
        (
            "53:5353/tcp",
            "53/tcp",
            "53",
            "port 53/tcp is exempt, but also moved by 53:5353/tcp",
        ),
        (
            "53:5353",
            "53/udp",
            "",
            "port 53/udp is exempt, but also moved by 53:5353",
        ),
        (
            "50-59:60-69",
            "40-50",
            "",
            "port 40-50 is exempt, but also moved by 50-59:60-69",
        ),
        (
            "5353:53/tcp",
            "5300/udp,5353/tcp",
            "5353",
            "port 5353/tcp is exempt, but",
        ),
        ("53:5353/tcp", "5353/tcp", "53,5353", ""),
        (
            "5353:53",
            "",
            "5350-5360",
            "port 5350-5360 is for multicast, but also moved by 5353:53",
        ),
        (
            "",
            "5000-5353/udp",
            "5353",
            "port 5353 is for multicast, but 5000-5353/udp is exempt",
        ),
    ] {
        let request = ports(moved, exempt, multicast);
        match decide(&request, &configured("")) {
            Ok(_) => assert_eq!(message, "", "{request:?}"),
            Err(error) => {
                let error = error.to_string();
                assert!(!message.is_empty() && error.starts_with(message), "{error}");
                assert!(error.ends_with(": choose one"), "{error}");
            }
        }
    }
}

#[test]
fn multicast_needs_the_guard() {
    let request = ports("", "", "5353");
    assert!(decide(&request, &configured("")).is_ok());
    let message = error(&request, "defaults = { guard = \"off\" }");
    assert_eq!(
        message,
        "multicast 5353 needs the guard, which keeps unicast to other addresses away from \
         these ports: set guard to on, or remove multicast"
    );
}

#[test]
fn the_policy_has_room_for_all_ports() {
    // Each with a gap to the next.
    let list = |count: usize| {
        let ports: Vec<_> = (1..=count).map(|port| (2 * port).to_string()).collect();
        self::ports("", &ports.join(","), "")
    };
    let plan = decide(&list(PORT_RULES), &configured("")).unwrap();
    assert_eq!(abi::Policy::from(&plan).rules as usize, PORT_RULES);
    let message = error(&list(PORT_RULES + 1), "");
    assert!(
        message.contains("make 33 port ranges, but a policy can have at most 32"),
        "{message}"
    );
    let all = ports("", "1-65535", "");
    let plan = decide(&all, &configured("")).unwrap();
    assert_eq!(abi::Policy::from(&plan).rules, 1);
}

/// Ranges are split where others begin and end.
#[test]
fn no_port_is_in_two_rules() {
    let request = ports("80-89:180-189/udp", "85-95/tcp,65535", "90,300-301");
    let plan = decide(&request, &configured("")).unwrap();
    let unchanged = PortRule::unchanged;
    let moved = |first, last| PortRule {
        udp: first + 100,
        ..unchanged(first, last)
    };
    let exempt = |rule| PortRule { tcp: 0, ..rule };
    let multicast = |rule| PortRule {
        multicast: 1,
        ..rule
    };
    assert_eq!(
        rules(&plan),
        [
            moved(80, 84),
            exempt(moved(85, 89)),
            exempt(multicast(unchanged(90, 90))),
            exempt(unchanged(91, 95)),
            multicast(unchanged(300, 301)),
            PortRule {
                udp: 0,
                ..exempt(unchanged(65535, 65535))
            },
        ]
    );
}

#[test]
fn a_private_loopback_address_is_derived() {
    let rows = [
        ("192.0.2.10", "127.128.2.10"),
        ("10.0.0.1", "127.128.0.1"),
        ("10.200.0.1", "127.200.0.1"),
        ("203.127.255.255", "127.255.255.254"),
    ];
    for (own, expected) in rows {
        let request = Request {
            ipv4: Some(own.parse().unwrap()),
            loopback: Some(Loopback::Private(None)),
            ..Request::default()
        };
        let plan = decide(&request, &configured("")).unwrap();
        let derived = Ipv4Addr::from(abi::Policy::from(&plan).loopback);
        assert_eq!(derived.to_string(), expected, "{own}");
    }
}

#[test]
fn the_json_is_stable() {
    let plan = Plan {
        ipv4: both().ipv4,
        ipv6: None,
        loopback: Loopback::Private(Some([127, 0, 0, 2].into())),
        guard: Guard::On,
        ports: "80:8080/tcp,53:5353".parse().unwrap(),
        exempt: "67-68/udp".parse().unwrap(),
        multicast: "5353,1900".parse().unwrap(),
        require_local_address: true,
    };
    assert_eq!(
        serde_json::to_string(&plan).unwrap(),
        "{\"ipv4\":\"192.0.2.10\",\"ipv6\":null,\"loopback\":\"127.0.0.2\",\"guard\":\"on\",\
         \"ports\":[\"53:5353\",\"80:8080/tcp\"],\"exempt\":[\"67-68/udp\"],\
         \"multicast\":[\"1900\",\"5353\"],\"require_local_address\":true}"
    );
}

#[test]
fn the_worked_example_of_the_contract() {
    let request = Request {
        ports: Some("80:8080/tcp".parse().unwrap()),
        ..both()
    };
    let plan = decide(&request, &configured("")).unwrap();
    let mut expected = abi::Policy {
        flags: flag::LAYOUT
            | flag::ACTIVE
            | flag::IPV4
            | flag::IPV6
            | flag::LOOPBACK_AUTO
            | flag::GUARD,
        ipv4: Ipv4Addr::new(192, 0, 2, 10).into(),
        ipv6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10).into(),
        loopback: Ipv4Addr::new(127, 128, 2, 10).into(),
        ..abi::Policy::default()
    };
    assert!(expected.set_rules(&[PortRule {
        tcp: 8080,
        ..PortRule::unchanged(80, 80)
    }]));
    assert_eq!(abi::Policy::from(&plan), expected);
}

proptest! {
    /// What the rules say of a port is what its entries say.
    #[test]
    fn rules_say_what_the_lists_say(request in requests::request(), other in 1_u16..) {
        let plan = decide(&request, &configured("")).unwrap();
        let rules = rules(&plan);
        prop_assert!(rules.is_sorted_by(|one, next| one.last < next.first));
        for port in rules.iter().flat_map(|rule| [rule.first, rule.last]).chain([other]) {
            let has = |ports: &PortRange| (ports.first..=ports.last).contains(&port);
            let becomes = |protocol| {
                let of = |list: Protocol| list == protocol || list == Protocol::Both;
                let mut exempt = plan.exempt.as_slice().iter();
                if exempt.any(|exempt| has(&exempt.ports) && of(exempt.protocol)) {
                    return None;
                }
                let mut moved = plan.ports.as_slice().iter();
                let mapping = moved.find(|moved| has(&moved.asked) && of(moved.protocol));
                Some(mapping.map_or(port, |mapping| {
                    mapping.actual.first + (port - mapping.asked.first)
                }))
            };
            let rule = rules.iter().find(|rule| (rule.first..=rule.last).contains(&port));
            let said = |first: fn(&PortRule) -> u16| match rule {
                None => Some(port),
                Some(rule) if first(rule) == 0 => None,
                Some(rule) => Some(first(rule) + (port - rule.first)),
            };
            prop_assert_eq!(said(|rule| rule.tcp), becomes(Protocol::Tcp));
            prop_assert_eq!(said(|rule| rule.udp), becomes(Protocol::Udp));
            let is_multicast = rule.is_some_and(|rule| rule.multicast != 0);
            prop_assert_eq!(is_multicast, plan.multicast.as_slice().iter().any(has));
        }
    }

    #[test]
    fn the_policy_holds_the_addresses_and_nothing_else(
        ipv4 in any::<Option<Ipv4Addr>>(), ipv6 in any::<Option<Ipv6Addr>>()
    ) {
        let request = Request { ipv4, ipv6, ..Request::default() };
        let Ok(plan) = decide(&request, &configured("")) else {
            prop_assert!(ipv4.is_none() && ipv6.is_none());
            return Ok(());
        };
        let policy = abi::Policy::from(&plan);
        prop_assert_eq!(policy.flags & flag::IPV4 != 0, ipv4.is_some());
        prop_assert_eq!(policy.flags & flag::IPV6 != 0, ipv6.is_some());
        prop_assert!(policy.flags & flag::ACTIVE != 0);
        prop_assert_eq!(Ipv4Addr::from(policy.ipv4), ipv4.unwrap_or(Ipv4Addr::UNSPECIFIED));
        prop_assert_eq!(Ipv6Addr::from(policy.ipv6), ipv6.unwrap_or(Ipv6Addr::UNSPECIFIED));
    }

    #[test]
    fn deny_wins_for_every_address(address in any::<Ipv4Addr>(), length in 0u8..=32) {
        let network = ipnet::Ipv4Net::new(address, length).unwrap().trunc();
        let request = Request { ipv4: Some(address), ..Request::default() };
        let mut config = configured("");
        config.allow = vec![network.into()];
        prop_assert!(decide(&request, &config).is_ok());
        config.deny = vec![network.into()];
        prop_assert!(decide(&request, &config).is_err());
    }
}
