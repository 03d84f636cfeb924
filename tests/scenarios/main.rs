//! What sockets do under a policy, row by row of the acceptance list.
//!
//! Every row states a call, its outcome inside a cgroup with the policy, and its outcome
//! otherwise: outside of that cgroup while the policy is in force, and inside once it has
//! been taken off.

mod bind;
mod bind_options;
mod connect;
mod connect_again;
mod connect_ways;
mod counted;
mod deliver_devices;
mod devices;
mod discovery;
mod dual;
mod dual_changes;
mod dual_datagrams;
mod dual_datagrams_changes;
mod dual_delivery;
mod dual_first;
mod dual_messages;
mod dual_options;
mod dual_servers;
mod every_address;
mod foreign;
mod frames;
mod from_loopback;
mod guard;
mod inherit;
mod isolated;
mod keeps;
mod kept_in;
mod links;
mod list;
mod localhost;
mod loopback;
mod loopback_bound;
mod loopback_exact;
mod loopback_served;
mod multicast;
mod multipath;
mod neighbours;
mod observe;
mod ping;
mod ports;
mod private;
mod private_again;
mod private_both;
mod raw;
mod rewritten;
mod row;
mod sctp;
mod semantics;
mod send;
mod shared_port;
mod smoke;
mod tagged;
mod told;
mod unhooked;

use std::process::ExitCode;

use libtest_mimic::Trial;
use oci_bind_hook_tests::harness;

use row::Row;
use semantics::Trials;

/// The files, each with the rows it holds.
const TABLES: &[fn() -> Vec<Row>] = &[
    bind::rows,
    dual::rows,
    dual_servers::rows,
    dual_changes::rows,
    dual_datagrams::rows,
    dual_datagrams_changes::rows,
    dual_options::rows,
    dual_messages::rows,
    dual_delivery::rows,
    deliver_devices::rows,
    tagged::rows,
    dual_first::rows,
    bind_options::rows,
    every_address::rows,
    isolated::rows,
    neighbours::rows,
    connect::rows,
    connect_again::rows,
    send::rows,
    loopback::rows,
    localhost::rows,
    loopback_exact::rows,
    loopback_bound::rows,
    loopback_served::rows,
    private::rows,
    private_again::rows,
    private_both::rows,
    guard::rows,
    unhooked::rows,
    raw::rows,
    sctp::rows,
    multipath::rows,
    connect_ways::rows,
    counted::rows,
    inherit::rows,
    foreign::rows,
    ports::rows,
    multicast::rows,
    discovery::rows,
    shared_port::rows,
    ping::rows,
    keeps::rows,
    rewritten::rows,
    frames::rows,
    kept_in::rows,
    from_loopback::rows,
    devices::rows,
];

fn main() -> ExitCode {
    let rows: Vec<Row> = TABLES.iter().flat_map(|table| table()).collect();
    let mut names = Trials::new();
    for row in &rows {
        let trials = names.entry(row.id).or_default();
        trials.push(row.trial.name().to_owned());
    }
    if let Some(status) = harness::written("SEMANTICS", || semantics::write(&names)) {
        return status;
    }
    if smoke::is_asked() {
        return harness::main_then(
            || {
                let chosen = smoke::select(rows);
                chosen.into_iter().map(|row| row.trial).collect()
            },
            "every program has run",
            smoke::assert_every_program_ran,
        );
    }
    harness::main(|| {
        let mut trials: Vec<_> = rows.into_iter().map(|row| row.trial).collect();
        let listed = names.clone();
        trials.push(Trial::test("every row of the list has a test", move || {
            Ok(semantics::assert_complete(&listed)?)
        }));
        trials.push(Trial::test(
            "SEMANTICS.md says what the tests say",
            move || Ok(semantics::assert_current(&names)?),
        ));
        trials
    })
}
