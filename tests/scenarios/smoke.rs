//! A selection for a kernel that there is little time for: of the trials of each
//! row and file the first and the last, which together run every program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::net::has_dual;
use oci_bind_hook_tests::{bpf, host, program};

use crate::row::Row;

/// Those of servers of both families.
const DUAL: &[&str] = &["listen", "release"];

/// Whether the environment asks for the selection: `SMOKE=yes`.
pub fn is_asked() -> bool {
    std::env::var_os("SMOKE").is_some_and(|value| value == "yes")
}

/// Of the rows of one file, the first and the last of each: policies with one
/// address come first, those with both last.
pub fn select(rows: Vec<Row>) -> Vec<Row> {
    let mut last = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        last.insert(row.id, index);
    }
    let mut seen = BTreeSet::new();
    rows.into_iter()
        .enumerate()
        .filter(|(index, row)| seen.insert(row.id) || last[row.id] == *index)
        .map(|(_, row)| row)
        .collect()
}

/// Fails if a pinned program has not run, once trials have. The kernel counts
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
