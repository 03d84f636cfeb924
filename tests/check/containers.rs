//! Containers on the host's network without a policy: what `check` and `status` say of them.

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::container::{Container, fresh_id};
use oci_bind_hook_tests::hook::V4;
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process;
use serde_json::{Value, json};

use crate::place::{Place, trial, write};

const SUBJECT: &str = "containers";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("containers: one without a policy", |place| {
            let container = Container::below(&place.root)?;
            note(
                place,
                &["1 container on the host's network without a policy"],
            )?;
            lists(place, &format!("{} (podman)", short(&container)))
        }),
        trial("containers: its processes in a cgroup below", |place| {
            let id = fresh_id();
            let scope = place.root.child(&format!("libpod-{id}.scope"))?;
            let below = scope.child("container")?;
            let _init = Agent::new(&below)?;
            note(place, &["1 container "])?;
            lists(place, &format!("{} (podman)", &id[..12]))
        }),
        trial("containers: --json", json_of_two),
        trial("containers: a key that is nearly ours", |place| {
            let container = Container::below(&place.root)?;
            bundle(&container, "oci-bind-hook.ipv4", "192.0.2.10")?;
            let cause = "its annotation \"oci-bind-hook.ipv4\" is not a key of this hook";
            note(place, &[short(&container), cause])?;
            lists(place, &format!("{} (podman): {cause}", short(&container)))
        }),
        trial(
            "containers: annotated, and the hook was not started",
            |place| {
                let container = Container::below(&place.root)?;
                bundle(&container, "io.oci-bind-hook.ipv4", "192.0.2.10")?;
                let cause = "it is annotated, but the hook was not started for it";
                note(place, &[short(&container), cause])?;
                lists(place, &format!("{} (podman): {cause}", short(&container)))
            },
        ),
        trial("containers: a label of Docker's", |place| {
            let id = fresh_id();
            let cgroup = place.root.child(&format!("docker-{id}.scope"))?;
            let _init = Agent::new(&cgroup)?;
            let labels = json!({ "io.oci-bind-hook.ipv4": "192.0.2.10", "maintainer": "x" });
            write(
                &format!("/var/lib/docker/containers/{id}/config.v2.json"),
                &json!({ "ID": id, "Config": { "Image": "web", "Labels": labels } }).to_string(),
            )?;
            let cause = "its label \"io.oci-bind-hook.ipv4\" is not an annotation";
            note(place, &[&id[..12], cause])?;
            lists(place, &format!("{} (docker): {cause}", &id[..12]))
        }),
        trial("containers: a pod's sandbox", |place| {
            let container = Container::below(&place.root)?;
            bundle(&container, "io.kubernetes.cri-o.ContainerType", "sandbox")?;
            nothing(place)
        }),
        trial("containers: one with a policy", |place| {
            let container = Container::below(&place.root)?;
            place.hook.attach(&container.cgroup, V4)?;
            nothing(place)
        }),
        trial("containers: a policy on a cgroup above", |place| {
            let service = place.root.child("web.service")?;
            let _container = Container::below(&service)?;
            place.hook.attach(&service, V4)?;
            nothing(place)
        }),
        trial("containers: a network of its own", |place| {
            let _container = Container::below(&place.root)?;
            Net::isolated(|_| nothing(place))
        }),
        trial("containers: no processes", |place| {
            let _left = place
                .root
                .child(&format!("libpod-{}.scope", "a".repeat(64)))?;
            nothing(place)
        }),
        trial("containers: a cgroup of no container", |place| {
            let _process = Agent::new(&place.cgroup)?;
            nothing(place)
        }),
    ]
}

/// Writes the file in which an engine keeps the container's annotations.
fn bundle(container: &Container, key: &str, value: &str) -> Result<()> {
    let path = format!(
        "/run/containers/storage/overlay-containers/{}/userdata/config.json",
        container.id()
    );
    write(&path, &json!({ "annotations": { key: value } }).to_string())
}

/// What is shown of its id.
fn short(container: &Container) -> &str {
    &container.id()[..12]
}

fn note(place: &Place, words: &[&str]) -> Result<()> {
    place.check(&[])?.has_note(SUBJECT, words)
}

fn status(place: &Place, arguments: &[&str]) -> Result<String> {
    let mut status = place.hook.command("status");
    status.args(arguments);
    let output = process::run(&mut place.as_run(&status)?, b"")?;
    ensure!(output.status.success(), "{output:?}");
    Ok(output.stdout)
}

/// Fails unless the table is followed by one container, whose line begins so.
fn lists(place: &Place, start: &str) -> Result<()> {
    let text = status(place, &[])?;
    let (_, list) = text
        .split_once("\non the host's network without a policy:\n")
        .with_context(|| format!("no list: {text}"))?;
    ensure!(
        list.lines().count() == 1 && list.starts_with(start),
        "no {start:?}: {text}"
    );
    Ok(())
}

/// Fails if anything is said of a container without a policy.
fn nothing(place: &Place) -> Result<()> {
    let said = place.check(&[])?;
    ensure!(!said.0.stdout.contains(" containers: "), "{}", said.text());
    let text = status(place, &[])?;
    ensure!(!text.contains("without a policy"), "{text}");
    Ok(())
}

fn json_of_two(place: &Place) -> Result<()> {
    let containers = [
        Container::below(&place.root)?,
        Container::below(&place.root)?,
    ];
    bundle(&containers[0], "io.oci-bind-hok.ipv4", "192.0.2.10")?;
    place.hook.attach(&containers[1].cgroup, V4)?;
    let said: Value = serde_json::from_str(&status(place, &["--json"])?)?;
    let [one] = said["without_policy"]
        .as_array()
        .context("no list")?
        .as_slice()
    else {
        anyhow::bail!("not one: {said}");
    };
    ensure!(one["container"] == json!(containers[0].id()), "{one}");
    ensure!(one["engine"] == json!("podman"), "{one}");
    ensure!(one["misspelt"] == json!("io.oci-bind-hok.ipv4"), "{one}");
    ensure!(one["is_annotated"] == json!(false), "{one}");
    let named: Value = serde_json::from_str(&status(place, &["--json", containers[1].id()])?)?;
    ensure!(named["without_policy"] == json!([]), "{named}");
    Ok(())
}
