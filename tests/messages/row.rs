//! One message of the binary: what brings it about, its text, what to do.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process::Output;

use crate::scene::Scene;

/// Messages that have a part of the program in common.
pub struct Area {
    /// The heading of its table.
    pub title: &'static str,
    /// The exit status that goes with its messages.
    pub status: i32,
    /// Its messages.
    pub rows: &'static [Row],
}

/// A message, produced by the real binary.
pub struct Row {
    /// What brings it about.
    pub cause: &'static str,
    /// The line on standard error without the program's name in front, and with
    /// the names of [`Scene::named`] for what differs from run to run.
    pub message: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// Brings it about.
    pub test: fn(&Scene) -> Result<Output>,
}

/// The exit status of a bad command line.
pub const BAD_COMMAND_LINE: i32 = 2;
/// The exit status of `run` when the command could not be started.
pub const NOT_STARTED: i32 = 125;

/// The trials of an area: each fails unless the message is the one of its row.
pub fn trials(area: &'static Area) -> impl Iterator<Item = Trial> {
    area.rows.iter().map(move |row| {
        harness::trial(format!("{}: {}", area.title, row.cause), move || {
            Net::isolated(move |net| {
                let scene = Scene::new(net)?;
                let output = (row.test)(&scene)?;
                let said = said(area.status, &output)?;
                let said = scene.normalised(&said);
                ensure!(
                    said == row.message,
                    "it said\n{said}\nand not\n{}",
                    row.message
                );
                Ok(())
            })
        })
    })
}

/// The one line of a failure, or the last one of a success, on standard output or else on
/// standard error. That of a bad command line is
/// followed by the usage, and its parts, such as a tip, are lines of their own.
fn said(status: i32, output: &Output) -> Result<String> {
    ensure!(
        output.status.code() == Some(status),
        "not status {status}: {output:?}"
    );
    if status == 0 {
        let printed = output.stdout.lines().last();
        let noticed = || {
            output
                .stderr
                .lines()
                .last()?
                .strip_prefix("oci-bind-hook: ")
        };
        let line = printed.or_else(noticed);
        return Ok(line
            .with_context(|| format!("no line: {output:?}"))?
            .to_owned());
    }
    if status == BAD_COMMAND_LINE {
        let is_usage = |part: &&str| part.starts_with("Usage: ") || part.starts_with("For more");
        let parts = output
            .stderr
            .split("\n\n")
            .take_while(|part| !is_usage(part));
        let words: Vec<_> = parts.flat_map(str::split_whitespace).collect();
        return Ok(words.join(" "));
    }
    let line = output
        .stderr
        .strip_suffix('\n')
        .and_then(|line| line.strip_prefix("oci-bind-hook: "))
        .with_context(|| format!("not a line of ours: {output:?}"))?;
    ensure!(!line.contains('\n'), "more than one line: {output:?}");
    Ok(line.to_owned())
}
