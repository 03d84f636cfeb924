//! What many containers cost: whether the thousandth waits longer than the
//! first, and what each takes of memory; fifty at once after boot; ten thousand
//! one after the other.

mod crowd;
mod cycles;
mod memory;
mod rush;

use anyhow::Result;
use oci_bind_hook_tests::bench::{one_processor, resident};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::results::Results;

fn main() -> Result<()> {
    host::set_up()?;
    let mut results = Results::new("scale", "Many containers, each under the default policy");
    let _resident = resident()?;
    Net::isolated(|_| rush::measure(&mut results))?;
    Net::isolated(|net| {
        one_processor()?;
        crowd::measure(&mut results, &net)?;
        cycles::measure(&mut results)
    })?;
    results.finish()
}
