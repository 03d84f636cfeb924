use proptest::prelude::*;

use super::*;
use crate::input::request::{Guard, Loopback, tests as requests};

fn pairs(annotations: &[(&str, &str)]) -> Vec<(String, String)> {
    annotations
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn request(annotations: &[(&str, &str)]) -> Request {
    parse(&pairs(annotations)).unwrap().unwrap()
}

fn error(annotations: &[(&str, &str)]) -> String {
    format!("{:#}", parse(&pairs(annotations)).unwrap_err())
}

const WEB: (&str, &str) = ("io.kubernetes.container.name", "web");
const SANDBOX: (&str, &str) = ("io.kubernetes.cri-o.ContainerType", "sandbox");

#[test]
fn no_key_of_ours_is_nothing_to_do() {
    for annotations in [
        &[][..],
        &[WEB, ("org.example.ipv4", "x"), ("io.oci-bind-hook", "x")],
        &[("xio.oci-bind-hook.ipv4", "x"), ("io.oci-bind-hookX", "x")],
    ] {
        assert_eq!(parse(&pairs(annotations)).unwrap(), None);
    }
}

#[test]
fn every_key() {
    assert_eq!(
        request(&[
            ("io.oci-bind-hook.ipv4", " 192.0.2.10\n"),
            ("io.oci-bind-hook.ipv6", "2001:db8::10"),
            ("io.oci-bind-hook.loopback", "private"),
            ("io.oci-bind-hook.ports", "80:8080/tcp"),
            ("io.oci-bind-hook.exempt", "67-68/udp"),
            ("io.oci-bind-hook.multicast", "5353,1900"),
            ("io.oci-bind-hook.guard", "off"),
        ]),
        Request {
            ipv4: Some([192, 0, 2, 10].into()),
            ipv6: Some("2001:db8::10".parse().unwrap()),
            loopback: Some(Loopback::Private(None)),
            ports: Some("80:8080/tcp".parse().unwrap()),
            exempt: Some("67-68/udp".parse().unwrap()),
            multicast: Some("1900,5353".parse().unwrap()),
            guard: Some(Guard::Off),
        }
    );
}

#[test]
fn bad_values_name_key_value_and_what_is_accepted() {
    assert_eq!(
        error(&[("io.oci-bind-hook.ipv4", "10.0.0")]),
        "annotation \"io.oci-bind-hook.ipv4\": \"10.0.0\" is not an IPv4 address: \
         write one unicast address such as 192.0.2.10"
    );
    for (key, accepted) in [
        ("ipv4", "192.0.2.10"),
        ("ipv6", "2001:db8::10"),
        ("loopback", "auto, host, private"),
        ("ports", "ASKED:ACTUAL"),
        ("exempt", "PORT or FIRST-LAST, followed by /tcp"),
        ("multicast", "PORT or FIRST-LAST; ports"),
        ("guard", "on or off"),
    ] {
        for value in ["", "bad\nvalue"] {
            let key = format!("{PREFIX}{key}");
            let error = error(&[(&key, value)]);
            assert!(error.contains(&quote(&key)), "{error}");
            assert!(error.contains(&quote(value)), "{error}");
            assert!(error.contains(accepted), "{error}");
        }
    }
}

#[test]
fn loopback_addresses_are_not_for_containers() {
    for (key, value) in [("ipv4", "127.0.0.1"), ("ipv6", "::1")] {
        let error = error(&[(&format!("{PREFIX}{key}"), value)]);
        assert!(error.contains("loopback address"), "{error}");
    }
}

#[test]
fn unknown_keys_are_refused() {
    for key in ["", "IPv4", "ipv5", "ipv4 ", "ipv4.web", "x/container.web"] {
        let error = error(&[WEB, (&format!("{PREFIX}{key}"), "192.0.2.1")]);
        assert!(error.contains("unknown key"), "{error}");
        assert!(error.contains("\"192.0.2.1\""), "{error}");
        assert!(error.contains("ipv4, ipv6, loopback"), "{error}");
    }
    for scope in [
        "",
        "web",
        "container.",
        "container",
        "pod.x",
        "container.a/b",
    ] {
        let error = error(&[WEB, (&format!("{PREFIX}ipv4/{scope}"), "192.0.2.1")]);
        assert!(error.contains("write container.NAME"), "{error}");
    }
}

#[test]
fn a_repeated_key_must_say_the_same() {
    let first = ("io.oci-bind-hook.ipv4", "192.0.2.1");
    request(&[first, ("io.oci-bind-hook.ipv4", "192.0.2.1 ")]);
    let error = error(&[first, ("io.oci-bind-hook.ipv4", "192.0.2.2")]);
    assert!(
        error.contains("\"192.0.2.2\" contradicts \"192.0.2.1\""),
        "{error}"
    );
}

#[test]
fn a_key_for_this_container_wins() {
    for name in [WEB, ("io.kubernetes.cri.container-name", "web")] {
        let found = request(&[
            ("io.oci-bind-hook.ipv4/container.web", "192.0.2.2"),
            ("io.oci-bind-hook.ipv4", "192.0.2.1"),
            ("io.oci-bind-hook.guard", "off"),
            ("io.oci-bind-hook.ipv4/container.db", "192.0.2.3"),
            name,
        ]);
        assert_eq!(found.ipv4, Some([192, 0, 2, 2].into()));
        assert_eq!(found.guard, Some(Guard::Off));
    }
}

#[test]
fn keys_for_other_containers_are_checked() {
    let error = error(&[WEB, ("io.oci-bind-hook.ipv4/container.db", "x")]);
    assert!(error.contains("ipv4/container.db"), "{error}");
}

#[test]
fn addresses_for_others_are_nothing_to_do() {
    let annotations = pairs(&[
        WEB,
        ("io.oci-bind-hook.guard", "off"),
        ("io.oci-bind-hook.ipv4/container.db", "192.0.2.3"),
    ]);
    assert_eq!(parse(&annotations).unwrap(), None);
}

#[test]
fn keys_without_an_address_are_refused() {
    let guard = ("io.oci-bind-hook.guard", "off");
    let own_guard = ("io.oci-bind-hook.guard/container.web", "off");
    let db = ("io.oci-bind-hook.ipv4/container.db", "192.0.2.3");
    for annotations in [
        &[guard][..],
        &[WEB, guard],
        &[SANDBOX, guard],
        &[WEB, own_guard],
        &[WEB, own_guard, db],
    ] {
        let error = error(annotations);
        assert!(error.contains("set, but neither ipv4 nor ipv6"), "{error}");
    }
}

#[test]
fn a_sandbox_ignores_keys_for_one_container() {
    let own = ("io.oci-bind-hook.ipv4/container.web", "192.0.2.2");
    let bare = ("io.oci-bind-hook.ipv4", "192.0.2.1");
    for sandbox in [SANDBOX, ("io.kubernetes.cri.container-type", "sandbox")] {
        assert_eq!(parse(&pairs(&[sandbox, own])).unwrap(), None);
        assert_eq!(
            request(&[sandbox, WEB, own, bare]).ipv4,
            Some([192, 0, 2, 1].into())
        );
    }
}

#[test]
fn a_key_for_one_container_needs_a_name_to_compare() {
    let own = ("io.oci-bind-hook.ipv4/container.web", "192.0.2.2");
    assert!(error(&[own]).contains("has no name"));
    let kind = ("io.kubernetes.cri-o.ContainerType", "container");
    assert!(error(&[own, kind]).contains("has no name"));
    let other_name = ("io.kubernetes.cri.container-name", "db");
    assert!(error(&[own, WEB, other_name]).contains("two names"));
    let other_type = ("io.kubernetes.cri.container-type", "sandbox");
    assert!(error(&[own, WEB, kind, other_type]).contains("two types"));
}

/// Writes a request as annotations; `scope` comes after each key.
fn printed(request: &Request, scope: &str) -> Vec<(String, String)> {
    let settings = Setting::of(request);
    settings
        .map(|(setting, value)| (format!("{PREFIX}{setting}{scope}"), value.to_string()))
        .collect()
}

proptest! {
    #[test]
    fn a_request_is_what_was_written(
        own in requests::request(), other in requests::request(), name in "[a-z0-9.-]{1,20}"
    ) {
        let parsed = parse(&printed(&own, "")).unwrap();
        prop_assert_eq!(parsed.as_ref(), Some(&own));

        let mut annotations = printed(&own, &format!("/container.{name}"));
        annotations.extend(printed(&other, "/container.-other-"));
        annotations.push((WEB.0.to_owned(), name));
        prop_assert_eq!(parse(&annotations).unwrap(), Some(own));
    }

    #[test]
    fn nothing_panics_and_errors_are_one_line(
        annotations in proptest::collection::vec(
            (
                prop_oneof![
                    "io\\.oci-bind-hook\\.(ipv4|ipv6|guard|ports|x)?(/(container\\.)?[a-z]?)?",
                    Just(WEB.0.to_owned()),
                    any::<String>(),
                ],
                prop_oneof!["192\\.0\\.2\\.[0-9]", "on|off|[a-c]", any::<String>()],
            ),
            0..6,
        )
    ) {
        match parse(&annotations) {
            Ok(None) => {}
            Ok(Some(request)) => prop_assert!(has_address(&request)),
            Err(error) => {
                let text = format!("{error:#}");
                prop_assert!(!text.contains(char::is_control));
            }
        }
    }

    #[test]
    fn order_does_not_matter(shuffled in Just(pairs(&[
        WEB,
        ("io.oci-bind-hook.ipv4/container.web", "192.0.2.2"),
        ("io.oci-bind-hook.ipv4", "192.0.2.1"),
        ("io.oci-bind-hook.ipv6", "2001:db8::1"),
        ("io.oci-bind-hook.guard/container.db", "off"),
    ])).prop_shuffle()) {
        let request = parse(&shuffled).unwrap().unwrap();
        prop_assert_eq!(request.ipv4, Some([192, 0, 2, 2].into()));
        prop_assert_eq!(request.ipv6, Some("2001:db8::1".parse().unwrap()));
        prop_assert_eq!(request.guard, None);
    }
}
