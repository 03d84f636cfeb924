//! Counters that several CPUs change.

use core::arch::asm;

/// Adds to a counter: atomic, and on x86 ordered with everything before and after it.
///
/// In assembly, because core has no atomics for this target. Kernels before 5.12 know only
/// the form without a result.
#[inline(always)]
pub fn add(counter: *const u64, change: i64) {
    // SAFETY: the counter is aligned, and inside the value of a map.
    unsafe {
        asm!(
            "lock *(u64 *)({counter} + 0) += {change}",
            counter = in(reg) counter,
            change = in(reg) change,
            options(nostack),
        );
    }
}
