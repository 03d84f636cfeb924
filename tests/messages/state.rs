//! States on standard input that are not those of a container being created.

use anyhow::Result;
use oci_bind_hook_tests::hook::V4;
use oci_bind_hook_tests::process::{self, Output};
use serde_json::{Value, json};

use crate::row::{Area, Row};
use crate::scene::Scene;

const BY_HAND: &str = "Let the runtime call the hook. To call it by hand, give it a state as \
    defined in runtime-spec.";

pub const AREA: Area = Area {
    title: "State on standard input",
    status: 1,
    rows: &[
        Row {
            cause: "Standard input is empty, as when the hook is called by hand.",
            message: "container state on standard input is empty: let an OCI runtime call this as a \
                createRuntime hook",
            remedy: BY_HAND,
            test: |scene| scene.hook.create_runtime(b""),
        },
        Row {
            cause: "Standard input cannot be read.",
            message: "read container state from standard input: Is a directory (os error 21)",
            remedy: BY_HAND,
            test: |scene| {
                let hook = scene.command("create-runtime", &[]);
                process::run(&mut process::shell(&hook, "exec \"$0\" \"$@\" </"), b"")
            },
        },
        Row {
            cause: "The state is larger than 1 MiB.",
            message: "container state on standard input is longer than 1048576 bytes: give the \
                container fewer or shorter annotations",
            remedy: "The state holds all annotations, those for other tools too: shorten them.",
            test: |scene| {
                edited(scene, |state| {
                    state["annotations"]["filler"] = json!("x".repeat(2 << 20));
                })
            },
        },
        Row {
            cause: "The state is not JSON.",
            message: "container state on standard input is not a valid runtime-spec state: \
                expected value at line 1 column 1",
            remedy: BY_HAND,
            test: |scene| scene.hook.create_runtime(b"hello"),
        },
        Row {
            cause: "A field of the state does not have the type that runtime-spec defines.",
            message: "container state on standard input is not a valid runtime-spec state: \
                invalid type: integer `10`, expected a string at line 1 column 42",
            remedy: "Annotation values must be strings. If it is another field, report it to the \
                developers of the runtime.",
            test: |scene| {
                edited(scene, |state| {
                    state["annotations"]["io.oci-bind-hook.ipv4"] = json!(10);
                })
            },
        },
        Row {
            cause: "The caller keeps the hook's standard input open.",
            message: "read container state from standard input: still open after 5 s: the runtime \
                must close it after writing the state",
            remedy: "Report it to the developers of the runtime. By hand, redirect standard input \
                from a file: `create-runtime --dry-run <state.json`.",
            test: |scene| process::run_open(&mut scene.command("create-runtime", &[]), b""),
        },
        Row {
            cause: "The state has no id.",
            message: "container state has no id: the runtime must give one",
            remedy: "Report it to the developers of the runtime: runtime-spec requires an id.",
            test: |scene| edited(scene, |state| state["id"] = json!("")),
        },
        Row {
            cause: "The id could be mistaken for something else in a path or a log.",
            message: "container id \"../web\" is not usable: write up to 255 letters, digits and _ + \
                . -",
            remedy: "Give the container another name; runc refuses this one too.",
            test: |scene| edited(scene, |state| state["id"] = json!("../web")),
        },
        Row {
            cause: "The state has no pid.",
            message: "container state has no pid: the runtime must give the pid of the \
                container's init",
            remedy: "Register it as a createRuntime hook: there is no process before that.",
            test: |scene| {
                edited(scene, |state| {
                    state.as_object_mut().and_then(|state| state.remove("pid"));
                })
            },
        },
        Row {
            cause: "The pid is not a valid process id.",
            message: "container state has pid 0: the runtime must give the pid of the container's \
                init",
            remedy: "Report it to the developers of the runtime: runtime-spec requires the pid of \
                the container's process.",
            test: |scene| edited(scene, |state| state["pid"] = json!(0)),
        },
        Row {
            cause: "The state has no status.",
            message: "container state has no status: the runtime must set it to creating or \
                created",
            remedy: "Report it to the developers of the runtime: runtime-spec requires a status.",
            test: |scene| {
                edited(scene, |state| {
                    state
                        .as_object_mut()
                        .and_then(|state| state.remove("status"));
                })
            },
        },
        Row {
            cause: "The container is already running.",
            message: "container is running: call this as a createRuntime hook, before it runs",
            remedy: "The hooks.d file must say `createRuntime`, as the shipped one does. For a \
                running container, use `attach --pid`.",
            test: |scene| edited(scene, |state| state["status"] = json!("running")),
        },
    ],
};

/// `create-runtime` with a state that was good before it was edited.
fn edited(scene: &Scene, edit: impl FnOnce(&mut Value)) -> Result<Output> {
    let container = scene.container()?;
    let mut state = container.state_with(V4);
    edit(&mut state);
    scene.hook.create_runtime(state.to_string().as_bytes())
}
