//! Values that the verifier does not know.
//!
//! The verifier follows a program with each value that it knows: after a flag that is 0 on
//! one path and 1 on another, it goes through the rest once for each, and twice as often
//! with every further flag. After a hidden value there is only one rest. But it then
//! follows both sides of a branch, even one that is never taken, so what is done there has
//! to be allowed.

use core::hint::black_box;

use crate::abi::Policy;

/// The same number, but unknown: an unknown one is added to it and subtracted again. The
/// compiler must not see that this changes nothing.
#[inline(always)]
pub fn number(policy: &Policy, number: u32) -> u32 {
    let unknown = policy.ipv4.0;
    black_box(number.wrapping_add(unknown)).wrapping_sub(unknown)
}

/// The same truth value, but unknown.
#[inline(always)]
pub fn truth(policy: &Policy, truth: bool) -> bool {
    // The lowest bit: a comparison would be a branch, which makes the value known again.
    number(policy, truth.into()) & 1 != 0
}
