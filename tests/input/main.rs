//! What `create-runtime` does with input that is bad, and with input that is
//! only unusual. Whatever it refuses, it says why in one line and leaves the
//! cgroup as it was. And what is logged of it. And what shells complete.

mod accepted;
mod addresses;
mod annotations;
mod cdi;
mod cgroups;
mod completions;
mod config;
mod logging;
mod manifest;
mod privileges;
mod refusal;
mod states;
mod trust;

use std::process::ExitCode;

use oci_bind_hook_tests::harness;

fn main() -> ExitCode {
    harness::main(|| {
        [
            states::trials(),
            annotations::trials(),
            addresses::trials(),
            cgroups::trials(),
            config::trials(),
            trust::trials(),
            logging::trials(),
            accepted::trials(),
            cdi::trials(),
            manifest::trials(),
            completions::trials(),
            privileges::trials(),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}
