use std::fs;

use proptest::prelude::*;

use super::*;
use crate::input::request::tests as requests;

/// Formats the items as a TOML array.
fn list(items: &[impl fmt::Display]) -> String {
    let items = items.iter().map(|item| format!("\"{item}\""));
    items.collect::<Vec<_>>().join(", ")
}

fn error(text: &str) -> String {
    format!("{:#}", parse(text, "test.toml").unwrap_err())
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn the_built_in_names_every_key() {
    let config = parse("", "empty").unwrap();
    assert_eq!(
        config,
        Config {
            origin: "empty".to_owned(),
            allow: vec![],
            deny: vec![],
            permit: vec![
                Setting::Ipv4,
                Setting::Ipv6,
                Setting::Loopback,
                Setting::Ports,
                Setting::Exempt,
                Setting::Multicast,
                Setting::Guard,
            ],
            require_local_address: true,
            wait_for_address: Duration::ZERO,
            without_policy: WithoutPolicy::Ignore,
            debug: false,
            defaults: Defaults {
                loopback: Loopback::Auto,
                guard: Guard::On,
            },
        }
    );
    assert_eq!(parse(BUILT_IN, "empty").unwrap(), config);
}

#[test]
fn keys_that_are_given_replace_the_built_in() {
    let config = parse(
        "allow = [\"192.0.2.0/24\", \"2001:db8:1::/64\"]\n\
         deny = [\"192.0.2.1\", \"2001:db8:1::1\"]\n\
         permit = [\"ipv6\", \"ports\"]\n\
         require-local-address = false\n\
         wait-for-address = 8\n\
         without-policy = \"refuse\"\n\
         debug = true\n\
         defaults.guard = \"off\"\n",
        "test.toml",
    )
    .unwrap();
    assert_eq!(config.allow, [net("192.0.2.0/24"), net("2001:db8:1::/64")]);
    assert_eq!(config.deny, [net("192.0.2.1/32"), net("2001:db8:1::1/128")]);
    assert_eq!(config.permit, [Setting::Ipv6, Setting::Ports]);
    assert!(!config.require_local_address);
    assert_eq!(config.wait_for_address, Duration::from_secs(8));
    assert!(config.debug);
    assert_eq!(config.defaults.guard, Guard::Off);
    assert_eq!(config.defaults.loopback, Loopback::Auto);
}

#[test]
fn errors_name_line_and_key() {
    assert_eq!(
        error("deny = [\n  \"192.0.2.1\",\n  \"192.0.2.1/24\",\n]\n"),
        "test.toml:3: key deny: \"192.0.2.1/24\" has host bits set: \
         write 192.0.2.0/24 for the network or 192.0.2.1 for the address"
    );
    for (text, start) in [
        ("\nalow = []", "test.toml:2: key alow: unknown field `alow`"),
        (
            "\nallow = 5",
            "test.toml:2: key allow: invalid type: integer `5`",
        ),
        (
            "deny = [\n5]",
            "test.toml:2: key deny: invalid type: integer `5`, expected a string",
        ),
        ("allow = [\n\n5]", "test.toml:3: key allow: invalid type"),
        (
            "require-local-address = \"yes\"",
            "test.toml:1: key require-local-address: invalid",
        ),
        (
            "wait-for-address = 9",
            "test.toml:1: key wait-for-address: invalid value: integer `9`, \
             expected a whole number of seconds from 0 to 8",
        ),
        (
            "\nwait-for-address = -1",
            "test.toml:2: key wait-for-address: invalid value: integer `-1`, expected a whole",
        ),
        (
            "wait-for-address = 0.5",
            "test.toml:1: key wait-for-address: invalid type: floating point `0.5`, expected a",
        ),
        (
            "wait-for-address = \"5s\"",
            "test.toml:1: key wait-for-address: invalid type: string \"5s\", expected a whole",
        ),
        (
            "without-policy = \"deny\"",
            "test.toml:1: key without-policy: \"deny\" is not a setting for containers \
             without a policy: write ignore, warn or refuse",
        ),
        (
            "without-policy = true",
            "test.toml:1: key without-policy: invalid type",
        ),
        (
            "[defaults]\n\nguard = \"yes\"",
            "test.toml:3: key defaults.guard: \"yes\" is not",
        ),
        (
            "[defaults]\nloopback = true",
            "test.toml:2: key defaults.loopback: invalid type",
        ),
        (
            "[defaults]\nipv4 = \"x\"",
            "test.toml:2: key defaults.ipv4: unknown field",
        ),
        (
            "permit = [\n\"port\"]",
            "test.toml:2: key permit: \"port\" is not an annotation: use ipv4,",
        ),
        ("debug = \"on\"", "test.toml:1: key debug: invalid type"),
        ("defaults = 1", "test.toml:1: key defaults: invalid type"),
        ("\n[other]\n", "test.toml:2: key other: unknown field"),
        ("deny = []\ndeny = []", "test.toml:2: duplicate key"),
        ("allow = [", "test.toml:1: "),
        ("\n\"a\\nb\" = 1", "test.toml:2: key a\\nb: unknown field"),
    ] {
        let error = error(text);
        assert!(error.starts_with(start), "{error}");
        assert!(!error.contains(char::is_control), "{error}");
    }
}

#[test]
fn bad_networks_are_refused() {
    for (network, reason) in [
        ("", "is not a network"),
        ("192.0.2.0/33", "is not a network"),
        ("192.0.2.0/", "is not a network"),
        ("192.0.2.0/+24", "is not a network"),
        ("192.0.2.0/024", "is not a network"),
        ("192.0.02.0/24", "is not a network"),
        ("192.0.2.0/255.255.255.0", "is not a network"),
        ("fe80::1%eth0", "is not a network"),
        ("2001:db8::1/64", "write 2001:db8::/64 for the network"),
        (
            "::ffff:192.0.2.0/120",
            "write it as IPv4, such as 192.0.2.0",
        ),
        ("::ffff:192.0.2.1", "write it as IPv4, such as 192.0.2.1"),
    ] {
        let error = error(&format!("allow = [\"{network}\"]"));
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn everything_is_a_network() {
    let config = parse("allow = [\"0.0.0.0/0\", \"::/0\"]", "test.toml").unwrap();
    assert_eq!(config.allow, [net("0.0.0.0/0"), net("::/0")]);
}

#[test]
fn a_missing_file_is_the_default_unless_required() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    let built_in = load(&path, false).unwrap();
    assert_eq!(built_in, parse("", BUILT_IN_ORIGIN).unwrap());
    assert!(built_in.is_built_in());
    let error = format!("{:#}", load(&path, true).unwrap_err());
    assert!(error.starts_with("read configuration"), "{error}");
    fs::write(&path, BUILT_IN).unwrap();
    assert!(!load(&path, false).unwrap().is_built_in());
}

#[test]
fn what_cannot_be_read_fails_closed() {
    let directory = tempfile::tempdir().unwrap();
    assert!(load(directory.path(), false).is_err());

    let link = directory.path().join("link.toml");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    assert!(load(&link, false).is_err());

    let path = directory.path().join("config.toml");
    fs::write(&path, b"allow = []\n# \xff").unwrap();
    let error = load(&path, false).unwrap_err().to_string();
    assert!(error.contains("config.toml:2: not UTF-8"), "{error}");

    fs::write(&path, "deny = [1]").unwrap();
    let error = load(&path, false).unwrap_err().to_string();
    assert!(error.contains("config.toml:1: key deny"), "{error}");
}

#[test]
fn the_hooks_d_entry_matches_every_key_of_ours() {
    let entry: serde_json::Value =
        serde_json::from_str(include_str!("../../../../config/oci-bind-hook.json")).unwrap();
    assert_eq!(entry["version"], "1.0.0");
    assert_eq!(entry["stages"], serde_json::json!(["createRuntime"]));
    assert_eq!(
        entry["hook"]["args"],
        serde_json::json!(["oci-bind-hook", "create-runtime"])
    );
    let key = format!("^{}", crate::input::annotations::PREFIX.replace('.', "\\."));
    assert_eq!(
        entry["when"],
        serde_json::json!({ "annotations": { key: "(?s)^.*$" } })
    );
}

/// A network that is accepted, so not an IPv4-mapped one.
fn network() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (any::<u32>(), 0_u8..=32).prop_map(|(bits, length)| {
            IpNet::new(IpAddr::V4(bits.into()), length).unwrap().trunc()
        }),
        (any::<u128>(), 0_u8..=128).prop_map(|(bits, length)| {
            IpNet::new(IpAddr::V6((bits | 1 << 127).into()), length)
                .unwrap()
                .trunc()
        }),
    ]
}

