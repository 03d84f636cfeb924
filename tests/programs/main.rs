//! Real programs, unmodified, under `run`: each is reached at the assigned
//! address alone, seen from it alone, and finds itself at its own localhost,
//! which it can tell from everybody else.

mod any6;
mod any6_datagrams;
mod clients;
mod daemon;
mod daemons;
mod discovery;
mod echo;
mod http;
mod netbios;
mod pair;
mod probe;
mod program;
mod proxy;
mod resolver;
mod restart;
mod server;
mod services;
mod tool;
mod trust;

use std::process::ExitCode;

use oci_bind_hook_tests::harness;

fn main() -> ExitCode {
    harness::main(|| {
        [http::PROGRAMS, services::PROGRAMS, any6_datagrams::SERVERS]
            .into_iter()
            .flatten()
            .chain(any6::SERVERS.iter().map(|(program, _)| program))
            .flat_map(pair::trials)
            .chain(restart::trials())
            .chain(clients::trials())
            .chain(daemons::trials())
            .chain(proxy::trials())
            .chain(discovery::trials())
            .chain(netbios::trials())
            .chain(trust::trials())
            .chain(resolver::trials())
            .collect()
    })
}
