//! The decisions of the eBPF programs, under any policy that user space can
//! write, about any call and packet.

mod bind;
mod connect;
mod guard;
mod names;
mod network;
mod policy;
mod sendmsg;

use arbitrary::{Result, Unstructured};

/// The input: a policy, and what one call of each kind asks for.
pub fn check(data: &[u8]) {
    // Shorter inputs end in the middle, which is no failure.
    let _ = all(&mut Unstructured::new(data));
}

fn all(input: &mut Unstructured<'_>) -> Result<()> {
    let policy = policy::any(input)?;
    match input.int_in_range(0..=4)? {
        0 => bind::check(&policy, input),
        1 => connect::check(&policy, input),
        2 => sendmsg::check(&policy, input),
        3 => guard::check(&policy, input),
        _ => names::check(&policy, input),
    }
}