proptest! {
    #[test]
    fn nothing_panics_and_errors_are_one_line(
        text in prop_oneof![
            any::<String>(),
            "((allow|deny|guard|defaults|x|\\[defaults\\]) ?=? ?[\\[\"a-z0-9./\n\\]]{0,20}\n){0,4}",
        ]
    ) {
        if let Err(error) = parse(&text, "test.toml") {
            let error = format!("{error:#}");
            prop_assert!(error.starts_with("test.toml:"), "{}", error);
            prop_assert!(!error.contains(char::is_control));
        }
    }

    #[test]
    fn a_configuration_is_what_was_written(
        allow in proptest::collection::vec(network(), 0..4),
        deny in proptest::collection::vec(network(), 0..4),
        permit in prop::sample::subsequence(vec![Setting::Ipv4, Setting::Loopback, Setting::Guard], 0..=3),
        require_local_address in any::<bool>(),
        seconds in 0_u64..=8,
        without_policy in prop::sample::select(vec![
            WithoutPolicy::Ignore,
            WithoutPolicy::Warn,
            WithoutPolicy::Refuse,
        ]),
        debug in any::<bool>(),
        request in requests::request(),
    ) {
        let config = Config {
            origin: "test.toml".to_owned(),
            debug,
            allow,
            deny,
            permit,
            require_local_address,
            wait_for_address: Duration::from_secs(seconds),
            without_policy,
            defaults: Defaults {
                loopback: request.loopback.unwrap_or(Loopback::Auto),
                guard: request.guard.unwrap_or(Guard::On),
            },
        };
        let text = format!(
            "allow = [{}]\ndeny = [{}]\npermit = [{}]\nrequire-local-address = {}\n\
             wait-for-address = {seconds}\n\
             without-policy = \"{without_policy}\"\n\
             debug = {debug}\n[defaults]\nloopback = \"{}\"\nguard = \"{}\"\n",
            list(&config.allow),
            list(&config.deny),
            list(&config.permit),
            config.require_local_address,
            config.defaults.loopback,
            config.defaults.guard,
        );
        prop_assert_eq!(parse(&text, "test.toml").unwrap(), config);
    }

    #[test]
    fn networks_read_what_they_write(address in any::<IpAddr>(), length in 0u8..=128) {
        if let Ok(network) = IpNet::new(address, length) {
            let network = network.trunc();
            if let Ok(Network(read)) = network.to_string().parse() {
                prop_assert_eq!(read, network);
            } else {
                prop_assert!(network.to_string().starts_with("::ffff:"));
            }
        }
    }
}
