//! Calls that are refused are counted, by cause.

use anyhow::{Result, ensure};
use oci_bind_hook_ebpf::abi::Cause;
use oci_bind_hook_tests::counters::refused;
use oci_bind_hook_tests::hook::V4;
use oci_bind_hook_tests::net::{HOST6, PEER4, PEER6};
use oci_bind_hook_tests::socket::{Outcome, TCP4, TCP6, UDP4, UDP6};

use crate::multipath;
use crate::row::{Row, Scene, Site};

/// The port of a peer that need not exist.
const PORT: u16 = 9;

/// A call that is refused.
type Call = fn(&Site) -> Result<Outcome<()>>;

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let calls: [(_, _, Call); 4] = [
        ("B13", Cause::NotAssigned, |site| {
            Ok(site.socket(TCP6)?.bind(site.at(HOST6, 0)))
        }),
        ("B20", Cause::Protocol, |site| {
            Ok(multipath::open(site, TCP4)?.map(drop))
        }),
        ("C7", Cause::Immovable, |site| {
            let client = site.socket(UDP4)?;
            let peer = site.at(PEER4, PORT);
            client.send(Some(peer), b"x")?;
            Ok(client.connect(peer))
        }),
        ("C8", Cause::Unreachable, |site| {
            Ok(site.socket(UDP6)?.connect(site.at(PEER6, PORT)))
        }),
    ];
    let row = |(id, cause, call): (_, _, Call)| {
        Scene::row(id, "refused calls are counted", move |scene| {
            scene.attach(V4)?;
            for expected in 1..=2 {
                let outcome = call(&scene.inside())?;
                ensure!(outcome.is_err(), "not refused");
                let counted = refused(&scene.cgroup, cause)?;
                ensure!(counted == expected, "{counted} counted, not {expected}");
            }
            Ok(())
        })
    };
    calls.into_iter().map(row).collect()
}
