//! What is left when something goes wrong, or goes on for long: a container
//! starts under its policy or it does not start, and nothing grows.
//!
//! A reset of the machine is tried with engines in `tests/vm`: pins and
//! attachments are in memory, and the hook writes to no other file system,
//! which `places` shows.

mod cycles;
mod deliver;
mod kills;
mod limits;
mod nothing_left;
mod places;
mod runtime;

use std::process::ExitCode;

use oci_bind_hook_tests::harness;

fn main() -> ExitCode {
    harness::main_in_turn(|| {
        [
            kills::trials(),
            runtime::trials(),
            places::trials(),
            limits::trials(),
            cycles::trials(),
            deliver::trials(),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}

/// How often to do something: `long` is for `make test-faults`.
fn rounds(short: usize, long: usize) -> usize {
    match std::env::var_os("FAULTS") {
        Some(what) if what == "long" => long,
        _ => short,
    }
}
