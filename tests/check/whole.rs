//! The command as a whole.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::place::{JSON, PROGRAM, Place, trial, write};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("check of a good host", |place| {
            let said = place.check(&[])?;
            said.line("ok", "hooks.d", &["podman reads", JSON])?;
            let problems: Vec<_> = problems(&said.0.stdout);
            ensure!(problems.is_empty(), "{problems:?}");
            let last = said.0.stdout.lines().last().unwrap_or_default();
            ensure!(last.starts_with("0 problems, "), "{last:?}");
            said.ends_with(0)
        }),
        trial("check --json of a good host and a bad one", |place| {
            let good = json(place, 0)?;
            ensure!(good["problems"] == 0, "{good}");
            std::fs::remove_file(PROGRAM)?;
            let bad = json(place, 1)?;
            ensure!(bad["problems"] == 1, "{bad}");
            let findings = bad["findings"].as_array().context("no findings")?;
            let problem = findings
                .iter()
                .find(|finding| finding["level"] == "problem");
            let problem = problem.context("no problem")?;
            ensure!(problem["subject"] == "hooks.d", "{problem}");
            for text in ["message", "remedy"] {
                ensure!(
                    problem[text].as_str().is_some_and(|text| !text.is_empty()),
                    "{problem}"
                );
            }
            Ok(())
        }),
        trial("check says one line of whatever a file has", |place| {
            let name = "a\nok       hooks.d: forged\u{1b}[31m.json";
            write(
                &format!("/usr/share/containers/oci/hooks.d/{name}"),
                "{\"version\": \"\\n\\u001b\"}",
            )?;
            let said = place.check(&[])?;
            said.has_problem("hooks.d", &["forged"])?;
            ensure!(!said.0.stdout.contains('\u{1b}'), "{}", said.text());
            let forged = said
                .0
                .stdout
                .lines()
                .find(|line| line.starts_with("ok       hooks.d: forged"));
            ensure!(forged.is_none(), "{}", said.text());
            Ok(())
        }),
    ]
}

fn problems(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.starts_with("problem"))
        .collect()
}

fn json(place: &Place, status: i32) -> Result<Value> {
    let said = place.check(&["--json"])?;
    said.ends_with(status)?;
    serde_json::from_str(&said.0.stdout).context("read what it says")
}
