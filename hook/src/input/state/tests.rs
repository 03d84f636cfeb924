use proptest::prelude::*;

use super::*;
use crate::input::annotations;

const RUNC: &str = include_str!("../../../../tests/states/runc.json");
const CRUN: &str = include_str!("../../../../tests/states/crun.json");
const YOUKI: &str = include_str!("../../../../tests/states/youki.json");
const PODMAN_CRUN: &str = include_str!("../../../../tests/states/podman-crun.json");
const PODMAN_RUNC: &str = include_str!("../../../../tests/states/podman-runc.json");
const PODMAN_YOUKI: &str = include_str!("../../../../tests/states/podman-youki.json");
const PODMAN_KUBE: &str = include_str!("../../../../tests/states/podman-kube.json");
const DOCKER: &str = include_str!("../../../../tests/states/docker.json");
const CONTAINERD_CTR: &str = include_str!("../../../../tests/states/containerd-ctr.json");
const BUILDAH: &str = include_str!("../../../../tests/states/buildah.json");
const CRI_O: &str = include_str!("../../../../tests/states/cri-o.json");
const CRI_O_SANDBOX: &str = include_str!("../../../../tests/states/cri-o-sandbox.json");
const CONTAINERD: &str = include_str!("../../../../tests/states/containerd.json");

fn error(json: &str) -> String {
    format!("{:#}", parse(json.as_bytes()).unwrap_err())
}

#[test]
fn states_of_every_engine() {
    for (json, pid, ipv4, ipv6) in [
        (RUNC, 41201, Some("192.0.2.10"), None),
        (CRUN, 41202, Some("192.0.2.10"), Some("2001:db8::10")),
        (YOUKI, 41203, None, Some("2001:db8::10")),
        (CRI_O, 41204, Some("192.0.2.11"), None),
        (CONTAINERD, 41206, Some("192.0.2.12"), None),
        (
            PODMAN_CRUN,
            41207,
            Some("192.0.2.10"),
            Some("2001:db8:e::10"),
        ),
        (
            PODMAN_RUNC,
            41208,
            Some("192.0.2.10"),
            Some("2001:db8:e::10"),
        ),
        (
            PODMAN_YOUKI,
            41213,
            Some("192.0.2.10"),
            Some("2001:db8:e::10"),
        ),
        (PODMAN_KUBE, 41209, Some("192.0.2.10"), None),
        (DOCKER, 41210, Some("192.0.2.10"), Some("2001:db8:e::10")),
        (
            CONTAINERD_CTR,
            41211,
            Some("192.0.2.10"),
            Some("2001:db8:e::10"),
        ),
    ] {
        let container = read(json.as_bytes()).unwrap();
        assert_eq!(container.pid.as_raw_nonzero().get(), pid);
        let request = annotations::parse(&container.annotations).unwrap().unwrap();
        assert_eq!(request.ipv4, ipv4.map(|text| text.parse().unwrap()));
        assert_eq!(request.ipv6, ipv6.map(|text| text.parse().unwrap()));
    }
    for json in [CRI_O_SANDBOX, BUILDAH] {
        let container = read(json.as_bytes()).unwrap();
        assert_eq!(annotations::parse(&container.annotations).unwrap(), None);
    }
}

#[test]
fn escaped_slashes_are_slashes() {
    let container = parse(CRUN.as_bytes()).unwrap();
    assert!(container.bundle.starts_with("/var/lib/containers"));
    assert_eq!(container.id.len(), 64);
    let exempt = container
        .annotations
        .iter()
        .find(|(key, _)| key == "io.oci-bind-hook.exempt");
    assert_eq!(exempt.unwrap().1, "5353/udp");
}

#[test]
fn annotations_keep_order_and_repeats() {
    let json = r#"{"id":"a","pid":1,"status":"creating","annotations":{"b":"1","a":"2","b":"3"}}"#;
    let pairs = parse(json.as_bytes()).unwrap().annotations;
    let pairs: Vec<_> = pairs.iter().map(|(k, v)| (&k[..], &v[..])).collect();
    assert_eq!(pairs, [("b", "1"), ("a", "2"), ("b", "3")]);
}

