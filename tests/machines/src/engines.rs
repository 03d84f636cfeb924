//! `engines`: the installed hook under real engines, in machines that run Debian
//! systems.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use oci_bind_hook_gate::output::{Counts, Output};

use crate::machine::{Boot, has_ended_badly, make_directory, remove_directory};
use crate::{cargo, parallel, program, setting};

/// The status of a boot that asks for another one: `tests/vm/guest/engines/run.sh`.
const ANOTHER_BOOT: i32 = 200;

/// How many boots a system has at most.
const BOOTS: u32 = 4;

/// The size of the disk that keeps what a system writes.
const DISK: u64 = 8 << 30;

/// A Debian system.
struct System {
    /// Its suite.
    name: String,
    kernel: PathBuf,
    image: PathBuf,
    /// The directory for what its machine leaves.
    directory: PathBuf,
}

/// What came of a system.
struct End {
    /// The status of its last boot.
    status: i32,
    /// What it said at all boots.
    output: String,
}

/// Runs the tests with one of `words` in their names; whether nothing failed.
pub fn run(words: &[&str]) -> Result<bool> {
    let patience = setting::text("PATIENCE", "1500");
    let target = cargo::target_directory()?;
    let out = target.join("vm/engines");
    make_directory(&out)?;
    // What a run leaves that was ended is removed by the next one, with all of `out`.
    let payload = out.join("payload");
    make_payload(&payload, &target, words)?;
    let mut systems = Vec::new();
    for name in setting::words("SYSTEMS", "trixie sid") {
        systems.push(fetch(name, &out)?);
    }
    let boot = |system: &System| boot(system, &payload, &patience);
    let ends = parallel::each(&systems, systems.len(), boot)?;
    remove_directory(&payload)?;

    let mut counts = Counts::default();
    for (system, end) in systems.iter().zip(&ends) {
        println!("=== {}", system.name);
        counts.add(judge(system, end));
    }
    println!("{counts}");
    Ok(counts.failed == 0)
}

/// Builds what the machines install and run, and puts it into a directory.
fn make_payload(payload: &Path, target: &Path, words: &[&str]) -> Result<()> {
    make_directory(payload)?;
    let mut command = Command::new("tests/vm/engines-payload.sh");
    program::run(command.arg(payload).arg(target))?;
    let default = "systemd podman buildah docker containerd youki";
    let engines = setting::text("ENGINES", default);
    for (name, text) in [("engines", engines), ("words", words.join("\n"))] {
        let file = payload.join(name);
        fs::write(&file, text + "\n").with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// Fetches a system, and makes the directory for what its machine leaves.
fn fetch(name: String, out: &Path) -> Result<System> {
    let directory = out.join(&name);
    make_directory(&directory)?;
    let kernel = program::printed(Command::new("tests/vm/fetch.sh").arg(series(&name)))?;
    let image = program::printed(Command::new("tests/vm/image.sh").arg(&name))?;
    Ok(System {
        name,
        kernel: kernel.into(),
        image: image.into(),
        directory,
    })
}

/// The series of a suite's kernel.
fn series(suite: &str) -> &'static str {
    match suite {
        "bookworm" => "6.1",
        "trixie" => "6.12",
        _ => "newest",
    }
}

/// Boots a system as often as it asks for. What it said at all boots is left in the
/// file `output` too.
fn boot(system: &System, payload: &Path, patience: &str) -> Result<End> {
    let start = Instant::now();
    let disk = system.directory.join("disk");
    make_disk(&disk)?;
    let mut output = String::new();
    let status = last_status(|number| {
        let boot = Boot {
            kernel: &system.kernel,
            payload,
            out: system.directory.join(number.to_string()),
            patience,
            system: Some([&system.image, &disk]),
        };
        let status = boot.run()?;
        output += &boot.output();
        Ok(status)
    })?;
    fs::write(system.directory.join("output"), &output).context("write what a machine said")?;
    fs::remove_file(&disk).with_context(|| format!("remove {}", disk.display()))?;
    eprintln!(
        "tests/vm: {}: ended with {status} after {} s",
        system.name,
        start.elapsed().as_secs()
    );
    Ok(End { status, output })
}

/// Makes a file with an empty file system, which takes no space yet.
fn make_disk(disk: &Path) -> Result<()> {
    let file = fs::File::create(disk).and_then(|file| file.set_len(DISK));
    file.with_context(|| format!("make {}", disk.display()))?;
    let options = ["-q", "-E", "lazy_itable_init=1"];
    program::run(Command::new("mkfs.ext4").args(options).arg(disk))
}

/// Calls `boot` with 1, 2 and so on, as long as the status asks for another boot and
/// there may be one. Returns the last status.
fn last_status(mut boot: impl FnMut(u32) -> Result<i32>) -> Result<i32> {
    for number in 1..BOOTS {
        let status = boot(number)?;
        if status != ANOTHER_BOOT {
            return Ok(status);
        }
    }
    boot(BOOTS)
}

/// Prints what a machine said, and returns the counts of all its boots. That it
/// ended badly is a failure too.
fn judge(system: &System, end: &End) -> Counts {
    let mut output = Output::default();
    for line in end.output.lines() {
        if output.note(line) {
            println!("{line}");
        }
    }
    if has_ended_badly(end.status, !output.failures.is_empty()) {
        let directory = system.directory.display();
        let wrong = format!("the machine ended with {}; see {directory}", end.status);
        output.fail(&system.name, &wrong);
    }
    output.counts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it boots, and the last status, if the boots end with these.
    fn booted(statuses: &[i32]) -> (u32, i32) {
        let mut boots = 0;
        let status = last_status(|number| {
            boots = number;
            Ok(statuses[boots as usize - 1])
        });
        (boots, status.unwrap())
    }

    #[test]
    fn boots_as_often_as_it_is_asked_to() {
        assert_eq!(booted(&[0]), (1, 0));
        assert_eq!(booted(&[1]), (1, 1));
        assert_eq!(booted(&[200, 200, 200, 0]), (4, 0));
        assert_eq!(booted(&[200, 124]), (2, 124));
        // One that asks for ever ends with what no machine may end with.
        assert_eq!(booted(&[200, 200, 200, 200]), (4, 200));
        assert!(has_ended_badly(ANOTHER_BOOT, true));
    }

    fn judged(status: i32, output: &str) -> String {
        let system = System {
            name: "trixie".to_owned(),
            kernel: PathBuf::new(),
            image: PathBuf::new(),
            directory: PathBuf::new(),
        };
        let output = output.to_owned();
        judge(&system, &End { status, output }).to_string()
    }

    #[test]
    fn adds_up_the_counts_of_all_boots() {
        let output = "\
Linux 6.12.118+deb13-cloud-amd64, systemd 257
ok - podman: a container is at its address
skipped - youki: a container is at its address: there is no youki
1 passed, 0 failed, 1 skipped
not ok - podman: a reset leaves nothing
  | expected '192.0.2.10', got ''
0 passed, 1 failed, 0 skipped
";
        assert_eq!(judged(1, output), "1 passed, 1 failed, 1 skipped");
        assert_eq!(judged(125, output), "1 passed, 2 failed, 1 skipped");
        let good = "ok - podman: a container is at its address\n1 passed, 0 failed, 0 skipped\n";
        assert_eq!(judged(0, good), "1 passed, 0 failed, 0 skipped");
        assert_eq!(judged(1, good), "1 passed, 1 failed, 0 skipped");
        // One that did not even begin.
        assert_eq!(judged(124, ""), "0 passed, 1 failed, 0 skipped");
    }
}
