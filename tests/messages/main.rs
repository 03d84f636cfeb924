//! What the binary says when something is wrong: the messages, as they are said
//! by the real binary, and `docs/MESSAGES.md`, the table of them.

mod addresses;
mod annotations;
mod cgroup;
mod command_line;
mod config;
mod containers;
mod document;
mod examples;
mod hierarchy;
mod kept;
mod notices;
mod pins;
mod policy;
mod programs;
mod row;
mod run;
mod scene;
mod state;
mod status;
mod surroundings;

use std::process::ExitCode;

use libtest_mimic::Trial;
use oci_bind_hook_tests::harness;

use row::Area;

/// The tables, in the order of the document.
const AREAS: &[Area] = &[
    command_line::AREA,
    state::AREA,
    annotations::AREA,
    config::AREA,
    policy::AREA,
    addresses::AREA,
    cgroup::AREA,
    containers::AREA,
    hierarchy::AREA,
    programs::AREA,
    pins::AREA,
    run::AREA,
    run::END,
    status::AREA,
    notices::AREA,
    kept::AREA,
];

fn main() -> ExitCode {
    if let Some(status) = harness::written("MESSAGES", || document::write(AREAS)) {
        return status;
    }
    if let Some(status) = harness::written("EXAMPLES", examples::write) {
        return status;
    }
    harness::main(|| {
        let mut trials: Vec<_> = AREAS.iter().flat_map(row::trials).collect();
        trials.push(Trial::test("MESSAGES.md says what the tests say", || {
            Ok(document::assert_current(AREAS)?)
        }));
        trials.extend(examples::trials());
        trials
    })
}
