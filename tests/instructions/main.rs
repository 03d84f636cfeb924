//! How long the eBPF programs are: as the compiler made them, and to the
//! kernel. `ebpf/instructions.txt` has it, so that a review sees what a change
//! costs.
//!
//! `INSTRUCTIONS=write cargo test --test instructions` writes it.

mod measure;
mod record;

use std::process::ExitCode;

use oci_bind_hook_tests::harness::{self, trial};
use oci_bind_hook_tests::host;

fn main() -> ExitCode {
    let write = || {
        host::set_up()?;
        record::write(&measure::kernel()?, &measure::all()?)
    };
    if let Some(status) = harness::written("INSTRUCTIONS", write) {
        return status;
    }
    harness::main(|| {
        vec![
            trial("instructions: of the object, as recorded", || {
                record::assert_own(&measure::own()?)
            }),
            trial("instructions: to the kernel, as recorded", || {
                record::assert_kernel(&measure::kernel()?, &measure::all()?)
            }),
        ]
    })
}
