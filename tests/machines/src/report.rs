//! What is told of one machine of the kernels, besides its column in the table.

use std::fmt::Write as _;

use oci_bind_hook_gate::output::{Counts, Verdict};

use crate::machine::has_ended_badly;
use crate::trials::{self, Trial};

/// How many lines of the output are shown if a machine ended badly.
const LAST_LINES: usize = 20;

/// How the machine ended if it was bad, the reports of trials that failed, and the
/// reasons why trials were skipped.
pub fn report(kernel: &str, status: i32, output: &str, trials: &[Trial]) -> String {
    let mut text = String::new();
    if has_ended_badly(status, trials::count(trials).failed > 0) {
        let _ = writeln!(
            text,
            "not ok - Linux {kernel}: the machine ended with {status}; its output ends:"
        );
        let lines: Vec<_> = output.lines().collect();
        for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
            let _ = writeln!(text, "  | {line}");
        }
    }
    for line in trials::failure_reports(output) {
        let name = line
            .strip_prefix("---- ")
            .and_then(|line| line.strip_suffix(" ----"));
        let _ = match name {
            Some(name) => writeln!(text, "not ok - Linux {kernel}: {name}"),
            None => writeln!(text, "{line}"),
        };
    }
    for Trial { test, .. } in trials {
        if let Verdict::Skipped(reason) = test.verdict {
            let _ = writeln!(text, "skipped - Linux {kernel}, {}: {reason}", test.name);
        }
    }
    text
}

/// The numbers of its trials. That it ended badly is a failure too.
pub fn counts(status: i32, trials: &[Trial]) -> Counts {
    let mut counts = trials::count(trials);
    if has_ended_badly(status, counts.failed > 0) {
        counts.failed += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One trial failed and one was skipped.
    const FAILED: &str = "\
Linux 6.1.0-56-cloud-amd64
=== faults

running 2 tests
test load short of threads                  ... ignored (there is no setpriv, or no prlimit)
test runc killed while it creates           ... ok

test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 3.75s

=== scenarios

running 2 tests
test L7 udp6 Connect ::1, two containers    ... FAILED
test L7 udp4 Connect 127.0.0.1              ... ok

failures:

---- L7 udp6 Connect ::1, two containers ----
the client: recvfrom: Resource temporarily unavailable (os error 11)
    at the second call


failures:
    L7 udp6 Connect ::1, two containers

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 848.52s

";

    fn reported(status: i32, output: &str) -> String {
        report(
            "6.1.0-56-cloud-amd64",
            status,
            output,
            &trials::read(output),
        )
    }

    #[test]
    fn tells_what_failed_and_why_something_was_skipped() {
        assert_eq!(
            reported(1, FAILED),
            "\
not ok - Linux 6.1.0-56-cloud-amd64: L7 udp6 Connect ::1, two containers
the client: recvfrom: Resource temporarily unavailable (os error 11)
    at the second call
skipped - Linux 6.1.0-56-cloud-amd64, load short of threads: there is no setpriv, or no prlimit
"
        );
    }

    #[test]
    fn a_machine_that_ended_well_is_silent() {
        let output =
            "Linux 6.1.0-56-cloud-amd64\n=== scenarios\ntest B1 TCP bind 0.0.0.0:p ... ok\n";
        assert_eq!(reported(0, output), "");
    }

    #[test]
    fn a_machine_that_ended_badly_shows_its_last_lines() {
        let output = "Linux 6.1.0-56-cloud-amd64\n=== scenarios\n\nrunning 9 tests\n";
        assert_eq!(
            reported(1, output),
            "\
not ok - Linux 6.1.0-56-cloud-amd64: the machine ended with 1; its output ends:
  | Linux 6.1.0-56-cloud-amd64
  | === scenarios
  | 
  | running 9 tests
"
        );
        let lines: String = (1..=30).map(|line| format!("line {line}\n")).collect();
        let text = reported(124, &lines);
        assert_eq!(text.lines().nth(1), Some("  | line 11"));
        assert_eq!(text.lines().last(), Some("  | line 30"));
    }

    #[test]
    fn a_failed_trial_does_not_explain_that_the_time_was_up() {
        let text = reported(124, FAILED);
        let failures = text.lines().filter(|line| line.starts_with("not ok - "));
        assert_eq!(failures.count(), 2);
        let trials = trials::read(FAILED);
        assert_eq!(
            counts(1, &trials).to_string(),
            "2 passed, 1 failed, 1 skipped"
        );
        assert_eq!(
            counts(124, &trials).to_string(),
            "2 passed, 2 failed, 1 skipped"
        );
    }
}
