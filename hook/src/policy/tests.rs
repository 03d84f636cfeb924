use proptest::prelude::*;

use super::*;
use crate::config;

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

#[test]
fn a_port_is_moved_or_exempt() {
    let request = Request {
        ports: Some("53:5353,80:8080/tcp".parse().unwrap()),
        exempt: Some("80/udp".parse().unwrap()),
        ..both()
    };
    assert!(decide(&request, &configured("")).is_ok());
    let request = Request {
        exempt: Some("53/udp".parse().unwrap()),
        ..request
    };
    assert_eq!(
        error(&request, ""),
        "port 53/udp is exempt, and moved by 53:5353: choose one"
    );
}

#[test]
fn the_policy_has_room_for_all_ports() {
    let list = |count: usize| {
        let ports: Vec<_> = (1..=count).map(|port| port.to_string()).collect();
        Request {
            exempt: Some(ports.join(",").parse().unwrap()),
            ..both()
        }
    };
    let plan = decide(&list(PORT_RULES), &configured("")).unwrap();
    assert_eq!(abi::Policy::from(&plan).rules as usize, PORT_RULES);
    let message = error(&list(PORT_RULES + 1), "");
    assert!(message.contains("32 is the most"), "{message}");
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
        let derived = Ipv4Addr::from(abi::Policy::from(&plan).loopback.to_ne_bytes());
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
        exempt: "5353/udp".parse().unwrap(),
        require_local_address: true,
    };
    assert_eq!(
        serde_json::to_string(&plan).unwrap(),
        "{\"ipv4\":\"192.0.2.10\",\"ipv6\":null,\"loopback\":\"127.0.0.2\",\"guard\":\"on\",\
         \"ports\":[\"53:5353\",\"80:8080/tcp\"],\"exempt\":[\"5353/udp\"],\
         \"require_local_address\":true}"
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
        ipv4: u32::from_ne_bytes([192, 0, 2, 10]),
        ipv6: [
            u32::from_ne_bytes([0x20, 0x01, 0x0d, 0xb8]),
            0,
            0,
            u32::from_ne_bytes([0, 0, 0, 0x10]),
        ],
        loopback: u32::from_ne_bytes([127, 128, 2, 10]),
        ..abi::Policy::default()
    };
    assert!(expected.set_port(protocol::TCP, 80_u16.to_be(), 8080_u16.to_be()));
    assert_eq!(abi::Policy::from(&plan), expected);
}

proptest! {
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
        let octets = ipv4.map_or([0; 4], |address| address.octets());
        prop_assert_eq!(policy.ipv4.to_ne_bytes(), octets);
        let octets = ipv6.map_or([0; 16], |address| address.octets());
        prop_assert_eq!(policy.ipv6.map(u32::to_ne_bytes).concat(), octets);
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
