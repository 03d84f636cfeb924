//! What a part says of its tests: cargo's runners, and the test scripts
//! (tests/runner.sh).

use std::collections::BTreeMap;
use std::fmt;

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that passed.
    pub passed: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that could not run.
    pub skipped: u64,
}

impl Counts {
    /// Adds those of another part.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Adds one test.
    pub fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed => self.failed += 1,
            Verdict::Skipped(_) => self.skipped += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(
            formatter,
            "{passed} passed, {failed} failed, {skipped} skipped"
        )
    }
}

/// What a runner says of one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test<'a> {
    /// Its name.
    pub name: &'a str,
    /// How it ended.
    pub verdict: Verdict<'a>,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It could not run, for this reason.
    Skipped(&'a str),
}

/// Notes of what a part has said.
#[derive(Debug, Default)]
pub struct Output {
    /// The counts of all runners.
    pub counts: Counts,
    /// The names of tests that failed, or what else is wrong.
    pub failures: Vec<String>,
    /// The names of tests that were skipped, by the reason.
    pub skipped: BTreeMap<String, Vec<String>>,
}

impl Output {
    /// Takes note of a line. False if it is a script's counts, which are told with
    /// all others at the end.
    pub fn note(&mut self, line: &str) -> bool {
        if let Some(counts) = script_counts(line) {
            self.counts.add(counts);
            return false;
        }
        if let Some(counts) = cargo_counts(line) {
            self.counts.add(counts);
        } else if let Some(Test { name, verdict }) = cargo_test(line).or_else(|| script_test(line))
        {
            match verdict {
                Verdict::Passed => {}
                Verdict::Failed => self.failures.push(name.to_owned()),
                Verdict::Skipped(reason) => {
                    let names = self.skipped.entry(reason.to_owned()).or_default();
                    names.push(name.to_owned());
                }
            }
        }
        true
    }

    /// The part itself failed. One that counted a failure has said why.
    pub fn fail(&mut self, name: &str, wrong: &str) {
        if self.counts.failed == 0 || !wrong.starts_with("ended with") {
            self.counts.failed += 1;
            self.failures.push(format!("{name}: {wrong}"));
            println!("not ok - {name}: {wrong}");
        }
    }
}

/// `12 passed, 0 failed, 1 skipped`
fn script_counts(line: &str) -> Option<Counts> {
    let mut parts = line.split(", ");
    let mut number = |what: &str| parts.next()?.strip_suffix(what)?.trim_end().parse().ok();
    let counts = Counts {
        passed: number("passed")?,
        failed: number("failed")?,
        skipped: number("skipped")?,
    };
    parts.next().is_none().then_some(counts)
}

/// `test result: ok. 12 passed; 0 failed; 1 ignored; ...`
fn cargo_counts(line: &str) -> Option<Counts> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut parts = counts.split("; ");
    let mut number = |what: &str| parts.next()?.strip_suffix(what)?.trim_end().parse().ok();
    Some(Counts {
        passed: number("passed")?,
        failed: number("failed")?,
        skipped: number("ignored")?,
    })
}

/// `test NAME ... ok`, `test NAME ... FAILED`, `test NAME ... ignored (REASON)` or
/// `..., REASON`
pub fn cargo_test(line: &str) -> Option<Test<'_>> {
    let rest = line.strip_prefix("test ")?;
    let (name, verdict) = if let Some(name) = rest.strip_suffix(" ... ok") {
        (name, Verdict::Passed)
    } else if let Some(name) = rest.strip_suffix(" ... FAILED") {
        (name, Verdict::Failed)
    } else {
        let (name, reason) = rest.split_once(" ... ignored")?;
        let reason = reason.trim_start_matches([',', ' ']);
        let bracketed = reason
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'));
        (name, Verdict::Skipped(bracketed.unwrap_or(reason)))
    };
    let name = name.trim_end();
    Some(Test { name, verdict })
}

/// `ok - NAME`, `not ok - NAME`, `skipped - NAME: REASON`
fn script_test(line: &str) -> Option<Test<'_>> {
    let (verdict, name) = line.split_once(" - ")?;
    let (name, verdict) = match verdict {
        "ok" => (name, Verdict::Passed),
        "not ok" => (name, Verdict::Failed),
        "skipped" => {
            // Names have colons too, reasons rarely.
            let (name, reason) = name.rsplit_once(": ").unwrap_or((name, ""));
            (name, Verdict::Skipped(reason))
        }
        _ => return None,
    };
    Some(Test { name, verdict })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(lines: &[&str]) -> Output {
        let mut output = Output::default();
        for line in lines {
            output.note(line);
        }
        output
    }

    #[test]
    fn adds_up_what_runners_count() {
        let output = noted(&[
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            "7 passed, 1 failed, 4 skipped",
            "7 passed, 1 failed, 4 skipped, and more",
            "it said: 7 passed, 1 failed, 4 skipped",
        ]);
        assert_eq!(
            output.counts,
            Counts {
                passed: 22,
                failed: 3,
                skipped: 5
            }
        );
    }

    #[test]
    fn knows_what_failed_and_what_was_skipped() {
        let output = noted(&[
            "test B1 bind [both]       ... FAILED",
            "not ok - podman: restart keeps the policy",
            "test G1 SCTP over IPv4    ... ignored (no protocol 132 here)",
            "test tests::long ... ignored, takes an hour (or two)",
            "skipped - podman: a trial: no podman here",
            "test B2 bind [both]       ... ok",
        ]);
        assert_eq!(
            output.failures,
            ["B1 bind [both]", "podman: restart keeps the policy"]
        );
        let skipped: Vec<_> = output.skipped.into_iter().collect();
        assert_eq!(
            skipped,
            [
                (
                    "no podman here".to_owned(),
                    vec!["podman: a trial".to_owned()]
                ),
                (
                    "no protocol 132 here".to_owned(),
                    vec!["G1 SCTP over IPv4".to_owned()]
                ),
                (
                    "takes an hour (or two)".to_owned(),
                    vec!["tests::long".to_owned()]
                ),
            ]
        );
    }

    #[test]
    fn a_part_that_ends_badly_is_a_failure_unless_it_has_counted_one() {
        let mut silent = Output::default();
        silent.fail("clippy", "ended with status 101");
        assert_eq!(silent.counts.failed, 1);

        let mut told = noted(&["not ok - a test", "0 passed, 1 failed, 0 skipped"]);
        told.fail("engines", "ended with status 1");
        assert_eq!(told.counts.failed, 1);
        told.fail("engines", "left processes running: conmon");
        assert_eq!(told.counts.failed, 2);
    }
}
