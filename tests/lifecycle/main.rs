//! How policies, pins and commands come and go.

mod by_container;
mod change;
mod cold_start;
mod deliver;
mod deliver_beside;
mod deliver_left;
mod dual;
mod failover;
mod kept;
mod left;
mod pins;
mod pod;
mod policy;
mod rollback;
mod run;
mod run_end;
mod run_owner;
mod screen;
mod status;
mod trust;
mod unconfigured;
mod undefended;
mod unpinned;
mod upgrade;
mod vrf;
mod wait;
mod watch;
mod without_policy;

use std::process::ExitCode;

use oci_bind_hook_tests::harness;

fn main() -> ExitCode {
    harness::main(|| {
        [
            by_container::trials(),
            change::trials(),
            cold_start::trials(),
            deliver::trials(),
            deliver_beside::trials(),
            deliver_left::trials(),
            dual::trials(),
            failover::trials(),
            kept::trials(),
            left::trials(),
            pins::trials(),
            pod::trials(),
            policy::trials(),
            rollback::trials(),
            run::trials(),
            run_end::trials(),
            run_owner::trials(),
            status::trials(),
            trust::trials(),
            unconfigured::trials(),
            undefended::trials(),
            unpinned::trials(),
            upgrade::trials(),
            vrf::trials(),
            wait::trials(),
            watch::trials(),
            without_policy::trials(),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}
