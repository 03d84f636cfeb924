//! Bad states on standard input.

use std::process::Command;

use anyhow::Result;
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, V4};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process::{self, PATIENCE, Running};
use serde_json::{Value, json};

use crate::refusal::{assert_refused, refused};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        refused("not JSON", &["standard input", "state"], |_| Ok("hello\n")),
        refused("no UTF-8", &["standard input", "state"], |_| {
            Ok(b"{\"\xff\": 1}")
        }),
        refused("cut short", &["standard input", "state"], |container| {
            let mut state = good(container);
            state.truncate(state.len() / 2);
            Ok(state)
        }),
        refused("an array", &["standard input", "state"], |_| Ok("[]")),
        refused("empty standard input", &["standard input", "empty"], |_| {
            Ok("")
        }),
        refused("blank standard input", &["standard input", "empty"], |_| {
            Ok(" \n\n")
        }),
        harness::trial("standard input that stays open", || {
            Net::isolated(|_| stays_open())
        }),
        refused(
            "2 MiB of standard input",
            &["standard input", "longer"],
            |container| {
                edited(container, |state| {
                    state["annotations"]["filler"] = json!("x".repeat(2 << 20));
                })
            },
        ),
        refused("missing pid", &["pid"], |container| {
            edited(container, |state| remove(state, "pid"))
        }),
        refused("pid 0", &["pid 0"], |container| {
            edited(container, |state| state["pid"] = json!(0))
        }),
        refused("negative pid", &["pid -1"], |container| {
            edited(container, |state| state["pid"] = json!(-1))
        }),
        refused("pid that is a string", &["string"], |container| {
            edited(container, |state| state["pid"] = json!("1"))
        }),
        refused("pid out of range", &["4294967297"], |container| {
            edited(container, |state| state["pid"] = json!(4_294_967_297_u64))
        }),
        refused("dead pid", &["ended"], |container| {
            let mut process = Running::start(&mut Command::new("true"))?;
            process.wait(PATIENCE)?;
            edited(container, |state| state["pid"] = json!(process.id()))
        }),
        refused("missing id", &["id"], |container| {
            edited(container, |state| remove(state, "id"))
        }),
        refused("empty id", &["id"], |container| {
            edited(container, |state| state["id"] = json!(""))
        }),
        refused("id that is a path", &["id", "../x"], |container| {
            edited(container, |state| state["id"] = json!("../x"))
        }),
        refused("container that runs already", &["running"], |container| {
            edited(container, |state| state["status"] = json!("running"))
        }),
        refused(
            "annotation that is a number",
            &["standard input"],
            |container| {
                edited(container, |state| {
                    state["annotations"]["io.oci-bind-hook.ipv4"] = json!(1);
                })
            },
        ),
        refused("two values for one key", &["ipv4"], |container| {
            let state = String::from_utf8(good(container))?;
            let twice = "\"io.oci-bind-hook.ipv4\":\"192.0.2.20\",\"io.oci-bind-hook.ipv4\":";
            Ok(state.replacen("\"io.oci-bind-hook.ipv4\":", twice, 1))
        }),
    ]
}

/// It says why, before the engine kills it.
fn stays_open() -> Result<()> {
    let container = Container::new()?;
    let mut hook = Hook::new()?.command("create-runtime");
    let output = process::run_open(&mut hook, &good(&container))?;
    assert_refused(&output, &["standard input", "5 s", "close"])?;
    container.cgroup.assert_bare()
}

fn good(container: &Container) -> Vec<u8> {
    container.state_with(V4).to_string().into()
}

fn edited(container: &Container, edit: impl FnOnce(&mut Value)) -> Result<Vec<u8>> {
    let mut state = container.state_with(V4);
    edit(&mut state);
    Ok(state.to_string().into())
}

fn remove(state: &mut Value, key: &str) {
    state.as_object_mut().and_then(|state| state.remove(key));
}
