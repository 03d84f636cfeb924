//! Values of which the verifier knows nothing.
//!
//! It follows a program with each value that it knows: behind a flag that is 0 on
//! one way and 1 on another, it goes through all the rest once for each, and so
//! twice as often with every further flag. A hidden value has but one rest. It
//! takes both ways of a branch then, those that cannot be too: what is done there
//! has to be allowed.

use core::hint::black_box;

use crate::abi::Policy;

/// The same number, unknown: with an unknown one added, and taken off again. The
/// compiler must not see that this comes to nothing.
#[inline(always)]
pub fn number(policy: &Policy, number: u32) -> u32 {
    let unknown = policy.ipv4;
    black_box(number.wrapping_add(unknown)).wrapping_sub(unknown)
}

/// The same truth, unknown.
#[inline(always)]
pub fn truth(policy: &Policy, truth: bool) -> bool {
    // The lowest bit, since a comparison would be a branch, and known again.
    number(policy, truth.into()) & 1 != 0
}
