//! Real programs, unmodified, under `run`: each is reached at the assigned
//! address alone, seen from it alone, and finds itself at its own localhost.

mod clients;
mod echo;
mod http;
mod pair;
mod program;
mod server;
mod services;
mod tool;

use std::process::ExitCode;

use oci_bind_hook_tests::harness;

fn main() -> ExitCode {
    harness::main(|| {
        [http::PROGRAMS, services::PROGRAMS]
            .into_iter()
            .flatten()
            .flat_map(pair::trials)
            .chain(clients::trials())
            .collect()
    })
}
