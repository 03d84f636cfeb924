//! What `check` says of hosts that are set up badly, each in one respect, and
//! of one that is set up well.

mod addresses;
mod containers;
mod engines;
mod example;
mod hooks_d;
mod host;
mod kernel;
mod leaves;
mod place;
mod whole;

use std::process::ExitCode;

use oci_bind_hook_tests::harness;

fn main() -> ExitCode {
    harness::main(|| {
        [
            whole::trials(),
            host::trials(),
            addresses::trials(),
            kernel::trials(),
            containers::trials(),
            hooks_d::trials(),
            engines::trials(),
            leaves::trials(),
            example::trials(),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}
