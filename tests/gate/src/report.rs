//! What is told at the end, and what is kept of it.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::output::Counts;
use crate::part::Outcome;

/// Where the last run of everything is kept.
const RESULTS: &str = "tests/RESULTS.md";

/// The table, the failures, what was skipped, and the counts as the last line.
pub fn end(outcomes: &[Outcome]) -> String {
    let mut text = String::from("\n");
    line(
        &mut text,
        "part",
        "minutes",
        ["passed", "failed", "skipped"],
    );
    for outcome in outcomes {
        line(&mut text, outcome.name, &minutes(outcome), numbers(outcome));
    }
    let failures = outcomes.iter().flat_map(|outcome| {
        let failures = outcome.output.failures.iter();
        failures.map(|failure| format!("{}: {failure}", outcome.name))
    });
    list(&mut text, "failed", failures);
    let skipped = outcomes.iter().flat_map(|outcome| {
        outcome.output.skipped.iter().map(|(reason, names)| {
            let more = match names.len() - 1 {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            format!("{}: {}{more}: {reason}", outcome.name, names[0])
        })
    });
    list(&mut text, "skipped", skipped);
    let counts = sum(outcomes);
    text + &format!(
        "\n{} passed, {} failed, {} skipped\n",
        counts.passed, counts.failed, counts.skipped
    )
}

/// What is about to be tested, as `tests/RESULTS.md` says it.
pub fn tested() -> Result<String> {
    Ok(format!(
        "- date: {}\n- commit: {}\n- on: Linux {}, {} processors\n",
        said("date", &["--utc", "+%Y-%m-%d"])?,
        commit()?,
        said("uname", &["--kernel-release"])?,
        said("nproc", &[])?,
    ))
}

/// Writes `tests/RESULTS.md`: what was tested, counts and minutes of each part.
pub fn keep(tested: &str, outcomes: &[Outcome]) -> Result<()> {
    let mut text = format!(
        "# The last run of `make test-all`\n\nWritten by the command itself.\n\n{tested}\n\
         | part | minutes | passed | failed | skipped |\n\
         | --- | ---: | ---: | ---: | ---: |\n"
    );
    for outcome in outcomes {
        let [passed, failed, skipped] = numbers(outcome);
        let minutes = minutes(outcome);
        let _ = writeln!(
            text,
            "| {} | {minutes} | {passed} | {failed} | {skipped} |",
            outcome.name
        );
    }
    let counts = sum(outcomes);
    let seconds = outcomes.iter().map(|outcome| outcome.took.as_secs()).sum();
    let _ = writeln!(
        text,
        "| all | {} | {} | {} | {} |",
        in_minutes(seconds),
        counts.passed,
        counts.failed,
        counts.skipped
    );
    fs::write(RESULTS, text).with_context(|| format!("write {RESULTS}"))
}

/// The commit, and whether there is more than that.
fn commit() -> Result<String> {
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"])?;
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"])?;
    Ok(if changed.is_empty() {
        commit
    } else {
        format!("{commit}, with changes that were not committed")
    })
}

fn said(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("run {program}"))?;
    ensure!(
        output.status.success(),
        "{program} failed: {}",
        output.status
    );
    let text = String::from_utf8(output.stdout).with_context(|| format!("read {program}"))?;
    Ok(text.trim_end().to_owned())
}

fn line(
    text: &mut String,
    name: &str,
    minutes: &str,
    [passed, failed, skipped]: [impl AsRef<str>; 3],
) {
    let _ = writeln!(
        text,
        "{name:<16} {minutes:>8} {:>8} {:>8} {:>8}",
        passed.as_ref(),
        failed.as_ref(),
        skipped.as_ref()
    );
}

fn list(text: &mut String, title: &str, items: impl Iterator<Item = String>) {
    for (index, item) in items.enumerate() {
        if index == 0 {
            let _ = writeln!(text, "\n{title}:");
        }
        let _ = writeln!(text, "  {item}");
    }
}

/// The counts of a part; dashes for one that has no tests.
fn numbers(outcome: &Outcome) -> [String; 3] {
    let counts = outcome.output.counts;
    if counts == Counts::default() {
        return ["-"; 3].map(str::to_owned);
    }
    [counts.passed, counts.failed, counts.skipped].map(|count| count.to_string())
}

fn minutes(outcome: &Outcome) -> String {
    in_minutes(outcome.took.as_secs())
}

fn in_minutes(seconds: u64) -> String {
    format!("{}.{}", seconds / 60, seconds % 60 / 6)
}

fn sum(outcomes: &[Outcome]) -> Counts {
    let mut sum = Counts::default();
    for outcome in outcomes {
        sum.add(outcome.output.counts);
    }
    sum
}
