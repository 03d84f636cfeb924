//! `SEMANTICS.md`: what the rows claim, generated from them.
//!
//! `SEMANTICS=write cargo test --test scenarios` writes it; a trial fails if the file
//! differs from the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::list::LIST;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/SEMANTICS.md");

const HEAD: &str = "\
# Socket semantics

Generated from `tests/scenarios` by `SEMANTICS=write cargo test --test scenarios`.

Every trial makes real calls on a real kernel and looks at what a peer or the
program can observe: in a cgroup under a policy, and, where it comes from a
table, outside of it and after `detach`. A trial runs once for each policy that
it concerns. *Kernel* is the oldest one on which the row holds; on an older one
its trials check what is said to happen there.
";

/// The names of the trials by row.
pub type Trials = BTreeMap<&'static str, Vec<String>>;

/// Fails unless every row of the list has a trial and every trial a row.
pub fn assert_complete(trials: &Trials) -> Result<()> {
    let listed: BTreeSet<_> = LIST.iter().map(|item| item.id).collect();
    let tested: BTreeSet<_> = trials.keys().copied().collect();
    let missing: Vec<_> = listed.difference(&tested).collect();
    ensure!(missing.is_empty(), "rows without a test: {missing:?}");
    let unlisted: Vec<_> = tested.difference(&listed).collect();
    ensure!(unlisted.is_empty(), "tests without a row: {unlisted:?}");
    Ok(())
}

/// Fails unless the file says what the rows say.
pub fn assert_current(trials: &Trials) -> Result<()> {
    let current = fs::read_to_string(PATH).with_context(|| format!("read {PATH}"))?;
    ensure!(
        current == text(trials)?,
        "{PATH} differs from the tests: run SEMANTICS=write cargo test --test scenarios"
    );
    Ok(())
}

/// Writes the file.
pub fn write(trials: &Trials) -> Result<()> {
    fs::write(PATH, text(trials)?).with_context(|| format!("write {PATH}"))
}

fn text(trials: &Trials) -> Result<String> {
    let mut text = HEAD.to_owned();
    text.push_str("\n| row | call | trials | kernel |\n| --- | --- | --- | --- |\n");
    let of = |id| trials.get(id).map(Vec::as_slice).unwrap_or_default();
    for item in LIST {
        let count = of(item.id).len();
        writeln!(
            text,
            "| {} | {} | {count} | {} |",
            item.id, item.call, item.floor
        )?;
    }
    text.push('\n');
    text.push_str(include_str!("limits.md"));
    text.push_str("\n## Trials\n\nThe policies are in brackets.\n");
    for item in LIST {
        writeln!(text, "\n### {}: {}\n", item.id, item.call)?;
        for (what, policies) in by_call(item.id, of(item.id)) {
            match policies.as_slice() {
                [] => writeln!(text, "- {what}")?,
                policies => writeln!(text, "- {what} [{}]", policies.join("; "))?,
            }
        }
    }
    Ok(text)
}

/// The trials of one row without the row's name, each once with its policies, in the order
/// of the tables.
fn by_call<'a>(id: &str, names: &'a [String]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut calls: Vec<(&str, Vec<&str>)> = Vec::new();
    for name in names {
        let name = name.strip_prefix(id).unwrap_or(name).trim_start();
        let (what, policy) = match name
            .strip_suffix(']')
            .and_then(|name| name.rsplit_once(" ["))
        {
            Some((what, policy)) => (what, Some(policy)),
            None => (name, None),
        };
        match calls.iter_mut().find(|(known, _)| *known == what) {
            Some((_, policies)) => policies.extend(policy),
            None => calls.push((what, policy.into_iter().collect())),
        }
    }
    calls
}
