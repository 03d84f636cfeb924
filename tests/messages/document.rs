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
line in syslog; only a bad command line is followed by its usage, and not
logged. The hook's failure keeps the container from starting, and podman shows
the line, with runc. Every message here was said by the program in a test; one that
is not here comes from a kernel that refuses what kernels grant, or from a mistake
in the program: please report it, with the kernel's version. What differs
from case to case is in capitals: `ID` is a container's id, `PID` its first
process, `CGROUP` its cgroup, `OTHER` another one of these, `COMMAND` a process's
name, `FILE` the configuration, `VERSION` that of the programs, `MAP` one of
their maps. The words behind the last colon are often the kernel's, and may be
others on another one; so may be what the verifier says.
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
