//! `docs/MESSAGES.md`, generated from the rows.
//!
//! `MESSAGES=write cargo test --test messages` writes it; a trial fails where
//! the file differs from the rows.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::row::Area;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/MESSAGES.md");

const HEAD: &str = "\
# Messages

Generated from `tests/messages` by `MESSAGES=write cargo test --test messages`.

A failure is one line on standard error, after `oci-bind-hook: `, and the same
line in syslog; only a bad command line is followed by its usage, and is not
logged. When the hook fails, the container does not start, and podman with runc shows
the line. Every message here was printed by the program in a test; one that is not
here means that the kernel refused something that kernels usually grant, or that the
program has a bug: please report it, with the kernel's version. What differs from case
to case is in capitals: `ID` is a container's id, `PID` its first process, `CGROUP` its
cgroup, `OTHER` another one of these, `COMMAND` a process's name, `FILE` the
configuration, `VERSION` that of the programs, `MAP` one of their maps. The text after
the last colon often comes from the kernel, and may differ on another one; so may what
the verifier says.
";

/// Fails unless the file says what the rows say.
pub fn assert_current(areas: &[Area]) -> Result<()> {
    let current = fs::read_to_string(PATH).with_context(|| format!("read {PATH}"))?;
    ensure!(
        current == text(areas)?,
        "{PATH} differs from the tests: run MESSAGES=write cargo test --test messages"
    );
    Ok(())
}

/// Writes the file.
pub fn write(areas: &[Area]) -> Result<()> {
    fs::write(PATH, text(areas)?).with_context(|| format!("write {PATH}"))
}

fn text(areas: &[Area]) -> Result<String> {
    let mut text = HEAD.to_owned();
    for area in areas {
        writeln!(
            text,
            "\n## {}\n\nExit status {}.\n",
            area.title, area.status
        )?;
        writeln!(text, "| cause | message | remedy |\n| --- | --- | --- |")?;
        for row in area.rows {
            // A bar ends a cell, in code too.
            let [cause, message, remedy] =
                [row.cause, row.message, row.remedy].map(|cell| cell.replace('|', "\\|"));
            let fence = if message.contains('`') { "``" } else { "`" };
            writeln!(text, "| {cause} | {fence}{message}{fence} | {remedy} |")?;
        }
    }
    Ok(text)
}
