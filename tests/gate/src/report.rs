//! What is told at the end, and what is kept of it.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_gate::output::Counts;

use crate::part::Outcome;
use crate::plan::Plan;

/// Where the last result of each part is kept.
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
    text + &format!("\n{}\n", sum(outcomes))
}

/// What is about to be tested, as a row of `tests/RESULTS.md` says it: the date and
/// the commit.
pub fn tested() -> Result<String> {
    let date = said("date", &["--utc", "+%Y-%m-%d"])?;
    Ok(format!("{date} | {}", commit()?))
}

/// Puts the result of a part into `tests/RESULTS.md`, which has the last one of each
/// part of `plan`.
pub fn keep(plan: &Plan, tested: &str, outcome: &Outcome) -> Result<()> {
    let before = match fs::read_to_string(RESULTS) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("read {RESULTS}"))?,
    };
    fs::write(RESULTS, with_result(&before, plan, tested, outcome))
        .with_context(|| format!("write {RESULTS}"))
}

fn with_result(before: &str, plan: &Plan, tested: &str, outcome: &Outcome) -> String {
    let mut text = String::from(
        "# Results of `make test-all`\n\nWritten by the command itself: the last run of each part.\n\n\
         | part | date | commit | minutes | passed | failed | skipped |\n\
         | --- | --- | --- | ---: | ---: | ---: | ---: |\n",
    );
    for part in plan.parts() {
        let start = format!("| {} | ", part.name);
        if part.name == outcome.name {
            let [passed, failed, skipped] = numbers(outcome);
            let minutes = minutes(outcome);
            let _ = writeln!(
                text,
                "{start}{tested} | {minutes} | {passed} | {failed} | {skipped} |"
            );
        } else if let Some(row) = before.lines().find(|line| line.starts_with(&start)) {
            let _ = writeln!(text, "{row}");
        }
    }
    text
}

/// The commit, and whether there is more than that.
fn commit() -> Result<String> {
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"])?;
    // But for the results, which an earlier run wrote.
    let others = format!(":!{RESULTS}");
    let changed = said(
        "git",
        &[
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--",
            &others,
        ],
    )?;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use oci_bind_hook_gate::output::Output;

    use super::*;
    use crate::plan;

    fn outcome(name: &'static str, passed: u64) -> Outcome {
        let mut output = Output::default();
        output.counts.passed = passed;
        Outcome {
            name,
            took: Duration::from_secs(90),
            output,
        }
    }

    #[test]
    fn a_result_replaces_the_one_of_its_part() {
        let plan = plan::named("all").unwrap();
        let mut text = with_result("", plan, "2026-01-01 | 1", &outcome("kernels", 7));
        text = with_result(&text, plan, "2026-01-02 | 2", &outcome("format", 0));
        text = with_result(&text, plan, "2026-01-03 | 3", &outcome("kernels", 8));
        let rows: Vec<_> = text.lines().skip(6).collect();
        assert_eq!(
            rows,
            [
                "| format | 2026-01-02 | 2 | 1.5 | - | - | - |",
                "| kernels | 2026-01-03 | 3 | 1.5 | 8 | 0 | 0 |",
            ]
        );
    }
}
