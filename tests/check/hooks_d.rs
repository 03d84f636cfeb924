//! hooks.d, and who reads it.

use std::fs;

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::place::{
    CONFIG, INSTALLED, JSON, PROGRAM, chmod, edit, note, ok, problem, trial, write,
};

const THEIRS: &str = "/usr/share/containers/oci/hooks.d/theirs.json";
const SECOND: &str = "/usr/share/containers/oci/hooks.d/second.json";
const OVERRIDE: &str = "/etc/containers/oci/hooks.d/oci-bind-hook.json";
const CONF: &str = "/etc/containers/containers.conf";
const CRIO: &str = "/etc/crio/crio.conf";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    [files(), programs(), readers(), all_containers()]
        .into_iter()
        .flatten()
        .collect()
}

fn files() -> Vec<Trial> {
    const SUBJECT: &str = "hooks.d";
    vec![
        problem(
            "hooks.d: no file",
            |_| Ok(fs::remove_file(JSON)?),
            SUBJECT,
            &["podman reads", "without a policy"],
        ),
        problem(
            "hooks.d: malformed JSON of somebody",
            |_| write(THEIRS, "{"),
            SUBJECT,
            &[THEIRS, "not JSON", "every container start of podman"],
        ),
        problem(
            "hooks.d: a version that engines do not know",
            |_| write(THEIRS, "{\"version\": \"3.0.0\"}"),
            SUBJECT,
            &[THEIRS, "3.0.0"],
        ),
        problem(
            "hooks.d: a directory in a file's place",
            |_| Ok(fs::create_dir(THEIRS)?),
            SUBJECT,
            &[THEIRS, "not a regular file"],
        ),
        problem(
            "hooks.d: started twice",
            |_| write(SECOND, INSTALLED),
            SUBJECT,
            &["more than once", SECOND],
        ),
        problem(
            "hooks.d: a prestart leftover",
            |_| edit("\"createRuntime\"", "\"createRuntime\", \"prestart\""),
            SUBJECT,
            &[JSON, "prestart"],
        ),
        problem(
            "hooks.d: another stage",
            |_| edit("\"createRuntime\"", "\"poststart\""),
            SUBJECT,
            &[JSON, "lacks the stage createRuntime"],
        ),
        problem(
            "hooks.d: another command",
            |_| edit("\"create-runtime\"", "\"status\""),
            SUBJECT,
            &[JSON, "create-runtime"],
        ),
        problem(
            "hooks.d: a narrow condition on keys",
            |_| edit("hook\\\\.", "hook\\\\.ipv4"),
            SUBJECT,
            &[JSON, "on keys"],
        ),
        problem(
            "hooks.d: a narrow condition on values",
            |_| edit("(?s)", ""),
            SUBJECT,
            &[JSON, "on values"],
        ),
        problem(
            "hooks.d: the old schema",
            |_| {
                write(
                    JSON,
                    "{\"hook\": \"/usr/libexec/oci/hooks.d/oci-bind-hook\", \"stages\": [\"prestart\"]}",
                )
            },
            SUBJECT,
            &[JSON, "schema"],
        ),
        note(
            "hooks.d: a condition without an anchor",
            |_| edit("^io", "io"),
            SUBJECT,
            &[JSON, "keys of others"],
        ),
    ]
}

fn programs() -> Vec<Trial> {
    const SUBJECT: &str = "hooks.d";
    vec![
        problem(
            "program: missing",
            |_| Ok(fs::remove_file(PROGRAM)?),
            SUBJECT,
            &[JSON, PROGRAM, "does not exist", "without a policy"],
        ),
        problem(
            "program: not executable",
            |_| chmod(PROGRAM, 0o644),
            SUBJECT,
            &[PROGRAM, "not executable"],
        ),
        problem(
            "program: a directory",
            |_| {
                fs::remove_file(PROGRAM)?;
                Ok(fs::create_dir(PROGRAM)?)
            },
            SUBJECT,
            &[PROGRAM, "not a regular file"],
        ),
        problem(
            "program: writable by others",
            |_| chmod(PROGRAM, 0o757),
            SUBJECT,
            &[PROGRAM, "others than root"],
        ),
        problem(
            "program: somebody else's",
            |_| Ok(std::os::unix::fs::chown(PROGRAM, Some(65534), None)?),
            SUBJECT,
            &[PROGRAM, "others than root"],
        ),
        problem(
            "program: a relative path",
            |_| edit("\"/usr/libexec", "\"usr/libexec"),
            SUBJECT,
            &["absolute"],
        ),
        note(
            "program: another build",
            |_| {
                write(PROGRAM, "another")?;
                chmod(PROGRAM, 0o755)
            },
            SUBJECT,
            &[PROGRAM, "another build"],
        ),
    ]
}

