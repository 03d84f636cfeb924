//! A selection for kernels that get little time: one trial of each row, which together run
//! every program.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::net::has_dual;
use oci_bind_hook_tests::{bpf, host, program};

use crate::row::Row;

/// The programs for dual-stack servers.
const DUAL: &[&str] = &["listen", "release"];

/// The trials that run the programs that no row's last trial runs: those that report whom
/// a client has called.
const MORE: &[&str] = &[
    "L1 tcp4 Connect 127.0.0.1, own tcp4 server at 0.0.0.0 [both auto guard]",
    "L1 tcp6 Connect ::1, own tcp6 server at :: [both auto guard]",
];

/// Whether the environment asks for the selection: `SMOKE=yes`.
pub fn is_asked() -> bool {
    std::env::var_os("SMOKE").is_some_and(|value| value == "yes")
}

/// The last trial of each row, and [`MORE`]. Policies with one address come first, those
/// with both last.
pub fn select(rows: Vec<Row>) -> Vec<Row> {
    let last: BTreeMap<_, _> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| (row.id, at))
        .collect();
    rows.into_iter()
        .enumerate()
        .filter(|(at, row)| last[row.id] == *at || MORE.contains(&row.trial.name()))
        .map(|(_, row)| row)
        .collect()
}

/// Fails if a pinned program has not run once the trials are over. The kernel counts runs
/// with `kernel.bpf_stats_enabled=1`.
pub fn assert_every_program_ran() -> Result<()> {
    let excused = if has_dual() { &[] } else { DUAL };
    let mut idle = Vec::new();
    let pins = host::pins()?;
    ensure!(pins.len() == 1, "not one set of pins: {pins:?}");
    for entry in fs::read_dir(&pins[0]).context("list the pins")? {
        let path = entry?.path();
        // Maps and links are pinned there too.
        let Some(runs) = program::runs(bpf::open_pin(&path)?)? else {
            continue;
        };
        let name = path.file_name().context("name a pin")?;
        if runs == 0 && excused.iter().all(|excused| name != *excused) {
            idle.push(name.to_owned());
        }
    }
    ensure!(idle.is_empty(), "programs that no trial has run: {idle:?}");
    Ok(())
}
