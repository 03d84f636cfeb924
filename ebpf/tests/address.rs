//! Addresses in the form in which functions of the programs take them.

mod common;

use common::v6;
use oci_bind_hook_ebpf::decide::address::{halves, whole};

#[test]
fn an_address_in_two_numbers() {
    for address in [
        "::",
        "::1",
        "2001:db8:1:2:3:4:5:6",
        "ff02::fb",
        "::ffff:192.0.2.10",
    ] {
        let (high, low) = halves(v6(address));
        assert_eq!(whole(high, low), v6(address), "{address}");
    }
    assert_eq!(halves([1, 2, 3, 4]), (1 << 32 | 2, 3 << 32 | 4));
}
