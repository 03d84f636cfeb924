//! Docker and containerd, which bring the hook along in other ways.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::process;

use crate::place::{PROGRAM, Place, note, ok, problem, write};

const SPECIFICATION: &str = "/etc/cdi/oci-bind-hook.json";
const DAEMON: &str = "/etc/docker/daemon.json";
const CONTAINERD: &str = "/etc/containerd/config.toml";
const RUNTIME: &str =
    "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n";
const PASSED: &str = "pod_annotations = [\"io.oci-bind-hook.*\", \"io.oci-bind-hook.*/*\"]\n";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    [cdi(), docker(), containerd(), none()]
        .into_iter()
        .flatten()
        .collect()
}

/// What `cdi` prints, for the installed program.
fn specification() -> Result<()> {
    let output = process::run(Command::new(PROGRAM).arg("cdi"), b"")?;
    ensure!(output.status.success(), "{output:?}");
    write(SPECIFICATION, &output.stdout)
}

fn cdi() -> Vec<Trial> {
    const SUBJECT: &str = "cdi";
    vec![
        ok(
            "CDI: as printed",
            |_| specification(),
            SUBJECT,
            &[SPECIFICATION],
        ),
        problem(
            "CDI: the program is missing",
            |place| {
                specification()?;
                place.no_engine("podman")?;
                Ok(fs::remove_file(PROGRAM)?)
            },
            SUBJECT,
            &[SPECIFICATION, PROGRAM, "does not exist"],
        ),
        problem(
            "CDI: ours is cut short",
            |_| {
                specification()?;
                let text = fs::read_to_string(SPECIFICATION)?;
                write(SPECIFICATION, &text[..text.len() - 3])
            },
            SUBJECT,
            &[SPECIFICATION, "not JSON"],
        ),
        problem(
            "CDI: twice",
            |_| {
                specification()?;
                fs::copy(SPECIFICATION, "/etc/cdi/again.json")?;
                Ok(())
            },
            SUBJECT,
            &["again.json", "both"],
        ),
        note(
            "CDI: malformed JSON of somebody",
            |_| write("/etc/cdi/theirs.json", "{"),
            SUBJECT,
            &["theirs.json"],
        ),
        ok(
            "CDI: in the directory that Docker is told of",
            |_| {
                specification()?;
                fs::create_dir("/etc/other")?;
                fs::rename(SPECIFICATION, "/etc/other/ours.json")?;
                write(DAEMON, "{\"cdi-spec-dirs\": [\"/etc/other\"]}")
            },
            SUBJECT,
            &["/etc/other/ours.json"],
        ),
    ]
}

fn docker() -> Vec<Trial> {
    const SUBJECT: &str = "docker";
    vec![
        note(
            "Docker: no specification",
            |place| place.engine("dockerd"),
            SUBJECT,
            &["no CDI specification"],
        ),
        note(
            "Docker: whether CDI is on",
            |place| {
                place.engine("dockerd")?;
                specification()
            },
            SUBJECT,
            &["28.2"],
        ),
        note(
            "Docker: CDI is off",
            |place| {
                place.engine("dockerd")?;
                specification()?;
                write(DAEMON, "{\"features\": {\"cdi\": false}}")
            },
            SUBJECT,
            &["features.cdi is false"],
        ),
        note(
            "Docker: daemon.json that is not JSON",
            |place| {
                place.engine("dockerd")?;
                write(DAEMON, "{")
            },
            SUBJECT,
            &[DAEMON],
        ),
        ok(
            "Docker: CDI is on",
            |place| {
                place.engine("dockerd")?;
                specification()?;
                write(DAEMON, "{\"features\": {\"cdi\": true}}")
            },
            SUBJECT,
            &["--device"],
        ),
    ]
}

/// containerd with NRI's hook injector.
fn injected(place: &Place, config: &str) -> Result<()> {
    place.engine("containerd")?;
    write("/opt/nri/plugins/10-hook-injector", "")?;
    write(CONTAINERD, config)
}

fn containerd() -> Vec<Trial> {
    const SUBJECT: &str = "containerd";
    vec![
        note(
            "containerd: annotations are kept back, and nothing brings the hook",
            |place| place.engine("containerd"),
            SUBJECT,
            &["runc", "io.oci-bind-hook.ipv4"],
        ),
        problem(
            "containerd: the hook comes without annotations",
            |place| injected(place, RUNTIME),
            SUBJECT,
            &["runc", "io.oci-bind-hook.ipv4"],
        ),
        problem(
            "containerd: the annotations for one container are kept back",
            |place| {
                injected(
                    place,
                    &format!("{RUNTIME}pod_annotations = [\"io.oci-bind-hook.*\"]\n"),
                )
            },
            SUBJECT,
            &["io.oci-bind-hook.ipv4/container."],
        ),
        ok(
            "containerd: annotations are handed on",
            |place| injected(place, &format!("{RUNTIME}{PASSED}")),
            SUBJECT,
            &["runc"],
        ),
        ok(
            "containerd: annotations are handed on by an import",
            |place| {
                write(
                    "/etc/containerd/conf.d/hook.toml",
                    &format!("{RUNTIME}{PASSED}"),
                )?;
                injected(place, "version = 3\nimports = [\"conf.d/*.toml\"]\n")
            },
            SUBJECT,
            &["runc"],
        ),
        problem(
            "containerd: NRI is disabled",
            |place| {
                injected(
                    place,
                    &format!(
                        "{RUNTIME}{PASSED}[plugins.'io.containerd.nri.v1.nri']\ndisable = true\n"
                    ),
                )
            },
            SUBJECT,
            &["NRI is disabled"],
        ),
        ok(
            "containerd: without CRI",
            |place| {
                injected(
                    place,
                    "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n",
                )
            },
            SUBJECT,
            &["no pods"],
        ),
    ]
}

fn none() -> Vec<Trial> {
    vec![
        note(
            "no engine",
            |place| place.no_engine("podman"),
            "engines",
            &["none"],
        ),
        ok(
            "engines are listed",
            |place| place.engine("crun"),
            "engines",
            &["/opt/engines/podman", "/opt/engines/crun"],
        ),
    ]
}
