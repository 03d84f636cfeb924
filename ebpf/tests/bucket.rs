//! Servers that share a count make each other's callers search in vain, so the count has
//! to depend on every part of a place.

use std::collections::BTreeSet;

use oci_bind_hook_ebpf::decide::dual::{Place, bucket};
use oci_bind_hook_ebpf::net::{Port, V6};

/// The parts of a place: two of the namespace, four of the address, the
/// protocol and the port.
const PARTS: usize = 8;

/// A place in which this part has this value, and every other part has its own bits of
/// `others`.
fn place(part: usize, value: u16, others: u64) -> Place {
    let parts: [u32; PARTS] = std::array::from_fn(|index| {
        let shift = 8 * u32::try_from(index).unwrap();
        let other = others.rotate_left(shift) & 0xffff_ffff;
        if index == part {
            value.into()
        } else {
            u32::try_from(other).unwrap()
        }
    });
    let short = |index: usize| u16::try_from(parts[index] & 0xffff).unwrap();
    Place {
        namespace: u64::from(parts[0]) << 32 | u64::from(parts[1]),
        address: V6([parts[2], parts[3], parts[4], parts[5]]),
        protocol: short(6),
        port: Port(short(7)),
        slot: 0,
    }
}

#[test]
fn every_part_of_a_place_counts() {
    let others = [0, u64::MAX, 0x0123_4567_89ab_cdef, 0x9876_5432_10fe_dcba];
    for part in 0..PARTS {
        for others in others {
            let buckets: BTreeSet<_> = (1..=1000)
                .map(|value| bucket(&place(part, value, others)))
                .collect();
            let count = buckets.len();
            // 1000 random choices among 65536 collide about 8 times.
            assert!(count > 950, "{count} for part {part}, others {others:x}");
        }
    }
}
