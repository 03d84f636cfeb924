//! What `docs/EXAMPLES.md` shows of `check`.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::harness;

use crate::place::{CONFIG, Place, trial, write};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/EXAMPLES.md");
const START: &str = "<!-- example: check -->\n```console\n";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    // Read before /usr, /etc and the like are covered.
    let document = fs::read_to_string(DOCUMENT);
    vec![trial("check as EXAMPLES.md shows it", move |place| {
        let document = document.map_err(|error| match error.kind() {
            ErrorKind::NotFound => harness::skip("the documents are not here"),
            _ => error.into(),
        })?;
        let (_, after) = document.split_once(START).context("no example")?;
        let (shown, _) = after.split_once("```\n").context("no end of the example")?;
        let said = said(place)?;
        ensure!(shown == said, "it is now\n{said}");
        Ok(())
    })]
}

/// On a host where somebody else's hooks.d file is malformed.
fn said(place: &Place) -> Result<String> {
    write(CONFIG, "allow = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n")?;
    write(
        "/usr/share/containers/oci/hooks.d/other.json",
        "{ \"version\": ",
    )?;
    let output = place.check(&[])?;
    let mut text = String::from("# oci-bind-hook check\n");
    let mut lines = output.0.stdout.lines();
    while let Some(line) = lines.next() {
        let usual = match subject(line) {
            // Where it is mounted, and whether cgroup v1 is there too, differs
            // from host to host.
            Some("cgroup2") => Some("ok       cgroup2: mounted at /sys/fs/cgroup"),
            // No log daemon here.
            Some("syslog") => Some("ok       syslog: a daemon listens at /dev/log"),
            _ => None,
        };
        if usual.is_some() && line.starts_with("note") {
            // Its remedy.
            lines.next();
        }
        text.push_str(usual.unwrap_or(line));
        text.push('\n');
    }
    // Where the trials have their engines.
    let mut text = text.replace("/opt/engines/", "/usr/bin/");
    let summary = text.trim_end().rfind('\n').context("no summary")?;
    text.truncate(summary + 1);
    Ok(text)
}

fn subject(line: &str) -> Option<&str> {
    line.get(9..)?.split_once(": ").map(|(subject, _)| subject)
}
