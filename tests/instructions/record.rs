//! The file: one line for each program.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::harness::skip;

use crate::measure::{All, Own};

const NAME: &str = "ebpf/instructions.txt";
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/instructions.txt");
const REMEDY: &str = "if it is meant, run INSTRUCTIONS=write cargo test --package \
     oci-bind-hook-tests --test instructions, and say why in the commit";

const HEAD: &str = "\
# How long the eBPF programs are. A test compares; INSTRUCTIONS=write cargo test
# --package oci-bind-hook-tests --test instructions writes it.
#   own       instructions in the object; .text: functions that programs call
#   verified  instructions that the verifier went through, on all ways together
#   jited     bytes of machine code, with the functions called
# The last two are of the kernel and the architecture named here alone, and differ
# a little by processor and by patch: the test lets a sixteenth pass.
";
/// Says which kernel it was.
const KERNEL: &str = "kernel ";
/// Where there is nothing to say.
const NONE: &str = "-";

/// Writes the file.
pub fn write(kernel: &str, all: &All) -> Result<()> {
    let mut text = format!("{HEAD}{KERNEL}{kernel}\n");
    line(&mut text, "program", ["own", "verified", "jited"])?;
    for name in all.keys() {
        let [own, verified, jited] = fields(all, name);
        line(&mut text, name, [&own, &verified, &jited])?;
    }
    fs::write(PATH, text).with_context(|| format!("write {PATH}"))
}

fn line(text: &mut String, name: &str, [own, verified, jited]: [&str; 3]) -> Result<()> {
    Ok(writeln!(
        text,
        "{name:<14} {own:>6} {verified:>9} {jited:>7}"
    )?)
}

fn fields(all: &All, name: &str) -> [String; 3] {
    let (own, size) = all[name];
    let or_none = |value: Option<u32>| value.map_or_else(|| NONE.to_owned(), |it| it.to_string());
    [
        own.to_string(),
        or_none(size.map(|size| size.verified)),
        or_none(size.map(|size| size.jited)),
    ]
}

/// Fails unless the object is as recorded.
pub fn assert_own(own: &Own) -> Result<()> {
    let (_, recorded) = read()?;
    let first = |numbers: String| numbers.split(' ').take(1).collect();
    let had = recorded
        .into_iter()
        .map(|(name, numbers)| (name, first(numbers)))
        .collect();
    let has = own
        .iter()
        .map(|(name, count)| (name.clone(), count.to_string()))
        .collect();
    compare("instructions of the object", &had, &has)
}

/// Fails unless the programs are to this kernel about as recorded. How they are
/// made machine code depends on what the processor has to be guarded against.
pub fn assert_kernel(kernel: &str, all: &All) -> Result<()> {
    let (recorded_on, recorded) = read()?;
    if recorded_on != kernel {
        return Err(skip(format!(
            "the sizes are recorded for Linux {recorded_on}, and this is {kernel}"
        )));
    }
    if all
        .values()
        .any(|(_, size)| size.is_some_and(|size| size.jited == 0))
    {
        return Err(skip("net.core.bpf_jit_enable is 0 here"));
    }
    let has: Table = all
        .keys()
        .map(|name| {
            let numbers = fields(all, name).join(" ");
            let near = recorded.get(name).filter(|had| is_near(had, &numbers));
            (name.clone(), near.cloned().unwrap_or(numbers))
        })
        .collect();
    compare("own, verified, jited", &recorded, &has)
}

/// Whether the last two numbers, of the kernel, are about the same.
fn is_near(had: &str, has: &str) -> bool {
    let numbers = |text: &str| -> Vec<Option<u32>> {
        text.split(' ')
            .skip(1)
            .map(|number| number.parse().ok())
            .collect()
    };
    numbers(had)
        .into_iter()
        .zip(numbers(has))
        .all(|(had, has)| match (had, has) {
            (Some(had), Some(has)) => had.abs_diff(has) <= had / 16,
            (had, has) => had == has,
        })
}

/// Numbers by the name of the program.
type Table = BTreeMap<String, String>;

/// Fails where two tables differ.
fn compare(what: &str, had: &Table, has: &Table) -> Result<()> {
    let numbers = |table: &Table, name| table.get(name).map_or(NONE, String::as_str).to_owned();
    let names: BTreeSet<_> = had.keys().chain(has.keys()).collect();
    let changed: Vec<_> = names
        .into_iter()
        .map(|name| (name, numbers(had, name), numbers(has, name)))
        .filter(|(_, had, has)| had != has)
        .map(|(name, had, has)| format!("{name} from {had} to {has}"))
        .collect();
    ensure!(
        changed.is_empty(),
        "{what}: {} since {NAME} was written: {REMEDY}",
        changed.join(", ")
    );
    Ok(())
}

/// For which kernel it was recorded, and the numbers.
fn read() -> Result<(String, Table)> {
    let text = fs::read_to_string(PATH).with_context(|| format!("read {NAME}: {REMEDY}"))?;
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let kernel = lines.next().and_then(|line| line.strip_prefix(KERNEL));
    let kernel = kernel.with_context(|| format!("{NAME} names no kernel: {REMEDY}"))?;
    let mut recorded = Table::new();
    // The first is the heading.
    for line in lines.skip(1) {
        let words: Vec<_> = line.split_whitespace().collect();
        let (name, numbers) = words.split_first().context("read an empty line")?;
        recorded.insert((*name).to_owned(), numbers.join(" "));
    }
    Ok((kernel.to_owned(), recorded))
}
