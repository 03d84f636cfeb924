//! `check`: what works on this host, and how to fix what doesn't.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::{json, print};
use crate::input::config::Config;
use crate::jobs::check::{self, Finding, Level};
use crate::text;

/// Prints what was found. Returns the exit status.
pub(super) fn check(config: &Result<Config>, as_json: bool) -> Result<u8> {
    let findings = check::findings(config);
    let text = match as_json {
        true => json(&json!({
            "problems": count(&findings, Level::Problem),
            "unknown": count(&findings, Level::Unknown),
            "notes": count(&findings, Level::Note),
            "findings": findings,
        }))?,
        false => render(&findings),
    };
    print(&text)?;
    let is_good = |finding: &Finding| matches!(finding.level, Level::Ok | Level::Note);
    Ok(u8::from(!findings.iter().all(is_good)))
}

/// Tries the programs, in the process that `check` starts for that.
pub(super) fn probe(cgroup: &Path) -> Result<()> {
    print(&serde_json::to_string(&check::probe(cgroup)?)?)
}

fn count(findings: &[Finding], level: Level) -> usize {
    findings
        .iter()
        .filter(|finding| finding.level == level)
        .count()
}

/// Formats a line for each finding, one for its remedy, and a summary.
fn render(findings: &[Finding]) -> String {
    let mut lines = String::new();
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Unknown => "unknown",
            Level::Problem => "problem",
        };
        let _ = writeln!(lines, "{level:<8} {}: {}", finding.subject, finding.message);
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(lines, "{:<8} remedy: {remedy}", "");
        }
    }
    let problems = text::count(count(findings, Level::Problem), "problem");
    let notes = text::count(count(findings, Level::Note), "note");
    let _ = write!(lines, "{problems}, {notes}");
    match count(findings, Level::Unknown) {
        0 => {}
        unknown => {
            let _ = write!(lines, ", {unknown} unknown: not everything could be seen");
        }
    }
    lines
}
