//! libFuzzer on the target that the variable `FUZZ_TARGET` names; without it,
//! the names of all targets.
#![no_main]
#![allow(unsafe_code, reason = "libFuzzer finds its functions by name")]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use oci_bind_hook_fuzz::{TARGETS, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

fn choose() {
    let Ok(wanted) = std::env::var("FUZZ_TARGET") else {
        for (name, _) in TARGETS {
            println!("{name}");
        }
        std::process::exit(0);
    };
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    let (_, target) = found.unwrap_or_else(|| panic!("no target {wanted}"));
    TARGET.get_or_init(|| *target);
}

fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some(target) = TARGET.get() {
        target(data);
    }
});
