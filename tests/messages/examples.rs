//! `docs/EXAMPLES.md`: its blocks are what the real binary prints.
//!
//! A comment `<!-- example: NAME -->` stands before each. A trial fails where a
//! block differs; `EXAMPLES=write cargo test --test messages` writes them anew.
//! What is around them is written by hand.

mod fields;
mod log;
mod show;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::{harness, host};

use show::Stage;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/EXAMPLES.md");

/// An example: its name, and what makes its text.
type Example = (&'static str, fn(&Stage) -> Result<String>);

/// All that are made here. Another one takes a line here, a function such as
/// those in `show`, and an empty block behind its comment in the document.
const EXAMPLES: &[Example] = &[
    ("status", show::status),
    ("status of one container", show::details),
    ("status --json", show::json),
    ("dry run", show::dry_run),
    ("attach", show::attach),
    ("attach refused", show::attach_refused),
    ("run refused", show::run_refused),
    ("syslog", log::syslog),
    ("debug", log::debug),
];

/// Those that tests/engines.sh and tests/check make.
const ELSEWHERE: &[&str] = &["podman refused", "check"];

/// A trial for each example, and those of the document as a whole.
pub fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = EXAMPLES
        .iter()
        .map(|&(name, make)| {
            harness::trial(format!("example: {name}"), move || {
                let (made, shown) = (made(make)?, block(&document()?, name)?.to_owned());
                ensure!(
                    made == shown,
                    "it is now\n{made}\nrun EXAMPLES=write cargo test --test messages"
                );
                Ok(())
            })
        })
        .collect();
    trials.push(Trial::test("every example is in EXAMPLES.md", || {
        Ok(assert_all()?)
    }));
    trials.push(Trial::test(
        "every field of status --json is explained",
        || Ok(fields::assert_explained(&document()?)?),
    ));
    trials
}

/// Writes the blocks anew.
pub fn write() -> Result<()> {
    host::set_up()?;
    let mut document = document()?;
    for &(name, make) in EXAMPLES {
        let made = made(make).with_context(|| format!("example {name}"))?;
        let shown = block(&document, name)?;
        let start = shown.as_ptr() as usize - document.as_ptr() as usize;
        document.replace_range(start..start + shown.len(), &made);
    }
    fs::write(PATH, document).with_context(|| format!("write {PATH}"))
}

fn made(make: fn(&Stage) -> Result<String>) -> Result<String> {
    Net::isolated(move |net| {
        let stage = Stage::new(net)?;
        let made = make(&stage)?;
        Ok(stage.scene.normalised(&made))
    })
}

fn document() -> Result<String> {
    fs::read_to_string(PATH).with_context(|| format!("read {PATH}"))
}

/// What is in the block of this name.
fn block<'a>(document: &'a str, name: &str) -> Result<&'a str> {
    let marker = format!("<!-- example: {name} -->\n");
    let find = || {
        let (_, after) = document.split_once(&marker)?;
        let (_, text) = after.strip_prefix("```")?.split_once('\n')?;
        let end = text.find("```\n")?;
        text.get(..end)
    };
    find().with_context(|| format!("no block behind {marker:?} in {PATH}"))
}

fn assert_all() -> Result<()> {
    let document = document()?;
    let shown: BTreeSet<_> = document
        .lines()
        .filter_map(|line| line.strip_prefix("<!-- example: ")?.strip_suffix(" -->"))
        .collect();
    let made = EXAMPLES.iter().map(|(name, _)| *name);
    let made: BTreeSet<_> = made.chain(ELSEWHERE.iter().copied()).collect();
    ensure!(shown == made, "{shown:?} are shown, {made:?} made");
    Ok(())
}
