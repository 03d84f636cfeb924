use super::*;

#[test]
fn port_mappings_are_sorted_and_given_once() {
    let mappings: PortMappings = "443:8443/tcp,80:8080,443:8443/tcp".parse().unwrap();
    assert_eq!(mappings.to_string(), "80:8080,443:8443/tcp");
    assert_eq!(
        mappings.as_slice()[0],
        PortMapping {
            asked: range(80, 80),
            actual: range(8080, 8080),
            protocol: Protocol::Both
        }
    );
}

pub(crate) const fn range(first: u16, last: u16) -> PortRange {
    PortRange { first, last }
}

#[test]
fn ranges_map_to_ranges_of_one_length() {
    let mappings: PortMappings = "8000-8010:9000-9010/udp,80-80:81".parse().unwrap();
    assert_eq!(mappings.to_string(), "80:81,8000-8010:9000-9010/udp");
    assert_eq!(
        mappings.as_slice()[1],
        PortMapping {
            asked: range(8000, 8010),
            actual: range(9000, 9010),
            protocol: Protocol::Udp
        }
    );
    // Where they overlap, they say the same.
    for list in [
        "1-9:11-19,5:15",
        "1-9:11-19,5-20:15-30",
        "1-9:2-10/tcp,5:5/udp",
    ] {
        assert!(list.parse::<PortMappings>().is_ok(), "{list}");
    }
    for (list, port) in [
        ("1-9:11-19,5:16", "port 5 twice, as 1-9:11-19 and as 5:16"),
        (
            "5-20:25-40/tcp,1-9:11-19",
            "port 5 twice, as 1-9:11-19 and as 5-20:25-40/tcp",
        ),
        ("1-9:11-19,2:3/tcp,9:20/udp", "port 2 twice"),
    ] {
        let error = list.parse::<PortMappings>().unwrap_err().to_string();
        assert!(error.contains(port), "{error}");
    }
}

#[test]
fn one_port_maps_by_protocol() {
    assert!("53:5353/udp,53:5354/tcp".parse::<PortMappings>().is_ok());
    assert!("53:5353,53:5353/tcp".parse::<PortMappings>().is_ok());
    let error = "53:5353,80:8080,53:5354/tcp"
        .parse::<PortMappings>()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("port 53 twice, as 53:5353 and as 53:5354/tcp"),
        "{error}"
    );
}

#[test]
fn protocols_overlap_where_a_packet_is_of_both() {
    use Protocol::{Both, Tcp, Udp};
    for (one, other, overlaps) in [
        (Tcp, Tcp, true),
        (Udp, Udp, true),
        (Both, Both, true),
        (Tcp, Both, true),
        (Udp, Both, true),
        (Tcp, Udp, false),
    ] {
        assert_eq!(one.overlaps(other), overlaps, "{one:?} and {other:?}");
        assert_eq!(other.overlaps(one), overlaps, "{other:?} and {one:?}");
    }
}

#[test]
fn bad_port_lists_are_refused() {
    for value in [
        "",
        ",",
        "80",
        "80:",
        ":80",
        "80:0",
        "0:80",
        "80:65536",
        "80:+81",
        "80:081",
        "80:81/",
        "80:81/TCP",
        "80:81/sctp",
        "80:81,",
        "80:81, 82:83",
        "80:81:82",
        "٨٠:٨١",
        "80-81:82",
        "80:81-82",
        "80-82:83-84",
        "81-80:91-90",
        "0-1:80-81",
        "80-81:65535-65536",
        "-80:81",
        "80-:81-",
        "80-81-82:90-91-92",
    ] {
        let error = value.parse::<PortMappings>().unwrap_err().to_string();
        assert!(error.contains("write ASKED:ACTUAL"), "{error}");
    }
    for value in [
        "", ",", "0", "65536", "-1", "+1", "053", "53,", "53 ,54", "53-", "54-53", "0-9", "1-2-3",
    ] {
        let error = value.parse::<ExemptPorts>().unwrap_err().to_string();
        assert!(
            error.contains("write PORT or FIRST-LAST, followed"),
            "{error}"
        );
        let error = value.parse::<MulticastPorts>().unwrap_err().to_string();
        assert!(error.contains("write PORT or FIRST-LAST; ports"), "{error}");
    }
    for value in ["53/", "53/x", "53-54/TCP", "53/tcp-54"] {
        assert!(value.parse::<ExemptPorts>().is_err(), "{value}");
    }
    assert!("5353/udp".parse::<MulticastPorts>().is_err());
}

#[test]
fn exempt_ports_are_sorted_and_given_once() {
    let ports: ExemptPorts = "5353/udp,67,5353/udp,5000-5010/tcp".parse().unwrap();
    assert_eq!(ports.to_string(), "67,5000-5010/tcp,5353/udp");
}

#[test]
fn multicast_ports_are_sorted_and_given_once() {
    let ports: MulticastPorts = "5353,1900-1900,3702-3704,5353".parse().unwrap();
    assert_eq!(ports.to_string(), "1900,3702-3704,5353");
    assert_eq!(ports.as_slice()[1], range(3702, 3704));
}

#[test]
fn ranges_overlap_where_a_port_is_in_both() {
    for (other, overlaps) in [
        (range(1, 9), false),
        (range(1, 10), true),
        (range(1, 99), true),
        (range(15, 15), true),
        (range(20, 99), true),
        (range(21, 99), false),
    ] {
        assert_eq!(range(10, 20).overlaps(other), overlaps, "{other}");
        assert_eq!(other.overlaps(range(10, 20)), overlaps, "{other}");
    }
}