#[test]
fn annotations_may_be_missing() {
    for annotations in ["", r#","annotations":null"#, r#","annotations":{}"#] {
        let json = format!(r#"{{"id":"a","pid":1,"status":"created"{annotations}}}"#);
        assert_eq!(parse(json.as_bytes()).unwrap().annotations, []);
    }
}

#[test]
fn bad_states_are_refused() {
    for (json, reason) in [
        ("", "is empty"),
        (" \n", "is empty"),
        (
            "hello",
            "not a valid runtime-spec state: expected value at line 1",
        ),
        ("{", "not a valid runtime-spec state"),
        ("[]", "not a valid runtime-spec state"),
        ("null", "not a valid runtime-spec state"),
        (
            r#"{"id":"a","pid":1,"status":"created"} x"#,
            "trailing characters",
        ),
        (
            r#"{"id":"a","id":"b","pid":1,"status":"created"}"#,
            "duplicate field `id`",
        ),
        (
            r#"{"id":"a","pid":1,"status":"created","annotations":{},"annotations":{}}"#,
            "duplicate",
        ),
        (
            r#"{"id":"a","pid":1,"status":"created","annotations":{"a":1}}"#,
            "expected a string",
        ),
        (
            r#"{"id":"a","pid":1,"status":"created","annotations":[]}"#,
            "not a valid runtime-spec state",
        ),
        (
            r#"{"id":"a","pid":1,"status":"a\nb"}"#,
            "unknown variant `a\\nb`",
        ),
        (r#"{"pid":1,"status":"created"}"#, "has no id"),
        (r#"{"id":"","pid":1,"status":"created"}"#, "has no id"),
        (r#"{"id":"a","status":"created"}"#, "has no pid"),
        (r#"{"id":"a","pid":null,"status":"created"}"#, "has no pid"),
        (r#"{"id":"a","pid":0,"status":"created"}"#, "has pid 0"),
        (r#"{"id":"a","pid":-1,"status":"created"}"#, "has pid -1"),
        (
            r#"{"id":"a","pid":4294967297,"status":"created"}"#,
            "expected i32",
        ),
        (r#"{"id":"a","pid":"1","status":"created"}"#, "expected i32"),
        (r#"{"id":"a","pid":1}"#, "has no status"),
        (
            r#"{"id":"a","pid":1,"status":"running"}"#,
            "container is running",
        ),
        (
            r#"{"id":"a","pid":1,"status":"stopped"}"#,
            "container is stopped",
        ),
    ] {
        let error = error(json);
        assert!(error.contains(reason), "{error}");
        assert!(!error.contains(char::is_control), "{error}");
    }
}

#[test]
fn ids_are_those_that_runc_permits() {
    let with_id =
        |id: &str| serde_json::json!({"id": id, "pid": 1, "status": "created"}).to_string();
    for id in ["a", "A_b+c.d-1", &"a".repeat(255)] {
        assert_eq!(parse(with_id(id).as_bytes()).unwrap().id, id);
    }
    for id in [
        ".",
        "..",
        "a/b",
        "a b",
        "a\nb",
        "a\u{1b}[2J",
        "é",
        "a\u{2028}",
        &"a".repeat(256),
    ] {
        let error = error(&with_id(id));
        assert!(error.contains("is not usable"), "{error}");
        assert!(!error.contains(char::is_control), "{error}");
    }
}

/// An endless writer, which must be cut off, or one of `left` bytes.
struct Blanks {
    left: Option<usize>,
}

impl Read for Blanks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.left.unwrap_or(usize::MAX));
        buffer[..count].fill(b' ');
        if let Some(left) = &mut self.left {
            *left -= count;
        }
        Ok(count)
    }
}

#[test]
fn the_limit_is_exact_and_the_rest_is_drained() {
    let state = RUNC.as_bytes();
    let room = LIMIT - state.len();
    let full = state.chain(Blanks { left: Some(room) });
    assert!(read(full).is_ok());

    let mut rest = Blanks {
        left: Some(2 * LIMIT),
    };
    let error = read(state.chain(&mut rest)).unwrap_err().to_string();
    assert!(error.contains("longer than 1048576 bytes"), "{error}");
    assert_eq!(rest.left, Some(0));

    assert!(read(Blanks { left: None }).is_err());
}

#[test]
fn input_that_fails_is_reported() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    let error = format!("{:#}", read(Broken).unwrap_err());
    assert!(
        error.starts_with("read container state from standard input: "),
        "{error}"
    );
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    let json = format!("{{\"x\":{}", "[".repeat(LIMIT / 2));
    assert!(error(&json).contains("not a valid runtime-spec state"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        prop_assert!(parse(&bytes).is_err());
    }

    #[test]
    fn damaged_states_never_panic(
        position in any::<prop::sample::Index>(), byte in any::<u8>(), remove in any::<bool>()
    ) {
        let mut json = CRUN.as_bytes().to_vec();
        let position = position.index(json.len());
        if remove {
            json.remove(position);
        } else {
            json[position] = byte;
        }
        match parse(&json) {
            Ok(container) => prop_assert!(check_id(&container.id).is_ok()),
            Err(error) => {
                let text = format!("{error:#}");
                prop_assert!(!text.contains(char::is_control), "{}", text);
            }
        }
    }

    #[test]
    fn an_id_is_what_was_written(id in "[A-Za-z0-9_+.-]{1,255}", pid in 1..i32::MAX) {
        prop_assume!(id != "." && id != "..");
        let json = serde_json::json!({"id": id, "pid": pid, "status": "created"});
        let container = parse(json.to_string().as_bytes()).unwrap();
        prop_assert_eq!(container.id, id);
        prop_assert_eq!(container.pid.as_raw_nonzero().get(), pid);
    }

    #[test]
    fn accepted_annotations_are_kept(
        pairs in proptest::collection::vec((any::<String>(), any::<String>()), 0..5)
    ) {
        let members: Vec<String> = pairs
            .iter()
            .map(|(key, value)| format!("{}:{}", serde_json::json!(key), serde_json::json!(value)))
            .collect();
        let json = format!(
            r#"{{"id":"a","pid":1,"status":"created","annotations":{{{}}}}}"#,
            members.join(",")
        );
        prop_assert_eq!(parse(json.as_bytes()).unwrap().annotations, pairs);
    }
}
