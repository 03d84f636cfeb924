//! What a packet pays: the same traffic between sockets under no policy, under
//! one without the guard and under one with it, batch by batch in turn. On
//! loopback both ends are the container's; over a veth pair the other end is in
//! another network namespace and under no policy.
//!
//! One thread does both ends, since the kernel takes a packet all the way to
//! the other socket before send(2) returns: nobody has to be woken, and all of
//! the time is what packets cost.

mod site;
mod traffic;

use anyhow::Result;
use oci_bind_hook_tests::hook::V4;
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::results::{Results, Target};

use site::{Path, Site, Under};
use traffic::{KINDS, Traffic, rates};

const BATCHES: usize = 400;

/// The first is what the others are set against; the second shows how far the
/// method can be off.
const SIDES: [(&str, Under); 5] = [
    ("plain", Under::Nothing),
    ("no policy", Under::Nothing),
    ("least possible", Under::Empty),
    ("guard off", Under::Policy(V4)),
    ("guard on", Under::Policy(V4.guarded())),
];

fn main() -> Result<()> {
    host::set_up()?;
    let mut results = Results::new(
        "packets",
        "Traffic under a policy against none: how much goes through, the more the better",
    );
    for path in [Path::Loopback, Path::Veth] {
        let site = Site::new(path, &SIDES.map(|(_, under)| under))?;
        for kind in KINDS {
            measure(&mut results, path, kind, &site)?;
        }
    }
    results.finish()
}

fn measure(results: &mut Results, path: Path, kind: &Traffic, site: &Site) -> Result<()> {
    let pairs = (0..SIDES.len()).map(|side| site.pair(side, kind.tcp));
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    let [plain, others @ ..] = &rates::<{ SIDES.len() }>(kind, &pairs, BATCHES)?;
    for ((name, under), rates) in SIDES[1..].iter().zip(others) {
        let side = format!("{path:?}, {name}").to_lowercase();
        let is_ours = matches!(under, Under::Policy(_));
        let target = is_ours.then_some(Target::AtLeast(0.97));
        results.pairs(&side, kind.name, kind.unit, [plain, rates], target);
    }
    Ok(())
}
