//! Runs tests in virtual machines, several at once, and ends with the counts.
//!
//! ```text
//! oci-bind-hook-machines kernels [FILTER]
//! oci-bind-hook-machines engines [WORD]...
//! ```
//!
//! It runs in the root of the checkout: `tests/vm/kernels.sh` and
//! `tests/vm/engines.sh` start it there, and say what the environment selects. The
//! other scripts of `tests/vm` fetch what is booted, and boot it. Exit status: 0 if
//! nothing failed, 1 if something did, 2 for a bad command line.

mod cargo;
mod engines;
mod kernels;
mod machine;
mod parallel;
mod program;
mod report;
mod setting;
mod table;
mod trials;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let has_passed = match arguments[..] {
        ["kernels"] => kernels::run(""),
        ["kernels", filter] => kernels::run(filter),
        ["engines", ref words @ ..] => engines::run(words),
        _ => {
            eprintln!("usage: oci-bind-hook-machines kernels [FILTER] | engines [WORD]...");
            return ExitCode::from(2);
        }
    };
    match has_passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tests/vm: {error:#}");
            ExitCode::FAILURE
        }
    }
}
