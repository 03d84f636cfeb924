//! Bad configuration files, and those that forbid what is asked for.

use anyhow::Result;
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, V4};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process;

use crate::refusal::assert_refused;

/// A configuration, and what the message must name beside the file.
const BAD: &[(&str, &[&str])] = &[
    ("frobnicate = 1\n", &[":1", "frobnicate"]),
    ("\n[defaults]\nport = 1\n", &[":3", "port"]),
    ("allow = 1\n", &[":1", "allow"]),
    ("allow = [\"192.0.2.0/33\"]\n", &[":1", "192.0.2.0/33"]),
    ("# fine\nallow = [\n", &[":2"]),
    ("permit = [\"ipv4\", \"port\"]\n", &[":1", "permit", "port"]),
    (
        "[defaults]\nloopback = \"yes\"\n",
        &[":2", "loopback", "yes"],
    ),
    (
        "wait-for-address = 9\n",
        &[":1", "wait-for-address", "from 0 to 8"],
    ),
    (
        "require-local-address = \"no\"\n",
        &[":1", "require-local-address"],
    ),
];

/// Configurations under which the container's address is out of bounds.
const FORBIDDING: &[&str] = &[
    "deny = [\"192.0.2.0/24\"]\n",
    "allow = [\"198.51.100.0/24\"]\n",
    "allow = [\"192.0.2.0/24\"]\ndeny = [\"192.0.2.10/32\"]\n",
];

/// Without the annotation that the container has.
const UNPERMITTED: &str = "permit = [\"ipv6\", \"ports\"]\n";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for &(text, names) in BAD {
        trials.push(harness::trial(
            format!("configuration {text:?}"),
            move || {
                refuse(text, |config| {
                    let mut all = vec![config];
                    all.extend(names);
                    all
                })
            },
        ));
    }
    for &text in FORBIDDING {
        trials.push(harness::trial(
            format!("configuration {text:?}"),
            move || refuse(text, |_| vec!["192.0.2.10"]),
        ));
    }
    trials.push(harness::trial(
        format!("configuration {UNPERMITTED:?}"),
        move || refuse(UNPERMITTED, |_| vec!["io.oci-bind-hook.ipv4", "permit"]),
    ));
    trials.push(harness::trial("configuration that is missing", || {
        Net::isolated(|_| {
            let container = Container::new()?;
            let mut command = std::process::Command::new(Hook::new()?.binary());
            command.args(["--config", "missing.toml", "create-runtime"]);
            let output = process::run(
                &mut command,
                container.state_with(V4).to_string().as_bytes(),
            )?;
            assert_refused(&output, &["missing.toml"])?;
            container.cgroup.assert_bare()
        })
    }));
    trials
}

fn refuse(text: &'static str, names: impl FnOnce(&str) -> Vec<&str> + Send) -> Result<()> {
    Net::isolated(|_| {
        let container = Container::new()?;
        let hook = Hook::with_config(text)?;
        let config = hook.config().to_string_lossy().into_owned();
        let state = container.state_with(V4).to_string();
        let output = hook.create_runtime(state.as_bytes())?;
        assert_refused(&output, &names(&config))?;
        container.cgroup.assert_bare()
    })
}