fn readers() -> Vec<Trial> {
    const SUBJECT: &str = "hooks.d";
    let moved = || {
        fs::remove_file(JSON)?;
        write(OVERRIDE, INSTALLED)
    };
    vec![
        problem(
            "podman: a directory that it does not read",
            move |_| moved(),
            SUBJECT,
            &["podman reads /usr/share/containers/oci/hooks.d,"],
        ),
        problem(
            "podman: hooks_dir elsewhere",
            |_| write(CONF, "[engine]\nhooks_dir = [\"/etc/hooks\"]\n"),
            SUBJECT,
            &["podman reads /etc/hooks,"],
        ),
        problem(
            "podman: containers.conf that is not TOML",
            |_| write(CONF, "[engine"),
            SUBJECT,
            &[CONF, "cannot tell"],
        ),
        ok(
            "podman: hooks_dir in a drop-in",
            move |_| {
                moved()?;
                write(CONF, "[engine]\nhooks_dir = [\"/etc/hooks\"]\n")?;
                write(
                    "/etc/containers/containers.conf.d/hooks.conf",
                    "[engine]\nhooks_dir = [\"/etc/containers/oci/hooks.d\", { append = true }]\n",
                )
            },
            SUBJECT,
            &["podman reads", OVERRIDE],
        ),
        ok(
            "CRI-O: as installed",
            |place| {
                place.no_engine("podman")?;
                place.engine("crio")
            },
            SUBJECT,
            &["CRI-O reads", JSON],
        ),
        problem(
            "CRI-O: hooks_dir elsewhere",
            |place| {
                place.engine("crio")?;
                write(CRIO, "[crio.runtime]\nhooks_dir = [\"/etc/hooks\"]\n")
            },
            SUBJECT,
            &["CRI-O reads /etc/hooks,"],
        ),
        problem(
            "CRI-O: hooks_dir elsewhere in a drop-in",
            |place| {
                place.engine("crio")?;
                write(
                    "/etc/crio/crio.conf.d/10-hooks.conf",
                    "[crio.runtime]\nhooks_dir = [\"/etc/hooks\"]\n",
                )
            },
            SUBJECT,
            &["CRI-O reads /etc/hooks,"],
        ),
        problem(
            "buildah: malformed JSON in the directory that it alone reads",
            |place| {
                place.engine("buildah")?;
                write("/etc/containers/oci/hooks.d/theirs.json", "{")
            },
            SUBJECT,
            &["theirs.json", "of buildah"],
        ),
        note(
            "nobody: malformed JSON in a directory that none reads",
            |_| write("/etc/containers/oci/hooks.d/theirs.json", "{"),
            SUBJECT,
            &["theirs.json", "no engine"],
        ),
    ]
}

/// The hooks.d file for all containers, and the setting that needs it.
fn all_containers() -> Vec<Trial> {
    const SUBJECT: &str = "hooks.d";
    const EXAMPLE: &str = include_str!("../../config/all-containers.json");
    let enabled = || {
        write(OVERRIDE, EXAMPLE)?;
        write(
            CONF,
            "[engine]\nhooks_dir = [\"/usr/share/containers/oci/hooks.d\", \
             \"/etc/containers/oci/hooks.d\"]\n",
        )
    };
    let refuse = || write(CONFIG, "without-policy = \"refuse\"\n");
    let mut trials = vec![
        ok(
            "all containers: refused, and the file is enabled",
            move |_| {
                enabled()?;
                refuse()
            },
            SUBJECT,
            &["podman reads", OVERRIDE, "for all containers"],
        ),
        problem(
            "all containers: refused, and the file is not enabled",
            move |_| refuse(),
            SUBJECT,
            &[JSON, "annotated containers only", "refuse"],
        ),
        problem(
            "all containers: warned of, and the file is not enabled",
            |_| write(CONFIG, "without-policy = \"warn\"\n"),
            SUBJECT,
            &[JSON, "annotated containers only", "warn"],
        ),
        problem(
            "all containers: the file beside the installed one",
            |_| write(SECOND, EXAMPLE),
            SUBJECT,
            &["more than once", SECOND],
        ),
    ];
    trials.push(trial(
        "all containers: nothing else is said of the two files",
        move |place| {
            enabled()?;
            let said = place.check(&[])?;
            let lines = said.0.stdout.lines();
            let lines: Vec<_> = lines.filter(|line| line.contains(" hooks.d: ")).collect();
            ensure!(lines.len() == 1, "{lines:?}");
            Ok(())
        },
    ));
    trials
}
