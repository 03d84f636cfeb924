//! One part: a command, its time limit, and what came of it.

use std::io::{BufRead as _, BufReader, PipeReader, Write as _, pipe};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use oci_bind_hook_gate::output::Output;
use rustix::process::{Pid, WaitStatus};

use crate::tree::Tree;

/// A command of a plan.
pub struct Part {
    /// What the table calls it.
    pub name: &'static str,
    /// How long it may take.
    pub limit: Duration,
    /// The command, with words of an environment before it: env(1).
    pub command: &'static [&'static str],
}

/// What came of a part.
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What it said of its tests. A part that failed has at least one failure.
    pub output: Output,
}

impl Part {
    /// Runs the command until it ends, its limit is over, or `deadline` is; all
    /// that it has started has ended then. What is left running has `grace` to end.
    pub fn run(&self, deadline: Instant, grace: Duration) -> Result<Outcome> {
        println!("=== {}", self.name);
        let start = Instant::now();
        if start >= deadline {
            let mut output = Output::default();
            output.fail(self.name, "not started: the time of all parts is over");
            let took = Duration::ZERO;
            return Ok(Outcome {
                name: self.name,
                took,
                output,
            });
        }
        let deadline = deadline.min(start + self.limit);
        let (reader, writer) = pipe().context("make a pipe")?;
        let child = Command::new("env")
            .args(self.command)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().context("share a pipe")?)
            .stderr(writer)
            .spawn()
            .with_context(|| format!("run {}", self.command.join(" ")))?;
        let tree = Tree::of(Pid::from_child(&child));
        let reading = thread::spawn(move || read(reader));
        let verdict = verdict(&tree, deadline, grace)?;
        let mut output = reading.join().ok().context("read what a part says")?;
        if let Some(wrong) = verdict {
            output.fail(self.name, &wrong);
        }
        let took = start.elapsed();
        println!("=== {}: {} s", self.name, took.as_secs());
        Ok(Outcome {
            name: self.name,
            took,
            output,
        })
    }
}

/// What is wrong with how it ended, if something is.
fn verdict(tree: &Tree, deadline: Instant, grace: Duration) -> Result<Option<String>> {
    let start = Instant::now();
    let Some(status) = tree.wait(deadline) else {
        tree.end(grace)?;
        return Ok(Some(format!(
            "not done in time, after {} s: ended, with all that it had started",
            start.elapsed().as_secs()
        )));
    };
    let stayed = tree.end_what_stays(grace)?;
    Ok(wrong(status, &stayed))
}

fn wrong(status: WaitStatus, stayed: &[String]) -> Option<String> {
    if !stayed.is_empty() {
        return Some(format!("left processes running: {}", stayed.join(", ")));
    }
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => None,
        (Some(number), _) => Some(format!("ended with status {number}")),
        (None, signal) => Some(format!("ended with signal {}", signal.unwrap_or_default())),
    }
}

/// Shows what a part says, line by line, and takes notes.
fn read(pipe: PipeReader) -> Output {
    let mut output = Output::default();
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        if !matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            return output;
        }
        let text = String::from_utf8_lossy(&line);
        if output.note(text.trim_end()) {
            // A closed output is no reason to end the tests.
            let _ = std::io::stdout().write_all(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use rustix::process::{WaitOptions, wait};

    use super::*;

    const GRACE: Duration = Duration::from_secs(1);

    /// A process that has lost its parent, ignores the request to end, and would
    /// run for a day.
    const STRAY: &str = "(trap '' TERM; setsid sleep 86400 & echo started)";

    fn outcome(script: &'static str, limit: Duration) -> Outcome {
        crate::tree::adopt_orphans().unwrap();
        let command = Vec::leak(vec!["bash", "-c", script]);
        let part = Part {
            name: "a part",
            limit,
            command,
        };
        let outcome = part.run(Instant::now() + limit, GRACE).unwrap();
        assert_eq!(wait(WaitOptions::NOHANG).unwrap_err(), Errno::CHILD);
        outcome
    }

    /// One test, since each looks at all processes that this one has started.
    #[test]
    fn a_part_ends_with_all_that_it_has_started() {
        let quick = outcome(
            "echo '3 passed, 0 failed, 1 skipped'",
            Duration::from_secs(60),
        );
        assert_eq!(
            (quick.output.counts.passed, quick.output.counts.failed),
            (3, 0)
        );

        let script = [STRAY, "; sleep 86400"].concat();
        let slow = outcome(script.leak(), Duration::from_secs(2));
        assert_eq!(slow.output.counts.failed, 1);
        assert!(slow.output.failures[0].contains("not done in time"));

        let untidy = outcome(STRAY, Duration::from_secs(60));
        assert_eq!(untidy.output.counts.failed, 1);
        assert!(untidy.output.failures[0].contains("left processes running: "));

        let late = Part {
            name: "late",
            limit: Duration::from_secs(60),
            command: &["false"],
        };
        let late = late.run(Instant::now(), GRACE).unwrap();
        assert!(late.output.failures[0].contains("not started"));

        let bad = outcome("exit 3", Duration::from_secs(60));
        assert_eq!(bad.output.failures, ["a part: ended with status 3"]);
    }
}
