//! Runs the parts of a test run one after the other, each under a time limit,
//! and ends with a table, what failed, what was skipped and why, and the counts.
//!
//! ```text
//! gate test|ci|all [PART]...
//! ```
//!
//! `PART` selects parts by name. A failure does not keep the next part from
//! running. Exit status: 0 if nothing failed, 1 if something did, 2 for a bad
//! command line.

mod part;
mod plan;
mod report;
mod tree;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::part::{Outcome, Part};
use crate::plan::Plan;

/// How long processes have to clean up once they are asked to end.
const GRACE: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let (plan, parts) = match chosen(&words) {
        Ok(chosen) => chosen,
        Err(error) => {
            eprintln!("gate: {error:#}");
            return ExitCode::from(2);
        }
    };
    match run(plan, &parts) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The plan and the parts of it that the command line names, in the plan's order.
fn chosen(words: &[String]) -> Result<(&'static Plan, Vec<&'static Part>)> {
    let [name, names @ ..] = words else {
        bail!("usage: gate test|ci|all [PART]...");
    };
    let plan = plan::named(name).with_context(|| format!("no plan {name:?}: test, ci or all"))?;
    for name in names {
        if !plan.parts().any(|part| part.name == name) {
            let known: Vec<_> = plan.parts().map(|part| part.name).collect();
            bail!("no part {name:?}: {}", known.join(", "));
        }
    }
    let parts = plan
        .parts()
        .filter(|part| names.is_empty() || names.iter().any(|name| name == part.name))
        .collect();
    Ok((plan, parts))
}

/// Runs these parts of the plan; whether none failed.
fn run(plan: &Plan, parts: &[&Part]) -> Result<bool> {
    tree::adopt_orphans()?;
    tree::end_when_asked(GRACE)?;
    let deadline = Instant::now() + plan.limit;
    // What is tested is what is there now.
    let tested = match plan.is_kept {
        true => Some(report::tested()?),
        false => None,
    };
    let mut outcomes = Vec::new();
    for part in parts {
        tree::go_on();
        let outcome = part.run(deadline, GRACE)?;
        // A result that cannot be kept is no reason to run no more parts.
        if let Some(tested) = &tested
            && let Err(error) = report::keep(plan, tested, &outcome)
        {
            eprintln!("gate: {error:#}");
        }
        outcomes.push(outcome);
    }
    print!("{}", report::end(&outcomes));
    let failed = |outcome: &Outcome| outcome.output.counts.failed > 0;
    Ok(!outcomes.iter().any(failed))
}
