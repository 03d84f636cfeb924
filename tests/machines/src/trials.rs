//! What the machines of the kernels say of their trials: `tests/vm/guest/trials.sh`.

use oci_bind_hook_gate::output::{self, Counts, Test};

/// A trial that has ended.
pub struct Trial<'a> {
    /// The test binary that it is in.
    pub suite: &'a str,
    /// Its name, and how it ended.
    pub test: Test<'a>,
}

/// The trials in an output, in their order.
pub fn read(output: &str) -> Vec<Trial<'_>> {
    let mut suite = "";
    let mut trials = Vec::new();
    for line in output.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            suite = name;
        } else if let Some(test) = output::cargo_test(line) {
            trials.push(Trial { suite, test });
        }
    }
    trials
}

/// The numbers of trials.
pub fn count(trials: &[Trial]) -> Counts {
    let mut counts = Counts::default();
    for trial in trials {
        counts.count(trial.test.verdict);
    }
    counts
}

/// The reports of trials that failed. A runner puts them between two lines
/// `failures:`, the second of which begins a list of their names.
pub fn failure_reports(output: &str) -> impl Iterator<Item = &str> {
    let mut is_report = false;
    output.lines().filter(move |line| {
        if *line == "failures:" {
            is_report = !is_report;
            return false;
        }
        is_report &= !line.starts_with("test result: ");
        is_report && !line.is_empty()
    })
}
