//! `kernels`: the trials that a kernel makes a difference to, on Debian's kernels.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use oci_bind_hook_gate::output::Counts;

use crate::machine::{Boot, make_directory, remove_directory};
use crate::table::{Column, table};
use crate::{cargo, parallel, program, report, setting, trials};

/// The file whose rows the table has.
const SEMANTICS: &str = "tests/SEMANTICS.md";

/// The status of `tests/vm/fetch.sh` where the archive has no such kernel.
const NO_SUCH_KERNEL: i32 = 3;

/// What came of looking for a kernel.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It is there.
    Kernel,
    /// It is not, and need not be.
    Skipped,
    /// It has to be there, and is not.
    Missing,
}

/// Runs the trials with `filter` in their names; whether nothing failed.
pub fn run(filter: &str) -> Result<bool> {
    let patience = setting::text("PATIENCE", "2400");
    let jobs = setting::number("JOBS", "2")?;
    let target = cargo::target_directory()?;
    // Not in the cache, which other checkouts use too.
    let out = target.join("vm/kernels");
    make_directory(&out)?;
    let (kernels, mut counts) = fetch()?;
    // What a run leaves that was ended is removed by the next one, with all of `out`.
    let payload = out.join("payload");
    make_payload(&payload, &target, filter)?;
    let boots: Vec<_> = kernels
        .iter()
        .map(|kernel| Boot {
            kernel,
            payload: &payload,
            out: out.join(release(kernel)),
            patience: &patience,
            system: None,
        })
        .collect();
    let statuses = parallel::each(&boots, jobs, boot)?;
    remove_directory(&payload)?;
    counts.add(tell(&boots, &statuses)?);
    println!("{counts}");
    Ok(counts.failed == 0)
}

/// Prints what came of the machines, and returns the counts of all.
fn tell(boots: &[Boot], statuses: &[i32]) -> Result<Counts> {
    let outputs: Vec<_> = boots.iter().map(Boot::output).collect();
    let mut counts = Counts::default();
    let mut columns = Vec::new();
    for ((boot, status), output) in boots.iter().zip(statuses).zip(&outputs) {
        let kernel = release(boot.kernel);
        let trials = trials::read(output);
        print!("{}", report::report(kernel, *status, output, &trials));
        counts.add(report::counts(*status, &trials));
        columns.push(Column { kernel, trials });
    }
    let semantics = fs::read_to_string(SEMANTICS).with_context(|| format!("read {SEMANTICS}"))?;
    print!("{}", table(&semantics, &columns));
    Ok(counts)
}

/// The directories of the kernels that are asked for, and the numbers of those that
/// could not be had.
fn fetch() -> Result<(Vec<PathBuf>, Counts)> {
    let may_lack = setting::text("MISSING_KERNELS", "") == "skip";
    let mut kernels = Vec::new();
    let mut counts = Counts::default();
    for name in setting::words("KERNELS", "5.10 6.1 6.12 newest") {
        let (status, directory) = program::print(Command::new("tests/vm/fetch.sh").arg(&name))?;
        match found(status, may_lack) {
            Found::Kernel => {
                let directory = PathBuf::from(directory);
                // The newest one may be one of the others too.
                if !kernels.contains(&directory) {
                    kernels.push(directory);
                }
            }
            Found::Skipped => {
                println!("skipped - Linux {name}: Debian's archive does not have it");
                counts.skipped += 1;
            }
            Found::Missing => {
                println!(
                    "not ok - Linux {name}: could not be had; MISSING_KERNELS=skip goes on without"
                );
                counts.failed += 1;
            }
        }
    }
    Ok((kernels, counts))
}

fn found(status: i32, may_lack: bool) -> Found {
    match status {
        0 => Found::Kernel,
        NO_SUCH_KERNEL if may_lack => Found::Skipped,
        _ => Found::Missing,
    }
}

/// Builds what the machines run, and puts it into a directory.
fn make_payload(payload: &Path, target: &Path, filter: &str) -> Result<()> {
    let binaries = cargo::build()?;
    let mut tests = Vec::new();
    for name in setting::words("TESTS", "scenarios lifecycle breakers faults") {
        let binary = binaries.get(&name);
        tests.push(binary.with_context(|| format!("cargo did not build a test {name}"))?);
    }
    make_directory(payload)?;
    let mut command = Command::new("tests/vm/kernels-payload.sh");
    program::run(command.arg(payload).arg(target).args(tests))?;
    let smoke = setting::text("SMOKE", "");
    for (name, text) in [("filter", filter), ("smoke", &smoke)] {
        let file = payload.join(name);
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// Boots one machine, and tells when it has ended.
fn boot(boot: &Boot) -> Result<i32> {
    let start = Instant::now();
    let status = boot.run()?;
    eprintln!(
        "tests/vm: Linux {}: ended with {status} after {} s",
        release(boot.kernel),
        start.elapsed().as_secs()
    );
    Ok(status)
}

/// The release of a kernel, which its directory is named after.
fn release(kernel: &Path) -> &str {
    let name = kernel.file_name().and_then(|name| name.to_str());
    name.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_the_archive_lacks_may_be_skipped() {
        assert_eq!(found(0, false), Found::Kernel);
        assert_eq!(found(3, true), Found::Skipped);
        assert_eq!(found(3, false), Found::Missing);
        // The archive could not be asked.
        assert_eq!(found(1, true), Found::Missing);
    }
}
