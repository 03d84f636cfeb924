//! What sockets do under a policy, row by row of the acceptance list.
//!
//! Every row states a call, what it comes to inside a cgroup with the policy,
//! and what it comes to otherwise: outside of that cgroup while the policy is
//! in force, and inside once it has been taken off.

mod bind;
mod bind_options;
mod connect;
mod connect_again;
mod loopback;
mod neighbours;
mod observe;
mod row;
mod send;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::harness;

use row::Row;

/// The rows that this version claims.
const CLAIMED: &[&str] = &[
    "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B11", "B12", "B13", "B14", "B15", "B16",
    "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "U1", "U2", "U3", "U4", "U5", "U7", "L3",
];

/// The files, each with the rows it holds.
const TABLES: &[fn() -> Vec<Row>] = &[
    bind::rows,
    bind_options::rows,
    neighbours::rows,
    connect::rows,
    connect_again::rows,
    send::rows,
    loopback::rows,
];

fn main() -> ExitCode {
    harness::main(|| {
        let (ids, mut trials): (BTreeSet<_>, Vec<_>) = TABLES
            .iter()
            .flat_map(|table| table())
            .map(|row| (row.id, row.trial))
            .unzip();
        trials.push(Trial::test("every claimed row has a test", move || {
            Ok(complete(&ids)?)
        }));
        trials
    })
}

fn complete(ids: &BTreeSet<&str>) -> Result<()> {
    let missing: Vec<_> = CLAIMED.iter().filter(|id| !ids.contains(*id)).collect();
    ensure!(missing.is_empty(), "rows without a test: {missing:?}");
    Ok(())
}
